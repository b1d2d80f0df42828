"""Fit how finer layers of FlexTEC take notice of timesteps that are known better by now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables
from eocodec.entropy.context import ContextNet, Request
from eocodec.entropy.layer_channels import LayeredPrior, RefinedPrior
from eocodec.entropy.layered_coder import LayeredCoder
from eocodec.entropy.layers import (
    DRIFT_BINS,
    DRIFTING,
    HELD_DRIFTING,
    LAST_OUTCOME,
    OUTCOMES,
    PARENTS,
    ROWS,
    ZERO_DRIFTING,
    Drift,
    drifting_means,
    drifting_tables,
    held_kind,
    outcome_costs,
    outcomes_below,
)
from eocodec.entropy.parts import PartWriter
from eocodec.entropy.refined import REFINED_FEATURES
from eocodec.train.context_fit import Collector, TableCosts, Units, joined, train_net

SERIES = 60  # that tables of drifts are counted on
_OF_ZERO = (ZERO_DRIFTING + 1) * OUTCOMES
COUNTED_DRIFTING = _OF_ZERO + HELD_DRIFTING * (LAST_OUTCOME + 1)
_SHARE = 0.2  # of units that are kept: there are many
_MEAN_WEIGHT = 40.0  # how many latents say as much as where they are likely to be

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]
Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Example:
    """A series of latents [T, M, rows, cols] at a quality, and lambda there."""

    ys: Float
    quality_steps: int
    lmbda: float


class RefinedUnits:
    """Collects units of timesteps with drifts; see `LayerObserver`."""

    def __init__(self, weight: float, rng: np.random.Generator) -> None:
        self.keep = Collector(_SHARE, weight, rng, COUNTED_DRIFTING)

    def units(self, request: Request, parents: Symbols, v: Float, drift: Index | None) -> None:
        """Count outcomes by bin of the drift and kind of the parent, rate left aside."""
        if drift is None:
            return
        outcome, _ = outcomes_below(v, parents)
        number = np.searchsorted(DRIFT_BINS, np.abs(drift), side="right")
        along = outcome * np.sign(v).astype(np.int64) * np.where(drift < 0, -1, 1)
        of_zero = number * OUTCOMES + along + LAST_OUTCOME
        of_held = _OF_ZERO + held_kind(drift, parents) * (LAST_OUTCOME + 1) + outcome
        self.keep(request, v, np.where(parents == 0, of_zero, of_held).astype(np.int32))

    def outcomes(
        self, rows: Index, parents: Symbols, v: Float, outcomes: Symbols, drift: Drift | None
    ) -> None:
        """Nothing."""

    def new_scales(self, contexts: Index, scale: Index) -> None:
        """Nothing."""


@dataclass(eq=False)
class DriftStatistics:
    """Sums over what encoders did with drifts; see `LayerObserver`.

    count, total : [DRIFTING, ROWS, OUTCOMES], of outcomes, and of latents as `drifting_means` has them
    """

    count: NDArray[np.float64] = field(default_factory=lambda: np.zeros((DRIFTING, ROWS, OUTCOMES)))
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros((DRIFTING, ROWS, OUTCOMES)))

    def units(self, request: Request, parents: Symbols, v: Float, drift: Index | None) -> None:
        """Nothing."""

    def outcomes(
        self, rows: Index, parents: Symbols, v: Float, outcomes: Symbols, drift: Drift | None
    ) -> None:
        """Count."""
        if drift is None:
            return
        at = np.flatnonzero(drift.kind >= PARENTS)
        sign = drift.sign[at]
        bin_ = ((drift.kind[at] - PARENTS) * ROWS + rows[at]) * OUTCOMES + outcomes[at] * sign + LAST_OUTCOME
        self.count.ravel()[:] += np.bincount(bin_, minlength=self.count.size)
        zero, size = parents[at] == 0, np.abs(v[at]) - 2 * np.abs(parents[at].astype(np.int64))
        self.total.ravel()[:] += np.bincount(bin_, np.where(zero, v[at] * sign, size), self.total.size)

    def new_scales(self, contexts: Index, scale: Index) -> None:
        """Nothing."""

    def tables(self, plain: CdfTables) -> CdfTables:
        """Plain tables of outcomes, then those of drifting parents."""
        return drifting_tables(plain, self.count)

    def settled(self) -> Float:
        """What outcomes along drifts stand for, [DRIFTING * ROWS, OUTCOMES]."""
        weighed = self.total + _MEAN_WEIGHT * drifting_means()
        return (weighed / (self.count + _MEAN_WEIGHT)).astype(np.float32).reshape(-1, OUTCOMES)


def drift_costs(children: CdfTables) -> TableCosts:
    """Bits of what `RefinedUnits` counts under the rows of the family."""
    costs = outcome_costs(children).reshape(PARENTS + DRIFTING, ROWS, OUTCOMES)
    first = PARENTS + ZERO_DRIFTING
    zero, held = costs[[0, *range(PARENTS, first)]], costs[first:, :, LAST_OUTCOME:]
    return TableCosts(
        np.concatenate([kind.transpose(1, 0, 2).reshape(ROWS, -1) for kind in (zero, held)], 1),
        COUNTED_DRIFTING,
    )


def start_refined(prior: LayeredPrior) -> LayeredPrior:
    """A prior that sees drifts alone, nothing else of references."""
    first, second, last = prior.net.weights
    inwards = np.pad(first, ((0, 0), (0, REFINED_FEATURES)))
    net = ContextNet((inwards, second, last), prior.net.biases)
    nothing = DriftStatistics()
    plain = replace(prior, refined=None)
    return replace(
        plain, children=nothing.tables(prior.children), refined=RefinedPrior(net, nothing.settled())
    )


def collect(coder: LayeredCoder, examples: Iterable[Example], log: Log) -> Units:
    """Units of timesteps with drifts."""
    rng, parts, start = np.random.default_rng(0), list[Units](), time.perf_counter()
    for number, example in enumerate(examples):
        ys, quality_steps, lmbda = example.ys, example.quality_steps, example.lmbda
        finer = RefinedUnits(lmbda**-0.5 / ys[0, 0].size, rng)
        list(coder.encode_series(ys, PartWriter(), quality_steps, lmbda, finer))
        if finer.keep.kept:
            parts.append(finer.keep.units())
        if (number + 1) % 20 == 0:
            log(f"{number + 1} series, {time.perf_counter() - start:.0f} s")
    return joined(parts)


def fit_refined(
    coder_of: Callable[[LayeredPrior], LayeredCoder],
    prior: LayeredPrior,
    examples: Callable[[int], Iterable[Example]],
    *,
    series: int,
    minutes: float,
    log: Log,
) -> tuple[LayeredPrior, int]:
    """A layered prior with what is stored for drifts, and how many units it was fitted to.

    Parameters
    ----------
    coder_of : makes a coder of a prior; examples : so many of them
    series : to collect units of; minutes : of fitting the network
    """
    plain = prior.children
    prior = start_refined(prior)
    start = prior.refined.net if prior.refined is not None else None
    units = collect(coder_of(prior), examples(series), log)
    log(f"{len(units.weight)} units with drifts")
    hidden, costs = len(prior.net.biases[0]), drift_costs(prior.children)
    net = train_net(units, costs, hidden=hidden, minutes=minutes, start=start, log=log)
    prior = replace(prior, refined=RefinedPrior(net, DriftStatistics().settled()))
    statistics, coder = DriftStatistics(), coder_of(prior)
    for example in examples(SERIES):
        list(coder.encode_series(example.ys, PartWriter(), example.quality_steps, example.lmbda, statistics))
    refined = RefinedPrior(net, statistics.settled())
    return replace(prior, children=statistics.tables(plain), refined=refined), len(units.weight)
