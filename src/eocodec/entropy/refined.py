"""Finer layers of a timestep, and earlier timesteps that are known better by now.

The coarsest layer of a timestep was coded less what its references were then known to predict. While finer
layers are coded, their references are known more finely already: the same map across the spectrum, or another
one that is stated, predicts more from them. By how much this differs from what was predicted first is the
*drift*: it tells where in its cell a coefficient is to be expected (entropy/layers.py).

The network of these layers sees how large drifts and references are in a unit, and how well drifts agreed
with what is known of the timestep itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.context_features import Step, logarithms
from eocodec.entropy.past import agreement, mean_magnitude
from eocodec.entropy.units import Blocks

REFINED_ORIENTED, REFINED_PLAIN = 7, 5
REFINED_FEATURES = REFINED_ORIENTED + REFINED_PLAIN

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RefinedValues:
    """In the blocks, axes and steps of the current timestep and layer; by size, [C, N * N, n], float64.

    drift : what is predicted now, less what was predicted of the coarsest layer
    mean : what is predicted now; references : timesteps as they are known now, one or two
    known : what symbols of the layer before stand for, less what was predicted first; 0 where they are 0
    """

    drift: Mapping[int, Float]
    mean: Mapping[int, Float]
    references: Sequence[Mapping[int, Float]]
    known: Mapping[int, Float]


class RefinedSums:
    """Features of one tile; all are known before the layer is.

    Parameters
    ----------
    blocks : of the tile
    """

    def __init__(self, blocks: Blocks, values: RefinedValues) -> None:
        density = blocks.density.transpose(1, 0, 2, 3)  # (BANDS, HALVES, ORIENTATIONS, N)
        size = blocks.magnitudes(values.drift)
        parts = [logarithms(size), logarithms(blocks.magnitudes(values.mean))]
        for reference in values.references[:2]:
            sums = blocks.magnitudes(reference)
            share = mean_magnitude(sums.sum((1, 2)), density)[:, None, None, :, None]
            parts += [logarithms(sums), logarithms(share * density[:, :, :, None])]
        nothing = logarithms(np.zeros_like(size))
        parts += [nothing] * (REFINED_ORIENTED - 1 - len(parts))
        product = blocks.sums({s: drift * values.known[s] for s, drift in values.drift.items()})
        square = blocks.sums({s: drift**2 for s, drift in values.drift.items()})
        self._oriented = [*parts, agreement(product, square)]
        product, square = product.sum((1, 2)), square.sum((1, 2))  # (BANDS, C, N)
        near = agreement(product + blocks.around(product), square + blocks.around(square))
        of_all = np.broadcast_to(agreement(product.sum(0), square.sum(0)), product.shape)
        band = size.sum((1, 2))
        every = np.broadcast_to(logarithms(band.sum(0)), product.shape)
        self._plain = [logarithms(band), agreement(product, square), near, of_all, every]

    def seen(self, step: Step, half: int) -> tuple[Float, Float]:
        """Of a half: oriented [REFINED_ORIENTED, P, ORIENTATIONS, N], plain [REFINED_PLAIN, P, N]."""
        band, component = step.band, step.component
        oriented = np.stack([values[band, half, :, component] for values in self._oriented])
        return oriented, np.stack([values[band, component] for values in self._plain])
