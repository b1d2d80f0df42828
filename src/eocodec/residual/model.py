"""How a pixel is predicted and which table codes its residual: integers only, alike in encoder and decoder.

Values of a band are taken relative to its centre. A pass of a band (`scan.Pass`) is predicted by a weighted
sum of *features*: decoded neighbours in the band, the same place and its surroundings in bands decoded
before, and in the base layer if there is one. The table of each symbol follows from its *energy*, a weighted
sum of what is known of the residuals and of the activity around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from eocodec.residual.scan import AROUND, CORNERS, NEAR, NEIGHBOURS, PLUS, Pass
from eocodec.residual.symbols import MAX_SCALE

Ints = NDArray[np.int64]

MAX_REFERENCES = 2  # bands whose surroundings are features, not only the pixel itself
SURROUNDINGS = ((0, 0), *AROUND, (0, -2), (0, 2), (-2, 0), (2, 0))
UNIT = 16  # energy terms are in 1/16 of a quantisation step
MAX_GAIN = 24
GAINS: Ints = np.array([0, *(isqrt(1 << k) for k in range(MAX_GAIN))])  # weights of an energy, by code
TERMS = 14  # places for the terms of an energy: 3 own, 4 a reference, base, fraction, constant
MAX_SLOPE = 31
_SLOPE_BITS = 3


def _cube_root_up(value: int) -> int:
    """Smallest integer whose cube is not below `value`."""
    root = round(value ** (1 / 3))
    return next(r for r in range(root - 1, root + 3) if r**3 >= value)


# Energies from which on the level is 1, 2, ...; level = floor(3 log2(energy)), at most LEVELS - 1
THRESHOLDS: Ints = np.array([_cube_root_up(1 << level) for level in range(1, 79)])
LEVELS = len(THRESHOLDS) + 1


@dataclass
class State:
    """One timestep while it is coded.

    values : [C, H, W], int64, decoded, less the band's centre; 0 where not yet decoded
    magnitudes : [C, H, W], int64, |symbol|; 0 where not yet decoded
    base : [C, H, W], int64, base layer less the band's centre, or None
    order : [C], bands in coding order; centre : [C]; low, high : bounds of all values; step : 2 E + 1
    avoided : a value that no coded pixel has, or None
    """

    values: Ints
    magnitudes: Ints
    base: Ints | None
    order: Ints
    centre: Ints
    low: int
    high: int
    step: int
    avoided: int | None = None
    activity: dict[int, Ints] = field(default_factory=dict)  # of bands that are finished, [H, W]

    def reconstruct(self, band: int, predicted: Ints, symbols: Ints) -> Ints:
        """Values of a pass, less the centre."""
        centre = int(self.centre[band])
        values: Ints = np.clip(predicted + self.step * symbols, self.low - centre, self.high - centre)
        if self.avoided is not None:
            avoided = self.avoided - centre
            values[values == avoided] += 1 if self.avoided < self.high else -1
        return values

    def finish_band(self, band: int) -> None:
        """To be called when all passes of a band are done."""
        self.activity[band] = activity(self.values[band])


def _sum(planes: Sequence[Ints]) -> Ints:
    total = planes[0].copy()
    for plane in planes[1:]:
        total += plane
    return total


def activity(plane: Ints) -> Ints:
    """Summed absolute differences of each pixel from its four neighbours, [H, W]; 0 across the border."""
    out: Ints = np.zeros_like(plane)
    down, right = np.abs(np.diff(plane, axis=0)), np.abs(np.diff(plane, axis=1))
    out[1:] += down
    out[:-1] += down
    out[:, 1:] += right
    out[:, :-1] += right
    return out


@dataclass(frozen=True)
class Feature:
    """A plane and an offset; `own`: the band itself, the offset in units of the pass."""

    plane: Ints
    offset: tuple[int, int]
    own: bool


@dataclass(frozen=True)
class PassModel:
    """One pass of one band, in its state; references: bands whose surroundings are features."""

    state: State
    band: int
    done: Sequence[int]
    references: Sequence[int]
    scan: Pass

    def features(self) -> list[Feature]:
        """All features, in the order of their weights."""
        state, kind = self.state, self.scan.kind
        own = state.values[self.band]
        found = [Feature(own, offset, True) for offset in NEIGHBOURS[kind]]
        for band in self.references:
            found += [Feature(state.values[band], offset, False) for offset in SURROUNDINGS]
        if state.base is not None:
            base, half = state.base[self.band], self.scan.spacing // 2
            found += [Feature(base, offset, False) for offset in ((0, 0), *AROUND)]
            if half > 1:
                far = NEIGHBOURS[kind][: NEAR[kind]]
                found += [Feature(base, (half * i, half * j), False) for i, j in far]
        others = (band for band in self.done if band not in self.references)
        return found + [Feature(state.values[band], (0, 0), False) for band in others]

    def take(self, feature: Feature) -> Ints:
        """Values of a feature, [rows, cols]."""
        if feature.own:
            return self.scan.neighbour(feature.plane, feature.offset)
        return self.scan.take(feature.plane, feature.offset)

    def predict(self, weights: Ints, shift: int) -> tuple[Ints, Ints]:
        """Prediction within the bounds, and its distance from an integer (0 to 16 / 32), [rows, cols] each.

        weights : [n] of the first n features, in units of 2^-shift
        """
        total = np.zeros(self.scan.size, np.int64)
        features = self.features()
        for index in np.flatnonzero(weights).tolist():
            total += weights[index] * self.take(features[index])
        rounded = (total + (1 << shift >> 1)) >> shift
        fraction = np.abs(total - (rounded << shift)) << 5 >> shift
        centre = int(self.state.centre[self.band])
        return np.clip(rounded, self.state.low - centre, self.state.high - centre), fraction

    def terms(self, fraction: Ints) -> dict[int, Ints]:
        """Terms of the energy by their place, [rows, cols] each, not negative, in units of 1 / UNIT step."""
        state, scan = self.state, self.scan
        found = self._own_terms()
        for number, band in enumerate(self.references):
            magnitudes, place = state.magnitudes[band], 3 + 4 * number
            found[place] = UNIT * scan.take(magnitudes)
            found[place + 1] = _sum([scan.take(magnitudes, offset) for offset in PLUS]) * (UNIT // 4)
            found[place + 2] = _sum([scan.take(magnitudes, offset) for offset in CORNERS]) * (UNIT // 4)
            found[place + 3] = scan.take(state.activity[band]) * (UNIT // 4) // state.step
        if state.base is not None:
            found[11] = scan.take(activity(state.base[self.band])) * (UNIT // 4) // state.step
        if state.step == 1:
            found[12] = fraction
        found[13] = np.full(scan.size, UNIT)
        return found

    def _own_terms(self) -> dict[int, Ints]:
        state, scan, kind = self.state, self.scan, self.scan.kind
        if kind == "0":
            return {}
        magnitudes, values = state.magnitudes[self.band], state.values[self.band]
        offsets = NEIGHBOURS[kind]
        first, second = (
            _sum([scan.neighbour(magnitudes, offset) for offset in part]) * (UNIT // 4)
            for part in (offsets[:4], offsets[4:8])
        )
        near = np.stack([scan.neighbour(values, offset) for offset in offsets[: NEAR[kind]]])
        return {0: first, 1: second, 2: np.ptp(near, axis=0) * UNIT // state.step}


@dataclass(frozen=True)
class TableChoice:
    """How energies become tables.

    shape : of the geometric tables; gains : codes of the terms' weights, by place
    scale of a symbol = offset + slope / 8 * level, level = floor(3 log2(energy))
    """

    shape: int
    slope: int
    offset: int
    gains: dict[int, int]

    def scales(self, terms: dict[int, Ints], coded: NDArray[np.bool_]) -> Ints:
        """Scale of the tables of each coded pixel, [n]."""
        weights = [int(GAINS[self.gains[place]]) for place in terms]
        level = energy_levels(weights, [term[coded] for term in terms.values()])
        return np.asarray(np.clip(self.offset + (self.slope * level >> _SLOPE_BITS), 0, MAX_SCALE))


def energy_levels(weights: Sequence[int], terms: Sequence[Ints]) -> Ints:
    """Level of the energy sum(weight * term) of each pixel, from 0 to LEVELS - 1."""
    energy = np.zeros_like(terms[0])
    for weight, term in zip(weights, terms, strict=True):
        if weight:
            energy += weight * term
    return np.searchsorted(THRESHOLDS, energy, side="right")
