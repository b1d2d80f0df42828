"""How a tile's stated spectral axes are coded; the tables are stored with the weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, cost_bits
from eocodec.entropy.axes import GRID, entry_count
from eocodec.entropy.family import MAX_HALF_WIDTH, SCALES, table_costs
from eocodec.errors import MalformedSection

ENTRY_SHAPE = 3  # of the family's shapes: entries of axes are about Laplace

Symbols = NDArray[np.int32]


@dataclass(frozen=True)
class Axes:
    """The stated axes of one tile: counts [rings]; entries [rings, E], zero where not stated; int32."""

    counts: NDArray[np.int32]
    entries: Symbols


@dataclass(frozen=True, eq=False)
class AxesTables:
    """Tables of the counts and the entries of axes.

    family : row = shape * SCALES + scale (entropy/family.py)
    count_tables : one table a ring over 0 .. bands - 1: how many axes are stated
    entry_scale : [rings, E], int64, family scale that codes each entry
    """

    family: CdfTables
    count_tables: CdfTables
    entry_scale: NDArray[np.int64]

    @cached_property
    def bands(self) -> int:
        """Components of a frequency, C: a full set of C - 1 axes has C (C - 1) / 2 entries."""
        return int(np.flatnonzero(np.cumsum(np.arange(64)) == self.entry_scale.shape[1])[0]) + 1

    def bits(self, ring: int, count: int, entries: Symbols) -> float:
        """Bits that stating `count` axes of a ring takes."""
        bits = float(self._count_costs[ring, count])
        stated = entries[: entry_count(count, self.bands)]
        rows = ENTRY_SHAPE * SCALES + self.entry_scale[ring, : len(stated)]
        return bits + float(self._costs[rows, stated + MAX_HALF_WIDTH + 1].sum())

    @cached_property
    def _count_costs(self) -> NDArray[np.float32]:
        return np.stack([row[:-1] for row in cost_bits(self.count_tables)])

    @cached_property
    def _costs(self) -> NDArray[np.float32]:
        return table_costs(self.family)

    def encode(self, encoder: SymbolEncoder, axes: Axes) -> None:
        """Append the axes of one tile."""
        encoder.encode(axes.counts, np.arange(len(axes.counts)), self.count_tables)
        stated = self._stated(axes.counts)
        encoder.encode(axes.entries[stated], ENTRY_SHAPE * SCALES + self.entry_scale[stated], self.family)

    def decode(self, decoder: SymbolDecoder) -> Axes:
        """The next tile's axes.

        Raises
        ------
        MalformedSection : a stated axis does not exist
        """
        counts = decoder.decode(np.arange(len(self.entry_scale)), self.count_tables)
        if int(counts.min()) < 0 or int(counts.max()) >= self.bands:
            raise MalformedSection(f"SYMBOLS: found {int(counts.max())} axes, expected < {self.bands} (R42)")
        stated = self._stated(counts)
        entries = np.zeros(self.entry_scale.shape, np.int32)
        entries[stated] = decoder.decode(ENTRY_SHAPE * SCALES + self.entry_scale[stated], self.family)
        if int(np.abs(entries.astype(np.int64)).max(initial=0)) > GRID:
            raise MalformedSection(f"SYMBOLS: an entry of an axis is beyond +-{GRID} (R43)")
        return Axes(counts, entries)

    def _stated(self, counts: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which entries are in the stream, [rings, E]."""
        sizes = np.array([entry_count(int(n), self.bands) for n in counts])
        return np.arange(self.entry_scale.shape[1])[None, :] < sizes[:, None]
