"""What the context model's network sees: sums of |symbols| beside what the tile's spectrum makes expect.

Features come in pairs of logarithms, a sum and its expectation, and are followed by what a unit is. Most are
the same for many units, or for a unit of every tile; each is computed once, where it first is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.family import scale_of
from eocodec.entropy.spectrum import BANDS, HALVES, ORIENTATIONS
from eocodec.entropy.units import Blocks, Pairs, Units

PAIRS = 13  # sums beside their expectations
FEATURES = 2 * PAIRS + 12
_PAD = 3  # bands below the lowest, all zero
FLOOR = 0.1  # added before a logarithm

# Features that symbols or places change: those of an orientation, then those of a whole band. The first so
# many are all there are while first halves are coded.
_ORIENTED, ORIENTED_FIRST = (0, 2, 4, 6, 18, 22, 23), 4
_PLAIN, PLAIN_FIRST = (8, 12, 13, 10, 14, 15, 16, 17, 20, 24, 25), 8
CHANGING = (
    np.array(_ORIENTED[:ORIENTED_FIRST] + _PLAIN[:PLAIN_FIRST]),
    np.array(_ORIENTED + _PLAIN),
)  # by half: their numbers, in the order in which they are gathered

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Step:
    """One step: its pairs' numbers, bands and components [P], and their changing features.

    oriented : [features, P, ORIENTATIONS, N]; plain : [features, P, N]; see CHANGING
    """

    pairs: slice
    band: Index
    component: Index
    oriented: Float
    plain: Float

    def seen(self, half: int) -> tuple[Float, Float]:
        """What a half sees of both."""
        if half:
            return self.oriented, self.plain
        return self.oriented[:ORIENTED_FIRST], self.plain[:PLAIN_FIRST]


class Sums:
    """Sums of |symbols| of one tile that are known so far, and the features made of them.

    Parameters
    ----------
    blocks : of the tile; pairs : its live ones; scale : [BANDS, C], its spectrum, -1 where dead
    """

    def __init__(self, blocks: Blocks, pairs: Pairs, scale: Index) -> None:
        self._blocks, self._pairs, self._live = blocks, pairs, scale >= 0
        components, n = scale.shape[1], blocks.count
        # the first bands and the first component are none
        self._mean = np.zeros((_PAD + BANDS, 1 + components))
        self._mean[_PAD:, 1:] = np.where(self._live, scale_of(np.maximum(scale, 0)), 0)
        self._before = np.cumsum(self._mean, 1)[_PAD:, :-1]  # [BANDS, C], of earlier components
        self._sums = np.zeros((_PAD + BANDS, 1 + components, ORIENTATIONS, n))  # halves together
        self._earlier = np.zeros((BANDS, ORIENTATIONS, n))  # of earlier components
        self._earlier_around = np.zeros((BANDS, n))
        # of the band before and of all bands before: in the block, around it, expected around it
        self._bands = np.zeros((2, 3, components, n))
        # coefficients around blocks
        self._around_first = blocks.around(blocks.density[0])  # [BANDS, ORIENTATIONS, N]
        self._around = (self._around_first + blocks.around(blocks.density[1])).sum(1)

    def start(self, number: int) -> None:
        """Before step `number`: a component whose band is dead has nothing in the band before its next."""
        component = np.arange(max(0, number - BANDS + 1), min(self._live.shape[1], number + 1))
        self._bands[0][:, component[~self._live[number - component, component]]] = 0

    def step(self, pairs: slice) -> Step:
        """A step as its first half sees it."""
        band, component = self._pairs.band[pairs], self._pairs.component[pairs]
        g, c = band + _PAD, component + 1
        oriented = np.empty((len(_ORIENTED), len(band), ORIENTATIONS, self._blocks.count))
        oriented[0] = self._sums[g - 1, c]
        oriented[1] = self._sums[g - 2, c]
        oriented[1] += self._sums[g - 3, c]
        oriented[2] = self._sums[g, c - 1]
        oriented[3] = self._earlier[band]
        plain = np.empty((len(_PLAIN), len(band), self._blocks.count))
        plain[:6] = self._bands[:, :, component].reshape(6, *plain.shape[1:])
        plain[6] = self._earlier_around[band]
        plain[7] = self._around[band] * self._before[band, component, None]
        _to_logarithms(oriented[:ORIENTED_FIRST])
        _to_logarithms(plain[:PLAIN_FIRST])
        return Step(pairs, band, component, oriented, plain)

    def see_first(self, step: Step, first: Float) -> Float:
        """Complete a step's features for its second half.

        first : [P, ORIENTATIONS, N], sums of the first half -> sums around, [P, N]
        """
        oriented, plain = step.oriented[ORIENTED_FIRST:], step.plain[PLAIN_FIRST:]
        mean = self._mean[step.band + _PAD, step.component + 1, None, None]
        oriented[0] = first
        oriented[1] = self._blocks.around(first)
        oriented[2] = self._around_first[step.band] * mean
        oriented.sum(2, out=plain)
        around: Float = plain[1].copy()
        _to_logarithms(oriented)
        _to_logarithms(plain)
        return around

    def finish(self, step: Step, sums: Float, around: Float) -> None:
        """Add what was coded to what later steps see; sums [P, ORIENTATIONS, N], around [P, N]."""
        band, component = step.band, step.component
        self._sums[band + _PAD, component + 1] = sums
        self._earlier[band] += sums
        self._earlier_around[band] += around
        expected = self._around[band] * self._mean[band + _PAD, component + 1, None]
        new = np.stack([sums.sum(1), around, expected])
        self._bands[0][:, component] = new
        self._bands[1][:, component] += new

    def known(self, units: Units, quality: float) -> Float:
        """[FEATURES, V], features of the tile's units; 0 in place of those that change."""
        x = np.zeros((FEATURES, len(units.pair)))
        self._expect(units, x)
        x[: 2 * PAIRS] = logarithms(x[: 2 * PAIRS])
        for half, changing in enumerate(CHANGING):
            x[np.ix_(changing, units.half == half)] = 0
        band, component = self._pairs.band[units.pair], self._pairs.component[units.pair]
        shapes = self._blocks.layouts
        size = np.array([shape.size for shape in shapes])[units.layout]
        count = np.stack([shape.counts.sum((1, 2)) for shape in shapes])[units.layout, band]
        mean = self._mean[band + _PAD, component + 1]
        x[2 * PAIRS :] = (
            np.log2(mean),
            band / 8,
            units.orientation == 0,
            units.orientation == 1,
            component / 4,
            component == 0,
            np.log2(units.count),
            np.log2(count * mean),
            units.half,
            size == 32,
            size == 64,
            np.full(len(band), quality),
        )
        return x

    def _expect(self, units: Units, x: Float) -> None:
        """Write expectations in blocks, which only the size of block and the spectrum decide."""
        mean, of, o = self._mean, units.layout, units.orientation
        band, component = self._pairs.band[units.pair], self._pairs.component[units.pair]
        g, c = band + _PAD, component + 1
        counts = np.zeros((len(self._blocks.layouts), _PAD + BANDS, HALVES, ORIENTATIONS))
        counts[:, _PAD:] = [shape.counts for shape in self._blocks.layouts]
        both = counts.sum(2)
        below = np.cumsum(both.sum(2)[:, :, None] * mean, 1)  # (sizes, bands, components)
        x[1] = both[of, g - 1, o] * mean[g - 1, c]
        x[3] = both[of, g - 2, o] * mean[g - 2, c] + both[of, g - 3, o] * mean[g - 3, c]
        x[5] = both[of, g, o] * mean[g, c - 1]
        x[7] = both[of, g, o] * self._before[band, component]
        x[9] = both[of, g - 1].sum(1) * mean[g - 1, c]
        x[11] = below[of, g - 1, c]
        x[19] = units.half * counts[of, g, 0, o] * mean[g, c]
        x[21] = units.half * counts[of, g, 0].sum(1) * mean[g, c]


def logarithms(sums: Float) -> Float:
    """log2(sums + FLOOR), a new array."""
    return np.asarray(np.log2(sums + FLOOR))


def _to_logarithms(sums: Float) -> None:
    """In place."""
    sums += FLOOR
    np.log2(sums, out=sums)
