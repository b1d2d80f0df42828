"""The coarsest layer of layered symbols: TEC-ELIC's coder, its cells such that finer layers can divide them.

Blocks and axes are chosen for a finer step than the layer's own, since all layers share them. The spectrum
states how large latents are, not their symbols, so that it holds in other steps too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.context import Request
from eocodec.entropy.context_coder import ContextCoder, ContextFrame, Past, pick
from eocodec.entropy.context_passes import Observer, PassReader, PassWriter, empty_values
from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.partition import Partition, choose
from eocodec.entropy.rdo import state_axes
from eocodec.entropy.spectrum import BANDS, CELL, layout
from eocodec.entropy.tile_spectrum import measured
from eocodec.errors import MalformedSection

AXES_FOR, BLOCKS_FOR = 1, 1  # octaves from the coarsest step to the one that these are chosen for
FINEST = 3  # octaves from the coarsest step to the finest one
LAYERED_RDO = 0.4  # of lambda, what an error counts against bits
MAX_COARSE = 1 << 27  # of a magnitude in the coarsest layer, so that the finest fits 32 bits

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Coarse:
    """Symbols [C, N * N, n], int32, and what they stand for, float32, in steps, in their places, by size."""

    symbols: Mapping[int, Symbols]
    values: Mapping[int, Float]

    @classmethod
    def empty(cls, part: Partition, bands: int) -> Coarse:
        """Zeros."""
        zeros = empty_values(part, bands, wide=False)
        return cls({size: np.zeros_like(v, np.int32) for size, v in zeros.items()}, zeros)

    def put(self, requests: Sequence[Request], symbols: Sequence[Symbols], values: Sequence[Float]) -> None:
        """What was coded of one pass, into its places."""
        for request, own, stand_for in zip(requests, symbols, values, strict=True):
            self.symbols[request.size][request.component, request.place] = own
            self.values[request.size][request.component, request.place] = stand_for


@dataclass(frozen=True, eq=False)
class NestedFrame(ContextFrame):
    """A timestep in its coarsest layer.

    coarse : what was coded of it
    latents : in steps, less the part of a prediction that the gain adds to it; empty on decoding
    """

    coarse: Coarse = field(default_factory=lambda: Coarse({}, {}))
    latents: Mapping[int, Float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NestedCoder(ContextCoder):
    """`ContextCoder` whose symbols are cut off towards zero; its prior has steps of the coarsest layer."""

    def plan(self, y: Float, quality_steps: int, lmbda: float) -> ContextFrame:
        """Axes, partition and spectrum of a timestep for all layers, latents in steps."""
        prior, (rows, cols) = self.prior, y.shape[1:]
        coarse = prior.step(quality_steps)
        step = coarse / 2**BLOCKS_FOR
        steps = np.full(len(y), coarse / 2**AXES_FOR, np.float32)
        axes = state_axes(y.reshape(len(y), -1), steps, prior.axes, self.ring)
        every = self.in_blocks(y, axes, step)
        worth = lmbda * (coarse / 2**FINEST) ** 2
        partition, cost = choose(every, rows, cols, worth)
        chosen = {
            size: pick(values, partition, size) * np.float32(2.0**-BLOCKS_FOR)
            for size, values in every.items()
        }
        for values in chosen.values():
            np.clip(values, -MAX_COARSE, MAX_COARSE, out=values)
        spectrum = prior.spectrum.reachable(spectrum_of(chosen, alive(chosen)), quality_steps)
        return NestedFrame(axes, partition, spectrum, (), chosen, cost)

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
    ) -> NestedFrame:
        """As `ContextCoder.encode_plan`; `values` are kept in any case, those of `plan` are changed."""
        prior, part = self.prior, plan.partition
        self.encode_stated(plan, encoder, quality_steps)
        kept, coarse = empty_values(part, self.bands, past is not None), Coarse.empty(part, self.bands)
        worth = LAYERED_RDO * lmbda * (prior.step(quality_steps) / 2**FINEST) ** 2
        writer = _Writer(plan, kept, encoder, prior, worth, observe, coarse)
        self.model(plan, quality_steps, past).run(writer, edges)
        return NestedFrame(plan.axes, part, plan.spectrum, writer.coded, kept, plan.cost, coarse, plan.values)

    def decode(
        self,
        decoder: SymbolDecoder,
        edges: EdgeReader,
        rows: int,
        cols: int,
        quality_steps: int,
        past: Past | None = None,
    ) -> NestedFrame:
        """As `ContextCoder.decode`."""
        stated = self.decode_stated(decoder, rows, cols, quality_steps)
        part = stated.partition
        values, coarse = empty_values(part, self.bands, past is not None), Coarse.empty(part, self.bands)
        reader = _Reader(values, decoder, self.prior, coarse)
        self.model(stated, quality_steps, past).run(reader, edges)
        return NestedFrame(stated.axes, part, stated.spectrum, reader.coded, values, coarse=coarse)


def alive(values: Mapping[int, Float], limit: float = 1.0) -> NDArray[np.bool_]:
    """[BANDS, C]: where a magnitude reaches a limit; values by size, [C, N * N, n]."""
    out = np.zeros((BANDS, len(values[CELL])), bool)
    for size, v in values.items():
        if v.shape[2]:
            reached = np.maximum(v.max(2), -v.min(2)) >= limit  # (C, N * N)
            np.logical_or.at(out, layout(size).bands, reached.T)
    return out


def spectrum_of(values: Mapping[int, Float], live: NDArray[np.bool_]) -> Index:
    """Scale indices of mean magnitudes, [BANDS, C], -1 where not live; values by size, [C, N * N, n]."""
    total, count = np.zeros(live.shape), np.zeros((BANDS, 1))
    for size, v in values.items():
        np.add.at(total, layout(size).bands, np.abs(v).sum(2, dtype=np.float64).T)
        count += (layout(size).counts.sum((1, 2)) * v.shape[2])[:, None]
    return measured(np.where(live, total, 0), count)


class _Writer(PassWriter):
    """Cuts latents off, keeps symbols and what they stand for; latents lose the part that the gain adds."""

    def __init__(
        self,
        frame: ContextFrame,
        kept: Mapping[int, NDArray[Any]],
        encoder: SymbolEncoder,
        prior: ContextPrior,
        worth: float,
        observe: Observer | None,
        coarse: Coarse,
    ) -> None:
        super().__init__(frame.values, kept, encoder, prior, np.float32(worth), observe)
        self._coarse = coarse

    def wanted(self, request: Request) -> Float:
        """Latents of a request, in steps."""
        v = super().wanted(request)
        self.latents[request.size][request.component, request.place] = v
        return v

    def rounded(self, v: Float) -> Float:
        """Latents cut off towards zero."""
        return np.trunc(v)

    def keep(self, requests: Sequence[Request], symbols: Sequence[Symbols], values: Sequence[Float]) -> None:
        """Put symbols and what they stand for in place."""
        super().keep(requests, symbols, values)
        self._coarse.put(requests, symbols, values)


class _Reader(PassReader):
    """Decodes symbols, and keeps them and what they stand for in their places."""

    def __init__(
        self,
        values: Mapping[int, NDArray[Any]],
        decoder: SymbolDecoder,
        prior: ContextPrior,
        coarse: Coarse,
    ) -> None:
        super().__init__(values, decoder, prior)
        self._coarse = coarse

    def keep(self, requests: Sequence[Request], symbols: Sequence[Symbols], values: Sequence[Float]) -> None:
        """Put symbols and what they stand for in place."""
        if max(int(np.abs(own).max(initial=0)) for own in symbols) > MAX_COARSE:
            raise MalformedSection(f"SYMBOLS: a coarse symbol is outside +-{MAX_COARSE} (R74)")
        super().keep(requests, symbols, values)
        self._coarse.put(requests, symbols, values)
