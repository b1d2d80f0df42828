"""TEC-ELIC's transforms trained on under its own coder: a run's second stage, once a prior has been fitted.

Crops are coded once by the model that the run starts from. Training then moves the transforms under what its
coder decided of each crop (`coder_twin.py`), by L = (bits + slope * lmbda * error) / bits before: what counts
is the relative rate at equal distortion, as in a BD-rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.codestream import MAX_QUALITY
from eocodec.entropy.context_coder import ContextPrior
from eocodec.errors import ConfigError
from eocodec.models import registry
from eocodec.models.weights import load
from eocodec.train import optim
from eocodec.train.checkpoint import averaged, start_average, update_average
from eocodec.train.coded_crops import CodedCrop, code_crops, load_crop
from eocodec.train.coder_twin import CoderTwin
from eocodec.train.config import TrainConfig
from eocodec.train.crops import CropSampler, standardise
from eocodec.train.loop import Trainer

HELD_SEED = 1  # added to the run's, for crops of held out places
LEAST_BITS = 0.3  # of a crop's cost: crops that are nearly all error do not outweigh the others


class CodedTrainer(Trainer):
    """A run on coded crops: it starts from the weights of `coded.model`, and is judged on other places."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        super().__init__(config, out)
        coded = config.coded
        model = load(registry.by_id(coded.model))
        if not isinstance(model.prior, ContextPrior):
            raise ConfigError(f"{coded.model} has no context model: coded crops are for tec-elic")
        self._start_from_network(model.network)
        self.average = start_average(self.model)
        self._lmbda = model.lmbda
        linear = model.network.block_transform
        self._twin = CoderTwin(model.prior, linear.basis, linear.ring)
        held = set(filter(None, coded.held_out.split(",")))
        seed, parts = config.run.seed, []
        for name, count, ours in (("crops", coded.crops, False), ("held_out", coded.held_crops, True)):
            scenes = [s for s in self.sampler.scenes if (s.place in held) == ours]
            if count and not scenes:
                raise ConfigError(f"coded.held_out leaves no scene for {name}")
            data = config.data.without_augmentation() if ours else config.data
            made = CropSampler(scenes, data, seed) if count else self.sampler
            folder = out / "coded" / name
            parts.append(code_crops(folder, model, made, count=count, side=coded.side, seed=seed + ours))
        self._paths, self._held = parts
        self._before: NDArray[np.float64] | None = None

    def _start_from_network(self, network: nn.Module) -> None:
        """Take a network's weights over; what it lacks (`rates`) starts as nothing."""
        own, given = self.model.state_dict(), network.state_dict()
        wrong = [n for n, value in given.items() if n not in own or own[n].shape != value.shape]
        if wrong:
            raise ConfigError(f"{self.config.coded.model} does not fit the model: {', '.join(wrong[:5])}")
        self.model.load_state_dict({**own, **given})

    def draw(self) -> list[CodedCrop]:
        """A batch."""
        at = self.sampler.rng.integers(0, len(self._paths), self.config.data.batch)
        return [load_crop(self._paths[number]) for number in at]

    def cost(self, crops: Sequence[CodedCrop]) -> tuple[Tensor, Tensor]:
        """Bits and squared error of each crop, [B], the latter times what it is worth in bits."""
        x = torch.from_numpy(np.stack([standardise(crop.dn.astype(np.float32)) for crop in crops]))
        x = x.to(memory_format=torch.channels_last)
        bf16, slope = self.config.run.bf16, self.config.coded.slope
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = self.model.analysis(x)
        lmbdas = [self._lmbda(crop.tile.quality_steps) for crop in crops]
        coded = [self._twin(y_, c.tile, lm) for y_, c, lm in zip(y.float(), crops, lmbdas, strict=True)]
        quality = torch.tensor([crop.tile.quality_steps / MAX_QUALITY for crop in crops])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            x_hat = self.model.synthesis(torch.stack([y_hat for y_hat, _ in coded]), quality)
        error = ((x - x_hat.float()).square().sum((2, 3)) * self.weights).sum(1)
        return torch.stack([bits for _, bits in coded]), slope * torch.tensor(lmbdas) * error

    def train_step(self, batch: Any) -> dict[str, float]:
        """One update on coded crops; returns the figures of the step."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        bits, error = self.cost(batch)
        before, total = torch.tensor([float(crop.tile.bits) for crop in batch]), bits + error
        loss = (total / torch.maximum(before, LEAST_BITS * total.detach())).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        optim.set_rates(self.optimisers, optim.rate_factor(self.progress(), self.step, self.config.optim))
        if bool(torch.isfinite(norm)):
            for optimiser in self.optimisers:
                optimiser.step()
            update_average(self.average, self.model, self.config.optim.ema, self.step)
        share = float((bits.detach() / before).mean())
        return {"loss": float(loss.detach()), "bits_of_before": share, "norm": float(norm)}

    @torch.no_grad()
    def evaluate(self) -> None:
        """Relative rate at equal distortion on held-out crops, averaged weights, as the twin sees it."""
        if not self._held:
            return
        with averaged(self.model, self.average):
            found = [[float(v) for v in self.cost([load_crop(path)])] for path in self._held]
        costs = np.array(found)  # [crops, (bits, error)]
        if self._before is None:
            self._before = costs
        change = 100 * float(((costs - self._before).sum(1) / self._before[:, 0]).mean())
        self.log({"step": self.step, "minutes": self.elapsed / 60, "held_out_percent": change})
        print(f"held out, step {self.step}: {change:+.2f} % rate at equal distortion", flush=True)
