"""Fit what FlexTEC adds to a series model: a network for finer layers, and tables.

The networks of the coarsest layer are the series model's own: they were fitted to more, and do as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.entropy.context import FEATURES, Request
from eocodec.entropy.context_coder import ContextFrame
from eocodec.entropy.context_prior import MAX_SHIFTED, ContextPrior
from eocodec.entropy.family import SCALES
from eocodec.entropy.layer_channels import NEW_CONTEXTS, LayeredPrior, LayerObserver
from eocodec.entropy.layered_coder import LayeredCoder, layered_coder
from eocodec.entropy.layers import (
    LAST_OUTCOME,
    PARENT_FEATURES,
    PARENTS,
    ROWS,
    Drift,
    child_tables,
    coarse_family,
    kind_of,
    outcome_costs,
    outcomes_below,
)
from eocodec.entropy.nested_coder import FINEST
from eocodec.entropy.temporal_coder import TemporalCoder, TemporalPrior
from eocodec.errors import ConfigError
from eocodec.models import registry, weights
from eocodec.models.flextec import FlexTec
from eocodec.train.config import TrainConfig
from eocodec.train.context_fit import (
    COUNTED,
    SHIFT_PRIOR,
    Collector,
    TableCosts,
    Tile,
    Units,
    fit_shift,
    fit_side_tables,
    flat_spectrum,
    joined,
    plain_net,
    train_net,
)
from eocodec.train.fitting import counted_tables
from eocodec.train.refined_fit import Example, fit_refined
from eocodec.train.temporal_fit import RandomSeries, card_details

MODEL_ID = "flextec"
USUAL_SHIFT = 0.4  # of what a cell that starts at its magnitude stands for
SIDE_SERIES = 24  # that spectra and partitions are counted on, at every level
STATISTICS = 30  # series that shifts and outcomes are counted on
_FINE_SHARE = 0.12  # of units of finer layers that are kept: there are many
_USUAL, _SHARE_OF_USUAL = (0.4, 0.95), 0.85  # of the range of qualities, and of series drawn from it
_BEYOND = 1e-3  # probability of the last outcome, and how many outcomes say so beforehand
_BEYOND_WEIGHT = 50.0

DEPARTURES = (
    "transforms and prediction: those of our TEC-TT; finer layers refer to what the tokens before say of "
    "earlier dates",
    "tokens: layers of half the quantisation step each, cut by bands of frequencies, instead of slices of "
    "the channels in the order that masking gave them",
    "what is missing is what the layers before say, instead of the prior's prediction",
)

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]
Log = Callable[[str], None]


def start_layered(series: TemporalPrior, hidden: int) -> LayeredPrior:
    """A prior that repeats what is stated in finer layers, for a series model's latents."""
    shift = np.full((ROWS, MAX_SHIFTED), USUAL_SHIFT, np.float32)

    def coarse(prior: ContextPrior) -> ContextPrior:
        flat = flat_spectrum(prior.levels, prior.spectrum.default_scale.shape[2])
        log2_step = prior.log2_step + FINEST
        return replace(prior, family=coarse_family(), spectrum=flat, log2_step=log2_step, shift=shift)

    return LayeredPrior(
        TemporalPrior(coarse(series.first), coarse(series.later), series.sources),
        plain_net(hidden, FEATURES + PARENT_FEATURES),
        child_tables(np.full((PARENTS, SCALES), _BEYOND)),
        np.pad(shift, ((0, 0), (1, 0))),
        counted_tables(np.zeros((NEW_CONTEXTS, SCALES + 1)), -1),
    )


class FinerUnits(LayerObserver):
    """Collects units of finer layers."""

    def __init__(self, weight: float, rng: np.random.Generator) -> None:
        self.keep = Collector(_FINE_SHARE, weight, rng)

    def units(self, request: Request, parents: Symbols, v: Float, drift: Index | None) -> None:
        """Count outcomes by kind of parent, rate left aside."""
        outcome, _ = outcomes_below(v, parents)
        self.keep(request, v, (kind_of(parents) * (LAST_OUTCOME + 1) + outcome).astype(np.int32))


@dataclass(eq=False)
class Statistics(LayerObserver):
    """Sums over what encoders did in finer layers.

    beyond : [PARENTS, SCALES, 2], outcomes but the last, last ones
    excess, count : [ROWS, MAX_SHIFTED], of latents above magnitudes 1, 2, ...
    new : [NEW_CONTEXTS, SCALES + 1], scales from -1
    """

    beyond: NDArray[np.float64] = field(default_factory=lambda: np.zeros((PARENTS, SCALES, 2)))
    excess: NDArray[np.float64] = field(default_factory=lambda: np.zeros((ROWS, MAX_SHIFTED)))
    count: NDArray[np.float64] = field(default_factory=lambda: np.zeros((ROWS, MAX_SHIFTED)))
    new: NDArray[np.float64] = field(default_factory=lambda: np.zeros((NEW_CONTEXTS, SCALES + 1)))

    def outcomes(
        self, rows: Index, parents: Symbols, v: Float, outcomes: Symbols, drift: Drift | None
    ) -> None:
        """Count."""
        last = (np.abs(outcomes) == LAST_OUTCOME).astype(np.int64)
        np.add.at(self.beyond, (kind_of(parents), rows % SCALES, last), 1)
        magnitude = np.abs(outcomes.astype(np.int64)) + 2 * np.abs(parents.astype(np.int64))
        at = np.flatnonzero(magnitude)
        row = rows[at] * MAX_SHIFTED + np.minimum(magnitude[at], MAX_SHIFTED) - 1
        excess = np.abs(v[at]) - magnitude[at]
        self.excess.ravel()[:] += np.bincount(row, excess, self.excess.size)
        self.count.ravel()[:] += np.bincount(row, minlength=self.count.size)

    def new_scales(self, contexts: Index, scale: Index) -> None:
        """Count."""
        np.add.at(self.new, (contexts, scale + 1), 1)

    def into(self, prior: LayeredPrior) -> LayeredPrior:
        """A prior with tables and shifts that follow from the sums."""
        all_ = self.beyond.sum(2)
        beyond = (self.beyond[..., 1] + _BEYOND * _BEYOND_WEIGHT) / (all_ + _BEYOND_WEIGHT)
        shift = (self.excess + USUAL_SHIFT * SHIFT_PRIOR) / (self.count + SHIFT_PRIOR)
        return replace(
            prior,
            children=child_tables(beyond),
            shift=np.pad(shift.astype(np.float32), ((0, 0), (1, 0))),
            new_tables=counted_tables(self.new, -1),
        )


@dataclass(frozen=True, eq=False)
class _Fit:
    """What all steps of a fit need: series of latents at random qualities."""

    model: weights.LoadedModel
    draw: Callable[[], Float]
    config: TrainConfig
    log: Log

    def coder(self, prior: LayeredPrior) -> LayeredCoder:
        coder = self.model.coder
        series = coder.base if isinstance(coder, LayeredCoder) else coder
        if not isinstance(series, TemporalCoder):
            raise ConfigError(f"series.image_model: {self.model.card.id} is no compact model of series")
        return layered_coder(prior, series.first.basis, series.first.ring)

    def count_side(self, prior: LayeredPrior) -> LayeredPrior:
        """Spectra and partitions of first dates."""
        levels = prior.base.first.levels
        qualities = [round(MAX_QUALITY * k / (levels - 1)) for k in range(levels)]
        first = self.coder(prior).base.first
        crops = [self.draw()[0] for _ in range(SIDE_SERIES)]
        frames = [(first.plan(y, q, self.model.lmbda(q)), q) for y in crops for q in qualities]
        counted = fit_side_tables(frames, prior.base.first)
        later = replace(prior.base.later, spectrum=counted.spectrum, split_tables=counted.split_tables)
        return replace(prior, base=replace(prior.base, first=counted, later=later))

    def quality(self, number: int, levels: int, rng: np.random.Generator) -> int:
        """Of series `number`: some at every level, most at usual ones."""
        if number < levels:
            return round(MAX_QUALITY * number / (levels - 1))
        low, high = _USUAL if rng.random() < _SHARE_OF_USUAL else (0.0, 1.0)
        return round(float(rng.uniform(low, high)) * MAX_QUALITY)

    def examples(self, count: int, prior: LayeredPrior, rng: np.random.Generator) -> Iterator[Example]:
        """Random series at random qualities."""
        for series in range(count):
            quality_steps = self.quality(series, prior.base.first.levels, rng)
            yield Example(self.draw(), quality_steps, self.model.lmbda(quality_steps))

    def collect(self, prior: LayeredPrior) -> tuple[Units, list[tuple[ContextFrame, int]]]:
        """Units of finer layers; predicted frames with their quality."""
        coder, rng, start = self.coder(prior), np.random.default_rng(0), time.perf_counter()
        parts: list[Units] = []
        frames: list[tuple[ContextFrame, int]] = []
        for series, example in enumerate(self.examples(self.config.series.crops, prior, rng)):
            finer = FinerUnits(example.weight, rng)
            coded = example.encode(coder, finer)
            frames += [(f.base.frame, example.quality_steps) for f in coded if len(f.base.prediction.back)]
            if finer.keep.kept:
                parts.append(finer.keep.units())
            if (series + 1) % 20 == 0:
                self.log(f"{series + 1} series, {time.perf_counter() - start:.0f} s")
        return joined(parts), frames

    def count(self, prior: LayeredPrior) -> LayeredPrior:
        """Shifts, outcomes beyond cells, scales of new bands."""
        rng = np.random.default_rng(1)
        coder, statistics, tiles = self.coder(prior), Statistics(), []
        for example in self.examples(STATISTICS, prior, rng):
            example.encode(coder, statistics)
            tiles.append(Tile(example.ys[0], example.quality_steps, example.lmbda))
        shift = fit_shift(coder.base.first, tiles, USUAL_SHIFT)
        first, later = (replace(own, shift=shift) for own in (prior.base.first, prior.base.later))
        base = replace(prior.base, first=first, later=later)
        return statistics.into(replace(prior, base=base))


def _outcome_costs(prior: LayeredPrior) -> TableCosts:
    """Bits of outcomes, numbered kind by kind of parent, under the rows of the family."""
    costs = outcome_costs(prior.children)[:, LAST_OUTCOME:]
    costs = costs.reshape(PARENTS, ROWS, -1).transpose(1, 0, 2).reshape(ROWS, -1)
    return TableCosts(np.pad(costs, ((0, 0), (0, COUNTED - costs.shape[1]))))


def fit_layered(
    model: weights.LoadedModel, config: TrainConfig, log: Log = print
) -> tuple[LayeredPrior, dict[str, Any]]:
    """FlexTEC's prior for a compact series model, and notes for the card.

    A model that has layers already keeps them as they are and is only fitted to references that are known
    better by now.

    Raises
    ------
    ConfigError : it is another kind of model
    """
    if not isinstance(model.prior, TemporalPrior | LayeredPrior):
        raise ConfigError(f"series.image_model: {model.card.id} is no compact model of series")
    fit = _Fit(model, RandomSeries(model, config).draw, config, log)
    if isinstance(model.prior, LayeredPrior):
        prior, notes = replace(model.prior, refined=None), dict(model.card.details.get("fit", {}))
    else:
        prior, notes = _fit_layers(fit, model.prior)
    layers, minutes, crops = prior, config.run.minutes, config.series.crops

    def examples(count: int) -> Iterator[Example]:
        return fit.examples(count, layers, np.random.default_rng(2))

    prior, units = fit_refined(fit.coder, prior, examples, series=crops, minutes=minutes, log=log)
    return prior, {**notes, "units_with_drifts": units}


def _fit_layers(fit: _Fit, base: TemporalPrior) -> tuple[LayeredPrior, dict[str, Any]]:
    """A prior of layers that take no notice of other timesteps, and notes."""
    config, log = fit.config, fit.log
    prior = fit.count_side(start_layered(base, config.series.hidden))
    units, frames = fit.collect(prior)
    later = fit_side_tables(frames, prior.base.later)
    log(f"{len(units.weight)} units, {len(frames)} predicted")
    costs = _outcome_costs(prior)
    net = train_net(units, costs, hidden=config.series.hidden, minutes=config.run.minutes, log=log)
    prior = fit.count(replace(prior, base=replace(prior.base, later=later), net=net))
    return prior, {"units": len(units.weight), "predicted": len(frames)}


def run(config: TrainConfig, folder: Path, log: Log = print) -> Path:
    """Fit the prior and write `<folder>/flextec.safetensors` and its card; returns the former.

    Raises
    ------
    ConfigError : the series model is another kind of model; ModelNotFound : there is none
    """
    torch.set_num_threads(config.run.threads)
    model = weights.load(registry.by_id(config.series.image_model))
    prior, notes = fit_layered(model, config, log)
    folder.mkdir(parents=True, exist_ok=True)
    network = FlexTec(model.network.config)  # type: ignore[arg-type]
    network.load_state_dict(model.network.state_dict())
    path = folder / f"{MODEL_ID}.safetensors"
    details = card_details(model, {"series": config.to_dict()})
    names = {"id": MODEL_ID, "family": MODEL_ID}
    weights.save(path, network, prior, {**names, **details, "departures": list(DEPARTURES), "fit": notes})
    return path
