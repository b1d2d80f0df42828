"""The factorized prior in integers: which table every channel of a tile uses, chosen, coded and decoded.

Per tile the encoder states the tile's spectral axes (`entropy/axes.py`), a shift for all channels, then for
every channel a scale relative to the model's default at that quality (or that the channel is dead: all
zero), its shape, and for the first few channels an offset. Everything is coded by small integer tables
stored with the weights, in the same stream as the latents (docs/codestream.md, "Factorized prior"). Integers
only on the decoding side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, cost_bits
from eocodec.entropy.axes_tables import Axes, AxesTables
from eocodec.entropy.family import MAX_HALF_WIDTH, SCALES, SHAPES, table_costs, table_savings
from eocodec.entropy.levels import at_quality, nearest_level
from eocodec.errors import MalformedSection

MAX_DELTA = 13
DEAD = -(MAX_DELTA + 1)  # the delta symbol that says: all symbols of this channel are 0
MAX_SHIFT = 24
CONTEXT_WIDTH = 6  # default scale indices that share a table of deltas
CONTEXTS = SCALES // CONTEXT_WIDTH + 1
OFFSET_SHAPE = len(SHAPES) - 1  # offsets are coded as Gaussian
_INT32_MAX = 2**31 - 1
_NARROW = 24  # half width of the dense histogram that most channels fit in

Symbols = NDArray[np.int32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """All that is coded of one timestep.

    channels : [L], int64, ascending; all others are zero
    symbols : [L, n], int32, of these channels, offsets included; axes : of the tile
    """

    channels: Index
    symbols: Symbols
    axes: Axes


def frames_crc(frames: Sequence[Frame], channels: int) -> int:
    """`symbols_crc` of each timestep's counts, entries and symbols [channels, n]."""
    crc = SymbolsCrc()
    for frame in frames:
        crc.add(frame.axes.counts)
        crc.add(frame.axes.entries)
        crc.add_rows(frame.symbols, frame.channels, channels)
    return crc.value


@dataclass(frozen=True)
class Choice:
    """What is stated of one tile. `scale` is -1 for a dead channel.

    shift : of all default scales; scale, shape : [M]; offset : [offset channels]
    bits : [live channels], float32, what each takes, side information included, over being dead
    """

    shift: int
    scale: Index
    shape: Index
    offset: Symbols
    bits: NDArray[np.float32]

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
    count_tables : one table a ring over 0 .. bands - 1: how many axes are stated
    entry_scale : [rings, E], int64, family scale that codes each entry of an axis
    """

    family: CdfTables
    default_scale: Index
    default_shape: Index
    offset_scale: Index
    shift_table: CdfTables
    delta_tables: CdfTables
    shape_tables: CdfTables
    count_tables: CdfTables
    entry_scale: Index

    @property
    def bands(self) -> int:
        """Components of a frequency; as many leading channels have an offset."""
        return int(self.offset_scale.shape[1])

    @property
    def channels(self) -> int:
        """Latent channels M."""
        return int(self.default_scale.shape[1])

    def defaults(self, quality_steps: int, shift: int) -> tuple[Index, Index]:
        """Default scale (shifted, in range) and shape of every channel at a quality."""
        scale = np.clip(at_quality(self.default_scale, quality_steps) + shift, 0, SCALES - 1)
        level = nearest_level(len(self.default_shape), quality_steps)
        return scale, self.default_shape[level]

    def _offset_rows(self, quality_steps: int) -> Index:
        return OFFSET_SHAPE * SCALES + at_quality(self.offset_scale, quality_steps)

    # --- encoder side -------------------------------------------------------------------------------------

    @cached_property
    def axes(self) -> AxesTables:
        """How the tile's spectral axes are coded."""
        return AxesTables(self.family, self.count_tables, self.entry_scale)

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """Bits of symbols -W .. W under every family table, [tables, 2 W + 1], W = MAX_HALF_WIDTH + 1."""
        return table_costs(self.family)

    @cached_property
    def _side_costs(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Bits of each shift; of each scale (last: a dead channel) by default scale; of each shape."""
        shift, delta, shape = (
            np.stack([row[:-1] for row in cost_bits(t)])
            for t in (self.shift_table, self.delta_tables, self.shape_tables)
        )
        default = np.arange(SCALES)[:, None]
        distance = np.arange(SCALES)[None, :] - default
        scale = delta[default // CONTEXT_WIDTH, np.clip(distance, -MAX_DELTA, MAX_DELTA) - DEAD]
        scale = np.where(np.abs(distance) <= MAX_DELTA, scale, np.float32(np.inf))
        dead = delta[default // CONTEXT_WIDTH, 0]
        return shift[0], np.concatenate([scale, dead], 1), shape

    @cached_property
    def savings(self) -> NDArray[np.float32]:
        """Bits that one step towards zero saves, [tables, 2 W + 1] like `costs`; 0 for the symbol 0."""
        return table_savings(self.costs)

    def data_bits(self, symbols: Symbols) -> NDArray[np.float32]:
        """Bits of each channel under each family table, [L, tables]; symbols [L, n] with offsets removed."""
        width = MAX_HALF_WIDTH + 1
        bits = np.empty((len(symbols), self.family.count), np.float32)
        wide = np.maximum(symbols.max(1), -symbols.min(1)) > _NARROW
        for rows, half in ((np.flatnonzero(~wide), _NARROW), (np.flatnonzero(wide), width)):
            if not len(rows):
                continue
            span = 2 * half + 1
            inside = symbols[rows] if half == _NARROW else np.clip(symbols[rows], -half, half)
            bins = inside + (np.arange(len(rows)) * span + half)[:, None]  # int64, as bincount wants it
            counts = np.bincount(bins.ravel(), minlength=span * len(rows)).reshape(len(rows), span)
            costs = torch.from_numpy(self.costs[:, width - half : width + half + 1])
            bits[rows] = torch.mm(torch.from_numpy(counts).float(), costs.t())  # torch: it minds its threads
        return bits

    def offsets(self, symbols: Symbols) -> Symbols:
        """Rounded mean of each of the first channels of one tile, [offset channels]."""
        return np.asarray(np.rint(symbols[: self.offset_scale.shape[1]].mean(1)), np.int32)

    def choose(self, centred: Symbols, channels: Index, offset: Symbols, quality_steps: int) -> Choice:
        """The tables that need the fewest bits, side information included.

        Parameters
        ----------
        centred : [L, n], less offsets, no row all zero; channels : [L], theirs; all others are dead
        """
        _, scale_cost, shape_cost = self._side_costs
        plain, shape_default = self.defaults(quality_steps, 0)
        bits = self.data_bits(centred).reshape(len(centred), len(SHAPES), SCALES)
        bits += shape_cost[shape_default[channels]][:, :, None]
        by_scale = bits.min(1)  # (L, SCALES)
        shift = self._best_shift(by_scale, channels, plain, quality_steps)
        default = self.defaults(quality_steps, shift)[0][channels]
        total = by_scale + scale_cost[default, :SCALES]
        best = total.argmin(1)
        scale, shape = np.full(self.channels, -1), np.zeros(self.channels, np.int64)
        scale[channels] = best
        shape[channels] = bits[np.arange(len(bits)), :, best].argmin(1)
        return Choice(shift, scale, shape, offset, total.min(1) - scale_cost[default, SCALES])

    def _best_shift(
        self, by_scale: NDArray[np.float32], channels: Index, plain: Index, quality_steps: int
    ) -> int:
        """Shift of all defaults: good for the live channels, and not too dear for the dead ones."""
        shift_cost, scale_cost, _ = self._side_costs
        dead = np.ones(self.channels, bool)
        dead[channels] = False
        lag = by_scale.argmin(1) - plain[channels]
        median = int(np.clip(np.rint(np.median(lag)), -MAX_SHIFT, MAX_SHIFT)) if lag.size else 0

        def bits(shift: int) -> float:
            default, _ = self.defaults(quality_steps, shift)
            of_live = (by_scale + scale_cost[default[channels], :SCALES]).min(1)
            of_dead = scale_cost[default[dead], SCALES]
            return float(shift_cost[shift + MAX_SHIFT] + of_live.sum() + of_dead.sum())

        return min(sorted({0, median // 2, median}), key=bits)

    def encode(self, encoder: SymbolEncoder, centred: Symbols, choice: Choice, quality_steps: int) -> None:
        """Append the latents of one tile; centred [L, n], its live channels, less offsets."""
        default, shape_default = self.defaults(quality_steps, choice.shift)
        delta = np.where(choice.scale < 0, DEAD, choice.scale - default)
        live = choice.live
        encoder.encode(np.array([choice.shift]), np.zeros(1, np.int64), self.shift_table)
        encoder.encode(delta, default // CONTEXT_WIDTH, self.delta_tables)
        encoder.encode(choice.shape[live], shape_default[live], self.shape_tables)
        encoder.encode(choice.offset, self._offset_rows(quality_steps), self.family)
        encoder.encode_channels(centred, choice.table, self.family)

    # --- decoder side: integers only ----------------------------------------------------------------------

    def decode(self, decoder: SymbolDecoder, n: int, quality_steps: int) -> Frame:
        """The next timestep, n latents a channel.

        Raises
        ------
        MalformedSection : a stated axis or table does not exist
        """
        axes = self.axes.decode(decoder)
        return Frame(*self._decode_latents(decoder, n, quality_steps), axes)

    def _decode_latents(self, decoder: SymbolDecoder, n: int, quality_steps: int) -> tuple[Index, Symbols]:
        """Channels and symbols of a `Frame`.

        Raises
        ------
        MalformedSection : a stated table does not exist
        """
        shift = int(decoder.decode(np.zeros(1, np.int64), self.shift_table)[0])
        if abs(shift) > MAX_SHIFT:
            raise MalformedSection(f"SYMBOLS: scale shift {shift}, expected at most {MAX_SHIFT} (R37)")
        default, shape_default = self.defaults(quality_steps, shift)
        delta = decoder.decode(default // CONTEXT_WIDTH, self.delta_tables)
        live = np.flatnonzero(delta != DEAD)
        scale = (default + delta)[live]
        if scale.size and (int(scale.min()) < 0 or int(scale.max()) >= SCALES):
            raise MalformedSection("SYMBOLS: a scale index is outside the family (R38)")
        shape = decoder.decode(shape_default[live], self.shape_tables)
        if shape.size and (int(shape.min()) < 0 or int(shape.max()) >= len(SHAPES)):
            raise MalformedSection("SYMBOLS: a shape index is outside the family (R39)")
        offset = decoder.decode(self._offset_rows(quality_steps), self.family)
        table = np.asarray(shape.astype(np.int64) * SCALES + scale)
        return with_offsets(live, decoder.decode_channels(table, n, self.family), offset)


def with_offsets(live: Index, centred: Symbols, offset: Symbols) -> tuple[Index, Symbols]:
    """Channels and symbols of a `Frame` from live channels [L], their symbols [L, n] and the offsets.

    Raises
    ------
    MalformedSection : a sum is outside 32 bits
    """
    shifted = np.flatnonzero(offset)
    dead = shifted[~np.isin(shifted, live)]
    if dead.size:
        missing = np.zeros((dead.size, centred.shape[1]), np.int32)
        order = np.argsort(np.concatenate([live, dead]), kind="stable")
        live, centred = np.concatenate([live, dead])[order], np.concatenate([centred, missing])[order]
    lead = int(np.searchsorted(live, len(offset)))
    total = centred[:lead].astype(np.int64) + offset[live[:lead], None]
    if total.size and np.abs(total).max() > _INT32_MAX:
        raise MalformedSection("SYMBOLS: a symbol with its offset is outside 32 bits (R40)")
    centred[:lead] = total
    return live, centred
