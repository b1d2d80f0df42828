"""Coarser bands brought to the finest grid, window by window, and back.

`bilinear` interpolates between pixel centres, edges repeated. `keep_means` does so such that the mean over a
coarse pixel is that pixel: averaging what was decoded then gives the band back on its own grid. With plain
bilinear interpolation the means are smoothed, which caps a 20 m band at about 42 dB whatever is spent on it.

The two grids cover the same extent, so pixel i of n fine ones has its centre at (i + 1/2) m / n - 1/2 on an
axis of m coarse ones. GDAL's bilinear RasterIO and SSL4EO-S12 interpolate on the same points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eocodec.interop.scene import is_nodata
from eocodec.raster.fill import smooth_fill
from eocodec.raster.units import restore
from eocodec.sensors import SATURATED_DN
from eocodec.types import AnyArray, BoolArray, FloatArray, IntArray

HALO = 8  # coarse pixels; what lies beyond them counts for less than 1e-6
BLOCK = 256  # coarse pixels a side


@dataclass(frozen=True)
class AxisWeights:
    """Interpolation along one axis: out[i] = (1 - weight[i]) block[low[i]] + weight[i] block[high[i]].

    `start` and `stop` bound the coarse block to read; `low`, `high`, `nearest` count from `start`.
    """

    start: int
    stop: int
    low: IntArray
    high: IntArray
    nearest: IntArray
    weight: FloatArray


def axis_weights(fine: slice, fine_size: int, coarse_size: int) -> AxisWeights:
    """Weights for the pixels `fine` (start and stop explicit) of `fine_size` from `coarse_size` ones."""
    index = np.arange(fine.start, fine.stop, dtype=np.int64)
    # In units of 1/(2 fine_size), all integers: a centre that falls on a coarse one gets weight 0 exactly.
    numerator = (2 * index + 1) * coarse_size - fine_size
    low = numerator // (2 * fine_size)
    weight = (numerator - low * 2 * fine_size) / (2 * fine_size)
    nearest = (2 * index + 1) * coarse_size // (2 * fine_size)
    last = coarse_size - 1
    low_clipped, high_clipped = np.clip(low, 0, last), np.clip(low + 1, 0, last)
    start = int(low_clipped[0])
    stop = int(high_clipped[-1]) + 1
    return AxisWeights(start, stop, low_clipped - start, high_clipped - start, nearest - start, weight)


def bilinear(
    read: Callable[[slice, slice], AnyArray],
    coarse_shape: tuple[int, int],
    fine_shape: tuple[int, int],
    window: tuple[slice, slice],
    nodata: float | int | None,
) -> AnyArray:
    """A window of a coarse band on the fine grid.

    Parameters
    ----------
    read : gives the coarse pixels [h, w] of (rows, cols)
    coarse_shape, fine_shape : (rows, cols) of the whole band on both grids; they cover the same extent
    window : (rows, cols) on the fine grid
    nodata : the result has it where the nearest coarse pixel has; elsewhere such pixels get no weight

    Returns
    -------
    pixels : [h, w], the dtype that `read` gives; integers are rounded, halves away from zero
    """
    rows = axis_weights(window[0], fine_shape[0], coarse_shape[0])
    cols = axis_weights(window[1], fine_shape[1], coarse_shape[1])
    block = read(slice(rows.start, rows.stop), slice(cols.start, cols.stop))
    absent = is_nodata(block, nodata)
    if not absent.any():
        return _to_dtype(_interpolate(block.astype(np.float64), rows, cols), block.dtype)
    total = _interpolate(np.where(absent, 0.0, block), rows, cols)
    share = _interpolate((~absent).astype(np.float64), rows, cols)
    hole = absent[np.ix_(rows.nearest, cols.nearest)]
    value = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    result = _to_dtype(value, block.dtype)
    result[hole] = np.nan if nodata is None else nodata
    return result


def keep_means(
    read: Callable[[slice, slice], AnyArray],
    coarse_shape: tuple[int, int],
    fine_shape: tuple[int, int],
    window: tuple[slice, slice],
    nodata: float | int | None,
) -> AnyArray:
    """A window of a coarse band on the fine grid, smooth, its means over coarse pixels those of the band.

    Parameters
    ----------
    As of `bilinear`; `fine_shape` is a whole multiple of `coarse_shape`

    Returns
    -------
    pixels : [h, w], the dtype that `read` gives. Nodata and saturated coarse pixels are repeated, as is;
        integers are rounded and clipped, so that means are kept to within about half a DN
    """
    factors = [fine // coarse for fine, coarse in zip(fine_shape, coarse_shape, strict=True)]
    rows, cols = (
        axis_weights(part, fine, coarse)
        for part, fine, coarse in zip(window, fine_shape, coarse_shape, strict=True)
    )
    top, bottom = _aligned(rows, coarse_shape[0])
    left, right = _aligned(cols, coarse_shape[1])
    block = read(slice(top, bottom), slice(left, right))
    special = _special(block, nodata)
    inside = (slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left))
    sharp = _sharpen(block, special, (top, left), (factors[0], factors[1]), inside)
    result = unsaturated(restore(_interpolate(sharp[inside], rows, cols), block.dtype, nodata=nodata))
    if special[inside].any():
        nearest = np.ix_(rows.nearest, cols.nearest)
        marked = special[inside][nearest]
        result[marked] = block[inside][nearest][marked]
    return result


def _aligned(axis: AxisWeights, size: int) -> tuple[int, int]:
    """Start and stop of the whole blocks that an axis' weights touch, with their halo."""
    first, last = axis.start // BLOCK * BLOCK, -(-axis.stop // BLOCK) * BLOCK
    return max(first - HALO, 0), min(last + HALO, size)


def _sharpen(
    block: AnyArray,
    special: BoolArray,
    corner: tuple[int, int],
    factors: tuple[int, int],
    inside: tuple[slice, slice],
) -> FloatArray:
    """Coarse pixels [h, w] such that interpolation gives means of `block`; special ones are smoothed over.

    It is done by blocks of the whole band, so that a pixel does not depend on the window that asks for it.

    Parameters
    ----------
    corner : (row, col) of the first pixel in the band; at a block's edge less the halo, or 0
    inside : the window that is needed; the rest stays 0
    """
    precision = np.float32 if block.dtype.itemsize <= 2 else np.float64
    out = np.zeros(block.shape, precision)
    for top in range(-corner[0] % BLOCK, inside[0].stop, BLOCK):
        for left in range(-corner[1] % BLOCK, inside[1].stop, BLOCK):
            here = (slice(top, top + BLOCK), slice(left, left + BLOCK))
            first = (max(top - HALO, 0), max(left - HALO, 0))
            around = (slice(first[0], top + BLOCK + HALO), slice(first[1], left + BLOCK + HALO))
            values: FloatArray = block[around].astype(np.float64)
            marks = special[around]
            if marks.any():
                values = smooth_fill(np.where(marks, 0, values)[None], ~marks)[0].astype(np.float64)
            values = _undo_smoothing(_undo_smoothing(values, factors[0]).T, factors[1]).T
            part = values[top - first[0] :, left - first[1] :][:BLOCK, :BLOCK]
            out[here] = part
    return out


def _special(block: AnyArray, nodata: float | int | None) -> BoolArray:
    """Pixels that are marks rather than measurements."""
    absent = is_nodata(block, nodata)
    return absent | (block == SATURATED_DN) if np.can_cast(np.uint16, block.dtype) else absent


def _undo_smoothing(values: FloatArray, factor: int) -> FloatArray:
    """Solve for what bilinear interpolation by `factor`, then averaging, turns into `values` (first axis).

    Both together are the kernel [w, 1 - 2 w, w], edges repeated: a tridiagonal system, solved by elimination.
    """
    side = 1 / 8 if factor % 2 == 0 else (factor**2 - 1) / (8 * factor**2)
    n = len(values)
    if n == 1 or side == 0:
        return values
    upper = np.empty(n)
    out = np.empty_like(values)
    diagonal = 1 - side
    upper[0], out[0] = side / diagonal, values[0] / diagonal
    for k in range(1, n):
        pivot = (1 - side if k == n - 1 else 1 - 2 * side) - side * upper[k - 1]
        upper[k] = side / pivot
        out[k] = (values[k] - side * out[k - 1]) / pivot
    for k in range(n - 2, -1, -1):
        out[k] -= upper[k] * out[k + 1]
    return out


def unsaturated(result: AnyArray) -> AnyArray:
    """No interpolated pixel may look like a saturated one (in place)."""
    if np.can_cast(np.uint16, result.dtype):
        result[result == SATURATED_DN] = SATURATED_DN - 1
    return result


def _interpolate(block: FloatArray, rows: AxisWeights, cols: AxisWeights) -> FloatArray:
    """Interpolate in the block's own precision."""
    down, across = (axis.weight.astype(block.dtype) for axis in (rows, cols))
    low = block[rows.low]
    by_row = low + down[:, None] * (block[rows.high] - low)  # [h_fine, w_coarse]
    low = by_row[:, cols.low]
    return np.asarray(low + across * (by_row[:, cols.high] - low))


def _to_dtype(value: FloatArray, dtype: np.dtype[Any]) -> AnyArray:
    if dtype.kind == "f":
        return value.astype(dtype)
    return np.trunc(value + np.copysign(0.5, value)).astype(dtype)  # as GDAL rounds
