"""Bands back on their own grids: what was decoded on the finest one, averaged over each band's own pixels.

Tiles come row by row, and their edges fall anywhere in a coarse pixel: sums wait until the pixel is whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eocodec.interop.resample import unsaturated
from eocodec.interop.scene import SceneInfo, is_nodata
from eocodec.raster.units import restore
from eocodec.sensors import SATURATED_DN
from eocodec.types import AnyArray, FloatArray, IntArray


class RowAverager:
    """Means over factor x factor pixels of some bands, from tiles in row-major order.

    Nodata and saturated pixels do not count; a pixel of nothing else is what they are.
    """

    def __init__(self, info: SceneInfo, bands: int, factor: int) -> None:
        """For `bands` bands of the scene, `factor` pixels of its grid a side of theirs."""
        _, rows, cols = info.shape
        self.info = info
        self.factor = factor
        self.shape = (rows // factor, cols // factor)
        self._precision = np.float32 if info.dtype.itemsize <= 2 else np.float64  # sums of 36 are exact
        self._marks = np.can_cast(np.uint16, info.dtype)
        self._first = 0  # coarse row of the first that is not whole
        self._sums: FloatArray = np.zeros((bands, 0, self.shape[1]), self._precision)
        self._counts: IntArray = np.zeros((bands, 0, self.shape[1]), np.int32)
        self._saturated: IntArray = np.zeros((bands, 0, self.shape[1]), np.int32)

    def add(self, pixels: AnyArray, rows: slice, cols: slice) -> None:
        """Take a tile's pixels [bands, h, w] at (rows, cols) of the scene's grid."""
        self._grow(-(-rows.stop // self.factor))
        saturated = pixels == SATURATED_DN if self._marks else np.zeros(pixels.shape, bool)
        counted = ~(is_nodata(pixels, self.info.nodata) | saturated)
        values = np.where(counted, pixels, 0).astype(self._precision)
        self._put(self._sums, values, rows, cols)
        self._put(self._counts, counted.astype(np.int32), rows, cols)
        if saturated.any():
            self._put(self._saturated, saturated.astype(np.int32), rows, cols)

    def take(self, below: int) -> Iterator[tuple[slice, AnyArray]]:
        """What is whole once all rows of the scene's grid up to `below` are in: (coarse rows, pixels)."""
        whole = min(below // self.factor, self.shape[0]) - self._first
        if whole <= 0:
            return
        sums, counts, saturated = self._sums[:, :whole], self._counts[:, :whole], self._saturated[:, :whole]
        mask = counts > 0
        means = sums / np.maximum(counts, 1).astype(self._precision)
        marked = ~mask & (saturated > 0)
        valid = mask | marked
        out = restore(means, self.info.dtype, None if valid.all() else valid, self.info.nodata)
        out = unsaturated(out)
        out[marked] = SATURATED_DN
        yield slice(self._first, self._first + whole), out
        self._sums = self._sums[:, whole:].copy()
        self._counts = self._counts[:, whole:].copy()
        self._saturated = self._saturated[:, whole:].copy()
        self._first += whole

    def _grow(self, below: int) -> None:
        """Room for coarse rows up to `below`."""
        more = min(below, self.shape[0]) - self._first - self._sums.shape[1]
        if more > 0:
            below_all = ((0, 0), (0, more), (0, 0))
            self._sums = np.pad(self._sums, below_all)
            self._counts = np.pad(self._counts, below_all)
            self._saturated = np.pad(self._saturated, below_all)

    def _put(self, total: AnyArray, values: AnyArray, rows: slice, cols: slice) -> None:
        """Add up a tile's pixels by coarse pixels."""
        for axis, part in ((1, rows), (2, cols)):
            starts = np.arange(part.start // self.factor, -(-part.stop // self.factor)) * self.factor
            values = np.add.reduceat(values, np.maximum(starts - part.start, 0), axis=axis)
        top, left = rows.start // self.factor - self._first, cols.start // self.factor
        place = total[:, top : top + values.shape[1], left : left + values.shape[2]]
        place += values[:, : place.shape[1], : place.shape[2]]
