"""Two-sided geometric tables over a range of scales, made by integers alone: the same on every machine.

Table `shape * SCALES + scale` stands for symbols of mean magnitude about `2^(scale / 3 - 7)`. Shape 0 is the
two-sided geometric distribution, shapes 1 and 2 mix narrower and wider ones. The arithmetic is that of
docs/codestream.md, "Geometric tables".
"""

from __future__ import annotations

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import TOTAL, CdfTables

SCALES = 40  # mean magnitudes of 2^-7 to 2^6; a mismatch of 12 % costs less than 0.01 bit a symbol
SHAPES = ((0,), (-4, 4), (-9, 0, 7))  # scales, relative to the table's, that are mixed in equal parts
_ONE = 1 << 16
_START = 1 << 40  # weight of the symbol 0
_TAIL = 8  # half width in mean magnitudes: one symbol in 3000 is beyond


def _cube_root(value: int) -> int:
    """Largest integer whose cube is not above `value`."""
    root = 1 << -(-value.bit_length() // 3)  # not below
    while root**3 > value:
        root = (2 * root + value // root**2) // 3
    return root


def mean_magnitude(scale: int) -> int:
    """2^(scale / 3 - 7) in units of 2^-16, rounded down; scale >= -27."""
    return _cube_root(1 << (scale + 27))


def _decay(scale: int) -> int:
    """Ratio of neighbouring probabilities, units of 2^-16: (sqrt(1 + m^2) - 1) / m for a mean magnitude m."""
    mean = mean_magnitude(scale)
    return (isqrt((_ONE << 16) + mean * mean) - _ONE) * _ONE // mean


def _weights(scale: int, half: int) -> list[int]:
    """Weights of the symbols 0 .. half and of all beyond; those of both sides add up to `_START`."""
    decay = _decay(scale)
    weight = _START * (_ONE - decay) // (_ONE + decay)
    out = []
    for _ in range(half + 1):
        out.append(weight)
        weight = weight * decay >> 16
    out.append(2 * weight * _ONE // (_ONE - decay))
    return out


def _frequencies(scale: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Frequencies of the symbols -half .. half and the escape; the total is `TOTAL`."""
    parts = [min(max(scale + part, -27), SCALES + 5) for part in shape]
    half = (_TAIL * mean_magnitude(max(parts)) >> 16) + 2
    mixed = np.array([_weights(part, half) for part in parts], np.int64).sum(0)
    weights = np.concatenate([mixed[-2:0:-1], mixed])
    frequencies = weights * (TOTAL - weights.size) // (len(parts) * _START) + 1
    frequencies[half] += TOTAL - frequencies.sum()  # what rounding left goes to the symbol 0
    return frequencies


@cache
def geometric_tables() -> CdfTables:
    """All tables of all shapes; table = shape * SCALES + scale."""
    rows = [_frequencies(scale, shape) for shape in SHAPES for scale in range(SCALES)]
    cdf = np.concatenate([np.concatenate([[0], np.cumsum(row)]) for row in rows]).astype(np.uint32)
    start = np.concatenate([[0], np.cumsum([row.size + 1 for row in rows])]).astype(np.int64)
    first = np.array([-(row.size - 2) // 2 for row in rows], np.int32)
    return CdfTables(cdf, start, first)


@cache
def uniform_tables() -> CdfTables:
    """Eight tables; table k - 1 gives equal shares to 0 .. 2^k - 1, but for one unit of the escape."""
    rows = []
    for bits in range(1, 9):
        row = np.full((1 << bits) + 1, TOTAL >> bits, np.int64)
        row[-2], row[-1] = row[-2] - 1, 1
        rows.append(row)
    cdf = np.concatenate([np.concatenate([[0], np.cumsum(row)]) for row in rows]).astype(np.uint32)
    start = np.concatenate([[0], np.cumsum([row.size + 1 for row in rows])]).astype(np.int64)
    return CdfTables(cdf, start, np.zeros(8, np.int32))
