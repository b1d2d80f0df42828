"""The factorized prior in integers: which table every channel of a tile uses, chosen, coded and decoded.

Per tile the encoder states a shift for all channels, then for every channel a scale relative to the model's
default at that quality (or that the channel is dead: all zero), its shape, and for the first few channels an
offset. Everything is coded by small integer tables stored with the weights, in the same stream as the
latents (docs/codestream.md, "Factorized prior"). Integers only on the decoding side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, cost_bits
from eocodec.entropy.family import MAX_HALF_WIDTH, SCALES, SHAPES
from eocodec.errors import MalformedSection

MAX_DELTA = 13
DEAD = -(MAX_DELTA + 1)  # the delta symbol that says: all symbols of this channel are 0
MAX_SHIFT = 24
CONTEXT_WIDTH = 6  # default scale indices that share a table of deltas
CONTEXTS = SCALES // CONTEXT_WIDTH + 1
OFFSET_SHAPE = len(SHAPES) - 1  # offsets are coded as Gaussian
_NARROW = 24  # half width of the dense histogram that most channels fit in
_ESCAPE_VALUE_BITS = 14.0  # of the escape list, per value; typical

Symbols = NDArray[np.int32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What is stated of one tile. `scale` is -1 for a dead channel.

    shift : of all default scales; scale, shape : [M]; offset : [offset channels]
    """

    shift: int
    scale: Index
    shape: Index
    offset: Symbols

    @property
    def live(self) -> NDArray[np.intp]:
        """Channels that have a table."""
        return np.flatnonzero(self.scale >= 0)

    @property
    def table(self) -> Index:
        """[live channels]: rows of the family."""
        return (self.shape * SCALES + self.scale)[self.live]


@dataclass(frozen=True, eq=False)
class FactorizedPrior:
    """Integer tables of TEC-FP's prior.

    family : tables of the latents, row = shape * SCALES + scale
    default_scale, default_shape : [levels, M], int64
    offset_scale : [levels, offset channels], int64, family scale that codes the offsets
    shift_table : 1 table over -MAX_SHIFT .. MAX_SHIFT
    delta_tables : CONTEXTS tables over DEAD .. MAX_DELTA
    shape_tables : one table for every default shape over 0 .. shapes - 1
    """

    family: CdfTables
    default_scale: Index
    default_shape: Index
    offset_scale: Index
    shift_table: CdfTables
    delta_tables: CdfTables
    shape_tables: CdfTables

    @property
    def channels(self) -> int:
        """Latent channels M."""
        return self.default_scale.shape[1]

    def _interpolated(self, levels: Index, quality_steps: int) -> Index:
        position = quality_steps * (len(levels) - 1)
        low, part = divmod(position, MAX_QUALITY)
        high = min(low + 1, len(levels) - 1)
        return (levels[low] * (MAX_QUALITY - part) + levels[high] * part + MAX_QUALITY // 2) // MAX_QUALITY

    def defaults(self, quality_steps: int, shift: int) -> tuple[Index, Index]:
        """Default scale (shifted, in range) and shape of every channel at a quality."""
        scale = np.clip(self._interpolated(self.default_scale, quality_steps) + shift, 0, SCALES - 1)
        level = (2 * quality_steps * (len(self.default_shape) - 1) + MAX_QUALITY) // (2 * MAX_QUALITY)
        return scale, self.default_shape[level]

    def _offset_rows(self, quality_steps: int) -> Index:
        return OFFSET_SHAPE * SCALES + self._interpolated(self.offset_scale, quality_steps)

    # --- encoder side -------------------------------------------------------------------------------------

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """Bits of every symbol -W .. W under every family table, [tables, 2 W + 1], W = MAX_HALF_WIDTH + 1."""
        width = MAX_HALF_WIDTH + 1
        out = np.empty((self.family.count, 2 * width + 1), np.float32)
        for row, (bits, first) in enumerate(zip(cost_bits(self.family), self.family.first, strict=True)):
            out[row] = bits[-1] + _ESCAPE_VALUE_BITS
            out[row, width + first : width + first + len(bits) - 1] = bits[:-1]
        return out

    @cached_property
    def _side_costs(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        return tuple(  # type: ignore[return-value]
            np.stack([row[:-1] for row in cost_bits(t)])
            for t in (self.shift_table, self.delta_tables, self.shape_tables)
        )

    def data_bits(self, symbols: Symbols) -> NDArray[np.float32]:
        """Bits of each channel under each family table, [M, tables]; symbols [M, n] with offsets removed."""
        width = MAX_HALF_WIDTH + 1
        bits = np.empty((len(symbols), self.family.count), np.float32)
        wide = np.abs(symbols).max(1) > _NARROW
        for rows, half in ((np.flatnonzero(~wide), _NARROW), (np.flatnonzero(wide), width)):
            if not len(rows):
                continue
            span = 2 * half + 1
            clipped = np.clip(symbols[rows], -half, half) + half
            flat = (clipped + (np.arange(len(rows), dtype=np.int32) * span)[:, None]).ravel()
            counts = np.bincount(flat, minlength=span * len(rows)).reshape(len(rows), span)
            bits[rows] = counts.astype(np.float32) @ self.costs[:, width - half : width + half + 1].T
        return bits

    def offsets(self, symbols: Symbols) -> Symbols:
        """Rounded mean of each of the first channels of one tile, [offset channels]."""
        return np.rint(symbols[: self.offset_scale.shape[1]].mean(1)).astype(np.int32)

    def choose(self, centred: Symbols, offset: Symbols, quality_steps: int) -> Choice:
        """The tables that need the fewest bits, side information included; centred [M, n]: offsets removed."""
        bits = self.data_bits(centred).reshape(len(centred), len(SHAPES), SCALES)
        dead = ~centred.any(1)
        plain, _ = self.defaults(quality_steps, 0)
        best = bits.min(1).argmin(1)
        lag = (best - plain)[~dead]
        shift = int(np.clip(np.rint(np.median(lag)), -MAX_SHIFT, MAX_SHIFT)) if lag.size else 0
        default, shape_default = self.defaults(quality_steps, shift)
        _, delta_cost, shape_cost = self._side_costs
        delta = np.arange(SCALES)[None, :] - default[:, None]  # (M, SCALES)
        side = delta_cost[(default // CONTEXT_WIDTH)[:, None], np.clip(delta, -MAX_DELTA, MAX_DELTA) - DEAD]
        side = np.where(np.abs(delta) <= MAX_DELTA, side, np.inf)
        total = bits + side[:, None, :] + shape_cost[shape_default][:, :, None]
        flat = total.reshape(len(centred), -1).argmin(1)
        scale, shape = flat % SCALES, flat // SCALES
        return Choice(shift, np.where(dead, -1, scale), shape, offset)

    def encode(self, encoder: SymbolEncoder, centred: Symbols, choice: Choice, quality_steps: int) -> None:
        """Append one tile; centred [M, n] with the choice's offsets removed."""
        default, shape_default = self.defaults(quality_steps, choice.shift)
        delta = np.where(choice.scale < 0, DEAD, choice.scale - default)
        live = choice.live
        encoder.encode(np.array([choice.shift]), np.zeros(1, np.int64), self.shift_table)
        encoder.encode(delta, default // CONTEXT_WIDTH, self.delta_tables)
        encoder.encode(choice.shape[live], shape_default[live], self.shape_tables)
        encoder.encode(choice.offset, self._offset_rows(quality_steps), self.family)
        encoder.encode_channels(centred[live], choice.table, self.family)

    # --- decoder side: integers only ----------------------------------------------------------------------

    def decode(self, decoder: SymbolDecoder, n: int, quality_steps: int) -> Symbols:
        """Symbols of the next tile, [M, n], offsets put back.

        Raises
        ------
        MalformedSection : a stated table does not exist
        """
        shift = int(decoder.decode(np.zeros(1, np.int64), self.shift_table)[0])
        if abs(shift) > MAX_SHIFT:
            raise MalformedSection(f"SYMBOLS: scale shift {shift}, expected at most {MAX_SHIFT} (R31)")
        default, shape_default = self.defaults(quality_steps, shift)
        delta = decoder.decode(default // CONTEXT_WIDTH, self.delta_tables)
        live = np.flatnonzero(delta != DEAD)
        scale = (default + delta)[live]
        if scale.size and not (0 <= int(scale.min()) and int(scale.max()) < SCALES):
            raise MalformedSection("SYMBOLS: a scale index is outside the family (R31)")
        shape = decoder.decode(shape_default[live], self.shape_tables)
        if shape.size and not (0 <= int(shape.min()) and int(shape.max()) < len(SHAPES)):
            raise MalformedSection("SYMBOLS: a shape index is outside the family (R31)")
        offset = decoder.decode(self._offset_rows(quality_steps), self.family)
        symbols = np.zeros((self.channels, n), np.int32)
        symbols[live] = decoder.decode_channels(shape.astype(np.int64) * SCALES + scale, n, self.family)
        symbols[: len(offset)] += offset[:, None]
        return symbols
