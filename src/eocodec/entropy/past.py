"""What earlier timesteps say about a unit of the current one: features of the context model beside its own.

A prediction (entropy/prediction.py) has been subtracted already. Its size and that of the references tell how
much may be left in a unit; how well it agreed with what was decoded in lower bands of the same block tells
whether the place has changed, and so how much of it to take (the network's third output, the gain).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.context_features import FLOOR, Step, logarithms
from eocodec.entropy.spectrum import BANDS
from eocodec.entropy.units import Blocks, Pairs

PAST_ORIENTED, PAST_PLAIN = 5, 5
PAST_FEATURES = PAST_ORIENTED + PAST_PLAIN
_SHY = 1.0  # squared steps added below a ratio: nothing decoded says nothing

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PastValues:
    """Earlier timesteps in the blocks, axes and steps of the current one; by size, [C, N * N, n], float64.

    mean : what was predicted; references : decoded timesteps, the nearest in kind first, one or two
    """

    mean: Mapping[int, Float]
    references: Sequence[Mapping[int, Float]]


class PastSums:
    """Features of one tile.

    Parameters
    ----------
    blocks : of the tile; pairs : its live ones
    """

    def __init__(self, blocks: Blocks, pairs: Pairs, values: PastValues) -> None:
        self._blocks, self._pairs = blocks, pairs
        self._mean = logarithms(blocks.magnitudes(values.mean))
        density = blocks.density.transpose(1, 0, 2, 3)  # (BANDS, HALVES, ORIENTATIONS, N)
        self._references = []
        for reference in values.references[:2]:
            sums = blocks.magnitudes(reference)
            lower = np.zeros((1 + BANDS, *sums.shape[3:]))
            lower[1:] = sums.sum((1, 2))
            share = mean_magnitude(lower[1:], density)
            self._references.append((logarithms(sums), share, logarithms(lower)))
        self._density = density
        components, n = self._mean.shape[3:]
        # decoded times predicted, and predicted squared: in the band before, in all bands before
        self._agreed = np.zeros((2, 2, components, n))

    def seen(self, step: Step, half: int) -> tuple[Float, Float]:
        """Features of a half: oriented [PAST_ORIENTED, P, ORIENTATIONS, N], plain [PAST_PLAIN, P, N]."""
        band, component = step.band, step.component
        oriented = np.full((PAST_ORIENTED, *step.oriented.shape[1:]), np.log2(FLOOR))
        oriented[0] = self._mean[band, half, :, component]
        for number, (sums, share, _) in enumerate(self._references):
            oriented[1 + 2 * number] = sums[band, half, :, component]
            expected = share[band, component][:, None, None] * self._density[band, half]
            oriented[2 + 2 * number] = logarithms(expected)
        plain = np.empty((PAST_PLAIN, *step.plain.shape[1:]))
        plain[0] = self._references[0][2][band, component]
        before, all_before = self._agreed[:, :, component]
        around = self._blocks.around(all_before) + all_before
        plain[1], plain[2], plain[3] = (agreement(*pair) for pair in (before, all_before, around))
        plain[4] = logarithms(all_before[1])
        return oriented, plain

    def finish(self, step: Step, agreed: Float) -> None:
        """Learn of a step: sums over its coefficients of decoded times predicted, and of predicted squared.

        agreed : [2, P, N]
        """
        self._agreed[0][:, step.component] = agreed
        self._agreed[1][:, step.component] += agreed


def mean_magnitude(sums: Float, density: Float) -> Float:
    """Of coefficients of each band and component, [BANDS, C].

    sums : [BANDS, C, N], of blocks; density : [BANDS, HALVES, ORIENTATIONS, N], coefficients of each unit
    """
    return np.asarray(sums.sum(2) / np.maximum(density.sum((1, 2, 3)), 1)[:, None])


def agreement(product: Float, square: Float) -> Float:
    """Sums of known values times predicted ones, over sums of the latter squared; 1 where there are none."""
    return np.asarray(np.clip((product + _SHY) / (square + _SHY), -1, 2))
