"""The configuration of a training run of a published model: one lambda, SSL4EO-S12, one or many processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eocodec.errors import ConfigError
from eocodec.models.registry import PUBLISHED_PREFIX
from eocodec.sensors import LEVELS
from eocodec.train.config import OptimConfig, build_config, read_values


@dataclass(frozen=True)
class PublishedRun:
    """Where and for how long; what is counted in steps is the same on every process."""

    seed: int = 0
    steps: int = 0
    device: str = "cuda"  # or "cpu"; each process takes the GPU of its local rank
    bf16: bool = True  # autocast; weights, likelihoods and optimisers stay float32
    accumulate: int = 1  # batches a step: their gradients are averaged
    log_every: int = 50
    checkpoint_every: int = 1000
    eval_every: int = 5000
    init_from: str = ""  # a checkpoint in the published layout whose weights to start from


@dataclass(frozen=True)
class PublishedData:
    """SSL4EO-S12 v1.1: what of it, and how much at once."""

    root: str = ""  # holds train/S2L2A and val/S2L2A, or S2L1C
    level: str = "L2A"  # or "L1C"
    offset: int = 0  # DN to take off: 1000 for the release in files of 64 places
    crop: int = 256
    frames: int = 1  # dates of a place: 1 for images, up to 4 for series
    batch: int = 8  # of a process
    workers: int = 4  # processes that read, for each process; 0: it reads itself
    val_samples: int = 256  # that are evaluated; 0: none


@dataclass(frozen=True)
class PublishedLoss:
    """L = R + lmbda * D; R in bits per pixel, all bands together, D = MSE of standardised bands."""

    lmbda: float = 0.0
    masking: bool = True  # of FlexTEC: each step sends some of the tokens, drawn at random; false: all


@dataclass(frozen=True)
class PublishedOptim(OptimConfig):
    """As for the shipped models, with other defaults, and the rate of the quantiles."""

    muon_lr: float = 0.0
    adam_lr: float = 1e-4
    aux_lr: float = 1e-3  # Adam's, constant, of the quantiles of factorized priors
    warmup_steps: int = 1000
    flat_share: float = 0.6
    ema: float = 0.999


@dataclass(frozen=True)
class PublishedConfig:
    """One run."""

    model_id: str
    model: dict[str, Any] = field(default_factory=dict)
    run: PublishedRun = PublishedRun()
    data: PublishedData = PublishedData()
    loss: PublishedLoss = PublishedLoss()
    optim: PublishedOptim = PublishedOptim()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        return asdict(self)


def parse_published(values: dict[str, Any]) -> PublishedConfig:
    """Checked configuration from nested plain values."""
    if not str(values.get("model_id", "")).startswith(PUBLISHED_PREFIX):
        raise ConfigError(f"model_id must begin with {PUBLISHED_PREFIX}, not {values.get('model_id')!r}")
    config = build_config(PublishedConfig, values)
    for name, value in (
        ("run.steps", config.run.steps),
        ("run.accumulate", config.run.accumulate),
        ("run.log_every", config.run.log_every),
        ("run.checkpoint_every", config.run.checkpoint_every),
        ("run.eval_every", config.run.eval_every),
        ("data.batch", config.data.batch),
        ("data.frames", config.data.frames),
        ("loss.lmbda", config.loss.lmbda),
    ):
        if value <= 0:
            raise ConfigError(f"{name} must be stated, and above 0")
    if config.data.crop % 64 or config.data.crop < 64:  # hyper-latents are at 1/64
        raise ConfigError(f"data.crop must be a multiple of 64, not {config.data.crop}")
    if config.data.level not in LEVELS:
        raise ConfigError(f"data.level must be one of {', '.join(LEVELS)}, not {config.data.level!r}")
    return config


def load_published(path: str | Path, overrides: Sequence[str] = ()) -> PublishedConfig:
    """Configuration from a TOML file; `overrides` as in `train.config.read_values`."""
    return parse_published(read_values(path, overrides))
