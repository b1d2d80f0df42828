"""The context model of TEC-ELIC: which table codes each symbol, from all that is decoded before it.

Symbols are coded in steps. Step s takes band b of component c for all b + c = s, in two passes: the half of
the coefficients with even u + v, then the other half, which sees the first. A *unit* is one orientation of
one half of one band of one component in one block; its symbols share a table. A small network gives each
unit's scale and shape, relative to the tile's spectrum, from sums of |symbols| in lower bands, in earlier
components, in the half before and in the blocks around, each beside the sum that the spectrum makes expect.

All of it is float64 and snapped (entropy/exact.py); sums are integers. Features that no symbol changes meet
the network's first layer once a tile; the others are computed once for all units that share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from eocodec.entropy.context_features import CHANGING, FEATURES, Step, Sums
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.family import SCALES, SHAPES
from eocodec.entropy.layers import PARENT_FEATURES, ParentSums
from eocodec.entropy.partition import Partition
from eocodec.entropy.past import PAST_FEATURES, PastSums, PastValues
from eocodec.entropy.refined import REFINED_FEATURES, RefinedSums, RefinedValues
from eocodec.entropy.spectrum import ORIENTATIONS
from eocodec.entropy.units import Blocks, Pairs, Units

__all__ = [
    "FEATURES",
    "PAST_FEATURES",
    "SCALE_UNIT",
    "SHAPE_UNIT",
    "ContextModel",
    "ContextNet",
    "Request",
    "Source",
]

SCALE_UNIT, SHAPE_UNIT = 3.0, 5.0  # what an output of 1 means, in indices of the family
_OUTPUT_UNITS = np.array([SCALE_UNIT, SHAPE_UNIT])[:, None, None]
MIN_GAIN, MAX_GAIN = 0.0, 1.25  # of a prediction; an output of 0 means 1
_SLOPE = 0.1  # of the leaky ReLU
_COLUMNS = 1024  # that go through the network at a time, unless a unit has more: they stay in a cache

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]
Rows = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Expected:
    """What was predicted of a pass, in steps: it has been subtracted from latents already.

    mean : [K, n], float64; shift : what the gain adds to it
    """

    mean: Float
    shift: Float


@dataclass(frozen=True, eq=False)
class Request:
    """Coefficients of all blocks of a size that are coded in one pass.

    size, half : which they are of
    component, place : [K], of each coefficient: its component and sorted place
    rows : [K, n], uint16, table of each coefficient, unit by unit
    counts : [V], coefficients of each unit
    known, changing : [FEATURES, V] and [features, V, n], what `features` is made of
    expected : [K, n], or None without a prediction
    """

    size: int
    half: int
    component: Index
    place: Index
    rows: Rows
    counts: Index
    known: Float
    changing: Float
    expected: Expected | None = None

    @cached_property
    def features(self) -> Float:
        """[features, V, n], what the network saw of each unit: FEATURES, then maybe PAST_FEATURES."""
        own = CHANGING[self.half]
        out = np.repeat(self.known[:, :, None], self.changing.shape[2], axis=2)
        out[own] = self.changing[: len(own)]
        return np.concatenate([out, self.changing[len(own) :]])


class Source(Protocol):
    """Where symbols come from: quantised latents or a stream."""

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """Symbols of one pass, each of the shape of its request's rows."""


@dataclass(frozen=True, eq=False)
class ContextNet:
    """Features -> hidden -> hidden -> (scale, shape), or (scale, shape, gain); float64.

    weights : [out, in] of the three layers; biases : [out]
    """

    weights: tuple[Float, Float, Float]
    biases: tuple[Float, Float, Float]

    def __call__(self, x: Float) -> Float:
        """[features, n] -> [outputs, n]."""
        return self.after_first(self.first(x))

    def first(self, x: Float) -> Float:
        """The first layer before its activation, of the first features: [k, n] -> [hidden, n]."""
        weights, biases = self._tensors
        return torch.addmm(biases[0], weights[0][:, : len(x)], torch.from_numpy(x)).numpy()

    def after_first(self, hidden: Float) -> Float:
        """All but the first layer, [hidden, n] -> [outputs, n]; `hidden` is used as scratch."""
        (_, second, last), (_, second_bias, last_bias) = self._tensors
        h = functional.leaky_relu_(torch.from_numpy(hidden), _SLOPE)
        h = functional.leaky_relu_(torch.addmm(second_bias, second, h), _SLOPE)
        return torch.addmm(last_bias, last, h).numpy()

    @cached_property
    def _tensors(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Weights and biases, the latter as columns."""
        return [torch.from_numpy(w) for w in self.weights], [
            torch.from_numpy(b)[:, None] for b in self.biases
        ]


@dataclass(frozen=True, eq=False)
class _Part:
    """Units of a pass in blocks of one size.

    size : which of the tile's sizes; units : their numbers
    columns : of what the network sees of the pass, units one after the other, blocks within each
    """

    size: int
    units: slice
    columns: slice

    def of_values(self, values: NDArray[Any]) -> NDArray[Any]:
        """The part of scales and shapes, size by size."""
        return values[2 * self.columns.start : 2 * self.columns.stop]


class ContextModel:
    """One timestep of one tile, from its first symbol to its last.

    Parameters
    ----------
    net : the network; partition : of the tile
    scale : [BANDS, C], the tile's spectrum, -1 where dead
    quality : 0 to 1
    past : what earlier timesteps say, for a network that sees it and has a gain
    parents : symbols of the layer before, by size of block, for a network that sees them (entropy/layers.py)
    refined : what earlier timesteps say by now, for a network that sees it (entropy/refined.py)
    """

    def __init__(
        self,
        net: ContextNet,
        partition: Partition,
        scale: Index,
        quality: float,
        past: PastValues | None = None,
        parents: Mapping[int, Symbols] | None = None,
        refined: RefinedValues | None = None,
    ) -> None:
        self._net, self._blocks, self._pairs = net, Blocks(partition), Pairs.of(scale >= 0)
        self._units = Units.of(self._blocks, self._pairs)
        self._sums = Sums(self._blocks, self._pairs, scale)
        self._known = self._sums.known(self._units, quality)
        self._hidden = net.first(self._known)  # [hidden, V]
        self._past, self._past_sums = (
            past,
            None if past is None else PastSums(self._blocks, self._pairs, past),
        )
        self._parent_sums = None if parents is None else ParentSums(self._blocks, parents)
        self._refined_sums: RefinedSums | None = None
        if refined is not None:
            self.see(refined)
        count = (past is not None) * PAST_FEATURES + (parents is not None) * PARENT_FEATURES
        count += (refined is not None) * REFINED_FEATURES
        seen = np.arange(FEATURES, FEATURES + count)
        self._weights = [torch.from_numpy(net.weights[0][:, np.concatenate([own, seen])]) for own in CHANGING]
        stated = scale[self._pairs.band, self._pairs.component]
        self._scale = stated[self._units.pair].astype(np.float64)

    def see(self, refined: RefinedValues) -> None:
        """What earlier timesteps say by now, in place of what they said before."""
        self._refined_sums = RefinedSums(self._blocks, refined)

    def forget_references(self) -> None:
        """Let go of what `see` was told, until it is told again."""
        self._refined_sums = None

    def run(self, source: Source, edges: EdgeWriter | EdgeReader, steps: range | None = None) -> None:
        """Code everything, in order, or the next steps."""
        starts = self._pairs.start.tolist()
        for number in steps if steps is not None else range(len(starts) - 1):
            pairs = slice(starts[number], starts[number + 1])
            self._sums.start(number)
            if pairs.start == pairs.stop:
                continue
            step = self._sums.step(pairs)
            first, agreed_first = self._pass(source, edges, step, number, 0)
            around = self._sums.see_first(step, first)
            second, agreed = self._pass(source, edges, step, number, 1)
            self._sums.finish(step, first + second, around + self._blocks.around(second.sum(1)))
            if self._past_sums is not None:
                self._past_sums.finish(step, agreed_first + agreed)

    def _pass(
        self, source: Source, edges: EdgeWriter | EdgeReader, step: Step, number: int, half: int
    ) -> tuple[Float, Float]:
        """Code one half of a step.

        Returns
        -------
        sums : [P, ORIENTATIONS, N], of |symbols|
        agreed : [2, P, N], of decoded values times predicted ones, and of predicted ones squared; or nothing
        """
        sums = np.zeros(step.oriented.shape[1:])
        agreed = np.zeros((2 if self._past is not None else 0, *sums.shape))
        parts = self._parts(number, half)
        if not parts:
            return sums, agreed.sum(2)
        units = slice(parts[0].units.start, parts[-1].units.stop)
        places = self._columns(step, units)
        changing = self._changing(step, half, places)
        rows, gain = self._rows(changing, parts, half, edges)
        requests = [self._request(part, half, rows, gain, changing) for part in parts]
        for part, request, symbols in zip(parts, requests, source.symbols(requests), strict=True):
            row, at = self._units.row[part.units], places[0][part.columns]
            found = np.add.reduceat(np.abs(symbols).astype(np.float64), row - row[0], axis=0)
            sums.reshape(-1)[at] = found.reshape(-1)
            if request.expected is not None:
                mean, shift = request.expected.mean, request.expected.shift
                products = mean * np.stack([symbols + shift + mean, mean])
                agreed.reshape(2, -1)[:, at] = np.add.reduceat(products, row - row[0], axis=1).reshape(2, -1)
        return sums, agreed.sum(2)

    def _changing(self, step: Step, half: int, places: Sequence[Index]) -> Float:
        """[features, columns], what symbols, places or earlier timesteps change, of each column of a pass."""
        oriented, plain = step.seen(half)
        seen = [oriented, plain]
        if self._past_sums is not None:
            seen += self._past_sums.seen(step, half)
        if self._parent_sums is not None:
            seen += self._parent_sums.seen(step, half)
        if self._refined_sums is not None:
            seen += self._refined_sums.seen(step, half)
        out = np.empty((sum(map(len, seen)), len(places[0])))
        begin = 0
        for number, values in enumerate(seen):
            end = begin + len(values)
            # "clip", or the result would go through a buffer
            flat = values.reshape(len(values), -1)
            np.take(flat, places[number % 2], axis=1, out=out[begin:end], mode="clip")
            begin = end
        return out

    def _parts(self, number: int, half: int) -> list[_Part]:
        """Units of a pass, by size of block; sizes that have some."""
        starts, parts, column = self._units.start[number, half].tolist(), [], 0
        for which, units in enumerate(map(slice, starts[:-1], starts[1:])):
            blocks = self._blocks.parts[which]
            end = column + (units.stop - units.start) * (blocks.stop - blocks.start)
            if end > column:
                parts.append(_Part(which, units, slice(column, end)))
            column = end
        return parts

    def _columns(self, step: Step, units: slice) -> tuple[Index, Index]:
        """Where the columns of units stand among a step's features: oriented, plain."""
        length = self._units.blocks[units]
        shift = self._units.first_block[units] - np.cumsum(length) + length
        pair, count = self._units.pair[units] - step.pairs.start, self._blocks.count
        column = np.arange(int(length.sum()))
        oriented = np.repeat((pair * ORIENTATIONS + self._units.orientation[units]) * count + shift, length)
        oriented += column
        plain = np.repeat(pair * count + shift, length)
        plain += column
        return oriented, plain

    def _outputs(self, changing: Float, part: _Part, half: int, out: Float) -> None:
        """Write what the network says of a part's columns into those of `out`."""
        blocks = (part.columns.stop - part.columns.start) // (part.units.stop - part.units.start)
        together, weights = max(1, _COLUMNS // blocks), self._weights[half]
        begin = part.columns.start
        for first in range(part.units.start, part.units.stop, together):
            units = slice(first, min(first + together, part.units.stop))
            columns = slice(begin, begin + (units.stop - first) * blocks)
            hidden = np.repeat(self._hidden[:, units], blocks, axis=1)
            torch.from_numpy(hidden).addmm_(weights, torch.from_numpy(changing[:, columns]))
            out[:, columns] = self._net.after_first(hidden)
            begin = columns.stop

    def _rows(
        self, changing: Float, parts: Sequence[_Part], half: int, edges: EdgeWriter | EdgeReader
    ) -> tuple[Rows, Float]:
        """Table of every column of a pass, and gain of its prediction."""
        out = np.empty((len(self._net.biases[2]), changing.shape[1]))
        for part in parts:
            self._outputs(changing, part, half, out)
        values = np.empty(2 * out.shape[1])
        for part in parts:
            scale = self._scale[part.units, None]
            cells = part.of_values(values).reshape(2, len(scale), -1)
            np.multiply(out[:2, part.columns].reshape(cells.shape), _OUTPUT_UNITS, out=cells)
            cells[0] += scale
        found, rows = edges.resolve(values), np.empty(out.shape[1], np.uint16)
        np.maximum(found, 0, out=found)
        for part in parts:
            scale_index, shape = part.of_values(found).reshape(2, -1)
            rows[part.columns] = np.minimum(shape, len(SHAPES) - 1) * SCALES + np.minimum(
                scale_index, SCALES - 1
            )
        return rows, np.clip(1 + out[2:], MIN_GAIN, MAX_GAIN)

    def _request(self, part: _Part, half: int, rows: Rows, gain: Float, changing: Float) -> Request:
        units, count = part.units, self._units.count[part.units]
        coefficients = slice(int(self._units.row[units.start]), int(self._units.row[units.stop]))
        size = self._blocks.layouts[part.size].size
        component, place = self._units.component[coefficients], self._units.place[coefficients]
        expected = None
        if self._past is not None:
            mean = self._past.mean[size][component, place]
            own = gain[0, part.columns].reshape(len(count), -1)
            expected = Expected(mean, np.repeat(own - 1, count, axis=0) * mean)
        return Request(
            size,
            half,
            component,
            place,
            np.repeat(rows[part.columns].reshape(len(count), -1), count, axis=0),
            count,
            self._known[:, units],
            changing[:, part.columns].reshape(len(changing), len(count), -1),
            expected,
        )
