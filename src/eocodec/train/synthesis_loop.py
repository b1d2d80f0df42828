"""TEC-ELIC's synthesis trained on alone, on what its own coder leaves of crops: a run's second stage.

Crops are coded once by the model that the run starts from, as a caller would. Analysis and prior stay as they
are, so streams hold the same symbols as before; what moves is how they are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from eocodec.errors import ConfigError
from eocodec.models import registry
from eocodec.models.elic import ElicConfig, TecElic
from eocodec.models.fp import STRIDE, CompactSynthesis, FpConfig, TecFp
from eocodec.models.weights import load
from eocodec.train import optim
from eocodec.train.checkpoint import averaged, update_average
from eocodec.train.coded_crops import CodedCrop, CodedCrops, code_crops
from eocodec.train.config import TrainConfig
from eocodec.train.crops import CropSampler, standardise
from eocodec.train.losses import mean_psnr
from eocodec.train.trainer import Trainer

HELD_SEED = 1  # added to the run's, for crops of held-out places
RATES = "g_s.rates.bias"
RANGES = (36, 40, 43, 46)  # dB before, between which gains are averaged


def _for_more_blocks(bias: Tensor, old: ElicConfig | FpConfig, new: FpConfig) -> Tensor:
    """Biases of residual blocks [levels, n], first those at 1/8, with zeros for further blocks."""
    (quarter, eighth), (more_quarter, more_eighth) = old.synthesis_blocks, new.synthesis_blocks
    at_eighth, at_quarter = bias.split([eighth * old.eighth, quarter * old.quarter], dim=1)
    room = [(more_eighth - eighth) * old.eighth, (more_quarter - quarter) * old.quarter]
    return torch.cat(
        [functional.pad(part, (0, more)) for part, more in zip((at_eighth, at_quarter), room, strict=True)], 1
    )


class SynthesisTrainer(Trainer):
    """A run on coded crops: it starts from the weights of `coded.model`, and is judged on other places."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        super().__init__(config, out)
        self._crops, self._held = self._coded(held=False), self._coded(held=True)
        self._before = self._held_out_errors()

    def _initialise(self) -> None:
        self._start = load(registry.by_id(self.config.coded.model))
        if not isinstance(self.model.g_s, CompactSynthesis):
            raise ConfigError("coded crops are for the compact transform")
        self._g_s = self.model.g_s
        self._start_from_network(self._start.network)

    def _start_from_network(self, network: TecElic | TecFp) -> None:
        """Take a network's weights over; residual blocks that it lacks start as nothing."""
        own, given = self.model.state_dict(), network.state_dict()
        if RATES in own and RATES in given:
            given[RATES] = _for_more_blocks(given[RATES], network.config, self.model.config)
        wrong = [n for n, value in given.items() if n not in own or own[n].shape != value.shape]
        if wrong:
            raise ConfigError(f"{self.config.coded.model} does not fit the model: {', '.join(wrong[:5])}")
        self.model.load_state_dict({**own, **given})

    def _coded(self, *, held: bool) -> CodedCrops:
        """The crops to train on, or the held-out ones."""
        coded, data = self.config.coded, self.config.data
        places = set(filter(None, coded.held_out.split(",")))
        scenes = [s for s in self.sampler.scenes if (s.place in places) == held]
        name, count = ("held_out", coded.held_crops) if held else ("crops", coded.crops)
        if count and not scenes:
            raise ConfigError(f"coded.held_out leaves no scene for {name}")
        sizes = self.model.config
        crops = CodedCrops(
            self.out / "coded" / name, count=count, side=coded.side, bands=sizes.bands, bent=sizes.bent
        )
        if count:
            seed = self.config.run.seed + HELD_SEED * held
            sampler = CropSampler(scenes, data.without_augmentation() if held else data, seed)
            code_crops(crops, self._start, sampler, seed=seed)
        return crops

    def draw(self) -> list[CodedCrop]:
        """A batch of parts."""
        rng, side = self.sampler.rng, self.config.data.crop
        choices = (self.config.coded.side - side) // STRIDE + 1
        parts = []
        for number in rng.integers(0, len(self._crops), self.config.data.batch):
            top, left = (int(n) * STRIDE for n in rng.integers(0, choices, 2))
            parts.append(self._crops.part(int(number), top, left, side))
        return parts

    def errors(self, parts: Sequence[CodedCrop]) -> Tensor:
        """Weighted mean squared error of each part, [B], network units."""
        error = torch.from_numpy(np.stack([part.error for part in parts])).float()
        x = torch.from_numpy(np.stack([standardise(part.dn.astype(np.float32)) for part in parts]))
        lead = torch.from_numpy(np.stack([part.lead for part in parts])).float()
        quality = torch.tensor([part.quality for part in parts])
        lead = lead.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.run.bf16):
            correction = self._g_s.correction(x - error, lead, quality)
        left = error - correction.float()
        return (left.square().mean((2, 3)) * self.weights).mean(1)

    def train_step(self, batch: Any) -> dict[str, float]:
        """One update on parts of coded crops; returns the figures of the step."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss = self.errors(batch).log().mean()  # a decibel counts the same wherever it is gained
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._g_s.parameters(), self.config.optim.clip_norm)
        optim.set_rates(self.optimisers, optim.rate_factor(self.progress(), self.step, self.config.optim))
        if bool(torch.isfinite(norm)):
            for optimiser in self.optimisers:
                optimiser.step()
            update_average(self.average, self.model, self.config.optim.ema, self.step)
        return {"loss": float(loss.detach()), "norm": float(norm)}

    @torch.no_grad()
    def _held_out_errors(self) -> NDArray[np.float64]:
        found = [float(self.errors([self._held.part(number)])) for number in range(len(self._held))]
        return np.array(found)

    def evaluate(self) -> None:
        """PSNR gained on held-out crops at equal bits by the averaged weights, by PSNR before."""
        if not len(self._held):
            return
        with averaged(self.model, self.average):
            gain = 10 * np.log10(self._before / self._held_out_errors())
        psnr = np.array([mean_psnr(torch.tensor([d])) for d in self._before])
        at = np.digitize(psnr, RANGES)
        names = [f"{low}-{high}" for low, high in zip((0, *RANGES), (*RANGES, 99), strict=True)]
        by_psnr = {name: float(gain[at == i].mean()) for i, name in enumerate(names) if (at == i).any()}
        inside = [by_psnr[name] for name in names[1:-1] if name in by_psnr]
        mean = float(np.mean(inside)) if inside else float(gain.mean())
        self.log({"step": self.step, "minutes": self.elapsed / 60, "held_out_db": mean, "by_psnr": by_psnr})
        text = "  ".join(f"{name} {value:+.3f}" for name, value in by_psnr.items())
        print(f"held out, step {self.step}: {mean:+.4f} dB at equal bits; {text}", flush=True)
