"""Symbols in layers, each with half the quantisation step of the one before, its cells within that one's.

The symbol of v, in steps, is v cut off towards zero: zero stands for (-1, 1), a magnitude m for [m, m + 1).
With half the step, zero becomes -1, 0 or 1, and m becomes 2 m or 2 m + 1: nothing is sent twice.
Since an encoder may take a symbol one lower where that saves bits, one more *child* is possible: zero may
become -2 or 2, m may become 2 m + 2.

What a child adds is its *outcome*: of a parent 0 the child itself, of others |child| - 2 |parent|. How likely
each is follows from the table that would code the finer symbol by itself, cut to what its parent leaves.

A parent may have a *drift* besides: what is known better by now of other timesteps tells where in its cell
the finer symbol is to be expected (entropy/refined.py). Drifts fall in bins, and each bin has tables of its
own: of a parent 0 for outcomes along the drift's direction, of others by where in the cell the drift points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables, cost_bits, from_pmfs
from eocodec.entropy.context_features import Step, logarithms
from eocodec.entropy.family import SCALES, SHAPES, build_family, scale_of, upper_tail
from eocodec.entropy.spectrum import BANDS, ORIENTATIONS
from eocodec.entropy.units import Blocks

PARENTS = 5  # kinds: magnitudes 0, 1, 2, 3, and 4 or more
ROWS = SCALES * len(SHAPES)  # tables of the family
LAST_OUTCOME = 2
OUTCOMES = 2 * LAST_OUTCOME + 1
DRIFT_CELLS = 20  # a step, that drifts are snapped to
DRIFT_BINS = (3, 6, 10, 15, 20, 28, 40)  # cells from which bins 1, 2, ... begin
DRIFTS = tuple(x / DRIFT_CELLS for x in (4, 7.5, 12, 17, 23.5, 33.5, 46))  # that bins 1, 2, ... stand for
MAX_DRIFT = 2.0**20  # steps; larger ones are cut off
HELD_BINS = (-20, 5, 20, 35, 60)  # cells beyond the start of another parent's cell, likewise
ZERO_DRIFTING, HELD_DRIFTING = len(DRIFTS), (PARENTS - 1) * (len(HELD_BINS) + 1)
DRIFTING = ZERO_DRIFTING + HELD_DRIFTING  # kinds of parents with a drift, after those without
PARENT_ORIENTED, PARENT_PLAIN = 3, 3
PARENT_FEATURES = PARENT_ORIENTED + PARENT_PLAIN
_WHOLE_CELL = 0.5  # dead zone for which the cell of zero is (-1, 1)
_EVEN = (0.5, 0.995)  # within which the probability of 2 m, against 2 m + 1, is kept
_LEAST_ONE = 1e-5  # probability of a child 1 of a parent 0
_LAST_DRIFTING = 2e-3  # probability of each last outcome of a drifting parent, before any was met
_LIKELY_WEIGHT = 30.0  # how many outcomes say as much as what is likely beforehand
_TRUST = 0.85  # share of a drift that is likely beforehand
_USUAL_SHIFT = 0.45  # where in its cell a latent is, likewise
_REACH, _POINTS = 2.2, 440  # steps to either side of 0 and points between, that a cell's mass is summed over

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


def coarse_family() -> CdfTables:
    """Tables of symbols that have no parent; rows as in entropy/family.py."""
    return build_family(_WHOLE_CELL)


def child_tables(beyond: Float) -> CdfTables:
    """Tables of outcomes, kind by kind of parent, [PARENTS * ROWS].

    beyond : [PARENTS, SCALES], probability of the last outcome, which is outside the parent's cell
    """
    pmfs, first = [], []
    for parent in range(PARENTS):
        for shape in SHAPES:
            for scale, outside in zip(
                scale_of(np.arange(float(SCALES))).tolist(), beyond[parent], strict=True
            ):
                pmf = (
                    _of_parent(parent, shape, scale, float(outside))
                    if parent
                    else _of_zero(shape, scale, float(outside))
                )
                pmfs.append(pmf)
                first.append(0 if parent else -LAST_OUTCOME)
    return from_pmfs(pmfs, np.array(first))


def drifting_tables(plain: CdfTables, counts: Float) -> CdfTables:
    """`child_tables` as they are, then those of drifting parents, [(PARENTS + DRIFTING) * ROWS].

    counts : [DRIFTING, ROWS, OUTCOMES], of outcomes that were met; of parents 0 along the drift
    """
    usual = 2.0 ** -outcome_costs(plain)[ROWS : PARENTS * ROWS].astype(np.float64)
    usual = usual.reshape(PARENTS - 1, 1, ROWS, OUTCOMES)
    usual[..., :LAST_OUTCOME] = 0
    held = np.repeat(usual, len(HELD_BINS) + 1, axis=1).reshape(HELD_DRIFTING, ROWS, OUTCOMES)
    weight = counts + _LIKELY_WEIGHT * np.concatenate([drifting_masses(), held])
    masses = np.maximum(weight / weight.sum(2, keepdims=True), _LEAST_ONE).reshape(-1, OUTCOMES)
    masses = np.pad(masses, ((0, 0), (0, 1)))
    pmfs = [*masses[: ZERO_DRIFTING * ROWS], *masses[ZERO_DRIFTING * ROWS :, LAST_OUTCOME:]]
    added = from_pmfs(pmfs, np.repeat([-LAST_OUTCOME, 0], np.array([ZERO_DRIFTING, HELD_DRIFTING]) * ROWS))
    start = np.concatenate([plain.start, plain.start[-1] + added.start[1:]])
    cdf, first = np.concatenate([plain.cdf, added.cdf]), np.concatenate([plain.first, added.first])
    return CdfTables(cdf=cdf, start=start, first=first)


@lru_cache(maxsize=1)
def _drifting_moments() -> tuple[Float, Float]:
    """Masses and first moments of the cells of outcomes -2 .. 2, [ZERO_DRIFTING, ROWS, OUTCOMES] both."""
    at = (np.arange(_POINTS) + 0.5) / _POINTS * 2 * _REACH - _REACH
    cell = np.sign(at) * np.minimum(np.floor(np.abs(at)), LAST_OUTCOME)
    inside = cell == np.arange(-LAST_OUTCOME, LAST_OUTCOME + 1)[:, None]  # (OUTCOMES, points)
    rows = [(shape, scale) for shape in SHAPES for scale in scale_of(np.arange(float(SCALES))).tolist()]
    mass, moment = np.empty((2, ZERO_DRIFTING, ROWS, OUTCOMES))
    for kind, drift in enumerate(DRIFTS):
        edges = np.linspace(-_REACH, _REACH, _POINTS + 1) - _TRUST * drift
        for row, (shape, scale) in enumerate(rows):
            upper = upper_tail(np.abs(edges), shape, scale)
            below = np.where(edges < 0, upper, 1 - upper)
            density = np.maximum(np.diff(below), 1e-15)
            mass[kind, row], moment[kind, row] = inside @ density, inside @ (density * at)
    return mass, moment


def drifting_masses() -> Float:
    """How likely outcomes -2 .. 2 along a drift are, [ZERO_DRIFTING, ROWS, OUTCOMES]."""
    mass = _drifting_moments()[0].copy()
    mass[..., [0, -1]] = np.minimum(mass[..., [0, -1]], _LAST_DRIFTING * mass.sum(2, keepdims=True))
    return np.asarray(mass / mass.sum(2, keepdims=True))


def drifting_means() -> Float:
    """Where latents of outcomes -2 .. 2 are, [DRIFTING, ROWS, OUTCOMES], in steps.

    Of parents 0 along the drift, of others beyond the start of their cell.
    """
    mass, moment = _drifting_moments()
    held = np.arange(-LAST_OUTCOME, LAST_OUTCOME + 1) + _USUAL_SHIFT
    return np.concatenate([moment / mass, np.broadcast_to(held, (HELD_DRIFTING, ROWS, OUTCOMES))])


def _of_zero(shape: float, scale: float, outside: float) -> Float:
    """Masses of -2 .. 2 and the escape."""
    upper = upper_tail(np.array([1.0, 2.0]), shape, scale)
    one = max(float(upper[0] - upper[1]) / (1 - 2 * float(upper[1])), _LEAST_ONE)
    inside = np.array([one, 1 - 2 * one, one]) * (1 - outside)
    return np.concatenate([[outside / 2], inside, [outside / 2, 0.0]])


def _of_parent(parent: int, shape: float, scale: float, outside: float) -> Float:
    """Masses of 0, 1, 2 and the escape."""
    upper = upper_tail(np.arange(2.0 * parent, 2.0 * parent + 3), shape, scale)
    whole = float(upper[0] - upper[2])
    even = min(max(float(upper[0] - upper[1]) / whole if whole > 0 else 1.0, _EVEN[0]), _EVEN[1])
    return np.array([even * (1 - outside), (1 - even) * (1 - outside), outside, 0.0])


def outcome_costs(children: CdfTables) -> NDArray[np.float32]:
    """Bits of outcomes -2 .. 2 under every table, [tables, OUTCOMES]; 0 for those that it does not have."""
    out = np.zeros((children.count, OUTCOMES), np.float32)
    for row, bits in enumerate(cost_bits(children)):
        out[row, OUTCOMES + 1 - len(bits) :] = bits[:-1]
    return out


def kind_of(parents: Symbols) -> Index:
    """Kinds of parents, 0 .. PARENTS - 1."""
    return np.minimum(np.abs(parents.astype(np.int64)), PARENTS - 1)


@dataclass(frozen=True, eq=False)
class Drift:
    """Of coefficients with drifts: kind of their tables, and what turns their outcomes into those, both [n].

    sign : of a parent 0 the drift's, else 1
    """

    kind: Index
    sign: Index

    @classmethod
    def of(cls, cells: Index, parents: Symbols) -> Drift:
        """cells, parents : [n], drifts in cells."""
        zero = parents == 0
        number = np.searchsorted(DRIFT_BINS, np.abs(cells), side="right")
        of_zero = np.where(number == 0, 0, PARENTS + number - 1)
        held = PARENTS + ZERO_DRIFTING + held_kind(cells, parents)
        sign = np.where(zero & (of_zero > 0) & (cells < 0), -1, 1)
        return cls(np.where(zero, of_zero, held), sign)


def in_cells(drift: Float) -> Float:
    """Drifts in cells, to be snapped; drift : in steps."""
    return np.clip(drift, -MAX_DRIFT, MAX_DRIFT) * DRIFT_CELLS


def held_kind(cells: Index, parents: Symbols) -> Index:
    """Kinds of parents that are not 0 and where drifts point in their cells, 0 .. HELD_DRIFTING - 1."""
    beyond = cells * np.sign(parents) - 2 * DRIFT_CELLS * np.abs(parents.astype(np.int64))
    bins = np.searchsorted(HELD_BINS, beyond, side="right")
    return np.asarray((kind_of(parents) - 1) * (len(HELD_BINS) + 1) + bins)


def outcomes_below(v: NDArray[np.float32], parents: Symbols) -> tuple[Index, NDArray[np.float32]]:
    """Largest outcomes that magnitudes of latents allow, [same shape], and these along their parents' signs.

    v : latents in steps
    """
    lowest = 2 * np.abs(parents.astype(np.int64))
    size = np.where(parents == 0, np.abs(v), v * np.sign(parents))
    return np.clip(np.floor(size), lowest, lowest + LAST_OUTCOME).astype(np.int64) - lowest, size


class ParentSums:
    """What the layer before says about a unit: features of the context model beside its own.

    Unlike what is decoded in the layer itself it is known everywhere: of a unit's own coefficients, of higher
    bands, of later components, of all blocks around.

    Parameters
    ----------
    blocks : of the tile
    symbols : of the layer before, by size of block, [C, N * N, n], int32
    """

    def __init__(self, blocks: Blocks, symbols: Mapping[int, Symbols]) -> None:
        by_half = blocks.magnitudes(symbols)
        components = by_half.shape[3]
        both = np.zeros(
            (BANDS + 1, ORIENTATIONS, components + 1, blocks.count)
        )  # with a last one that is none
        both[:-1, :, :-1] = by_half.sum(1)
        band = both.sum(1)
        self._unit, self._both = logarithms(by_half), logarithms(both)
        self._band, self._around = logarithms(band), logarithms(blocks.around(band))
        self._mean = logarithms(band.mean(2))

    def seen(self, step: Step, half: int) -> tuple[Float, Float]:
        """Features of a half: oriented [PARENT_ORIENTED, P, ORIENTATIONS, N], plain [PARENT_PLAIN, P, N]."""
        band, component = step.band, step.component
        oriented = np.stack(
            [
                self._unit[band, half, :, component],
                self._both[band + 1, :, component],
                self._both[band, :, component + 1],
            ]
        )
        plain = np.empty((PARENT_PLAIN, *step.plain.shape[1:]))
        plain[0], plain[1] = self._band[band, component], self._around[band, component]
        plain[2] = self._mean[band, component, None]
        return oriented, plain
