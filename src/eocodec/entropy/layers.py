"""Symbols in layers, each with half the quantisation step of the one before, its cells within that one's.

The symbol of v, in steps, is v cut off towards zero: zero stands for (-1, 1), a magnitude m for [m, m + 1).
With half the step, zero becomes -1, 0 or 1, and m becomes 2 m or 2 m + 1: nothing is sent twice.
Since an encoder may take a symbol one lower where that saves bits, one more *child* is possible: zero may
become -2 or 2, m may become 2 m + 2.

What a child adds is its *outcome*: of a parent 0 the child itself, of others |child| - 2 |parent|. How likely
each is follows from the table that would code the finer symbol by itself, cut to what its parent leaves.
"""

from __future__ import annotations

from collections.abc import Mapping

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
PARENT_ORIENTED, PARENT_PLAIN = 3, 3
PARENT_FEATURES = PARENT_ORIENTED + PARENT_PLAIN
_WHOLE_CELL = 0.5  # dead zone for which the cell of zero is (-1, 1)
_EVEN = (0.5, 0.995)  # within which the probability of 2 m, against 2 m + 1, is kept
_LEAST_ONE = 1e-5  # probability of a child 1 of a parent 0

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
    """Bits of outcomes of magnitude 0, 1, 2 under every table, [PARENTS * ROWS, 3]."""
    return np.stack([bits[-LAST_OUTCOME - 2 : -1] for bits in cost_bits(children)]).astype(np.float32)


def kind_of(parents: Symbols) -> Index:
    """Kinds of parents, 0 .. PARENTS - 1."""
    return np.minimum(np.abs(parents.astype(np.int64)), PARENTS - 1)


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
