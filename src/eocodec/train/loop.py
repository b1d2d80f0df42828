"""The training loop: a run folder with checkpoints that can be killed and resumed at any moment.

A run folder holds `config.json`, `log.jsonl` (one object a line: steps, evaluations, starts) and `last.pt`
(everything to resume), which each checkpoint replaces atomically. At the end the weights are exported there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eocodec.train import layered_fit, temporal_fit
from eocodec.train.checkpoint import (
    CHECKPOINT,
    claim_folder,
    git_commit,
)
from eocodec.train.config import TrainConfig, load_config
from eocodec.train.export import export
from eocodec.train.synthesis_loop import SynthesisTrainer
from eocodec.train.trainer import Trainer

_FITS = {fit.MODEL_ID: fit.run for fit in (temporal_fit, layered_fit)}  # no transforms to train


class Prefetcher:
    """Draws batches in a thread, so that augmentation overlaps the network."""

    def __init__(self, draw: Callable[[], Any], depth: int = 2) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(draw,), daemon=True)
        self._thread.start()

    def _run(self, draw: Callable[[], Any]) -> None:
        while not self._stop.is_set():
            item = draw()
            while not self._stop.is_set():
                try:
                    self._queue.put(item, timeout=0.5)
                    break
                except queue.Full:
                    continue

    def next(self) -> Any:
        """The next batch; an error if the drawing thread died."""
        while True:
            try:
                return self._queue.get(timeout=5)
            except queue.Empty:
                if not self._thread.is_alive():
                    raise RuntimeError("the thread that draws batches has stopped") from None

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()


def _trainer(config: TrainConfig, folder: Path) -> Trainer:
    if not config.coded.crops:
        return Trainer(config, folder)
    return SynthesisTrainer(config, folder)


def _train(trainer: Trainer) -> None:
    run = trainer.config.run
    drawn = Prefetcher(trainer.draw)
    saved_at = evaluated_at = trainer.elapsed
    window: list[dict[str, float]] = []
    try:
        while trainer.progress() < 1:
            begin = time.perf_counter()
            window.append(trainer.train_step(drawn.next()))
            trainer.step += 1
            trainer.elapsed += time.perf_counter() - begin
            if len(window) == run.log_every:
                means = {k: float(np.mean([w[k] for w in window])) for k in window[0]}
                record = {"step": trainer.step, "minutes": round(trainer.elapsed / 60, 3), **means}
                trainer.log(record)
                text = " ".join(f"{k} {v:.4g}" for k, v in record.items())
                print(f"{text} progress {trainer.progress():.3f}", flush=True)
                window = []
            if trainer.elapsed - saved_at > 60 * run.checkpoint_minutes:
                trainer.save()
                saved_at = trainer.elapsed
            if trainer.elapsed - evaluated_at > 60 * run.eval_minutes:
                trainer.evaluate()
                evaluated_at = trainer.elapsed
    finally:
        drawn.close()


def run(config_path: str | Path, out: str | Path | None = None, overrides: Sequence[str] = ()) -> Path:
    """Train as the TOML file says; continue if the run folder has a checkpoint of the same configuration.

    Parameters
    ----------
    overrides : of the file's values, see `train.config.read_values`

    Returns
    -------
    The run folder (default `runs/<name of the file>`): `last.pt`, `log.jsonl`, and at the end the weights
    file with its card.
    """
    config = load_config(config_path, overrides)
    folder = Path(out) if out else Path("runs") / Path(config_path).stem
    claim_folder(folder, config.to_dict())
    if config.model_id in _FITS:
        print(f"weights {_FITS[config.model_id](config, folder)}", flush=True)
        return folder
    trainer = _trainer(config, folder)
    resumed = trainer.resume()
    parameters = sum(p.numel() for p in trainer.model.parameters())
    start = {
        "start": trainer.step,
        "commit": git_commit(),
        "seed": config.run.seed,
        "torch": torch.__version__,
    }
    trainer.log({**start, "parameters": parameters})
    print(
        f"{'resumed' if resumed else 'started'} at step {trainer.step}, {parameters} parameters", flush=True
    )
    trainer.evaluate()
    _train(trainer)
    trainer.save()
    trainer.evaluate()
    weights = export(folder / CHECKPOINT, folder)
    print(f"weights {weights}", flush=True)
    return folder
