"""Powers of integer tables: the learned table of a channel, flatter or steeper, by integers alone.

A learned factorized prior has one table a channel for all images. Within one image a channel varies less or
more than on average. A power of its table follows that, and no table has to be sent. The arithmetic is that
of docs/codestream.md, "Published TEC-FP", so powers are the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import TOTAL, CdfTables, cost_bits

QUARTERS = (1, 2, 3, 4, 6, 8, 12)  # exponents in quarters
UNCHANGED = QUARTERS.index(4)
_BITS = 24  # of a weight: the heaviest bin of a table has 2^24

Index = NDArray[np.int64]


def _root(values: Index) -> Index:
    """Integer square root, rounded down; of values below 2^49, for which float64 is exact."""
    root: Index = np.sqrt(values.astype(np.float64)).astype(np.int64)
    return root


def _weights(frequency: Index, quarters: int) -> Index:
    """Frequencies [bins] to a power, relative to the largest."""
    whole = (frequency << _BITS) // frequency.max()
    half = _root(whole << _BITS)
    fourth = _root(half << _BITS)
    square = whole * whole >> _BITS
    powers: dict[int, Index] = {
        1: fourth,
        2: half,
        3: half * fourth >> _BITS,
        6: whole * half >> _BITS,
        8: square,
        12: square * whole >> _BITS,
    }
    return powers[quarters]


def _frequencies(weights: Index) -> Index:
    """At least 1 a bin, `TOTAL` in all; what rounding leaves goes to the heaviest bin, the first of these."""
    frequencies: Index = weights * (TOTAL - weights.size) // weights.sum() + 1
    frequencies[np.argmax(weights)] += TOTAL - frequencies.sum()
    return frequencies


def tempered(tables: CdfTables) -> CdfTables:
    """All powers of all tables: row `power * tables.count + row`, power an index into `QUARTERS`."""
    parts = []
    for quarters in QUARTERS:
        for row in range(tables.count):
            cdf = tables.table(row).astype(np.int64)
            if quarters != QUARTERS[UNCHANGED]:
                frequencies = _frequencies(_weights(np.diff(cdf), quarters))
                cdf = np.concatenate([[0], np.cumsum(frequencies)])
            parts.append(cdf.astype(np.uint32))
    start = np.concatenate([[0], np.cumsum([part.size for part in parts], dtype=np.int64)])
    return CdfTables(np.concatenate(parts), start.astype(np.int64), np.tile(tables.first, len(QUARTERS)))


class Costs:
    """What symbols of each channel cost under each power of its table.

    Parameters
    ----------
    tables : one a channel
    powers : `tempered` of these
    """

    def __init__(self, tables: CdfTables, powers: CdfTables) -> None:
        self._first, self._last = tables.first.astype(np.int64), tables.sizes - 1
        longest = int(tables.sizes.max())
        bits = np.zeros((powers.count, longest))
        for row, cost in enumerate(cost_bits(powers)):
            bits[row, : cost.size] = cost
        self._bits = bits.reshape(len(QUARTERS), tables.count, longest)

    def of(self, symbols: NDArray[np.int32]) -> NDArray[np.float64]:
        """[M, n] -> bits [M, powers]; what escapes cost besides is the same under all."""
        bins = symbols - self._first[:, None]
        last = self._last[:, None]
        bins = np.where((bins < 0) | (bins > last), last, bins)
        _, channels, longest = self._bits.shape
        places = bins + longest * np.arange(channels)[:, None]
        counts = np.bincount(places.ravel(), minlength=channels * longest).reshape(channels, longest)
        return np.asarray(np.einsum("cb,pcb->cp", counts, self._bits))
