"""Where a coefficient of a block of 16, 32 or 64 pixels stands: band of frequencies, orientation, half.

Frequencies are counted in units of the 16-pixel DCT, so that coefficients of blocks of different sizes that
mean the same detail fall into the same band. Within a band the coefficients of even u + v are coded first
(half 0), the others after them: a checkerboard over the plane of frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.nn.spectral import RING_EDGES, dct_matrix

SIZES = (16, 32, 64)  # pixels a side
CELL = 16  # pixels a side of the grid that blocks are placed on
BANDS_PER_OCTAVE = 3
LOG2_LOWEST = -3.5  # of the band of the mean of a 64-pixel block
BANDS = 25
MEAN_FREQUENCY = 0.35  # of a 16-pixel block's mean, which has no logarithm
ORIENTATIONS = 3  # across rows, across columns, both
HALVES = 2

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """Coefficients of one size of block, sorted by band, half and orientation.

    size : N, pixels a side; cells : N / 16
    order : [N * N], row-major frequency of each sorted place
    ring : [N * N], spectral ring of each sorted place (nn/spectral.py)
    counts : [BANDS, HALVES, ORIENTATIONS], coefficients of each unit
    start : [BANDS * HALVES + 1], first sorted place of each band and half
    """

    size: int
    order: Index
    ring: Index
    counts: Index
    start: Index

    @property
    def cells(self) -> int:
        """Grid cells a side."""
        return self.size // CELL

    @property
    def bands(self) -> Index:
        """[N * N], band of each sorted place."""
        return np.repeat(np.arange(BANDS), self.counts.sum((1, 2)))

    def places(self, band: int, half: int) -> slice:
        """Sorted places of a band's half, orientations one after the other."""
        at = band * HALVES + half
        return slice(int(self.start[at]), int(self.start[at + 1]))


@cache
def layout(size: int) -> Layout:
    """The layout of blocks of `size` pixels a side."""
    k = np.arange(size)
    u, v = np.repeat(k, size), np.tile(k, size)
    radius = np.sqrt(u * u + v * v) * CELL / size  # rounded correctly everywhere, as hypot is not
    ring = np.digitize(radius, RING_EDGES)
    radius[0] = MEAN_FREQUENCY * CELL / size
    place = np.round((np.log2(radius) - LOG2_LOWEST) * BANDS_PER_OCTAVE, 9)  # powers of 2 lie on an edge
    band = np.rint(place).astype(np.int64)
    orientation = np.where(u > 2 * v, 0, np.where(v > 2 * u, 1, 2))
    unit = (band * HALVES + (u + v) % 2) * ORIENTATIONS + orientation
    counts = np.bincount(unit, minlength=BANDS * HALVES * ORIENTATIONS)
    order = np.argsort(unit, kind="stable")
    start = np.concatenate([[0], np.cumsum(counts.reshape(-1, ORIENTATIONS).sum(1))])
    return Layout(size, order, ring[order], counts.reshape(BANDS, HALVES, ORIENTATIONS), start)


@cache
def merge_matrix(size: int) -> NDArray[np.float64]:
    """[N, N]: from the DCTs of neighbouring 16-pixel stretches, one after the other, to their joint DCT."""
    small, large = (dct_matrix(n, torch.float64).numpy() for n in (CELL, size))
    return np.asarray(large @ np.kron(np.eye(size // CELL), small.T))
