"""Finer layers of FlexTEC in the stream: what is stored for them, what is sent, what is received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables
from eocodec.entropy.context import ContextNet, Request
from eocodec.entropy.context_prior import MAX_SHIFTED
from eocodec.entropy.family import SCALES, SCALES_PER_OCTAVE
from eocodec.entropy.layers import (
    LAST_OUTCOME,
    PARENTS,
    ROWS,
    Drift,
    kind_of,
    outcome_costs,
    outcomes_below,
)
from eocodec.entropy.nested_coder import alive, spectrum_of
from eocodec.entropy.prediction import Prediction, decode_prediction, encode_prediction
from eocodec.entropy.temporal_coder import TemporalPrior
from eocodec.errors import MalformedSection

NEW_CONTEXTS = 4  # how many neighbours of a dead band are live

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class RefinedPrior:
    """What is stored for timesteps whose references are known better by now.

    net : of their finer layers; it sees the layer before and what the references say
    settled : [DRIFTING * ROWS, OUTCOMES], float32: what outcomes -2 .. 2 stand for, in steps, along the drift
        of a parent 0 and beyond the start of the cell of others
    """

    net: ContextNet
    settled: Float


@dataclass(frozen=True, eq=False)
class LayeredPrior:
    """What is stored with the weights.

    base : of the coarsest layer, its tables for cells that can be divided
    net : of finer layers; it sees the layer before
    children : tables of outcomes, kind by kind of parent; with `refined`, then those of drifting parents
    shift : [ROWS, 1 + MAX_SHIFTED], float32: what is added to magnitudes 0, 1, ... of finer layers
    new_tables : NEW_CONTEXTS tables over -1 .. SCALES - 1: scale of a band that comes to life
    refined : of predicted timesteps; without it, finer layers take no notice of other timesteps
    """

    base: TemporalPrior
    net: ContextNet
    children: CdfTables
    shift: Float
    new_tables: CdfTables
    refined: RefinedPrior | None = None

    @cached_property
    def costs(self) -> Float:
        """`outcome_costs` of the children."""
        return outcome_costs(self.children)


class LayerObserver:
    """Sees what an encoder does (training); a class of it does nothing where it says nothing else."""

    def units(self, request: Request, parents: Symbols, v: Float, drift: Index | None) -> None:
        """A request of a finer layer; [K, n]: the layer before, latents in steps, drifts in cells."""

    def outcomes(
        self, rows: Index, parents: Symbols, v: Float, outcomes: Symbols, drift: Drift | None
    ) -> None:
        """What was coded: tables, parents, latents in steps, outcomes, [n]."""

    def new_scales(self, contexts: Index, scale: Index) -> None:
        """Scales that were stated of bands that were dead, and their tables, [n]."""


class Channel(Protocol):
    """One side of the stream."""

    observe: LayerObserver | None

    def new_scales(self, old: Index, latents: Mapping[int, Float], layer: int) -> Index:
        """[BANDS, C], scales of a finer layer after those of the one before, -1 where dead."""

    def prediction(self, wanted: Prediction | None, timestep: int, components: int) -> Prediction:
        """What is stated of a timestep in a finer layer; wanted: by an encoder."""

    def outcomes(self, rows: Index, parents: Symbols, v: Float | None, drift: Drift | None = None) -> Symbols:
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

    def prediction(self, wanted: Prediction | None, timestep: int, components: int) -> Prediction:
        """See `Channel`."""
        if wanted is None:
            raise TypeError("an encoder has a prediction")
        encode_prediction(self._encoder, wanted, self._prior.base.later.family, timestep)
        return wanted

    def outcomes(self, rows: Index, parents: Symbols, v: Float | None, drift: Drift | None = None) -> Symbols:
        """The largest outcome below |v|, or one less where that saves more bits than it costs."""
        if v is None:
            raise TypeError("an encoder has latents")
        along = v if drift is None else v * drift.sign.astype(np.float32)
        largest, size = outcomes_below(along, parents)
        table = _tables(rows, parents, drift)
        at = np.flatnonzero(largest)
        way = np.where(parents == 0, np.sign(along), 1).astype(np.int32)
        coded = (largest * way).astype(np.int32)
        own, of = way[at], (parents[at], rows[at], table[at], self._prior)
        here, lower = coded[at], coded[at] - own
        costs, each = self._prior.costs[table[at]], np.arange(len(at))
        saved = costs[each, here + LAST_OUTCOME] - costs[each, lower + LAST_OUTCOME]
        high, low = (own.astype(np.float32) * _along(outcomes, *of) for outcomes in (here, lower))
        added = (size[at] - low) ** 2 - (size[at] - high) ** 2
        coded[at] -= own * (self._worth * added < saved)
        self._encoder.encode(coded, table, self._prior.children)
        found = coded if drift is None else (coded * drift.sign).astype(np.int32)
        if self.observe is not None:
            self.observe.outcomes(rows, parents, v, found, drift)
        return np.asarray(found)


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

    def prediction(self, wanted: Prediction | None, timestep: int, components: int) -> Prediction:
        """See `Channel`."""
        base = self._prior.base
        return decode_prediction(self._decoder, base.later.family, timestep, components, base.sources)

    def outcomes(self, rows: Index, parents: Symbols, v: Float | None, drift: Drift | None = None) -> Symbols:
        """See `Channel`."""
        found = self._decoder.decode(_tables(rows, parents, drift), self._prior.children)
        lowest = np.where(parents == 0, -LAST_OUTCOME, 0)
        if ((found < lowest) | (found > LAST_OUTCOME)).any():
            raise MalformedSection("PARTS: a symbol has no such parent (R75)")
        return found if drift is None else (found * drift.sign).astype(np.int32)


def new_contexts(scale: Index) -> Index:
    """Rows of `LayeredPrior.new_tables` for all bands, [BANDS, C]: how many neighbours were live before."""
    live = np.pad(scale >= 0, 1).astype(np.int64)
    return np.asarray(live[:-2, 1:-1] + live[2:, 1:-1] + live[1:-1, :-2])


def _tables(rows: Index, parents: Symbols, drift: Drift | None) -> Index:
    """Rows of `LayeredPrior.children`."""
    return np.asarray((kind_of(parents) if drift is None else drift.kind) * ROWS + rows)


def stand_for(
    outcomes: Symbols, parents: Symbols, rows: Index, drift: Drift | None, prior: LayeredPrior
) -> Float:
    """What outcomes of parents stand for, in steps, all [n]."""
    if drift is None:
        way = np.where(parents == 0, 1, np.sign(parents))
        return way * _along(outcomes, parents, rows, rows, prior)
    table = drift.kind * ROWS + rows
    way = np.where(parents == 0, drift.sign, np.sign(parents))
    return way * _along(outcomes * drift.sign, parents, rows, table, prior)


def _along(outcomes: NDArray[Any], parents: Symbols, rows: Index, table: Index, prior: LayeredPrior) -> Float:
    """What outcomes stand for, along drifts where parents are 0 and along the sign of others."""
    start = 2 * np.abs(parents.astype(np.int64))
    magnitude = np.abs(outcomes) + start
    shift = prior.shift[rows, np.minimum(magnitude, MAX_SHIFTED)]
    found = np.where(parents == 0, np.sign(outcomes), 1) * (magnitude.astype(np.float32) + shift)
    if prior.refined is not None:
        at = np.flatnonzero(table >= PARENTS * ROWS)
        settled = prior.refined.settled[table[at] - PARENTS * ROWS, outcomes[at] + LAST_OUTCOME]
        found[at] = start[at] + settled
    return np.asarray(found, np.float32)
