"""What is stated of a timestep, its bands and their passes beside the symbols of pixels.

One description serves both directions: a `Port` either appends the integers it is given to an encoder, or
ignores them and takes the next ones from a decoder. Numbers of a pass are coded as differences from those of
the same pass in the band before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.geometric import SHAPES
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.errors import MalformedSection
from eocodec.residual.model import MAX_GAIN, MAX_SLOPE, TableChoice
from eocodec.residual.symbols import MAX_SCALE, decode_scaled, encode_scaled

Ints = NDArray[np.int64]

MAX_VALUE = (1 << 31) - 1  # magnitude of bounds and centres
MAX_SHIFT = 16
MAX_WEIGHT = 1 << 20
MAX_OFFSET = 256
SILENT = len(SHAPES)  # instead of a shape: all symbols of the pass are 0
_WEIGHT_SHAPE = 2  # many are zero
_DELTA_SHAPE = 1
_DELTA_SCALE, _COUNT_SCALE, _CENTRE_SCALE, _BOUND_SCALE = 21, 26, 45, 57  # mean magnitudes 1, 3, 256, 4096
_FIRST = {"count": 8, "shift": 8, "scale": 24, "shape": 0, "slope": 8, "offset": -15}
_FIRST_GAIN = 10


class Port(Protocol):
    """One direction of coding."""

    def code(self, values: Ints, scale: Ints, shape: int) -> Ints:
        """The values that are coded [n], each at its scale [n]; a decoder ignores what `values` holds."""


@dataclass(frozen=True)
class Writer:
    """Appends to an encoder."""

    encoder: SymbolEncoder

    def code(self, values: Ints, scale: Ints, shape: int) -> Ints:
        """Append the values; returned as they are."""
        encode_scaled(self.encoder, values, scale, shape)
        return values


@dataclass(frozen=True)
class Reader:
    """Takes from a decoder."""

    decoder: SymbolDecoder

    def code(self, values: Ints, scale: Ints, shape: int) -> Ints:
        """The next values."""
        return decode_scaled(self.decoder, scale, shape)


@dataclass(frozen=True)
class Prediction:
    """Weights of the first features of a pass, [count], in units of 2^-shift; scale: how they are coded."""

    shift: int
    scale: int
    weights: Ints


NO_PREDICTION = Prediction(0, 0, np.zeros(0, np.int64))


@dataclass
class Side:
    """All side information through a port, with the numbers of the pass before as context."""

    port: Port
    history: dict[tuple[int, str], int] = field(default_factory=dict)

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """Smallest and largest value of the timestep."""
        low, span = self._plain([low, high - low], _BOUND_SCALE)
        if span < 0 or max(-low, low + span) > MAX_VALUE:
            raise MalformedSection(f"RESIDUAL: bounds {low} to {low + span} (R53)")
        return low, low + span

    def order(self, order: Sequence[int]) -> Ints:
        """Bands in coding order: a permutation."""
        steps = np.diff(np.asarray(order), prepend=-1) - 1
        found = np.cumsum(np.array(self._plain(steps.tolist(), _COUNT_SCALE)) + 1) - 1
        if not np.array_equal(np.sort(found), np.arange(len(found))):
            raise MalformedSection("RESIDUAL: the order of bands is no permutation (R54)")
        return found

    def centres(self, centres: Ints) -> Ints:
        """A value of each band to measure from, in coding order."""
        steps = self._plain(np.diff(centres, prepend=0).tolist(), _CENTRE_SCALE)
        found = np.cumsum(steps)
        if int(np.abs(found).max()) > MAX_VALUE:
            raise MalformedSection("RESIDUAL: a centre is outside 32 bits (R53)")
        return found

    def references(self, places: Sequence[int], done: int) -> list[int]:
        """Places, in the order of bands, of those whose surroundings are features."""
        back = self._plain([done - 1 - place for place in places], _COUNT_SCALE)
        found = [done - 1 - step for step in back]
        if any(not 0 <= place < done for place in found) or len(set(found)) < len(found):
            raise MalformedSection(f"RESIDUAL: bands {found} as references, {done} are decoded (R55)")
        return found

    def prediction(self, number: int, plan: Prediction, features: int) -> Prediction:
        """Weights of a pass that has that many features."""
        (count,) = self._numbers(number, {"count": (len(plan.weights), 0, features)}, _COUNT_SCALE)
        if not count:
            return NO_PREDICTION
        stated = {"shift": (plan.shift, 0, MAX_SHIFT), "scale": (plan.scale, 0, MAX_SCALE)}
        shift, scale = self._numbers(number, stated)
        given = plan.weights if len(plan.weights) == count else np.zeros(count, np.int64)
        weights = self.port.code(given, np.full(count, scale), _WEIGHT_SHAPE)
        if int(np.abs(weights).max()) > MAX_WEIGHT:
            raise MalformedSection(f"RESIDUAL: a weight is beyond +-{MAX_WEIGHT} (R56)")
        return Prediction(shift, scale, weights)

    def tables(self, number: int, choice: TableChoice | None, places: Sequence[int]) -> TableChoice | None:
        """Choice of tables for a pass whose energy has terms at `places`; None if all symbols are 0."""
        (shape,) = self._numbers(number, {"shape": (SILENT if choice is None else choice.shape, 0, SILENT)})
        if shape == SILENT:
            return None
        given = choice or TableChoice(0, 0, 0, dict.fromkeys(places, 0))
        stated = {
            "slope": (given.slope, 0, MAX_SLOPE),
            "offset": (given.offset, -MAX_OFFSET, MAX_OFFSET),
            **{f"gain {place}": (given.gains[place], 0, MAX_GAIN) for place in places},
        }
        slope, offset, *gains = self._numbers(number, stated)
        return TableChoice(shape, slope, offset, dict(zip(places, gains, strict=True)))

    def gains_before(self, number: int, places: Sequence[int]) -> dict[int, int]:
        """Gains of the same pass in the band before."""
        return {place: self.history.get((number, f"gain {place}"), _FIRST_GAIN) for place in places}

    def _numbers(
        self, number: int, stated: dict[str, tuple[int, int, int]], scale: int = _DELTA_SCALE
    ) -> list[int]:
        """Numbers of a pass: value, smallest and largest by name. All at one scale, so they are one group."""
        before = [self.history.get((number, name), _FIRST.get(name, _FIRST_GAIN)) for name in stated]
        given = [value - last for (value, _, _), last in zip(stated.values(), before, strict=True)]
        found = [last + step for last, step in zip(before, self._plain(given, scale), strict=True)]
        for (name, (_, low, high)), value in zip(stated.items(), found, strict=True):
            if not low <= value <= high:
                raise MalformedSection(
                    f"RESIDUAL: {name} of a pass is {value}, expected {low} to {high} (R56)"
                )
            self.history[number, name] = value
        return found

    def _plain(self, values: Sequence[int], scale: int) -> list[int]:
        coded = self.port.code(np.array(values, np.int64), np.full(len(values), scale), _DELTA_SHAPE)
        return coded.tolist()  # type: ignore[no-any-return]
