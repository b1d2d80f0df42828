"""Finer layers of FlexTEC in the stream: what is stored for them, what is sent, what is received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables
from eocodec.entropy.context import ContextNet, Request
from eocodec.entropy.context_prior import MAX_SHIFTED
from eocodec.entropy.family import SCALES, SCALES_PER_OCTAVE
from eocodec.entropy.layers import LAST_OUTCOME, ROWS, kind_of, outcome_costs, outcomes_below
from eocodec.entropy.nested_coder import alive, spectrum_of
from eocodec.entropy.temporal_coder import TemporalPrior
from eocodec.errors import MalformedSection

NEW_CONTEXTS = 4  # how many neighbours of a dead band are live

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LayeredPrior:
    """What is stored with the weights.

    base : of the coarsest layer, its tables for cells that can be divided
    net : of finer layers; it sees the layer before
    children : tables of outcomes, kind by kind of parent
    shift : [ROWS, 1 + MAX_SHIFTED], float32: what is added to magnitudes 0, 1, ... of finer layers
    new_tables : NEW_CONTEXTS tables over -1 .. SCALES - 1: scale of a band that comes to life
    """

    base: TemporalPrior
    net: ContextNet
    children: CdfTables
    shift: Float
    new_tables: CdfTables

    @cached_property
    def costs(self) -> Float:
        """`outcome_costs` of the children."""
        return outcome_costs(self.children)


class LayerObserver(Protocol):
    """Sees what an encoder does (training)."""

    def units(self, request: Request, parents: Symbols, v: Float) -> None:
        """A request of a finer layer, symbols of the layer before and latents in steps, [K, n]."""

    def outcomes(self, rows: Index, parents: Symbols, v: Float, outcomes: Symbols) -> None:
        """What was coded: tables, parents, latents in steps, outcomes, [n]."""

    def new_scales(self, contexts: Index, scale: Index) -> None:
        """Scales that were stated of bands that were dead, and their tables, [n]."""


class Channel(Protocol):
    """One side of the stream."""

    observe: LayerObserver | None

    def new_scales(self, old: Index, latents: Mapping[int, Float], layer: int) -> Index:
        """[BANDS, C], scales of a finer layer after those of the one before, -1 where dead."""

    def outcomes(self, rows: Index, parents: Symbols, v: Float | None) -> Symbols:
        """Outcomes [n] of parents [n] under tables [n]; v: latents in steps, of an encoder."""


class Sender:
    """Chooses outcomes and codes them."""

    def __init__(
        self, encoder: SymbolEncoder, prior: LayeredPrior, worth: float, observe: LayerObserver | None
    ) -> None:
        self._encoder, self._prior, self._worth = encoder, prior, np.float32(worth)
        self.observe = observe

    def new_scales(self, old: Index, latents: Mapping[int, Float], layer: int) -> Index:
        """See `Channel`."""
        live = alive(latents, 2.0**-layer)
        scale = np.minimum(spectrum_of(latents, live) + SCALES_PER_OCTAVE * layer, SCALES - 1)
        scale = np.where(old >= 0, np.minimum(old + SCALES_PER_OCTAVE, SCALES - 1), np.where(live, scale, -1))
        dead = old < 0
        contexts = new_contexts(old)[dead]
        self._encoder.encode(scale[dead].astype(np.int32), contexts, self._prior.new_tables)
        if self.observe is not None:
            self.observe.new_scales(contexts, scale[dead])
        return np.asarray(scale)

    def outcomes(self, rows: Index, parents: Symbols, v: Float | None) -> Symbols:
        """The largest outcome below |v|, or one less where that saves more bits than it costs."""
        if v is None:
            raise TypeError("an encoder has latents")
        lowest = 2 * np.abs(parents.astype(np.int64))
        outcome, size = outcomes_below(v, parents)
        table = kind_of(parents) * ROWS + rows
        at = np.flatnonzero(outcome)
        here, costs = outcome[at], self._prior.costs[table[at]]
        each = np.arange(len(at))
        saved = costs[each, here] - costs[each, here - 1]
        high = _magnitudes(lowest[at] + here, rows[at], self._prior)
        low = _magnitudes(lowest[at] + here - 1, rows[at], self._prior)
        added = (size[at] - low) ** 2 - (size[at] - high) ** 2
        outcome[at] -= self._worth * added < saved
        signed = np.where(parents == 0, outcome * np.sign(v).astype(np.int64), outcome).astype(np.int32)
        self._encoder.encode(signed, table, self._prior.children)
        if self.observe is not None:
            self.observe.outcomes(rows, parents, v, signed)
        return np.asarray(signed)


class Receiver:
    """Decodes outcomes."""

    def __init__(self, decoder: SymbolDecoder, prior: LayeredPrior) -> None:
        self._decoder, self._prior = decoder, prior
        self.observe: LayerObserver | None = None

    def new_scales(self, old: Index, latents: Mapping[int, Float], layer: int) -> Index:
        """See `Channel`."""
        scale = np.minimum(old + SCALES_PER_OCTAVE, SCALES - 1)
        dead = old < 0
        found = self._decoder.decode(new_contexts(old)[dead], self._prior.new_tables)
        if ((found < -1) | (found >= SCALES)).any():
            raise MalformedSection("PARTS: a scale of a new band is outside the family (R75)")
        scale[dead] = found
        return np.asarray(scale)

    def outcomes(self, rows: Index, parents: Symbols, v: Float | None) -> Symbols:
        """See `Channel`."""
        found = self._decoder.decode(kind_of(parents) * ROWS + rows, self._prior.children)
        lowest = np.where(parents == 0, -LAST_OUTCOME, 0)
        if ((found < lowest) | (found > LAST_OUTCOME)).any():
            raise MalformedSection("PARTS: a symbol has no such parent (R75)")
        return found


def new_contexts(scale: Index) -> Index:
    """Rows of `LayeredPrior.new_tables` for all bands, [BANDS, C]: how many neighbours were live before."""
    live = np.pad(scale >= 0, 1).astype(np.int64)
    return np.asarray(live[:-2, 1:-1] + live[2:, 1:-1] + live[1:-1, :-2])


def _magnitudes(magnitude: Index, rows: Index, prior: LayeredPrior) -> Float:
    """What magnitudes stand for, in steps."""
    shift = prior.shift[rows, np.minimum(magnitude, MAX_SHIFTED)]
    return np.asarray(magnitude.astype(np.float32) + shift, np.float32)


def reconstructed(symbols: Symbols, rows: Index, prior: LayeredPrior) -> Float:
    """What symbols stand for, in steps."""
    sign = np.sign(symbols).astype(np.float32)
    return sign * _magnitudes(np.abs(symbols.astype(np.int64)), rows, prior)
