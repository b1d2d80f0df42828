"""What is known of the context model's units before a symbol is: blocks, neighbours, order of coding.

Blocks of all sizes stand one after the other, size by size, on one axis of length N. The units of a tile are
listed once, in the order in which they are coded: by step, half, size of block, component, orientation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.partition import Partition
from eocodec.entropy.spectrum import BANDS, HALVES, ORIENTATIONS, SIZES, Layout, layout

Float = NDArray[np.float64]
Index = NDArray[np.int64]


class Blocks:
    """The blocks of a tile.

    layouts : of the sizes that the tile has; parts : blocks of each of them
    count : N, blocks
    density : [HALVES, BANDS, ORIENTATIONS, N], coefficients of each block
    """

    def __init__(self, partition: Partition) -> None:
        corners = {size: partition.corners(size) for size in SIZES}
        self.layouts: list[Layout] = [layout(size) for size in SIZES if len(corners[size])]
        lengths = [len(corners[shape.size]) for shape in self.layouts]
        ends = np.cumsum(lengths)
        self.parts = [slice(int(end) - n, int(end)) for end, n in zip(ends, lengths, strict=True)]
        self.count = sum(lengths)
        self._share = np.repeat([1 / shape.cells**2 for shape in self.layouts], lengths)
        counts = np.stack([shape.counts for shape in self.layouts], -1).transpose(1, 0, 2, 3)
        self.density = np.repeat(counts.astype(np.float64), lengths, axis=3)
        owner = np.full((partition.rows + 2, partition.cols + 2), self.count)
        for shape, part in zip(self.layouts, self.parts, strict=True):
            (top, left), span = corners[shape.size].T[:, :, None, None], np.arange(1, shape.cells + 1)
            owner[top + span[:, None], left + span] = np.arange(part.start, part.stop)[:, None, None]
        self._near = [_ring(owner, corners[shape.size], shape.cells) for shape in self.layouts]

    def magnitudes(self, values: Mapping[int, NDArray[Any]]) -> Float:
        """`sums` of magnitudes."""
        return self.sums({size: np.abs(own) for size, own in values.items()})

    def sums(self, values: Mapping[int, NDArray[Any]]) -> Float:
        """Sums over every unit, [BANDS, HALVES, ORIENTATIONS, C, N].

        values : by size of block, [C, N * N, n]
        """
        components = len(next(iter(values.values())))
        out = np.zeros((BANDS * HALVES * ORIENTATIONS, components, self.count))
        for shape, part in zip(self.layouts, self.parts, strict=True):
            counts = shape.counts.ravel()
            used = np.flatnonzero(counts)
            by_place = values[shape.size].transpose(1, 0, 2)
            starts = (np.cumsum(counts) - counts)[used]
            out[used, :, part] = np.add.reduceat(by_place, starts, axis=0, dtype=np.float64)
        return out.reshape(BANDS, HALVES, ORIENTATIONS, components, self.count)

    def around(self, values: Float) -> Float:
        """Values of blocks, [..., N], shared out over their cells and summed over those around each block."""
        shared = np.zeros((*values.shape[:-1], self.count + 1))
        np.multiply(values, self._share, out=shared[..., :-1])
        out = np.empty(values.shape)
        for part, near in zip(self.parts, self._near, strict=True):
            np.take(shared, near, axis=-1).sum(-2, out=out[..., part])
        return out


def _ring(owner: Index, corners: Index, cells: int) -> Index:
    """[cells around, n]: blocks that the cells around each block belong to; owner has a margin of a cell."""
    side = np.arange(cells + 2)
    row, col = np.repeat(side, cells + 2), np.tile(side, cells + 2)
    outside = (row % (cells + 1) == 0) | (col % (cells + 1) == 0)
    row, col = row[outside], col[outside]
    return np.asarray(owner[corners[:, 0] + row[:, None], corners[:, 1] + col[:, None]])


@dataclass(frozen=True, eq=False)
class Pairs:
    """The live bands of components, [L] each, by step; start : [steps + 1], of each step's."""

    band: Index
    component: Index
    start: Index

    @classmethod
    def of(cls, live: NDArray[np.bool_]) -> Pairs:
        """live : [BANDS, C]."""
        component, band = np.nonzero(live.T)
        step = band + component
        order = np.argsort(step, kind="stable")
        start = np.searchsorted(step[order], np.arange(BANDS + live.shape[1]))
        return cls(band[order], component[order], start)


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a tile.

    pair, half, orientation, layout, count : [V]; pair : number of its band and component
        layout : which of the tile's sizes of block; count : coefficients
    start : [steps, HALVES, sizes + 1], first unit of each pass and size, and the end of the pass
    blocks, first_block : [V], how many blocks have the unit, and the first of them
    row : [V + 1], first coefficient of each unit, among those of all units
    component, place : [coefficients], where each stands in its block
    """

    pair: Index
    half: Index
    orientation: Index
    layout: Index
    count: Index
    start: Index
    blocks: Index
    first_block: Index
    row: Index
    component: Index
    place: Index

    @classmethod
    def of(cls, blocks: Blocks, pairs: Pairs) -> Units:
        """Of all live bands of a tile."""
        counts = np.stack([shape.counts for shape in blocks.layouts])  # (sizes, BANDS, HALVES, ORIENTATIONS)
        grid = counts[:, pairs.band].transpose(2, 0, 1, 3)  # (HALVES, sizes, L, ORIENTATIONS)
        half, number, pair, orientation = np.nonzero(grid)
        steps = len(pairs.start) - 1
        step = np.searchsorted(pairs.start, pair, side="right") - 1
        group = (step * HALVES + half) * len(counts) + number
        order = np.argsort(group, kind="stable")
        edges = np.searchsorted(group[order], np.arange(steps * HALVES * len(counts) + 1))
        first = edges[:-1].reshape(steps, HALVES, -1)
        last = edges[len(counts) :: len(counts)].reshape(steps, HALVES, 1)
        half, number, pair, orientation = (a[order] for a in (half, number, pair, orientation))
        count = grid[half, number, pair, orientation]
        begin = np.stack([_first_places(shape) for shape in blocks.layouts])
        row = np.concatenate([[0], np.cumsum(count)])
        place = np.repeat(begin[number, pairs.band[pair], half, orientation] - row[:-1], count)
        place += np.arange(row[-1])
        component = np.repeat(pairs.component[pair], count)
        start = np.concatenate([first, last], 2)
        lengths, firsts = np.array([(p.stop - p.start, p.start) for p in blocks.parts]).T[:, number]
        return cls(pair, half, orientation, number, count, start, lengths, firsts, row, component, place)


def _first_places(shape: Layout) -> Index:
    """[BANDS, HALVES, ORIENTATIONS]: first sorted place of each unit."""
    return (np.cumsum(shape.counts) - shape.counts.ravel()).reshape(BANDS, HALVES, ORIENTATIONS)
