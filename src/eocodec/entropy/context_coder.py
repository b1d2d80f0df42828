"""Latents of TEC-ELIC <-> the stream: axes, partition, spectrum, then symbols under the context model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.axes import bases
from eocodec.entropy.axes_tables import Axes
from eocodec.entropy.coder import Latents
from eocodec.entropy.context import ContextModel
from eocodec.entropy.context_passes import Observer, PassReader, PassWriter, empty_values
from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.partition import (
    Partition,
    choose,
    every_block,
    from_blocks,
    to_blocks,
    turn_blocks,
)
from eocodec.entropy.past import PastValues
from eocodec.entropy.rdo import RDO_STRENGTH, state_axes
from eocodec.entropy.spectrum import CELL, SIZES
from eocodec.entropy.tile_spectrum import paying
from eocodec.errors import MalformedSection

Float = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


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
        self.encode_stated(plan, encoder, quality_steps)
        worth = np.float32(RDO_STRENGTH * lmbda * self.prior.step(quality_steps) ** 2)
        kept = empty_values(plan.partition, self.bands, past is not None) if keep else {}
        writer = PassWriter(plan.values, kept, encoder, self.prior, worth, observe)
        self.model(plan, quality_steps, past).run(writer, edges)
        return replace(plan, symbols=writer.coded, values=kept)

    def encode_stated(self, plan: ContextFrame, encoder: SymbolEncoder, quality_steps: int) -> None:
        """Append what is stated of a timestep before its symbols."""
        self.prior.axes.encode(encoder, plan.axes)
        self.encode_partition(encoder, plan.partition, quality_steps)
        self.prior.spectrum.encode(encoder, plan.spectrum, quality_steps)

    def decode_stated(self, decoder: SymbolDecoder, rows: int, cols: int, quality_steps: int) -> ContextFrame:
        """Inverse of `encode_stated`: a frame without symbols."""
        axes = self.prior.axes.decode(decoder)
        partition = self.decode_partition(decoder, rows, cols, quality_steps)
        return ContextFrame(axes, partition, self.prior.spectrum.decode(decoder, quality_steps), (), {})

    def model(self, frame: ContextFrame, quality_steps: int, past: Past | None) -> ContextModel:
        """The context model of a timestep of which this is stated."""
        part, quality = frame.partition, quality_steps / MAX_QUALITY
        values = None if past is None else self.past_values(past, frame.axes, part, quality_steps)
        return ContextModel(self.prior.net, part, frame.spectrum, quality, values)

    def plan(self, y: Float, quality_steps: int, lmbda: float) -> ContextFrame:
        """Axes, partition and spectrum of one timestep, and its latents in steps; arguments of `encode`."""
        prior, (rows, cols) = self.prior, y.shape[1:]
        step = prior.step(quality_steps)
        steps = np.full(len(y), step, np.float32)
        axes = state_axes(y.reshape(len(y), -1), steps, prior.axes, self.ring)
        every = self.in_blocks(y, axes, step)
        partition, cost = choose(every, rows, cols, lmbda * step**2)
        chosen = {size: pick(values, partition, size) for size, values in every.items()}
        spectrum = prior.spectrum.reachable(paying(chosen, lmbda * step**2), quality_steps)
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
        stated = self.decode_stated(decoder, rows, cols, quality_steps)
        values = empty_values(stated.partition, self.bands, past is not None)
        reader = PassReader(values, decoder, self.prior)
        self.model(stated, quality_steps, past).run(reader, edges)
        return replace(stated, symbols=reader.coded, values=values)

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
        mean, *references = self.as_coded([past.mean, *past.references], axes, part, quality_steps)
        return PastValues(mean, references)

    def as_coded(
        self, us: Sequence[Wide], axes: Axes, part: Partition, quality_steps: int
    ) -> list[dict[int, Wide]]:
        """DCT coefficients of bands [256, C, n] in blocks, axes and steps of a timestep, by size of block."""
        turned = self.bases(axes) / self.prior.step(quality_steps)
        shape = (CELL, CELL, self.bands, part.rows, part.cols)
        return [
            {s: turn_blocks(to_blocks(u.reshape(shape), s, part.corners(s)), turned, s) for s in SIZES}
            for u in us
        ]

    def bases(self, axes: Axes) -> NDArray[np.float64]:
        """The tile's bases, columns in terms of bands."""
        own = bases(axes.counts, axes.entries, self.bands)
        return np.asarray(self.basis.astype(np.float64) @ own)

    def by_frequency(self, y: Float) -> Float:
        """Latents [256 C, rows, cols] as DCT coefficients of bands, [256, C, n]."""
        return np.asarray(np.matmul(self.basis[self.ring], y.reshape(CELL * CELL, self.bands, -1)))

    def in_blocks(self, y: Float, axes: Axes, step: float) -> dict[int, Float]:
        """Coefficients of all blocks of every size, in steps and in the tile's axes."""
        rows, cols = y.shape[1:]
        u = self.by_frequency(y).reshape(CELL, CELL, self.bands, rows, cols)
        turned = (self.bases(axes) / step).astype(np.float32)
        return {size: turn_blocks(values, turned, size) for size, values in every_block(u).items()}

    def encode_partition(self, encoder: SymbolEncoder, part: Partition, quality_steps: int) -> None:
        tables = self.prior.split_tables
        for kind, flags in enumerate(part.flags()):
            rows = self.prior.split_rows(kind, flags.size, quality_steps)
            encoder.encode(flags.astype(np.int32), rows, tables)

    def decode_partition(self, decoder: SymbolDecoder, rows: int, cols: int, quality_steps: int) -> Partition:
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


def pick(values: Float, part: Partition, size: int) -> Float:
    """The blocks of a size that the partition has, out of all that fit."""
    cells = size // CELL
    at = part.corners(size) // cells
    number = at[:, 0] * (part.cols // cells) + at[:, 1]
    return np.take(values.transpose(1, 0, 2), number, axis=2).transpose(1, 0, 2)
