"""One training run: model, optimiser, crops, checkpoint; what train/loop.py asks for step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eocodec.errors import ConfigError
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.klt import init_linear, init_steps
from eocodec.train import evaluate, losses, optim
from eocodec.train.checkpoint import (
    averaged,
    git_commit,
    start_average,
    take_up,
    update_average,
    write_checkpoint,
)
from eocodec.train.config import TrainConfig
from eocodec.train.crops import CropSampler
from eocodec.train.scenes import data_root, load_cached

KLT_PATCHES = 12_000


class Trainer:
    """One run: state, step, checkpoint, evaluation."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        if config.model_id not in ("tec-fp", "tec-elic"):
            raise ConfigError(f"no training for model {config.model_id!r}; known: tec-fp, tec-elic, tec-tt")
        self.config, self.out = config, out
        self.device = torch.device(config.run.device)
        torch.set_num_threads(config.run.threads)
        torch.manual_seed(config.run.seed)
        root = data_root(config.data.root or None)
        scenes = load_cached(root, Path(config.data.cache), min_side=min(64, config.data.crop))
        self.sampler = CropSampler(scenes, config.data, config.run.seed)
        self.tiles = evaluate.load_tiles(root)
        self.weights = losses.band_weights(config.loss)
        self.step, self.elapsed = 0, 0.0  # elapsed: seconds of training, over all starts
        self.model = TecFp(FpConfig.from_dict(config.model))
        self._initialise()
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optim.freeze(self.model, config.optim.freeze)
        self.average = start_average(self.model)
        self.optimisers = optim.build(self.model, config.optim)
        self.weights = self.weights.to(self.device)

    @property
    def levels(self) -> int:
        """Rate levels of the model."""
        return self.model.config.levels

    def _initialise(self) -> None:
        config = self.config
        if config.run.init_from:
            state = torch.load(config.run.init_from, weights_only=True, map_location="cpu")
            self._start_from(state["average"])
        elif self.model.config.transform == "compact":
            plain = CropSampler(self.sampler.scenes, config.data.without_augmentation(), config.run.seed)
            patches = [plain.batch(size=200, crop=16) for _ in range(KLT_PATCHES // 200)]
            init_linear(self.model, torch.from_numpy(np.concatenate(patches)), self.weights)
            init_steps(self.model, losses.lambda_ladder(config.loss, self.levels))

    def _start_from(self, state: dict[str, Tensor]) -> None:
        """Take weights over; residual blocks that they lack start as the identity."""
        missing, unknown = self.model.load_state_dict(state, strict=False)
        lacking = [name for name in missing if ".at_quarter." not in name and ".at_eighth." not in name]
        if lacking or unknown:
            wrong = ", ".join(sorted([*lacking, *unknown])[:5])
            raise ConfigError(f"{self.config.run.init_from} does not fit the model: {wrong}")

    def progress(self) -> float:
        """0 at the start, 1 at the end of the schedule."""
        run = self.config.run
        return min(1.0, self.step / run.steps if run.steps else self.elapsed / (60 * run.minutes))

    def _levels_of_batch(self, size: int) -> Tensor:
        """Stratified random fractional levels: every stretch of the range in every batch."""
        strata = (torch.randperm(size) + torch.rand(size)) / size
        return strata * (self.levels - 1)

    def draw(self) -> Any:
        """A batch, as `train_step` takes it."""
        return self.sampler.batch()

    def train_step(self, batch: Any) -> dict[str, float]:
        """One update; returns the figures of the step."""
        config = self.config
        x = torch.from_numpy(batch).to(self.device).to(memory_format=torch.channels_last)
        level = self._levels_of_batch(len(x)).to(self.device)
        lmbda = losses.lambda_at(level, config.loss, self.levels)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.run.bf16):
            out = self.model(x, level, dead_zone=config.loss.dead_zone)
        rd = losses.rate_distortion(x, out.x_hat, out.bits, lmbda, self.weights, config.loss.balance)
        rd.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.optim.clip_norm)
        optim.set_rates(self.optimisers, optim.rate_factor(self.progress(), self.step, config.optim))
        if bool(torch.isfinite(norm)):
            for optimiser in self.optimisers:
                optimiser.step()
            update_average(self.average, self.model, config.optim.ema, self.step)
        return {
            "loss": float(rd.loss.detach()),
            "bpppc": float(rd.bpppc.detach().mean()),
            "psnr": losses.mean_psnr(rd.distortion),
            "norm": float(norm),
        }

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the run's log."""
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def save(self) -> None:
        """Replace the checkpoint atomically."""
        state = {
            "config": self.config.to_dict(),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "elapsed": self.elapsed,
            "torch_rng": torch.get_rng_state(),
            "commit": git_commit(),
        }
        write_checkpoint(self.out, state)

    def resume(self) -> bool:
        """Take up the checkpoint of the run folder, if there is one."""
        state = take_up(self.out, self.model, self.optimisers, self.device)
        if state is None:
            return False
        self.average = state["average"]
        self.step, self.elapsed = state["step"], state["elapsed"]
        torch.set_rng_state(state["torch_rng"].cpu())
        self.sampler.rng = np.random.default_rng([self.config.run.seed, self.step])
        return True

    def evaluate(self) -> None:
        """Measure the averaged weights on the development tiles, log and print them."""
        bf16, dead_zone = self.config.run.bf16, self.config.loss.dead_zone
        with averaged(self.model, self.average):
            rows = evaluate.measure(self.model, self.tiles, bf16=bf16, dead_zone=dead_zone)
        lmbdas = losses.lambda_ladder(self.config.loss, self.levels)
        loss = evaluate.rd_loss(rows, lmbdas, self.config.loss.balance)
        self.log({"step": self.step, "minutes": self.elapsed / 60, "dev_loss": loss, "dev": rows})
        curve = "  ".join(f"{p.psnr:.2f} dB {p.bpppc:.4f}" for p in evaluate.averages(rows))
        print(f"dev step {self.step} {self.elapsed / 60:.1f} min: loss {loss:.5f}  {curve}", flush=True)
