"""The family of integer tables of the factorized prior: generalised Gaussians over shapes and scales.

A table is chosen per tile and channel (`entropy/prior.py`), so the family has to cover what latents look
like, not to know any channel. It is computed once, when weights are exported, and stored with them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables, cost_bits, from_pmfs

SHAPES = (0.35, 0.5, 0.7, 0.95, 1.3, 2.0)  # exponent: 1 is Laplace, 2 is Gauss, below 1 sparse
SCALES_PER_OCTAVE = 3  # a mismatch of at most 12 % in scale costs less than 0.01 bit a symbol
LOG2_SMALLEST = -8.0  # mean |symbol|: one +-1 in 256; a tile of fewer costs nothing to speak of
SCALES = 51  # up to 2^(-8 + 50/3) = 406
DEAD_ZONE = 0.1  # the encoder's: bins are [-0.6, 0.6], then [k - 0.4, k + 0.6]
ROUND = np.float32(0.5 - DEAD_ZONE)  # magnitude + this, cut off: rounding with that dead zone
MAX_HALF_WIDTH = 1500
TAIL = 2e-5  # mass left to the escape
_ESCAPE_VALUE_BITS = 14.0  # of the escape list, per value; typical


def scale_of(index: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Mean absolute symbol that scale index stands for."""
    return np.asarray(np.exp2(LOG2_SMALLEST + np.asarray(index, np.float64) / SCALES_PER_OCTAVE))


def index_of(mean_abs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fractional scale index of a mean absolute symbol (> 0)."""
    return np.asarray((np.log2(mean_abs) - LOG2_SMALLEST) * SCALES_PER_OCTAVE)


def upper_tail(x: NDArray[np.float64], shape: float, mean_abs: float) -> NDArray[np.float64]:
    """P(X > x), x >= 0, of a generalised Gaussian with E|X| = mean_abs, by numerical integration."""
    alpha = mean_abs * math.gamma(1 / shape) / math.gamma(2 / shape)
    # t = (x / alpha)^shape is Gamma(1 / shape) distributed: integrate its density over s = t^(1/4): smooth
    s = np.linspace(0.0, 80.0**0.25, 20001)
    density = 4 * s ** (4 / shape - 1) * np.exp(-(s**4)) / math.gamma(1 / shape)
    steps = (density[1:] + density[:-1]) * 0.5 * np.diff(s)
    upper = np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])
    upper /= upper[0]
    at = np.minimum((x / alpha) ** (shape / 4), s[-1])
    return np.asarray(0.5 * np.interp(at, s, upper))


def _pmf(shape: float, mean_abs: float, dead_zone: float) -> tuple[NDArray[np.float64], int]:
    """Masses of symbols -K .. K and the escape; K."""
    edges = np.arange(MAX_HALF_WIDTH + 1, dtype=np.float64) + (0.5 + dead_zone)
    upper = upper_tail(edges, shape, mean_abs)  # P(symbol > k), k = 0, 1, ...
    beyond = np.flatnonzero(upper < TAIL)
    half = max(int(beyond[0]) if beyond.size else MAX_HALF_WIDTH, 1)
    positive = upper[:half] - upper[1 : half + 1]
    zero = 1 - 2 * upper[0]
    return np.concatenate([positive[::-1], [zero], positive, [max(2 * upper[half], TAIL)]]), half


def build_family(dead_zone: float = DEAD_ZONE) -> CdfTables:
    """All tables; index = shape * SCALES + scale; dead_zone: how far the cell of zero reaches beyond 1/2."""
    pmfs, first = [], []
    for shape in SHAPES:
        for scale in range(SCALES):
            pmf, half = _pmf(shape, float(scale_of(scale)), dead_zone)
            pmfs.append(pmf)
            first.append(-half)
    return from_pmfs(pmfs, np.array(first))


@lru_cache(maxsize=8)
def table_costs(family: CdfTables) -> NDArray[np.float32]:
    """Bits of symbols -W .. W under every table, [tables, 2 W + 1], W = MAX_HALF_WIDTH + 1."""
    width = MAX_HALF_WIDTH + 1
    out = np.empty((family.count, 2 * width + 1), np.float32)
    for row, (bits, first) in enumerate(zip(cost_bits(family), family.first, strict=True)):
        out[row] = bits[-1] + _ESCAPE_VALUE_BITS
        out[row, width + first : width + first + len(bits) - 1] = bits[:-1]
    return out


def table_savings(costs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bits that one step towards zero saves, same shape as `table_costs`; 0 for the symbol 0."""
    width = costs.shape[1] // 2
    out = np.zeros_like(costs)
    out[:, width + 1 :] = costs[:, width + 1 :] - costs[:, width:-1]
    out[:, :width] = costs[:, :width] - costs[:, 1 : width + 1]
    return out
