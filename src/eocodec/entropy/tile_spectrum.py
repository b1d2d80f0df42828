"""The spectrum of a tile: how large the symbols of each band and component are, stated in the stream.

It plays the part of a hyperprior: the context model (entropy/context.py) only has to know how a place differs
from its tile. Scales are indices of entropy/family.py; -1 says that all symbols of a band are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables
from eocodec.entropy.family import ROUND, SCALES, index_of
from eocodec.entropy.levels import at_quality
from eocodec.entropy.partition import geometric_costs, live_rows
from eocodec.entropy.spectrum import BANDS, CELL, layout
from eocodec.errors import MalformedSection

MAX_DELTA = 13
DEAD = -(MAX_DELTA + 1)  # the symbol of a band that is all zero
CONTEXT_WIDTH = 6  # predicted scale indices that share a table
CONTEXTS = SCALES // CONTEXT_WIDTH + 1  # twice: for components whose band before was dead, then for live ones

Float = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SpectrumTables:
    """How spectra are coded: band by band, relative to a default that follows the bands before.

    default_scale : [levels, BANDS, C], int64
    tables : 2 * CONTEXTS tables over DEAD .. MAX_DELTA
    """

    default_scale: Index
    tables: CdfTables

    def _walk(self, quality_steps: int) -> _Walk:
        return _Walk(at_quality(self.default_scale, quality_steps))

    def reachable(self, scale: Index, quality_steps: int) -> Index:
        """The nearest spectrum that can be stated; scale [BANDS, C], -1 where dead."""
        walk, out = self._walk(quality_steps), scale.copy()
        for band in range(BANDS):
            expected, _ = walk.expect(band)
            near = np.clip(scale[band], expected - MAX_DELTA, expected + MAX_DELTA)
            out[band] = np.where(scale[band] < 0, -1, near)
            walk.follow(band, out[band])
        return out

    def deltas(self, scale: Index, quality_steps: int) -> tuple[Index, Index]:
        """Symbols and their tables, [BANDS, C] each, of a reachable spectrum."""
        walk, rows, symbols = self._walk(quality_steps), np.empty_like(scale), np.empty_like(scale)
        for band in range(BANDS):
            expected, rows[band] = walk.expect(band)
            symbols[band] = np.where(scale[band] < 0, DEAD, scale[band] - expected)
            walk.follow(band, scale[band])
        return symbols, rows

    def encode(self, encoder: SymbolEncoder, scale: Index, quality_steps: int) -> None:
        """Append a reachable spectrum."""
        symbols, rows = self.deltas(scale, quality_steps)
        for band in range(BANDS):
            encoder.encode(symbols[band], rows[band], self.tables)

    def decode(self, decoder: SymbolDecoder, quality_steps: int) -> Index:
        """The next spectrum, [BANDS, C], -1 where dead.

        Raises
        ------
        MalformedSection : a scale does not exist
        """
        walk = self._walk(quality_steps)
        scale = np.empty(self.default_scale.shape[1:], np.int64)
        for band in range(BANDS):
            expected, rows = walk.expect(band)
            delta = decoder.decode(rows, self.tables).astype(np.int64)
            scale[band] = np.where(delta == DEAD, -1, expected + delta)
            outside = (delta != DEAD) & ((scale[band] < 0) | (scale[band] >= SCALES))
            if outside.any():
                raise MalformedSection("SYMBOLS: a scale of the spectrum is outside the family (R60)")
            walk.follow(band, scale[band])
        return scale


class _Walk:
    """What the bands before say about the next one."""

    def __init__(self, default: Index) -> None:
        self._default = default
        self._carry = np.zeros(default.shape[1], np.int64)
        self._live = np.zeros(default.shape[1], np.int64)

    def expect(self, band: int) -> tuple[Index, Index]:
        """Expected scale and row of the tables, [C] each."""
        expected = np.clip(self._default[band] + self._carry, 0, SCALES - 1)
        return expected, self._live * CONTEXTS + expected // CONTEXT_WIDTH

    def follow(self, band: int, scale: Index) -> None:
        """Learn what a band's scales are."""
        live = scale >= 0
        self._carry = np.where(live, scale - self._default[band], self._carry)
        self._live = live.astype(np.int64)


def measured(total: NDArray[np.float64], count: NDArray[np.float64]) -> Index:
    """Scale indices of sums of |symbols| over `count` symbols, [BANDS, C]; -1 where all are zero."""
    mean = total / np.maximum(count, 1)
    index = np.rint(index_of(np.maximum(mean, 1e-9)))
    return np.asarray(np.where(total > 0, np.clip(index, 0, SCALES - 1), -1), np.int64)


def paying(blocks: Mapping[int, Float], worth: float) -> Index:
    """Scale indices [BANDS, C] of blocks [C, N * N, n], in steps; worth: bits that a squared error of one is.

    A band is dead if its symbols, each by itself, take more bits than the error that they spare is worth. In
    its context their quantisation would zero nearly all of them, one by one and at a cost to speed.
    """
    components = len(blocks[CELL])
    total, spared = np.zeros((2, BANDS * components))
    count = np.zeros((BANDS, 1))
    for size, values in blocks.items():
        shape = layout(size)
        component, place, magnitude, _ = live_rows(values)
        unit = shape.bands[place] * components + component
        symbols = np.floor(magnitude + ROUND)
        total += np.bincount(unit, symbols.sum(1, dtype=np.float64), total.size)
        spared += np.bincount(unit, np.einsum("ln,ln->l", symbols, 2 * magnitude - symbols), total.size)
        count += (shape.counts.sum((1, 2)) * values.shape[2])[:, None]
    total, spared = total.reshape(BANDS, components), spared.reshape(BANDS, components)
    zero, step = geometric_costs(total / np.maximum(count, 1))
    pays = worth * spared > zero * count + step * total
    return measured(np.where(pays, total, 0), count)
