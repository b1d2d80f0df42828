"""Rate-distortion optimised quantisation under the factorized prior: encoder only, any symbols are decodable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.family import DEAD_ZONE, MAX_HALF_WIDTH
from eocodec.entropy.prior import Choice, FactorizedPrior, Symbols

_WIDTH = MAX_HALF_WIDTH + 1
_MAX_SYMBOL = 2**30  # far inside int32, so that offsets can be added


def _dead_zone(v: NDArray[np.float32]) -> Symbols:
    magnitude = np.floor(np.abs(v) + np.float32(0.5 - DEAD_ZONE))
    return np.clip(np.copysign(magnitude, v), -_MAX_SYMBOL, _MAX_SYMBOL).astype(np.int32)


def _lower_where_cheaper(
    v: NDArray[np.float32], symbols: Symbols, choice: Choice, weight: NDArray[np.float32], prior: FactorizedPrior
) -> Symbols:
    """Move symbols one step towards zero where the bits saved outweigh the distortion added."""
    costs = prior.costs
    table = np.zeros(len(symbols), np.int64)
    table[choice.live] = choice.table
    channel, position = np.nonzero(symbols)
    k = symbols[channel, position]
    lower = k - np.sign(k)
    row = table[channel]
    at, at_lower = (np.clip(value, -_WIDTH, _WIDTH) + _WIDTH for value in (k, lower))
    saved = costs[row, at] - costs[row, at_lower]
    value = v[channel, position]
    added = (value - lower) ** 2 - (value - k) ** 2
    out = symbols.copy()
    out[channel, position] = np.where(weight[channel] * added < saved, lower, k)
    return out


def quantise(
    v: NDArray[np.float32], weight: NDArray[np.float32], prior: FactorizedPrior, quality_steps: int
) -> tuple[Symbols, Choice]:
    """Symbols of one tile and the tables to code them with.

    Parameters
    ----------
    v : [M, n], float32, latents in units of the step
    weight : [M], bits that a squared error of one step in each channel is worth: lambda * step^2 * energy
    quality_steps : of the header

    Returns
    -------
    centred : [M, n], int32, offsets removed; choice : tables and offsets
    """
    nearest = np.rint(np.clip(v[: prior.offset_scale.shape[1]], -_MAX_SYMBOL, _MAX_SYMBOL)).astype(np.int32)
    offset = prior.offsets(nearest)
    v = v.copy()
    v[: len(offset)] -= offset[:, None]
    first = _dead_zone(v)
    choice = prior.choose(first, offset, quality_steps)
    nearest = np.clip(np.rint(v), -_MAX_SYMBOL, _MAX_SYMBOL).astype(np.int32)
    nearest[choice.scale < 0] = 0
    symbols = _lower_where_cheaper(v, nearest, choice, weight, prior)
    return symbols, prior.choose(symbols, offset, quality_steps)
