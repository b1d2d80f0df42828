"""FlexTEC's coder: a series in its coarsest layer, then token by token over all timesteps.

The first parts of a tile are its timesteps in the coarsest layer, each predicted from earlier ones as by
TEC-TT: together they are the first token. Then come the others, a part each. A finer layer has several
(entropy/layers.py): what its coefficients of parent zero become, lower bands first (*significance*, under the
context model), then what all others become (*refinement*, under the tables that significance found for their
units). That is their order by what a bit is worth. Later timesteps refer to the coarsest layer of earlier
ones alone, so that the parts can be cut off after any token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.crc import SymbolsCrc
from eocodec.entropy.coder import Latents
from eocodec.entropy.context import ContextModel, Request
from eocodec.entropy.context_passes import Observer
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.layer_channels import (
    Channel,
    LayeredPrior,
    LayerObserver,
    Receiver,
    Sender,
    reconstructed,
)
from eocodec.entropy.levels import quality_of_step
from eocodec.entropy.nested_coder import FINEST, LAYERED_RDO, NestedCoder, NestedFrame
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.entropy.spectrum import BANDS
from eocodec.entropy.temporal_coder import GRID, TemporalCoder, TemporalFrame
from eocodec.errors import TrailingBytes

# Steps of the context model (band + component) at which tokens of significance begin, layer by layer.
CUTS = ((0, 15, 17, 20), (0, 16, 18, 21), (0, 17, 20, 22))
TOKENS_A_LAYER = len(CUTS[0]) + 1
TOKENS = 1 + FINEST * TOKENS_A_LAYER

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


@dataclass(eq=False)
class LayeredFrame:
    """A timestep as far as it is known; everything by size of block is [C, N * N, n].

    base : in its coarsest layer
    scale : [BANDS, C], in steps of its last layer, -1 where dead
    symbols, values : in their places; what they stand for in steps of the coarsest layer, float32
    latents : in steps of the coarsest layer; of an encoder alone
    tokens : of it, that are known
    """

    base: TemporalFrame
    scale: Index
    symbols: dict[int, NDArray[Any]]
    values: dict[int, NDArray[Any]]
    latents: Mapping[int, NDArray[Any]]
    tokens: int = 1
    model: ContextModel | None = None
    held: list[_Held] = field(default_factory=list)

    @classmethod
    def of(cls, base: TemporalFrame) -> LayeredFrame:
        """A timestep of which the first token is known."""
        frame = _nested(base)
        values = {size: v.copy() for size, v in frame.coarse.values.items()}
        return cls(base, frame.spectrum, dict(frame.coarse.symbols), values, frame.latents)

    @property
    def layer(self) -> int:
        """Number of the layer that the next token belongs to, 1 .. FINEST."""
        return (self.tokens - 1) // TOKENS_A_LAYER + 1


@dataclass(frozen=True, eq=False)
class _Held:
    """Coefficients of a pass that wait for their refinement.

    size : of their blocks; component, place, block : [n], where they are; rows : [n], their tables
    """

    size: int
    component: Index
    place: Index
    block: Index
    rows: Index


@dataclass(frozen=True, eq=False)
class LayeredCoder:
    """See `SeriesCoder` in entropy/coder.py.

    base : of the coarsest layer; prior : of the finer ones too
    """

    base: TemporalCoder
    prior: LayeredPrior

    @property
    def bands(self) -> int:
        """Components of a frequency, C."""
        return self.base.bands

    @property
    def channels(self) -> int:
        """Latent channels M."""
        return self.base.channels

    def encode_series(
        self,
        ys: Iterable[Float],
        parts: PartWriter,
        quality_steps: int,
        lmbda: float,
        observe: LayerObserver | None = None,
        observe_base: Observer | None = None,
    ) -> Iterator[LayeredFrame]:
        """Append timesteps [256 C, rows, cols]; observe_base: of predicted ones (training)."""
        base = self.base.encode_series(ys, parts, quality_steps, lmbda, observe_base)
        frames = [LayeredFrame.of(frame) for frame in base]
        worth = LAYERED_RDO * lmbda * (self._step(quality_steps) / 2**FINEST) ** 2
        while frames[0].tokens < TOKENS:
            with parts.part() as part:
                sender = Sender(part.symbols, self.prior, worth, observe)
                self._token(frames, sender, part.edges, part.crc, quality_steps)
        return iter(frames)

    def decode_series(
        self, parts: PartReader, timesteps: int, rows: int, cols: int, quality_steps: int
    ) -> Iterator[LayeredFrame]:
        """All timesteps, of as many tokens as there are.

        Raises
        ------
        CodestreamError : as `TemporalCoder.decode_series`; or a finer symbol does not exist
        """
        base = self.base.decode_series(parts, timesteps, rows, cols, quality_steps)
        frames = [LayeredFrame.of(frame) for frame in base]
        while parts.left and frames[0].tokens < TOKENS:
            with parts.part() as part:
                receiver = Receiver(part.symbols, self.prior)
                self._token(frames, receiver, part.edges, part.crc, quality_steps)
        if parts.left:
            raise TrailingBytes(f"PARTS: {parts.left} parts after the last of {TOKENS} tokens (R76)")
        return iter(frames)

    def _token(
        self,
        frames: Sequence[LayeredFrame],
        channel: Channel,
        edges: EdgeWriter | EdgeReader,
        crc: SymbolsCrc,
        quality_steps: int,
    ) -> None:
        """Code the next token of all timesteps."""
        for frame in frames:
            layer, number = frame.layer, (frame.tokens - 1) % TOKENS_A_LAYER
            if number == 0:
                frame.scale = channel.new_scales(frame.scale, frame.latents, layer)
                crc.add(frame.scale.astype(np.int32))
                frame.model = self._model(frame, self.quality(frame, quality_steps, layer))
            if number == TOKENS_A_LAYER - 1:
                self._refine(frame, channel, crc)
            elif frame.model is not None:
                starts = (*CUTS[layer - 1], BANDS + self.bands - 1)
                source = _Significance(frame, channel, self.prior, crc)
                frame.model.run(source, edges, range(starts[number], starts[number + 1]))
            frame.tokens += 1

    def _model(self, frame: LayeredFrame, quality: float) -> ContextModel:
        part = _nested(frame.base).partition
        return ContextModel(self.prior.net, part, frame.scale, quality, parents=frame.symbols)

    def _refine(self, frame: LayeredFrame, channel: Channel, crc: SymbolsCrc) -> None:
        """What coefficients become that were not zero in the layer before."""
        unit, held = np.float32(2.0**-frame.layer), frame.held
        frame.held, frame.model = [], None
        if not held:
            return
        rows, parents = np.concatenate([h.rows for h in held]), []
        for h in held:
            parents.append(frame.symbols[h.size][h.component, h.place, h.block] // 2)
        before = np.concatenate(parents).astype(np.int32)
        v = (
            [frame.latents[h.size][h.component, h.place, h.block] / unit for h in held]
            if frame.latents
            else None
        )
        outcomes = channel.outcomes(rows, before, None if v is None else np.concatenate(v))
        crc.add(outcomes)
        symbols = (2 * before + np.sign(before) * outcomes).astype(np.int32)
        values = reconstructed(symbols, rows, self.prior) * unit
        ends = np.cumsum([len(h.rows) for h in held])[:-1]
        for h, own, stand_for in zip(held, np.split(symbols, ends), np.split(values, ends), strict=True):
            frame.symbols[h.size][h.component, h.place, h.block] = own
            frame.values[h.size][h.component, h.place, h.block] = stand_for

    def latents(self, frame: LayeredFrame, quality_steps: int, dtype: type[np.floating[Any]]) -> Latents:
        """What a timestep stands for, as far as it is known."""
        coder, base = self.base.later, _nested(frame.base)
        start = base.coarse.values
        added = replace(base, values={size: v - start[size] for size, v in frame.values.items()})
        u = self.base.coefficients(frame.base, quality_steps)
        u += coder.coefficients(added, quality_steps, np.float64).reshape(u.shape)
        found = coder.latents_of(u.reshape(self.channels, -1).astype(dtype, copy=False))
        return replace(found, quality=self.quality(frame, quality_steps))

    def quality(self, frame: LayeredFrame, quality_steps: int, layer: int | None = None) -> float:
        """Quality, 0 to 1, that a timestep has so far, or that of a layer when whole."""
        known = (frame.tokens - 1) / TOKENS_A_LAYER if layer is None else layer
        log2_step = self.base.later.prior.log2_step - FINEST
        step = self._step(quality_steps) * 2.0**-known
        return quality_of_step(log2_step, step) / MAX_QUALITY

    def _step(self, quality_steps: int) -> float:
        """Of the coarsest layer."""
        return self.base.later.prior.step(quality_steps)


def layered_coder(prior: LayeredPrior, basis: Float, ring: Index) -> LayeredCoder:
    """The coder of a prior; basis [RINGS, C, C]; ring [256], of each frequency."""
    first, later = (NestedCoder(own, basis, ring) for own in (prior.base.first, prior.base.later))
    return LayeredCoder(TemporalCoder(first, later, GRID << FINEST), prior)


class _Significance:
    """Source of symbols for the context model: coefficients whose parent is zero; the others are held."""

    def __init__(self, frame: LayeredFrame, channel: Channel, prior: LayeredPrior, crc: SymbolsCrc) -> None:
        self._frame, self._channel, self._prior, self._crc = frame, channel, prior, crc
        self._unit = np.float32(2.0**-frame.layer)

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """One pass; what is held counts as twice its parent."""
        frame = self._frame
        found = [2 * frame.symbols[r.size][r.component, r.place] for r in requests]
        zero = [symbols == 0 for symbols in found]
        rows = np.concatenate([r.rows[z] for r, z in zip(requests, zero, strict=True)])
        v = None
        if frame.latents:
            latents = [frame.latents[r.size][r.component, r.place] for r in requests]
            self._observe(requests, found, latents)
            v = (np.concatenate([own[z] for own, z in zip(latents, zero, strict=True)]) / self._unit).astype(
                np.float32
            )
        coded = self._channel.outcomes(rows, np.zeros(len(rows), np.int32), v)
        self._crc.add(coded)
        values = reconstructed(coded, rows, self._prior) * self._unit
        ends = np.cumsum([np.count_nonzero(z) for z in zero])[:-1]
        parts = zip(requests, found, zero, np.split(coded, ends), np.split(values, ends), strict=True)
        for request, symbols, where, own, stand_for in parts:
            symbols[where] = own
            self._put(request, symbols, where, stand_for)
        return found

    def _observe(
        self, requests: Sequence[Request], found: Sequence[Symbols], latents: Sequence[Float]
    ) -> None:
        if self._channel.observe is not None:
            for request, symbols, v in zip(requests, found, latents, strict=True):
                self._channel.observe.units(request, symbols // 2, v / self._unit)

    def _put(self, request: Request, symbols: Symbols, zero: NDArray[np.bool_], values: Float) -> None:
        frame, size = self._frame, request.size
        frame.symbols[size][request.component, request.place] = symbols
        known = frame.values[size][request.component, request.place]
        known[zero] = values
        frame.values[size][request.component, request.place] = known
        row, block = np.nonzero(~zero)
        if row.size:
            place = request.component[row], request.place[row]
            rows = request.rows[row, block].astype(np.int64)
            frame.held.append(_Held(size, *place, block, rows))


def _nested(frame: TemporalFrame) -> NestedFrame:
    if not isinstance(frame.frame, NestedFrame):
        raise TypeError("the coarsest layer is not of a NestedCoder")
    return frame.frame
