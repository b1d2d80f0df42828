"""Integers of any magnitude through the geometric tables: beyond the widest, low bits go as they are."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.geometric import SCALES, SHAPES, geometric_tables, uniform_tables
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import cost_bits
from eocodec.errors import MalformedSection

Ints = NDArray[np.int64]

MAX_RAW = 8  # low bits at most
MAX_SCALE = SCALES - 1 + 3 * MAX_RAW
ESCAPE_BITS = 20.0  # of the escape list, per value; typical
_EXACT = 64  # magnitudes that have a bin of their own in a histogram; then _FINE bins an octave
_FINE = 8
_BINS = _EXACT + 10 * _FINE


def split_scale(scale: Ints, shape: int) -> tuple[Ints, Ints]:
    """Table and number of low bits of each scale 0 .. MAX_SCALE: an octave is 3 scales or one bit."""
    raw = np.maximum(scale - (SCALES - 1) + 2, 0) // 3
    return shape * SCALES + scale - 3 * raw, raw


def encode_scaled(encoder: SymbolEncoder, values: Ints, scale: Ints, shape: int) -> None:
    """Append integers [n], each at its scale [n]."""
    table, raw = split_scale(scale, shape)
    split = np.flatnonzero(raw)
    if not split.size:
        encoder.encode(values, table, geometric_tables())
        return
    high = (values + (1 << raw >> 1)) >> raw
    encoder.encode(high, table, geometric_tables())
    low = (values + (1 << raw >> 1) - (high << raw))[split]
    encoder.encode(low, raw[split] - 1, uniform_tables())


def decode_scaled(decoder: SymbolDecoder, scale: Ints, shape: int) -> Ints:
    """Inverse of `encode_scaled`, [n] int64.

    Raises
    ------
    MalformedSection : low bits that there cannot be
    """
    table, raw = split_scale(scale, shape)
    values = decoder.decode(table, geometric_tables()).astype(np.int64)
    split = np.flatnonzero(raw)
    if split.size:
        low = decoder.decode(raw[split] - 1, uniform_tables()).astype(np.int64)
        bits = raw[split]
        if ((low < 0) | (low >> bits > 0)).any():
            raise MalformedSection("RESIDUAL: low bits of a symbol are out of range (R57)")
        values[split] = (values[split] << bits) + low - (1 << bits >> 1)
    return values


@cache
def _bin_magnitudes() -> Ints:
    """Magnitude that stands for each bin of a histogram, [_BINS]."""
    wide = _EXACT * np.exp2((np.arange(_BINS - _EXACT) + 0.5) / _FINE)
    return np.concatenate([np.arange(_EXACT), wide.astype(np.int64)])


@cache
def magnitude_costs() -> NDArray[np.float32]:
    """Bits of a symbol of each bin of `histogram`, sign included: [shapes, MAX_SCALE + 1, _BINS]."""
    costs = cost_bits(geometric_tables())
    first = geometric_tables().first
    out = np.empty((len(SHAPES), MAX_SCALE + 1, _BINS), np.float32)
    for shape in range(len(SHAPES)):
        table, raw = split_scale(np.arange(MAX_SCALE + 1), shape)
        for scale, (row, bits) in enumerate(zip(table.tolist(), raw.tolist(), strict=True)):
            half = -int(first[row])
            high = (_bin_magnitudes() + (1 << bits >> 1)) >> bits
            inside = costs[row][half + np.minimum(high, half)]
            out[shape, scale] = bits + np.where(high <= half, inside, costs[row][-1] + ESCAPE_BITS)
    return out


def histogram(level: NDArray[np.integer[Any]], magnitude: Ints, levels: int) -> NDArray[np.float32]:
    """How often magnitudes of each bin occur at each level, [levels, bins up to the last used]."""
    bins = magnitude
    if int(magnitude.max(initial=0)) >= _EXACT:
        octaves = np.log2(np.maximum(magnitude, _EXACT) / _EXACT)
        wide = np.minimum(_EXACT + (octaves * _FINE).astype(np.int64), _BINS - 1)
        bins = np.where(magnitude < _EXACT, magnitude, wide)
    width = int(bins.max(initial=0)) + 1
    counts = np.bincount(level * width + bins, minlength=levels * width)
    return counts.reshape(levels, width).astype(np.float32)
