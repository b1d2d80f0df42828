"""Fit how finer layers of FlexTEC take notice of timesteps that are known better by now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables
from eocodec.entropy.context import ContextNet, Request
from eocodec.entropy.layer_channels import LayeredPrior, LayerObserver, RefinedPrior
from eocodec.entropy.layered_coder import LayeredCoder
from eocodec.entropy.layered_frame import LayeredFrame
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

    @property
    def weight(self) -> float:
        """Of a unit's bits in the loss: lambda^-1/2 a pixel."""
        return float(self.lmbda**-0.5 / self.ys[0, 0].size)

    def encode(self, coder: LayeredCoder, observe: LayerObserver) -> list[LayeredFrame]:
        """Its timesteps as a coder codes them."""
        return list(coder.encode_series(self.ys, PartWriter(), self.quality_steps, self.lmbda, observe))


class RefinedUnits(LayerObserver):
    """Collects units of timesteps with drifts."""

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


@dataclass(eq=False)
class DriftStatistics(LayerObserver):
    """Sums over what encoders did with drifts.

    count, total : [DRIFTING, ROWS, OUTCOMES], of outcomes, and of latents as `drifting_means` has them
    """

    count: NDArray[np.float64] = field(default_factory=lambda: np.zeros((DRIFTING, ROWS, OUTCOMES)))
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros((DRIFTING, ROWS, OUTCOMES)))

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


def start_net(net: ContextNet) -> ContextNet:
    """The network of layers, which sees nothing of references yet."""
    first, second, last = net.weights
    return ContextNet((np.pad(first, ((0, 0), (0, REFINED_FEATURES))), second, last), net.biases)


def with_drifts(plain: LayeredPrior, net: ContextNet, statistics: DriftStatistics) -> LayeredPrior:
    """A layered prior that takes notice of drifts, as these were met; none were: as they are likely."""
    refined = RefinedPrior(net, statistics.settled())
    return replace(plain, children=statistics.tables(plain.children), refined=refined)


def collect(coder: LayeredCoder, examples: Iterable[Example], log: Log) -> Units:
    """Units of timesteps with drifts."""
    rng, parts, start = np.random.default_rng(0), list[Units](), time.perf_counter()
    for number, example in enumerate(examples):
        finer = RefinedUnits(example.weight, rng)
        example.encode(coder, finer)
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
    coder_of : makes a coder of a prior; prior : without `refined`; examples : so many of them
    series : to collect units of; minutes : of fitting the network
    """
    start = start_net(prior.net)
    likely = with_drifts(prior, start, DriftStatistics())
    units = collect(coder_of(likely), examples(series), log)
    log(f"{len(units.weight)} units with drifts")
    hidden, costs = len(start.biases[0]), drift_costs(likely.children)
    net = train_net(units, costs, hidden=hidden, minutes=minutes, start=start, log=log)
    statistics, coder = DriftStatistics(), coder_of(with_drifts(prior, net, DriftStatistics()))
    for example in examples(SERIES):
        example.encode(coder, statistics)
    return with_drifts(prior, net, statistics), len(units.weight)
