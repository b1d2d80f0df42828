"""The configuration of a training run: frozen dataclasses read from TOML, unknown keys refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from eocodec.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class RunConfig:
    """Where and for how long."""

    seed: int = 0
    minutes: float = 0.0  # time-based schedule: training time, pauses not counted; 0 = use `steps`
    steps: int = 0  # step-based schedule
    device: str = "cpu"
    threads: int = 1
    bf16: bool = True  # autocast; weights and optimiser stay float32
    log_every: int = 50  # steps
    checkpoint_minutes: float = 3.0
    eval_minutes: float = 15.0
    init_from: str = ""  # checkpoint whose averaged weights to start from, instead of the block transform


@dataclass(frozen=True)
class DataConfig:
    """What is seen. Shares are probabilities per crop."""

    root: str = ""  # '' = EOCODEC_DATA, else ../shared/data
    cache: str = "runs/cache"
    crop: int = 128  # pixels, a multiple of 16
    batch: int = 16
    l2a_weight: float = 4.0  # how much likelier a pixel of L2A is drawn than one of L1C
    even_phase: float = 0.75  # crops aligned to the 20 m grid
    drift: float = 0.6  # per-band gain and offset
    l1c_to_l2a: float = 0.7  # haze taken off, B09 replaced, of L1C crops
    cloud: float = 0.1  # bright textured cloud pasted over
    bright: float = 0.1  # contrast and brightness raised as over snow or cloud

    def without_augmentation(self) -> DataConfig:
        """The same with every augmentation off, flips and rotations excepted."""
        return replace(self, drift=0.0, l1c_to_l2a=0.0, cloud=0.0, bright=0.0)


@dataclass(frozen=True)
class LossConfig:
    """L = R + lmbda * D; R in bits per pixel per band, D = mean over standardised bands of weight * MSE."""

    lmbda_min: float = 1.0
    lmbda_max: float = 1600.0
    dead_zone: float = 0.1  # symbols are rounded towards zero this much sooner than at 1/2
    balance: float = 0.5  # a sample's loss is multiplied by lmbda^-balance
    band_weights: str = "dn"  # 'dn': std^2 / mean(std^2), i.e. MSE in DN; 'flat': all 1; or '1,2,...'


@dataclass(frozen=True)
class OptimConfig:
    """Muon for the convolutions, AdamW for the rest; all rates follow one schedule that anneals to zero."""

    muon_lr: float = 0.003  # 0: AdamW for the convolutions too
    adam_lr: float = 1e-3
    entropy_factor: float = 1.0  # AdamW rate of the prior and the steps, of adam_lr
    warmup_steps: int = 100
    flat_share: float = 0.3  # of the run at the full rate before the cosine to zero
    clip_norm: float = 1.0
    ema: float = 0.998
    freeze: str = ""  # prefixes of parameters that stay as they are, comma separated: 'g_a,steps'


@dataclass(frozen=True)
class ContextConfig:
    """How TEC-ELIC's prior is fitted once the transforms are trained."""

    hidden: int = 40  # width of the context network
    minutes: float = 8.0  # of fitting it, over all rounds
    rounds: int = 2  # symbols of the next round are quantised under the network of the round before
    crops: int = 250  # of 256 pixels, a round
    levels: int = 8
    lmbda_min: float = 0.5  # of quality 0
    lmbda_max: float = 3200.0  # of quality 100
    step_factor: float = 1.15  # quantisation step, of high-rate theory's


@dataclass(frozen=True)
class CodedConfig:
    """TEC-ELIC's synthesis trained on, on what its own coder leaves (`train/synthesis_loop.py`)."""

    crops: int = 0  # to be coded beforehand; 0: training as usual
    side: int = 256  # pixels; each step sees parts of `data.crop`
    model: str = "tec-elic"  # id or weights file: where it starts, and whose coder it is
    held_out: str = ""  # places to evaluate on, comma separated
    held_crops: int = 64


@dataclass(frozen=True)
class SeriesConfig:
    """Fitting TEC-TT or FlexTEC to series, for `run.minutes` (`temporal_fit.py`, `layered_fit.py`)."""

    image_model: str = "tec-elic"  # id or weights file; for FlexTEC a TEC-TT
    crops: int = 300  # series a round
    rounds: int = 2  # the next round predicts with the gains of the round before
    hidden: int = 48  # its width
    held_back: float = 0.2  # share of a long series' dates, the latest, not trained on
    long_share: float = 0.3  # of crops, that come from long series
    most_dates: int = 4  # of a crop
    most_gap: int = 6  # dates of a long series from one of a crop to the next, at most


@dataclass(frozen=True)
class TrainConfig:
    """One run."""

    model_id: str
    model: dict[str, Any] = field(default_factory=dict)
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    context: ContextConfig = ContextConfig()
    series: SeriesConfig = SeriesConfig()
    coded: CodedConfig = CodedConfig()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        return asdict(self)


def build_config(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """The dataclass `cls` of nested plain values; unknown keys and other types are refused.

    Parameters
    ----------
    where : the section, with a dot at its end, for messages
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {where}{key}; known: {', '.join(sorted(known))}")
    built: dict[str, Any] = {}
    for key, value in values.items():
        default = known[key].default
        if is_dataclass(default) and not isinstance(default, type):
            built[key] = build_config(type(default), value, f"{where}{key}.")
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            built[key] = float(value)
        elif isinstance(default, (bool, int, float, str)) and type(value) is not type(default):
            raise ConfigError(f"{where}{key} must be {type(default).__name__}, not {value!r}")
        else:
            built[key] = value
    return cls(**built)


def parse_config(values: dict[str, Any]) -> TrainConfig:
    """Checked configuration from nested plain values."""
    if "model_id" not in values:
        raise ConfigError("model_id is missing")
    config = build_config(TrainConfig, values)
    if (config.run.minutes > 0) == (config.run.steps > 0):
        raise ConfigError("state exactly one of run.minutes and run.steps")
    if config.data.crop % 16 or config.data.crop < 64:
        raise ConfigError(f"data.crop must be a multiple of 16, at least 64, not {config.data.crop}")
    return config


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Plain values of a TOML file.

    Parameters
    ----------
    overrides : 'section.key=value' each, values as in TOML; what TOML cannot read is text
    """
    try:
        with Path(path).open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    for text in overrides:
        _override(values, text)
    return values


def _override(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    *sections, key = name.strip().split(".")
    if not equals or not key:
        raise ConfigError(f"{text!r} is not of the form section.key=value")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{text!r}: {section} is no section")
    try:
        values[key] = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        values[key] = value.strip()


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Configuration from a TOML file; `overrides` as in `read_values`."""
    return parse_config(read_values(path, overrides))
