"""The order in which the pixels of a plane are coded, and who a pixel's decoded neighbours are.

A plane is refined: first every 16th pixel of every 16th row, then the pixels half-way between in a row (R),
in a column (C) and in the middle of four (D), and so on at half the distance, down to single pixels. All
pixels of a pass are coded at once from those of the passes before. Rows and columns come before the middle
because bands that were interpolated from a coarser grid follow from few pixels along one axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

START = 16  # spacing of the first pass
Offsets = tuple[tuple[int, int], ...]
Plane = NDArray[np.int64]


def _along_rows(*distances: int) -> Offsets:
    return tuple((0, side * d) for d in distances for side in (-1, 1))


def _along_columns(*distances: int) -> Offsets:
    return tuple((side * d, 0) for d in distances for side in (-1, 1))


def _corners(rows: int, cols: int) -> Offsets:
    return tuple((i * rows, j * cols) for i in (-1, 1) for j in (-1, 1))


PLUS: Offsets = _along_rows(1) + _along_columns(1)
CORNERS: Offsets = _corners(1, 1)
AROUND: Offsets = PLUS + CORNERS
# In units of half the pass's spacing. The first NEAR of them are the nearest.
NEIGHBOURS: dict[str, Offsets] = {
    "0": (),
    "R": _along_rows(1) + _corners(2, 1) + _along_rows(3, 5, 7, 9),
    "C": _along_columns(1) + CORNERS + _corners(1, 2) + _along_columns(3, 5, 7, 9),
    "D": AROUND + _along_rows(3) + _along_columns(3) + _corners(1, 2) + _corners(2, 1)
    + _along_rows(5, 7) + _along_columns(5, 7),
}  # fmt: skip
NEAR = {"0": 0, "R": 6, "C": 6, "D": 8}


@dataclass(frozen=True)
class Pass:
    """Pixels `rows` x `cols` of a plane of `shape`; kind: '0', 'R', 'C' or 'D'; number: in coding order."""

    number: int
    kind: str
    spacing: int
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    shape: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the pass."""
        return len(self.rows), len(self.cols)

    def take(self, plane: NDArray[Any], offset: tuple[int, int] = (0, 0)) -> NDArray[Any]:
        """Each pixel's neighbour at an offset in pixels, where the plane ends its last row or column."""
        rows = np.minimum(np.maximum(self.rows + offset[0], 0), self.shape[0] - 1)
        cols = np.minimum(np.maximum(self.cols + offset[1], 0), self.shape[1] - 1)
        return plane.take(rows, 0).take(cols, 1)

    def neighbour(self, plane: NDArray[Any], offset: tuple[int, int]) -> NDArray[Any]:
        """Each pixel's neighbour in the same plane at an offset of `NEIGHBOURS`, from an earlier pass.

        Where the plane ends, the nearest pixel in that direction which belongs to the same pass as the
        neighbour; 0 where that pass has none.
        """
        half = self.spacing // 2
        rows = _inside(self.rows + offset[0] * half, self.shape[0], self.spacing)
        cols = _inside(self.cols + offset[1] * half, self.shape[1], self.spacing)
        if rows is None or cols is None:
            return np.zeros(self.size, plane.dtype)
        return plane.take(rows, 0).take(cols, 1)

    def put(self, plane: NDArray[Any], values: NDArray[Any]) -> None:
        """Set the pixels of the pass, [rows, cols]."""
        step = self.spacing
        plane[self.rows[0] :: step, self.cols[0] :: step] = values


def _inside(index: NDArray[np.int64], size: int, spacing: int) -> NDArray[np.int64] | None:
    """Indices clipped to those of their own residue modulo `spacing`; None if there are none."""
    first = int(index[0]) % spacing
    if first >= size:
        return None
    last = first + (size - 1 - first) // spacing * spacing
    return np.minimum(np.maximum(index, first), last)


def passes(shape: tuple[int, int]) -> Iterator[Pass]:
    """Passes over a plane of rows x cols pixels; those without a pixel are left out, and their numbers."""
    places = [("0", START, 0, 0)]
    spacing = START
    while spacing > 1:
        half = spacing // 2
        places += [("R", spacing, 0, half), ("C", spacing, half, 0), ("D", spacing, half, half)]
        spacing = half
    for number, (kind, step, top, left) in enumerate(places):
        if top < shape[0] and left < shape[1]:
            rows, cols = np.arange(top, shape[0], step), np.arange(left, shape[1], step)
            yield Pass(number, kind, step, rows, cols, shape)
