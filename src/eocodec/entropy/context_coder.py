"""Latents of TEC-ELIC <-> the stream: axes, partition, spectrum, then symbols under the context model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables
from eocodec.entropy.axes import bases
from eocodec.entropy.axes_tables import Axes, AxesTables
from eocodec.entropy.coder import Latents
from eocodec.entropy.context import ContextModel, ContextNet, Request
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.family import MAX_HALF_WIDTH, ROUND, table_costs, table_savings
from eocodec.entropy.levels import nearest_level, step_at
from eocodec.entropy.partition import (
    Partition,
    choose,
    empty_blocks,
    every_corner,
    from_blocks,
    live_rows,
    to_blocks,
    turn_blocks,
)
from eocodec.entropy.past import PastValues
from eocodec.entropy.rdo import MAX_SYMBOL, RDO_STRENGTH, state_axes
from eocodec.entropy.spectrum import BANDS, CELL, SIZES, layout
from eocodec.entropy.tile_spectrum import SpectrumTables, measured
from eocodec.errors import MalformedSection

MAX_SHIFTED = 3  # magnitudes from here on share a shift of their reconstruction
_MAX_DECODED = 2**31 - 1  # of a magnitude, so that it fits 32 bits too
_WIDTH = MAX_HALF_WIDTH + 1

Float = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]
Observer = Callable[[Request, Float, Symbols], None]  # request, latents in steps [K, n], symbols [K, n]


@dataclass(frozen=True, eq=False)
class ContextPrior:
    """What is stored with the weights for coding.

    net : the context network; family, axes, spectrum : see there
    split_tables : 2 tables a level over 0, 1: whether a block is large, whether it is medium
    log2_step : [levels], of the quantisation
    shift : [tables, MAX_SHIFTED], float32: what is added to magnitudes 1, 2, ... when they are reconstructed
    """

    net: ContextNet
    family: CdfTables
    axes: AxesTables
    spectrum: SpectrumTables
    split_tables: CdfTables
    log2_step: NDArray[np.float64]
    shift: Float

    @cached_property
    def savings(self) -> Float:
        """`table_savings` of the family."""
        return table_savings(table_costs(self.family))

    @cached_property
    def shift_from_zero(self) -> Float:
        """`shift` with a column of zeros for the magnitude 0, [tables, 1 + MAX_SHIFTED]."""
        return np.pad(self.shift, ((0, 0), (1, 0)))

    @property
    def levels(self) -> int:
        """Rate levels."""
        return len(self.log2_step)

    def step(self, quality_steps: int) -> float:
        """Quantisation step at a quality."""
        return float(step_at(self.log2_step, quality_steps))

    def split_rows(self, kind: int, count: int, quality_steps: int) -> Index:
        """Rows of `split_tables` for `count` decisions; kind 0: large, 1: medium."""
        return np.full(count, 2 * nearest_level(self.levels, quality_steps) + kind)


@dataclass(frozen=True, eq=False)
class Past:
    """DCT coefficients of bands, [256, C, n], float64, in network units.

    mean : what was predicted of a timestep; references : what it was predicted from, the nearest first
    """

    mean: Wide
    references: Sequence[Wide]


@dataclass(frozen=True, eq=False)
class ContextFrame:
    """All that is coded of one timestep.

    spectrum : [BANDS, C], int64; symbols : by pass, int32
    values : by size, [C, N * N, n], in steps: latents of a plan, or what decoded symbols stand for, then in
        float64 if there is a past
    cost : bits of a plan, about, distortion counted in
    """

    axes: Axes
    partition: Partition
    spectrum: Index
    symbols: Sequence[Symbols]
    values: Mapping[int, NDArray[np.floating[Any]]]
    cost: float = 0.0

    def add_to(self, crc: SymbolsCrc) -> None:
        """Extend a CRC by everything that was decoded."""
        crc.add(self.axes.counts)
        crc.add(self.axes.entries)
        crc.add(self.partition.large.astype(np.int32))
        crc.add(self.partition.medium.astype(np.int32))
        crc.add(self.spectrum.astype(np.int32))
        for part in self.symbols:
            crc.add(part)


@dataclass(frozen=True, eq=False)
class ContextCoder:
    """See `entropy/coder.py`; a latent is a DCT coefficient in the model's fixed spectral bases.

    prior : tables and network
    basis : [RINGS, C, C], float32, the fixed bases; ring : [256], of each frequency (nn/spectral.py)
    """

    prior: ContextPrior
    basis: Float
    ring: Index

    @property
    def bands(self) -> int:
        """Components of a frequency, C."""
        return int(self.basis.shape[1])

    @property
    def channels(self) -> int:
        """Latent channels M."""
        return CELL * CELL * self.bands

    def encode(
        self,
        y: Float,
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
        observe: Observer | None = None,
        past: Past | None = None,
    ) -> ContextFrame:
        """Append one timestep.

        Parameters
        ----------
        y : [256 C, rows, cols], float32, less what was predicted
        lmbda : bits that a unit of squared error is worth
        observe : called with every pass (training)
        past : what earlier timesteps say, if they do

        Returns
        -------
        frame : without `values`
        """
        plan = self.plan(y, quality_steps, lmbda)
        return self.encode_plan(plan, encoder, edges, quality_steps, lmbda, observe, past)

    def encode_plan(
        self,
        plan: ContextFrame,
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
        observe: Observer | None = None,
        past: Past | None = None,
        *,
        keep: bool = False,
    ) -> ContextFrame:
        """`encode` of what is planned already; keep: the frame's `values` are what its symbols stand for."""
        prior = self.prior
        prior.axes.encode(encoder, plan.axes)
        self._encode_partition(encoder, plan.partition, quality_steps)
        prior.spectrum.encode(encoder, plan.spectrum, quality_steps)
        worth = np.float32(RDO_STRENGTH * lmbda * prior.step(quality_steps) ** 2)
        kept = _empty_values(plan.partition, self.bands, past is not None) if keep else {}
        writer = _Writer(plan.values, kept, encoder, prior, worth, observe)
        values = None if past is None else self.past_values(past, plan.axes, plan.partition, quality_steps)
        model = ContextModel(prior.net, plan.partition, plan.spectrum, quality_steps / MAX_QUALITY, values)
        model.run(writer, edges)
        return replace(plan, symbols=writer.coded, values=kept)

    def plan(self, y: Float, quality_steps: int, lmbda: float) -> ContextFrame:
        """Axes, partition and spectrum of one timestep, and its latents in steps; arguments of `encode`."""
        prior, (rows, cols) = self.prior, y.shape[1:]
        step = prior.step(quality_steps)
        steps = np.full(len(y), step, np.float32)
        axes = state_axes(y.reshape(len(y), -1), steps, prior.axes, self.ring)
        every = self._in_blocks(y, axes, step)
        partition, cost = choose(every, rows, cols, lmbda * step**2)
        chosen = {size: _pick(values, partition, size) for size, values in every.items()}
        spectrum = prior.spectrum.reachable(_spectrum(chosen), quality_steps)
        return ContextFrame(axes, partition, spectrum, (), chosen, cost)

    def decode(
        self,
        decoder: SymbolDecoder,
        edges: EdgeReader,
        rows: int,
        cols: int,
        quality_steps: int,
        past: Past | None = None,
    ) -> ContextFrame:
        """The next timestep, rows x cols cells; past: as in `encode`.

        Raises
        ------
        MalformedSection : a stated axis, block or spectrum does not exist, or a symbol is out of range
        ExactnessError : see entropy/exact.py
        """
        prior = self.prior
        axes = prior.axes.decode(decoder)
        partition = self._decode_partition(decoder, rows, cols, quality_steps)
        spectrum = prior.spectrum.decode(decoder, quality_steps)
        reader = _Reader(_empty_values(partition, self.bands, past is not None), decoder, prior)
        values = None if past is None else self.past_values(past, axes, partition, quality_steps)
        model = ContextModel(prior.net, partition, spectrum, quality_steps / MAX_QUALITY, values)
        model.run(reader, edges)
        return ContextFrame(axes, partition, spectrum, reader.coded, reader.values)

    def crc(self, frames: Sequence[ContextFrame]) -> int:
        """CRC32C of all that was decoded."""
        crc = SymbolsCrc()
        for frame in frames:
            frame.add_to(crc)
        return crc.value

    def latents(self, frame: ContextFrame, quality_steps: int, dtype: type[np.floating[Any]]) -> Latents:
        """What a decoded frame stands for."""
        u = self.coefficients(frame, quality_steps, dtype).reshape(self.channels, -1)
        return replace(self.latents_of(u), quality=quality_steps / MAX_QUALITY)

    def latents_of(self, u: NDArray[Any]) -> Latents:
        """DCT coefficients of bands as latents, [256 C, n]."""
        live = np.flatnonzero(u.any(1))
        # u is in terms of bands, that is along the columns of the transposed fixed bases
        return Latents(live, u[live], self.basis.astype(u.dtype).transpose(0, 2, 1))

    def coefficients(
        self, frame: ContextFrame, quality_steps: int, dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """DCT coefficients of bands that a decoded frame stands for, [16, 16, C, rows, cols]."""
        part, step = frame.partition, self.prior.step(quality_steps)
        turned = (self.bases(frame.axes) * step).astype(dtype)
        u = np.zeros((CELL, CELL, self.bands, part.rows, part.cols), dtype)
        for size, values in frame.values.items():
            if values.shape[2]:
                back = turn_blocks(values.astype(dtype, copy=False), turned, size, back=True)
                from_blocks(back, size, part.corners(size), u)
        return u

    def past_values(self, past: Past, axes: Axes, part: Partition, quality_steps: int) -> PastValues:
        """Earlier timesteps in the blocks, axes and steps of the current one."""
        turned, shape = self.bases(axes) / self.prior.step(quality_steps), (CELL, CELL, self.bands)

        def in_blocks(u: Wide) -> dict[int, Wide]:
            u = u.reshape(*shape, part.rows, part.cols)
            return {s: turn_blocks(to_blocks(u, s, part.corners(s)), turned, s) for s in SIZES}

        return PastValues(in_blocks(past.mean), [in_blocks(u) for u in past.references])

    def bases(self, axes: Axes) -> NDArray[np.float64]:
        """The tile's bases, columns in terms of bands."""
        own = bases(axes.counts, axes.entries, self.bands)
        return np.asarray(self.basis.astype(np.float64) @ own)

    def _in_blocks(self, y: Float, axes: Axes, step: float) -> dict[int, Float]:
        """Coefficients of all blocks of every size, in steps and in the tile's axes."""
        rows, cols = y.shape[1:]
        by_frequency = np.matmul(self.basis[self.ring], y.reshape(CELL * CELL, self.bands, -1))
        u = by_frequency.reshape(CELL, CELL, self.bands, rows, cols)
        turned = (self.bases(axes) / step).astype(np.float32)
        blocks = {size: to_blocks(u, size, every_corner(size, rows, cols)) for size in SIZES}
        return {size: turn_blocks(values, turned, size) for size, values in blocks.items()}

    def _encode_partition(self, encoder: SymbolEncoder, part: Partition, quality_steps: int) -> None:
        tables = self.prior.split_tables
        for kind, flags in enumerate(part.flags()):
            rows = self.prior.split_rows(kind, flags.size, quality_steps)
            encoder.encode(flags.astype(np.int32), rows, tables)

    def _decode_partition(
        self, decoder: SymbolDecoder, rows: int, cols: int, quality_steps: int
    ) -> Partition:
        tables = self.prior.split_tables
        shape = (rows // 4, cols // 4)
        large = decoder.decode(self.prior.split_rows(0, shape[0] * shape[1], quality_steps), tables)
        medium = np.zeros((rows // 2, cols // 2), bool)
        part = Partition(rows, cols, _flags(large).reshape(shape), medium)
        open_medium = part.open_medium()
        count = int(open_medium.sum())
        medium[open_medium] = _flags(decoder.decode(self.prior.split_rows(1, count, quality_steps), tables))
        return part


def _flags(symbols: Symbols) -> NDArray[np.bool_]:
    """Symbols 0 and 1 as flags."""
    if not np.isin(symbols, (0, 1)).all():
        raise MalformedSection("SYMBOLS: a flag of the partition is neither 0 nor 1 (R61)")
    return np.asarray(symbols == 1)


def _pick(values: Float, part: Partition, size: int) -> Float:
    """The blocks of a size that the partition has, out of all that fit."""
    cells = size // CELL
    at = part.corners(size) // cells
    number = at[:, 0] * (part.cols // cells) + at[:, 1]
    return np.take(values.transpose(1, 0, 2), number, axis=2).transpose(1, 0, 2)


def _spectrum(chosen: Mapping[int, Float]) -> Index:
    """Scale indices [BANDS, C] of blocks [C, N * N, n], in steps."""
    components = len(chosen[CELL])
    total, count = np.zeros(BANDS * components), np.zeros((BANDS, 1))
    for size, values in chosen.items():
        counts = layout(size).counts.sum((1, 2))
        component, place, magnitude = live_rows(values)
        unit = np.repeat(np.arange(BANDS), counts)[place] * components + component
        symbols = np.floor(magnitude + ROUND).sum(1, dtype=np.float64)
        total += np.bincount(unit, symbols, total.size)
        count += (counts * values.shape[2])[:, None]
    return measured(total.reshape(BANDS, components), count)


class _Writer:
    """Quantises latents under the tables of the context model, and codes them."""

    def __init__(
        self,
        latents: Mapping[int, NDArray[Any]],
        kept: Mapping[int, NDArray[Any]],
        encoder: SymbolEncoder,
        prior: ContextPrior,
        worth: np.float32,
        observe: Observer | None,
    ) -> None:
        self._latents, self._kept, self._encoder, self._prior = latents, kept, encoder, prior
        self._worth, self._observe = worth, observe
        self.coded: list[Symbols] = []

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """Quantise and code one pass."""
        taken = [self._wanted(r) for r in requests]
        rows = np.concatenate([r.rows.ravel() for r in requests])
        flat = self._quantise(np.concatenate([v.ravel() for v in taken]), rows)
        self._encoder.encode(flat, rows, self._prior.family)
        self.coded.append(flat)
        found = _split(flat, requests)
        if self._kept:
            _put(_split(reconstructed(flat, rows, self._prior), requests), requests, self._kept)
        if self._observe is not None:
            for request, values, symbols in zip(requests, taken, found, strict=True):
                self._observe(request, values, symbols)
        return found

    def _wanted(self, request: Request) -> Float:
        v = self._latents[request.size][request.component, request.place]
        return v if request.expected is None else (v - request.expected.shift).astype(np.float32)

    def _quantise(self, v: Float, rows: Index) -> Symbols:
        """Symbols nearest to v [n], or one step towards zero where that saves more bits than it costs."""
        nearest = np.rint(np.clip(v, -MAX_SYMBOL, MAX_SYMBOL))
        at = np.flatnonzero(nearest)
        k, value, row = nearest[at], v[at], rows[at]
        saved = self._prior.savings[row, np.clip(k, -_WIDTH, _WIDTH).astype(np.int64) + _WIDTH]
        magnitude, shift = np.abs(k).astype(np.int64), self._prior.shift_from_zero
        here = magnitude + shift[row, np.minimum(magnitude, MAX_SHIFTED)]
        below = magnitude - 1 + shift[row, np.minimum(magnitude - 1, MAX_SHIFTED)]
        size = np.abs(value)
        added = (size - below) ** 2 - (size - here) ** 2
        lower = self._worth * added < saved
        nearest[at[lower]] -= np.sign(k[lower])
        return nearest.astype(np.int32)


class _Reader:
    """Decodes symbols, and puts what they stand for in place."""

    def __init__(
        self, values: Mapping[int, NDArray[Any]], decoder: SymbolDecoder, prior: ContextPrior
    ) -> None:
        self._decoder, self._prior, self.values = decoder, prior, values
        self.coded: list[Symbols] = []

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """Decode one pass."""
        rows = np.concatenate([r.rows.ravel() for r in requests])
        flat = self._decoder.decode(rows, self._prior.family)
        if int(flat.min()) < -_MAX_DECODED:
            raise MalformedSection("SYMBOLS: a symbol is outside +-(2^31 - 1) (R62)")
        self.coded.append(flat)
        _put(_split(reconstructed(flat, rows, self._prior), requests), requests, self.values)
        return _split(flat, requests)


def _empty_values(part: Partition, bands: int, wide: bool) -> dict[int, NDArray[Any]]:
    """Zeros for decoded values; wide: as precise as the part of a prediction that is in them."""
    dtype = np.float64 if wide else np.float32
    return {size: empty_blocks(size, bands, len(part.corners(size)), dtype) for size in SIZES}


def _put(
    values: Sequence[NDArray[Any]], requests: Sequence[Request], out: Mapping[int, NDArray[Any]]
) -> None:
    """What was decoded of one pass, in its place; the gain's part of a prediction added."""
    for request, own in zip(requests, values, strict=True):
        at = out[request.size]
        expected = request.expected
        at[request.component, request.place] = own if expected is None else own + expected.shift


def reconstructed(symbols: Symbols, rows: Index, prior: ContextPrior) -> Float:
    """What symbols [n] of tables [n] stand for, in steps."""
    values = symbols.astype(np.float32)
    at = np.flatnonzero(symbols)
    k = symbols[at]
    magnitude = np.minimum(np.abs(k.astype(np.int64)), MAX_SHIFTED)
    values[at] += np.sign(k) * prior.shift_from_zero[rows[at], magnitude]
    return values


def _split(flat: NDArray[Any], requests: Sequence[Request]) -> list[NDArray[Any]]:
    """What belongs to each request, of the shape of its rows."""
    ends = np.cumsum([r.rows.size for r in requests])
    return [part.reshape(r.rows.shape) for part, r in zip(np.split(flat, ends[:-1]), requests, strict=True)]
