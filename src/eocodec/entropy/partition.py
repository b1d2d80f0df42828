"""Blocks of 16, 32 and 64 pixels: which ones a tile is cut into, and latents brought into them and back.

Latents come as DCT coefficients of 16-pixel blocks. The joint DCT of 2 x 2 or 4 x 4 of them is an orthonormal
function of theirs, so a larger block is a change of basis and no other transform of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocodec.entropy.family import ROUND
from eocodec.entropy.spectrum import BANDS, CELL, ORIENTATIONS, SIZES, Layout, layout, merge_matrix

ROUNDS = 3  # of choosing blocks and measuring their spectra
_FLAG_BITS = 1.0  # that one more decision costs, about
_SMOOTH = 0.02  # symbols added to every mean
_IN_CACHE = 1 << 16  # values that are worked on at a time

Float = NDArray[np.float32]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Partition:
    """How a tile of rows x cols cells is cut.

    Attributes
    ----------
    large : [rows // 4, cols // 4], blocks of 64 pixels; medium : [rows // 2, cols // 2], of 32, none of them
        inside a large one. All other cells are blocks of 16.
    """

    rows: int
    cols: int
    large: Bools
    medium: Bools

    def open_medium(self) -> Bools:
        """Places where a medium block may be: not inside a large one."""
        return ~_spread(self.large, 2, self.medium.shape)

    def flags(self) -> tuple[Bools, Bools]:
        """Decisions as they are coded: large blocks, then medium ones where they may be; row-major."""
        return self.large.ravel(), self.medium[self.open_medium()]

    def corners(self, size: int) -> Index:
        """[n, 2]: first row and column of each block of `size`, in cells, row-major."""
        if size == SIZES[2]:
            return np.argwhere(self.large) * 4
        if size == SIZES[1]:
            return np.argwhere(self.medium) * 2
        shape = (self.rows, self.cols)
        return np.argwhere(~(_spread(self.large, 4, shape) | _spread(self.medium, 2, shape)))


def _spread(flags: Bools, times: int, shape: tuple[int, ...]) -> Bools:
    """Every flag over times x times places of an array of `shape`."""
    out = np.zeros(shape, bool)
    wide = flags.repeat(times, 0).repeat(times, 1)
    out[: wide.shape[0], : wide.shape[1]] = wide
    return out


def every_corner(size: int, rows: int, cols: int) -> Index:
    """[n, 2]: corners in cells of all blocks of `size` that fit, row-major."""
    cells = size // CELL
    return np.argwhere(np.ones((rows // cells, cols // cells), bool)) * cells


def empty_blocks(
    size: int, components: int, count: int, dtype: type[np.floating[Any]] = np.float32
) -> NDArray[Any]:
    """Zeros for `count` blocks, [C, N * N, n]; in memory coefficients are the slowest axis."""
    return np.zeros((size * size, components, count), dtype).transpose(1, 0, 2)


def to_blocks(u: NDArray[Any], size: int, corners: Index) -> NDArray[Any]:
    """Coefficients of blocks.

    Parameters
    ----------
    u : [16, 16, C, rows, cols], floats, coefficients of 16-pixel blocks
    corners : [n, 2]

    Returns
    -------
    [C, N * N, n], same dtype, places sorted as `spectrum.layout` says; in memory they are the slowest axis
    """
    shape, n, bands = layout(size), len(corners), u.shape[2]
    by_cell = u.reshape(CELL, CELL, bands, -1)
    parts = np.empty((size, size, bands, n), u.dtype)  # frequencies of one cell after those of another
    for here, cells in _cells(shape, corners, u.shape[4]):
        parts[here] = np.take(by_cell, cells, axis=3)
    if size > CELL:
        parts = along_both(merge_matrix(size), parts)
    by_place = parts.reshape(size * size, bands, n)[shape.order]
    return np.asarray(by_place.transpose(1, 0, 2))


def every_block(u: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
    """Coefficients of all blocks that fit, by size, as `to_blocks` gives them; u [16, 16, C, rows, cols]."""
    bands, (rows, cols) = u.shape[2], u.shape[3:]
    counts = {size: (rows // (size // CELL)) * (cols // (size // CELL)) for size in SIZES}
    out = {size: np.empty((size * size, bands, count), u.dtype) for size, count in counts.items()}
    for band in range(bands):  # one fits a cache
        parts = torch.from_numpy(np.ascontiguousarray(u[:, :, band]))
        for size, by_place in out.items():
            if size > CELL:
                parts = _doubled(_doubled(parts, 0), 1)
            by_place[:, band] = parts.numpy().reshape(size * size, -1)[_merged_places(size)]
    return {size: by_place.transpose(1, 0, 2) for size, by_place in out.items()}


def _doubled(parts: Tensor, axis: int) -> Tensor:
    """Neighbours along an axis merged: coefficients [N, M, rows, cols] -> [2 N, M, rows / 2, cols], axis 0.

    With the odd coefficients' sign turned, the second half is mirrored. So the sum of both halves has the
    even coefficients of the whole, and their difference, which is odd about the middle, the odd ones.
    """
    size, count = parts.shape[axis], parts.shape[2 + axis] // 2
    pairs = parts.narrow(2 + axis, 0, 2 * count).unflatten(2 + axis, (count, 2))
    first, second = pairs.unbind(3 + axis)
    sign, odd = _merging(2 * size)
    second = second * sign.view([-1 if k == axis else 1 for k in range(4)])
    shape = list(first.shape)
    shape[axis] *= 2
    out = torch.empty(shape)
    torch.add(first, second, out=out.narrow(axis, 0, size)).mul_(0.5**0.5)
    torch.matmul(odd, (first - second).flatten(1 + axis), out=out.narrow(axis, size, size).flatten(1 + axis))
    return out


@cache
def _merged_frequencies(size: int) -> Index:
    """Frequencies [N] in the order in which merging leaves them: even ones as in half the size, then odd."""
    if size == CELL:
        return np.arange(CELL)
    return np.concatenate([2 * _merged_frequencies(size // 2), np.arange(1, size, 2)])


@cache
def _merged_places(size: int) -> Index:
    """[N * N]: where each sorted place of a block stands after merging."""
    at = np.argsort(_merged_frequencies(size))
    u, v = np.divmod(layout(size).order, size)
    return np.asarray(at[u] * size + at[v])


@cache
def _merging(size: int) -> tuple[Tensor, Tensor]:
    """What merges two halves: signs of the second's coefficients, [N / 2]; difference -> odd ones, square."""
    order = _merged_frequencies(size // 2)
    whole = merge_matrix(size)[1::2, : size // 2] @ merge_matrix(size // 2).T
    sign = np.where(order % 2, -1, 1).astype(np.float32)
    return torch.from_numpy(sign), torch.from_numpy(np.ascontiguousarray(whole[:, order], np.float32))


def from_blocks(values: NDArray[Any], size: int, corners: Index, u: NDArray[Any]) -> None:
    """Inverse of `to_blocks`: values [C, N * N, n] into their places in u [16, 16, C, rows, cols]."""
    shape, n, bands = layout(size), len(corners), u.shape[2]
    by_place = np.empty((size * size, bands, n), u.dtype)
    by_place[shape.order] = values.transpose(1, 0, 2)
    parts = by_place.reshape(size, size, bands, n)
    if size > CELL:
        parts = along_both(merge_matrix(size).T, parts)
    by_cell = torch.from_numpy(u.reshape(CELL, CELL, bands, -1))
    for here, cells in _cells(shape, corners, u.shape[4]):  # NumPy's assignment takes five times as long
        by_cell.index_copy_(3, torch.from_numpy(cells), torch.from_numpy(parts[here]))


def _cells(shape: Layout, corners: Index, cols: int) -> Iterator[tuple[tuple[slice, slice], Index]]:
    """For every cell of a block: its part of [N, N] values, and the cell's number in the tile, [n]."""
    for row in range(shape.cells):
        for col in range(shape.cells):
            here = (slice(row * CELL, (row + 1) * CELL), slice(col * CELL, (col + 1) * CELL))
            yield here, (corners[:, 0] + row) * cols + corners[:, 1] + col


def along_both(matrix: NDArray[np.float64], parts: NDArray[Any]) -> NDArray[Any]:
    """A matrix [N, N] along the first two axes of [N, N, C, n]; by torch, whose threads are under control."""
    factor = torch.from_numpy(np.ascontiguousarray(matrix, parts.dtype))
    side, columns = len(matrix), parts.shape[2] * parts.shape[3]
    down = torch.mm(factor, torch.from_numpy(parts).view(side, side * columns))
    return np.asarray(torch.matmul(factor, down.view(side, side, columns)).numpy().reshape(parts.shape))


def turn_blocks(values: NDArray[Any], bases: NDArray[Any], size: int, *, back: bool = False) -> NDArray[Any]:
    """Components of each ring along its basis's columns, or back: values [C, N * N, n], bases [R, C, C]."""
    matrices = (bases if back else bases.transpose(0, 2, 1))[layout(size).ring]
    turned = np.matmul(matrices, np.ascontiguousarray(values.transpose(1, 0, 2)))
    return np.asarray(turned.transpose(1, 0, 2))


def live_rows(values: Float) -> tuple[Index, Index, Float, Float]:
    """Component and place of rows that are not all zero once rounded, [L], and their magnitudes, [L, n].

    values : [C, N * N, n], in steps; the fourth result is what all other rows have in squares, [n]
    """
    components, places, n = values.shape
    rows = values.transpose(1, 0, 2).reshape(places * components, n)
    live, rest = np.zeros(len(rows), bool), np.zeros(n, np.float32)
    together = max(1, _IN_CACHE // max(n, 1))
    for begin in range(0, len(rows) if n else 0, together):
        part = torch.from_numpy(rows[begin : begin + together])
        is_live = part.abs().amax(1).numpy() + ROUND >= 1  # NumPy's reductions take four times as long
        live[begin : begin + together] = is_live
        rest += torch.mv(part.square().t(), torch.from_numpy((~is_live).astype(np.float32))).numpy()
    at = np.flatnonzero(live)
    place, component = np.divmod(at, components)
    return component, place, np.abs(rows[at]), rest


@dataclass(frozen=True, eq=False)
class _Pooled:
    """One size of block, all over the tile: what deciding needs of it.

    magnitudes : [units, C, n], sums of |symbols|, units = BANDS * ORIENTATIONS
    error : [n], squared error in steps; counts : [units]
    """

    magnitudes: Float
    error: Float
    counts: Float


def _pool(values: Float, shape: Layout) -> _Pooled:
    """values [C, N * N, n], in steps."""
    components, _, n = values.shape
    component, place, magnitude, error = live_rows(values)
    symbols = np.floor(magnitude + ROUND)
    magnitude -= symbols
    error += np.einsum("ln,ln->n", magnitude, magnitude)
    units = np.broadcast_to(
        np.arange(BANDS * ORIENTATIONS).reshape(BANDS, 1, ORIENTATIONS), shape.counts.shape
    )
    group = np.repeat(units.ravel(), shape.counts.ravel())[place] * components + component
    total = shape.counts.sum(1).astype(np.float32).ravel()
    sums = torch.zeros(len(total) * components, n)
    sums.index_add_(0, torch.from_numpy(group), torch.from_numpy(symbols))
    return _Pooled(sums.numpy().reshape(len(total), components, n), error, total)


def geometric_costs(mean: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bits of a symbol 0, and of each step away from it, of two-sided geometric symbols."""
    m = mean + np.float32(1e-6)
    theta = m / (1 + np.sqrt(1 + m * m))
    return -np.log2((1 - theta) / (1 + theta)), -np.log2(theta)


def choose(values: Mapping[int, Float], rows: int, cols: int, worth: float) -> tuple[Partition, float]:
    """The partition that needs the fewest bits, distortion counted in, and these.

    Parameters
    ----------
    values : by size, coefficients of all blocks that fit, in steps, [C, N * N, n]
    rows, cols : cells; worth : bits that a squared error of one step is worth
    """
    pooled = {size: _pool(v, layout(size)) for size, v in values.items()}
    shapes = {size: (rows // (size // CELL), cols // (size // CELL)) for size in SIZES}
    taken = {size: np.ones(shapes[size], bool) for size in SIZES}
    part, total = Partition(rows, cols, taken[64], taken[32]), 0.0
    for _ in range(ROUNDS):
        costs = _spectrum_costs(pooled, taken)
        cost = {size: _block_costs(p, costs, worth).reshape(shapes[size]) for size, p in pooled.items()}
        part = _cheapest(cost, rows, cols)
        total = sum(
            float(c[tuple((part.corners(size) // (size // CELL)).T)].sum()) for size, c in cost.items()
        )
        taken = {64: part.large, 32: part.medium, 16: np.zeros(shapes[16], bool)}
        taken[16][tuple(part.corners(16).T)] = True
    return part, total


def _spectrum_costs(pooled: Mapping[int, _Pooled], taken: Mapping[int, Bools]) -> tuple[Float, Float]:
    """`geometric_costs` of every unit and component, [units, C], by the blocks that are taken."""
    units = BANDS * ORIENTATIONS
    total, count = np.zeros((units, 1), np.float32), np.zeros((units, 1), np.float32)
    for size, p in pooled.items():
        weight = taken[size].ravel().astype(np.float32)
        total = total + torch.matmul(torch.from_numpy(p.magnitudes), torch.from_numpy(weight)).numpy()
        count = count + p.counts[:, None] * weight.sum()
    return geometric_costs((total + np.float32(_SMOOTH)) / (count + 1))


def _block_costs(pooled: _Pooled, costs: tuple[Float, Float], worth: float) -> Float:
    """Bits of each block, [n], its distortion counted in."""
    zero, step = costs
    bits = float((zero * pooled.counts[:, None]).sum())
    steps = np.tensordot(step, pooled.magnitudes, 2)
    return np.asarray(steps + worth * pooled.error + (bits + _FLAG_BITS), np.float32)


def _cheapest(cost: Mapping[int, Float], rows: int, cols: int) -> Partition:
    """Larger blocks wherever they cost less than the best of what they replace."""
    medium = cost[32] < _fours(cost[16], cost[32].shape)
    best = np.minimum(cost[32], _fours(cost[16], cost[32].shape))
    large = cost[64] < _fours(best, cost[64].shape)
    return Partition(rows, cols, large, medium & ~_spread(large, 2, medium.shape))


def _fours(cost: Float, shape: tuple[int, ...]) -> Float:
    """Sums over 2 x 2, [shape]."""
    rows, cols = shape
    return np.asarray(cost[: 2 * rows, : 2 * cols].reshape(rows, 2, cols, 2).sum((1, 3)))
