"""Training of the published models: one process or many, resumed to the same weights as if never stopped.

All randomness of a step follows from seed, step and process: noise from a generator that is seeded anew in
each step, crops from their position in the run (`ssl4eo.py`). So a checkpoint needs weights, optimisers and
the step, and nothing of any process but the first. A run folder holds `config.json`, `log.csv` and `last.pt`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eocodec.errors import ConfigError
from eocodec.interop.published import read_checkpoint
from eocodec.models.published import family_of
from eocodec.models.published_state import fill, without_prefix
from eocodec.sensors import LEVELS
from eocodec.train import optim
from eocodec.train.checkpoint import (
    CHECKPOINT,
    averaged,
    claim_folder,
    git_commit,
    start_average,
    take_up,
    update_average,
    write_checkpoint,
)
from eocodec.train.csv_log import TRAIN, VAL, CsvLog
from eocodec.train.distributed import Group, joined
from eocodec.train.losses import PEAK
from eocodec.train.passes import Figures, Objective, pass_of
from eocodec.train.published_config import PublishedConfig, load_published
from eocodec.train.published_export import export
from eocodec.train.ssl4eo import find_places, training_batches, validation_batches


class Trainer:
    """One run as one process sees it: state, step, checkpoint, evaluation.

    Parameters
    ----------
    out : the run folder
    group : the process and its device
    """

    def __init__(self, config: PublishedConfig, out: Path, group: Group) -> None:
        self.config, self.out, self.group = config, out, group
        its_pass = pass_of(config.model_id, config.loss.masking)
        if its_pass.series != (config.data.frames > 1):
            wanted = "above 1" if its_pass.series else "1"
            raise ConfigError(f"data.frames must be {wanted} for {config.model_id}")
        if config.model.get("bands", 12) != len(LEVELS[config.data.level]):
            raise ConfigError(f"model.bands must be {len(LEVELS[config.data.level])} for {config.data.level}")
        root, level = Path(config.data.root), config.data.level
        self.places = group.shared(find_places(root, "train", level) if group.leads else None)
        held_out = find_places(root, "val", level) if group.leads and config.data.val_samples else None
        self.held_out = group.shared(held_out) or []
        torch.manual_seed(config.run.seed)
        self.model = family_of(config.model_id).build(config.model)
        if config.run.init_from:
            self._start_from(Path(config.run.init_from))
        optim.freeze(self.model, config.optim.freeze)
        self.step, self.elapsed = 0, 0.0
        objective = Objective(its_pass.run, self.model, config.loss.lmbda, LEVELS[level]).to(group.device)
        self.average = start_average(self.model)
        self.optimisers = optim.build(self.model, config.optim)
        self.aux_optimiser = optim.build_quantiles(self.model, config.optim.aux_lr)
        self.objective = group.parallel(objective)

    def _start_from(self, path: Path) -> None:
        """Take over the weights of a checkpoint in the published layout."""
        state = {name: tensor.clone() for name, tensor in read_checkpoint(path).items()}
        fill(self.model, without_prefix(state), self.config.model_id)

    def _all_optimisers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimisers, *([self.aux_optimiser] if self.aux_optimiser else [])]

    def batches(self) -> Iterator[Tensor]:
        """What this process trains on from here on."""
        run, group = self.config.run, self.group
        first = self.step * run.accumulate
        return training_batches(self.places, self.config.data, run.seed, group.rank, group.size, first)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, float]:
        """One update from `accumulate` batches; returns the figures of the step, of this process."""
        run, group, device = self.config.run, self.group, self.group.device
        self.objective.train()
        mixed = np.random.SeedSequence([run.seed, self.step, group.rank]).generate_state(1)
        torch.manual_seed(int(mixed[0]))
        for optimiser in self._all_optimisers():
            optimiser.zero_grad(set_to_none=True)
        sums = torch.zeros(len(Figures._fields), device=device)
        for number in range(run.accumulate):
            dn = next(batches).to(device, non_blocking=True)
            with group.unsynchronised(self.objective, number < run.accumulate - 1):
                with torch.autocast(device.type, torch.bfloat16, enabled=run.bf16):
                    figures = self.objective(dn)
                # One backward pass serves both: their gradients reach different parameters.
                ((figures.loss + figures.aux) / run.accumulate).backward()
            sums += torch.stack(figures).detach()
        norm = self._update()
        return {**_named(sums / run.accumulate), "norm": norm}

    def _update(self) -> float:
        """Let the optimisers act on the gradients, if their norm is finite; returns it."""
        config = self.config
        parameters = [p for o in self.optimisers for g in o.param_groups for p in g["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.optim.clip_norm)
        optim.set_rates(self.optimisers, self.rate())
        if bool(torch.isfinite(norm)):
            for optimiser in self._all_optimisers():
                optimiser.step()
            update_average(self.average, self.model, config.optim.ema, self.step)
        return float(norm)

    def rate(self) -> float:
        """Share of the peak rates in this step."""
        return optim.rate_factor(self.step / self.config.run.steps, self.step, self.config.optim)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Figures of the averaged weights on the validation crops, of all processes together; in float32."""
        data, group = self.config.data, self.group
        module = getattr(self.objective, "module", self.objective)  # without gradients nothing is exchanged
        module.eval()
        totals = torch.zeros(len(Figures._fields) + 1, dtype=torch.float64, device=group.device)
        with averaged(self.model, self.average):
            for dn in validation_batches(self.held_out, data, group.rank, group.size):
                figures = torch.stack(module(dn.to(group.device)))
                totals += torch.cat([figures, figures.new_ones(1)]) * len(dn)
        *sums, count = group.sums(totals.tolist())
        return _named(torch.tensor(sums) / count)

    def save(self) -> None:
        """Replace the checkpoint atomically; the leading process alone."""
        if not self.group.leads:
            return
        state = {
            "config": self.config.to_dict(),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self._all_optimisers()],
            "step": self.step,
            "elapsed": self.elapsed,
            "processes": self.group.size,
            "commit": git_commit(),
        }
        write_checkpoint(self.out, state)

    def resume(self) -> bool:
        """Take up the checkpoint of the run folder, if there is one."""
        state = take_up(self.out, self.model, self._all_optimisers(), self.group.device)
        if state is None:
            return False
        self.average = state["average"]
        self.step, self.elapsed = state["step"], state["elapsed"]
        return True


def _named(figures: Tensor) -> dict[str, float]:
    """Figures by name, with the PSNR for the error in DN."""
    values = dict(zip(Figures._fields, figures.tolist(), strict=True))
    mse_dn = values.pop("mse_dn")
    return {**values, "psnr": 10 * math.log10(PEAK**2 / mse_dn) if mse_dn > 0 else math.inf}


def _train(trainer: Trainer) -> None:
    run, group = trainer.config.run, trainer.group
    log = CsvLog(trainer.out, trainer.step) if group.leads else None
    batches = trainer.batches()
    window: list[dict[str, float]] = []
    begin = time.perf_counter()
    while trainer.step < run.steps:
        window.append({**trainer.train_step(batches), "rate": trainer.rate()})
        trainer.step += 1
        done = trainer.step == run.steps
        if trainer.step % run.log_every == 0 or done:
            trainer.elapsed += (seconds := time.perf_counter() - begin)
            _log(log, trainer, TRAIN, _means(window, seconds, trainer))
            window, begin = [], time.perf_counter()
        if trainer.held_out and (trainer.step % run.eval_every == 0 or done):
            _log(log, trainer, VAL, trainer.evaluate())
        if trainer.step % run.checkpoint_every == 0 or done:
            trainer.save()


def _means(window: Sequence[dict[str, float]], seconds: float, trainer: Trainer) -> dict[str, float]:
    group, config = trainer.group, trainer.config
    sums = group.sums([sum(row[key] for row in window) for key in window[0]])
    means = {key: total / len(window) / group.size for key, total in zip(window[0], sums, strict=True)}
    seen = len(window) * config.run.accumulate * config.data.batch * group.size
    return {**means, "samples_per_second": seen / seconds}


def _log(log: CsvLog | None, trainer: Trainer, split: str, figures: dict[str, float]) -> None:
    """A row, and the same to the terminal; the leading process alone."""
    if log is None:
        return
    row: dict[str, Any] = {"step": trainer.step, "split": split, "minutes": trainer.elapsed / 60, **figures}
    log.add(row)
    print(f"{split} " + " ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "split"), flush=True)


def run(config_path: str | Path, out: str | Path | None = None, overrides: Sequence[str] = ()) -> Path:
    """Train as the TOML file says; continue if the run folder has a checkpoint of the same configuration.

    Started by `torchrun`, each of its processes calls this, and the first writes.

    Parameters
    ----------
    overrides : of the file's values, see `train.config.read_values`

    Returns
    -------
    The run folder (default `runs/published/<name of the file>`): `last.pt`, `log.csv`, and at the end what
    `published_export.export` writes.
    """
    config = load_published(config_path, overrides)
    folder = Path(out) if out else Path("runs") / "published" / Path(config_path).stem
    with joined(config.run.device) as group:
        if group.leads:
            claim_folder(folder, config.to_dict())
        group.shared(None)  # nobody goes on before the folder is there
        trainer = Trainer(config, folder, group)
        resumed = trainer.resume()
        if group.leads:
            count = sum(p.numel() for p in trainer.model.parameters())
            print(
                f"{'resumed' if resumed else 'started'} at step {trainer.step}, {count} parameters, "
                f"{group.size} processes, {len(trainer.places)} places",
                flush=True,
            )
        _train(trainer)
        if group.leads:
            print(f"weights {export(folder / CHECKPOINT, folder)}", flush=True)
    return folder
