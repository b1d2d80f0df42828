"""The residual coder: integer arrays <-> a range coder stream, every value within the bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.residual.cells import Copies
from eocodec.residual.fit import fit_prediction, fit_tables
from eocodec.residual.model import MAX_REFERENCES, PassModel, State
from eocodec.residual.repeats import Grids
from eocodec.residual.scan import passes
from eocodec.residual.side import NO_PREDICTION, Prediction, Reader, Side, Writer
from eocodec.residual.symbols import decode_scaled, encode_scaled

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Bands that are alike follow each other; for the 12 bands of Sentinel-2, those at 10 m come first.
S2_ORDER = (7, 3, 2, 1, 4, 5, 6, 8, 10, 11, 0, 9)


class _Source(Protocol):
    """Where the decisions and symbols of a timestep come from: from its pixels, or from a stream."""

    def references(self, state: State, done: Sequence[int], band: int) -> list[int]:
        """Bands whose surroundings predict the band."""

    def prediction(self, model: PassModel, coded: Bools) -> Prediction:
        """Weights of a pass."""

    def symbols(self, model: PassModel, predicted: Ints, fraction: Ints, coded: Bools) -> Ints:
        """Symbols of a pass, [rows, cols]; 0 where not coded."""


def _run(state: State, coded: Bools, source: _Source, grids: Grids) -> Ints:
    """Code one timestep, pass by pass; returns the reconstructed values [C, H, W]."""
    done: list[int] = []
    rows, cols = coded.shape[1:]
    for band in state.order.tolist():
        references = source.references(state, done, band)
        copies = Copies(coded[band], grids.cells(band, coded[band]))
        for scan in passes((rows, cols)):
            part = copies.coded(scan)
            if not part.any():
                continue
            model = PassModel(state, band, done, references, scan)
            plan = source.prediction(model, part)
            predicted, fraction = model.predict(plan.weights, plan.shift)
            symbols = source.symbols(model, predicted, fraction, part)
            values = state.reconstruct(band, predicted, symbols)
            copies.put(scan, part, (state.values[band], values), (state.magnitudes[band], np.abs(symbols)))
        state.finish_band(band)
        done.append(band)
    return np.asarray(state.values + state.centre[:, None, None])


@dataclass(frozen=True)
class _FromPixels:
    """The encoder's side: decides, writes, and hands on what it wrote. target: values less centres."""

    encoder: SymbolEncoder
    side: Side
    target: Ints

    def references(self, state: State, done: Sequence[int], band: int) -> list[int]:
        likeness = [_likeness(state.values[other], self.target[band]) for other in done]
        best = np.argsort(likeness, kind="stable")[::-1][:MAX_REFERENCES]
        self.side.references(best.tolist(), len(done))
        return [done[place] for place in best]

    def prediction(self, model: PassModel, coded: Bools) -> Prediction:
        features = len(model.features())
        plan = fit_prediction(model, model.scan.take(self.target[model.band]), coded)
        return self.side.prediction(model.scan.number, plan, features) if features else plan

    def symbols(self, model: PassModel, predicted: Ints, fraction: Ints, coded: Bools) -> Ints:
        error = model.scan.take(self.target[model.band]) - predicted
        step = model.state.step
        symbols: Ints = np.sign(error) * ((np.abs(error) + step // 2) // step)
        symbols[~coded] = 0
        terms = model.terms(fraction)
        places, number = list(terms), model.scan.number
        choice = fit_tables(terms, symbols, coded, self.side.gains_before(number, places))
        self.side.tables(number, choice, places)
        if choice is not None:
            scale = choice.scales(terms, coded)
            encode_scaled(self.encoder, symbols[coded], scale, choice.shape)
        return symbols


@dataclass(frozen=True)
class _FromStream:
    """The decoder's side."""

    decoder: SymbolDecoder
    side: Side

    def references(self, state: State, done: Sequence[int], band: int) -> list[int]:
        count = min(len(done), MAX_REFERENCES)
        return [done[place] for place in self.side.references([0] * count, len(done))]

    def prediction(self, model: PassModel, coded: Bools) -> Prediction:
        features = len(model.features())
        return self.side.prediction(model.scan.number, NO_PREDICTION, features) if features else NO_PREDICTION

    def symbols(self, model: PassModel, predicted: Ints, fraction: Ints, coded: Bools) -> Ints:
        terms = model.terms(fraction)
        symbols = np.zeros(coded.shape, np.int64)
        choice = self.side.tables(model.scan.number, None, list(terms))
        if choice is not None:
            symbols[coded] = decode_scaled(self.decoder, choice.scales(terms, coded), choice.shape)
        return symbols


def _likeness(one: Ints, other: Ints) -> float:
    """Absolute correlation of two planes, both about 0; every other row and column is enough."""
    a, b = one[::2, ::2].astype(np.float64), other[::2, ::2].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    power = float((a * a).sum() * (b * b).sum())
    return abs(float((a * b).sum())) / power**0.5 if power > 0 else 0.0


def encode_timestep(encoder: SymbolEncoder, values: Ints, coded: Bools, task: Task) -> Ints:
    """Append one timestep.

    Parameters
    ----------
    values : [C, H, W], int64; coded : same shape, which of them count

    Returns
    -------
    what a decoder makes of it, [C, H, W], int64; within the bound where coded
    """
    side = Side(Writer(encoder))
    inside = values[coded]
    bounds = side.bounds(*((int(inside.min()), int(inside.max())) if inside.size else (0, 0)))
    bands = len(values)
    order = side.order(S2_ORDER if bands == len(S2_ORDER) else range(bands))
    centre = np.zeros(bands, np.int64)
    for band in range(bands):
        if coded[band].any():
            centre[band] = round(float(values[band][coded[band]].mean()))
    centre[order] = side.centres(centre[order])
    state = task.state(values.shape, order, centre, bounds)
    return _run(state, coded, _FromPixels(encoder, side, values - centre[:, None, None]), task.grids)


def decode_timestep(decoder: SymbolDecoder, coded: Bools, task: Task) -> Ints:
    """Inverse of `encode_timestep`: the next timestep's values, [C, H, W], int64.

    Raises
    ------
    MalformedSection : something stated cannot be
    """
    side = Side(Reader(decoder))
    bounds = side.bounds(0, 0)
    order = side.order(range(len(coded)))
    centre = np.empty(len(coded), np.int64)
    centre[order] = side.centres(np.zeros(len(coded), np.int64))
    state = task.state(coded.shape, order, centre, bounds)
    return _run(state, coded, _FromStream(decoder, side), task.grids)


@dataclass(frozen=True)
class Task:
    """What both sides know before a timestep.

    max_error : E; nodata : a value that no coded pixel has, or None; base : [C, H, W], int64, or None
    grids : which pixels of a band are copies of others
    """

    max_error: int
    nodata: int | None = None
    base: Ints | None = None
    grids: Grids = field(default_factory=Grids)

    def state(self, shape: tuple[int, ...], order: Ints, centre: Ints, bounds: tuple[int, int]) -> State:
        """The state before the first pass.

        Where nodata lies between the bounds, pixels next to it are coded to E - 1, so that one that would
        become nodata can be moved by 1.
        """
        bound, avoided = self.max_error, None
        if bound and self.nodata is not None and bounds[0] <= self.nodata <= bounds[1]:
            bound, avoided = bound - 1, self.nodata
        relative = None if self.base is None else self.base - centre[:, None, None]
        values, magnitudes = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        return State(values, magnitudes, relative, order, centre, *bounds, 2 * bound + 1, avoided)
