"""FlexTEC's coder: a series in its coarsest layer, then token by token over all timesteps.

The first parts of a tile are its timesteps in the coarsest layer, each predicted from earlier ones as by
TEC-TT: together they are the first token. Then come the others, a part each. A finer layer has several
(entropy/layers.py): what its coefficients of parent zero become, lower bands first (*significance*, under the
context model), then what all others become (*refinement*, under the tables that significance found for their
units). That is their order by what a bit is worth. The coarsest layer of later timesteps refers to that of
earlier ones alone, a token to what the tokens up to it say of them (entropy/refined.py), so that the parts
can be cut off after any token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    stand_for,
)
from eocodec.entropy.layered_frame import CUTS, TOKENS, TOKENS_A_LAYER, Held, LayeredFrame, nested
from eocodec.entropy.layers import Drift, in_cells
from eocodec.entropy.levels import quality_of_step
from eocodec.entropy.nested_coder import FINEST, LAYERED_RDO, NestedCoder
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.entropy.prediction import Window
from eocodec.entropy.refined import RefinedValues
from eocodec.entropy.refining import Refining
from eocodec.entropy.spectrum import BANDS
from eocodec.entropy.temporal_coder import GRID, TemporalCoder
from eocodec.errors import TrailingBytes

Float = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LayeredCoder:
    """See `SeriesCoder` in entropy/coder.py.

    base : of the coarsest layer; prior : of the finer ones too
    tokens : that an encoder writes
    """

    base: TemporalCoder
    prior: LayeredPrior
    tokens: int = TOKENS

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
        kept: list[Float] = []
        base = self.base.encode_series(self._kept(ys, kept), parts, quality_steps, lmbda, observe_base)
        frames = [LayeredFrame.of(frame) for frame in base]
        for frame, y in zip(frames, kept, strict=False):
            frame.y = y
        refining = self._begun(frames, quality_steps)
        worth = LAYERED_RDO * lmbda * (self._step(quality_steps) / 2**FINEST) ** 2
        while frames[0].tokens < self.tokens:
            with parts.part() as part:
                sender = Sender(part.symbols, self.prior, worth, observe)
                self._token(frames, sender, part.edges, part.crc, refining, quality_steps)
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
        refining = self._begun(frames if parts.left else [], quality_steps)
        while parts.left and frames[0].tokens < TOKENS:
            with parts.part() as part:
                receiver = Receiver(part.symbols, self.prior)
                self._token(frames, receiver, part.edges, part.crc, refining, quality_steps)
        if parts.left:
            raise TrailingBytes(f"PARTS: {parts.left} parts after the last of {TOKENS} tokens (R76)")
        return iter(frames)

    def _begun(self, frames: Sequence[LayeredFrame], quality_steps: int) -> Refining | None:
        """How timesteps refer to each other in finer layers, if they do."""
        if self.prior.refined is None:
            return None
        refining = Refining(self.base, quality_steps)
        refining.begin(frames)
        return refining

    def _kept(self, ys: Iterable[Float], kept: list[Float]) -> Iterator[Float]:
        """Timesteps as they are, their coefficients kept for finer layers that refer to others."""
        for y in ys:
            if self.prior.refined is not None:
                kept.append(self.base.later.by_frequency(y))
            yield y

    def _token(
        self,
        frames: Sequence[LayeredFrame],
        channel: Channel,
        edges: EdgeWriter | EdgeReader,
        crc: SymbolsCrc,
        refining: Refining | None,
        quality_steps: int,
    ) -> None:
        """Code the next token of all timesteps."""
        window = Window()
        for frame in frames:
            number = (frame.tokens - 1) % TOKENS_A_LAYER
            if number == 0:
                self._start_layer(frame, channel, crc, refining, window)
            if number == TOKENS_A_LAYER - 1:
                drifts = None if refining is None else refining.drift(frame, window)
                self._refine(frame, drifts, channel, crc, edges)
            else:
                refined = None if refining is None else refining.look(frame, window)
                self._signify(frame, refined, channel, crc, edges, quality_steps)
            drifts = refined = None  # gone before the next timestep has its own
            frame.tokens += 1
            if refining is not None and frame is not frames[-1]:
                window.add(refining.reference(frame))

    def _start_layer(
        self,
        frame: LayeredFrame,
        channel: Channel,
        crc: SymbolsCrc,
        refining: Refining | None,
        window: Window,
    ) -> None:
        """What is stated of a timestep before its symbols."""
        frame.scale = channel.new_scales(frame.scale, frame.latents, frame.layer)
        crc.add(frame.scale.astype(np.int32))
        if refining is not None:
            wanted = refining.wanted(frame, window, self.prior.base.later.family)
            stated = channel.prediction(wanted, len(window), self.bands)
            stated.add_to(crc)
            refining.state(frame, window, stated)

    def _signify(
        self,
        frame: LayeredFrame,
        refined: RefinedValues | None,
        channel: Channel,
        crc: SymbolsCrc,
        edges: EdgeWriter | EdgeReader,
        quality_steps: int,
    ) -> None:
        """What some bands of coefficients become that were zero in the layer before."""
        model, number = self._model(frame, refined, quality_steps), (frame.tokens - 1) % TOKENS_A_LAYER
        starts = (*CUTS[frame.layer - 1], BANDS + self.bands - 1)
        drifts = None if refined is None else refined.drift
        source = _Significance(frame, drifts, channel, self.prior, crc, edges)
        model.run(source, edges, range(starts[number], starts[number + 1]))
        model.forget_references()

    def _model(self, frame: LayeredFrame, refined: RefinedValues | None, quality_steps: int) -> ContextModel:
        """The context model of a layer, which knows what references say by now."""
        if frame.model is None:
            own = None if refined is None else self.prior.refined
            net = self.prior.net if own is None else own.net
            part, quality = nested(frame.base).partition, self.quality(frame, quality_steps, frame.layer)
            symbols = frame.symbols
            frame.model = ContextModel(net, part, frame.scale, quality, parents=symbols, refined=refined)
        elif refined is not None:
            frame.model.see(refined)
        return frame.model

    def _refine(
        self,
        frame: LayeredFrame,
        drifts: Mapping[int, Wide] | None,
        channel: Channel,
        crc: SymbolsCrc,
        edges: EdgeWriter | EdgeReader,
    ) -> None:
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
        drift = None
        if drifts is not None:
            own = np.concatenate([drifts[h.size][h.component, h.place, h.block] for h in held])
            drift = Drift.of(edges.resolve(in_cells(own)), before)
        outcomes = channel.outcomes(rows, before, None if v is None else np.concatenate(v), drift)
        crc.add(outcomes)
        symbols = (2 * before + np.sign(before) * outcomes).astype(np.int32)
        values = stand_for(outcomes, before, rows, drift, self.prior) * unit
        ends = np.cumsum([len(h.rows) for h in held])[:-1]
        for h, own, stand in zip(held, np.split(symbols, ends), np.split(values, ends), strict=True):
            frame.symbols[h.size][h.component, h.place, h.block] = own
            frame.values[h.size][h.component, h.place, h.block] = stand

    def latents(self, frame: LayeredFrame, quality_steps: int, dtype: type[np.floating[Any]]) -> Latents:
        """What a timestep stands for, as far as it is known."""
        u = Refining(self.base, quality_steps).coefficients(frame).reshape(self.channels, -1)
        found = self.base.later.latents_of(u.astype(dtype, copy=False))
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
    return LayeredCoder(TemporalCoder(first, later, GRID << FINEST, prior.base.sources), prior)


class _Significance:
    """Source of symbols for the context model: coefficients whose parent is zero; the others are held."""

    def __init__(
        self,
        frame: LayeredFrame,
        drifts: Mapping[int, Wide] | None,
        channel: Channel,
        prior: LayeredPrior,
        crc: SymbolsCrc,
        edges: EdgeWriter | EdgeReader,
    ) -> None:
        self._frame, self._drifts, self._channel, self._prior = frame, drifts, channel, prior
        self._crc, self._edges = crc, edges
        self._unit = np.float32(2.0**-frame.layer)

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """One pass; what is held counts as twice its parent."""
        frame = self._frame
        found = [2 * frame.symbols[r.size][r.component, r.place] for r in requests]
        zero = [symbols == 0 for symbols in found]
        rows = np.concatenate([r.rows[z] for r, z in zip(requests, zero, strict=True)])
        drift, v = self._drift(requests, zero), None
        if frame.latents:
            latents = [frame.latents[r.size][r.component, r.place] for r in requests]
            self._observe(requests, found, latents)
            v = (np.concatenate([own[z] for own, z in zip(latents, zero, strict=True)]) / self._unit).astype(
                np.float32
            )
        parents = np.zeros(len(rows), np.int32)
        coded = self._channel.outcomes(rows, parents, v, drift)
        self._crc.add(coded)
        values = stand_for(coded, parents, rows, drift, self._prior) * self._unit
        ends = np.cumsum([np.count_nonzero(z) for z in zero])[:-1]
        parts = zip(requests, found, zero, np.split(coded, ends), np.split(values, ends), strict=True)
        for request, symbols, where, own, stand in parts:
            symbols[where] = own
            self._put(request, symbols, where, stand)
        return found

    def _drift(self, requests: Sequence[Request], zero: Sequence[NDArray[np.bool_]]) -> Drift | None:
        """Of all coefficients whose parent is zero."""
        drift = self._drifts
        if drift is None:
            return None
        both = zip(requests, zero, strict=True)
        own = np.concatenate([drift[r.size][r.component, r.place][z] for r, z in both])
        return Drift.of(self._edges.resolve(in_cells(own)), np.zeros(len(own), np.int32))

    def _observe(
        self, requests: Sequence[Request], found: Sequence[Symbols], latents: Sequence[Float]
    ) -> None:
        if self._channel.observe is None:
            return
        for request, symbols, v in zip(requests, found, latents, strict=True):
            cells = None
            if self._drifts is not None:
                own = self._drifts[request.size][request.component, request.place]
                cells = np.rint(in_cells(own)).astype(np.int64)
            self._channel.observe.units(request, symbols // 2, v / self._unit, cells)

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
            frame.held.append(Held(size, *place, block, rows))
