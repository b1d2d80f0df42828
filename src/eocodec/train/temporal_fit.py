"""Fit what TEC-TT adds to an image model: how timesteps that are predicted from earlier ones are coded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.entropy.context import PAST_FEATURES, ContextNet
from eocodec.entropy.context_coder import ContextCoder, ContextFrame
from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.parts import PartWriter
from eocodec.entropy.sources import Sources
from eocodec.entropy.temporal_coder import TemporalCoder, TemporalPrior
from eocodec.errors import ConfigError
from eocodec.models import registry, weights
from eocodec.models.stored_prior import pack_prior
from eocodec.models.tt import TecTt
from eocodec.train.config import SeriesConfig, TrainConfig
from eocodec.train.context_fit import (
    SHARE_KEPT,
    Collector,
    TableCosts,
    Units,
    fit_side_tables,
    joined,
    train_net,
)
from eocodec.train.scenes import data_root, load_cached
from eocodec.train.series import SeriesSampler

MODEL_ID = "tec-tt"
SOURCES = Sources.SLOPES  # of the predictions of models that are fitted now
SIDES = (128, 192, 256)  # pixels of a crop, where the place is as large

DEPARTURES = (
    "transforms: those of our TEC-ELIC, frame by frame, instead of strided convolutions and attention; no "
    "dequantiser that sees the prior",
    "prediction: a linear map across the spectrum, fitted to the tile and stated, and a gain for each place, "
    "instead of a transformer's means",
    "scales: a small network over sums of magnitudes in the timestep and its references, instead of a "
    "transformer over tokens",
    "references: one or two of the last eight timesteps, chosen for each timestep, or none, instead of the "
    "two before; the first timestep as TEC-ELIC codes it",
    "one model for all rates by quantisation steps, instead of one model a lambda",
)

Float = NDArray[np.float32]
Log = Callable[[str], None]


def start_later(first: ContextPrior) -> ContextPrior:
    """A prior for predicted timesteps that takes no notice of the past yet."""
    net = first.net
    hidden = len(net.biases[0])
    inwards = np.concatenate([net.weights[0], np.zeros((hidden, PAST_FEATURES))], 1)
    outwards = np.concatenate([net.weights[2], np.zeros((1, hidden))])
    biases = (net.biases[0], net.biases[1], np.append(net.biases[2], 0.0))
    return replace(first, net=ContextNet((inwards, net.weights[1], outwards), biases))


class RandomSeries:
    """Latents of random series under an image model."""

    def __init__(self, model: weights.LoadedModel, config: TrainConfig) -> None:
        scenes = load_cached(data_root(config.data.root or None), Path(config.data.cache))
        self._sampler = SeriesSampler(scenes, config.data, config.run.seed, config.series)
        self._network, self._most = model.network, config.series.most_dates

    def draw(self) -> Float:
        """[T, M, rows, cols]."""
        rng = self._sampler.rng
        dates, side = int(rng.integers(2, self._most + 1)), int(rng.choice(SIDES))
        x = np.ascontiguousarray(self._sampler.series(dates, side))
        with torch.inference_mode():
            y = self._network.analysis(torch.from_numpy(x)).float().numpy()
        rows, cols = (n // 16 for n in x.shape[2:])
        return np.asarray(y.reshape(len(x), -1, rows, cols))


def fit_later(
    model: weights.LoadedModel, config: TrainConfig, log: Log = print
) -> tuple[ContextPrior, dict[str, Any]]:
    """The prior for predicted timesteps of an image model with a context prior, and notes for the card."""
    first = model.coder
    if not isinstance(first, ContextCoder):
        raise ConfigError(f"series.image_model: {model.card.id} has no context model")
    draw, series = RandomSeries(model, config).draw, config.series
    later = start_later(first.prior)
    for number in range(series.rounds):
        coder = TemporalCoder(first, replace(first, prior=later), sources=SOURCES)
        units, frames = _collect(coder, model, draw, series, number, log)
        if number == 0:
            later = fit_side_tables(frames, later)
        net = train_net(
            units,
            TableCosts.of_family(later.family),
            hidden=series.hidden,
            minutes=config.run.minutes / series.rounds,
            gain=True,
            log=lambda line: log(f"  {line}"),
        )
        later = replace(later, net=net)
    return later, {"units": len(units.weight), "predicted": len(frames)}


def _collect(
    coder: TemporalCoder,
    model: weights.LoadedModel,
    draw: Callable[[], Float],
    series: SeriesConfig,
    number: int,
    log: Log,
) -> tuple[Units, list[tuple[ContextFrame, int]]]:
    """Units and frames of predicted timesteps of random crops at random qualities."""
    rng, parts, frames = np.random.default_rng(number), [], []
    start = time.perf_counter()
    for crop in range(series.crops):
        y, quality_steps = draw(), int(rng.integers(0, MAX_QUALITY + 1))
        lmbda = model.lmbda(quality_steps)
        keep = Collector(SHARE_KEPT, lmbda**-0.5 / y[0, 0].size, rng)
        coded = list(coder.encode_series(y, PartWriter(), quality_steps, lmbda, keep))
        if keep.kept:
            parts.append(keep.units())
        frames += [(f.frame, quality_steps) for f in coded if len(f.prediction.back)]
        if (crop + 1) % 50 == 0:
            seconds = time.perf_counter() - start
            log(f"round {number}: {crop + 1} series, {len(frames)} timesteps predicted, {seconds:.0f} s")
    return joined(parts), frames


def run(config: TrainConfig, folder: Path, log: Log = print) -> Path:
    """Fit the later prior and write `<folder>/tec-tt.safetensors` and its card; returns the former.

    Raises
    ------
    ConfigError : the image model has no context model; ModelNotFound : there is none
    """
    torch.set_num_threads(config.run.threads)
    model = weights.load(registry.by_id(config.series.image_model))
    later, notes = fit_later(model, config, log)
    prior = TemporalPrior(model.prior, later, SOURCES)  # type: ignore[arg-type]
    return _save(model, prior, folder, {"series": config.to_dict()}, notes)


def with_image_model(series: Path, image_model: str, folder: Path) -> Path:
    """Give TEC-TT another synthesis: that of an image model whose latents and prior are the same.

    Parameters
    ----------
    series : weights file of TEC-TT; image_model : id or weights file
    folder : of the new weights file, which is returned

    Raises
    ------
    ConfigError : the image model's latents or prior are others, so that all has to be fitted anew
    """
    model, old = (weights.load(registry.by_id(name)) for name in (image_model, str(series)))
    if not isinstance(old.prior, TemporalPrior) or not _same_streams(model, old):
        raise ConfigError(f"{image_model} has other latents or another prior than {series}: fit anew")
    details = old.card.details
    return _save(model, old.prior, folder, {"series": details["training"]["series"]}, details["fit"])


def _same_streams(model: weights.LoadedModel, old: weights.LoadedModel) -> bool:
    """Whether both give the same symbols: one analysis, one prior."""
    own = {k: v for k, v in model.network.state_dict().items() if k.startswith("g_a.")}
    theirs = old.network.state_dict()
    same_analysis = all(k in theirs and torch.equal(v, theirs[k]) for k, v in own.items())
    first = old.prior.first if isinstance(old.prior, TemporalPrior) else old.prior
    one, other = pack_prior(model.prior), pack_prior(first)
    same_prior = one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)
    return same_analysis and same_prior


def _save(
    model: weights.LoadedModel,
    prior: TemporalPrior,
    folder: Path,
    training: dict[str, Any],
    notes: dict[str, Any],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    network = TecTt(model.network.config)  # type: ignore[arg-type]
    network.load_state_dict(model.network.state_dict())
    details = card_details(model, training)
    path = folder / f"{MODEL_ID}.safetensors"
    weights.save(
        path,
        network,
        prior,
        {"id": MODEL_ID, "family": MODEL_ID, **details, "departures": list(DEPARTURES), "fit": notes},
    )
    return path


def card_details(model: weights.LoadedModel, training: dict[str, Any]) -> dict[str, Any]:
    """What a card of a series model takes over from its image model's, and how it was trained."""
    card = model.card
    details = {key: card.details[key] for key in ("bands", "lmbda", "distortion", "data", "licence")}
    image_model = {"id": card.id, "sha256": card.details["sha256"], **card.details["training"]}
    details["training"] = {"image_model": image_model, **training}
    return details
