"""Coarser bands brought to the finest grid: bilinear between pixel centres, edges repeated, window by window.

The two grids cover the same extent, so pixel i of n fine ones has its centre at (i + 1/2) m / n - 1/2 on an
axis of m coarse ones. GDAL's bilinear RasterIO and SSL4EO-S12 interpolate on the same points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eocodec.interop.scene import is_nodata
from eocodec.types import AnyArray, FloatArray, IntArray


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


def _interpolate(block: FloatArray, rows: AxisWeights, cols: AxisWeights) -> FloatArray:
    by_row = block[rows.low] + rows.weight[:, None] * (
        block[rows.high] - block[rows.low]
    )  # [h_fine, w_coarse]
    step = by_row[:, cols.high] - by_row[:, cols.low]
    return np.asarray(by_row[:, cols.low] + cols.weight * step)


def _to_dtype(value: FloatArray, dtype: np.dtype[Any]) -> AnyArray:
    if dtype.kind == "f":
        return value.astype(dtype)
    return np.trunc(value + np.copysign(0.5, value)).astype(dtype)  # as GDAL rounds
