"""Cutting a raster into tiles, and padding a tile to the multiple that a network needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import InputError

Roi = tuple[slice, slice]  # (rows, cols)
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Tiles:
    """The tiles of a raster, in row-major order; those at the bottom and right edge may be smaller.

    Parameters
    ----------
    raster_shape : (rows, cols) of the raster, each >= 1
    tile_shape : (rows, cols) of a full tile, each >= 1
    Raises
    ------
    InputError : a size is below 1
    Examples
    --------
    >>> tiles = Tiles((1000, 700), (512, 512))
    >>> tiles.shape, len(tiles)
    ((2, 2), 4)
    >>> tiles[1, 0]
    (slice(512, 1000, None), slice(0, 512, None))
    """

    raster_shape: tuple[int, int]
    tile_shape: tuple[int, int] = (512, 512)

    def __post_init__(self) -> None:
        """Refuse sizes below 1."""
        if min(*self.raster_shape, *self.tile_shape) < 1:
            raise InputError(f"raster {self.raster_shape} and tile {self.tile_shape}: sizes must be >= 1")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of tiles down and across."""
        (rows, cols), (tile_rows, tile_cols) = self.raster_shape, self.tile_shape
        return -(-rows // tile_rows), -(-cols // tile_cols)

    def __len__(self) -> int:
        """Number of tiles."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, index: tuple[int, int]) -> Roi:
        """(rows, cols) slices of the tile `(iy, ix)`; IndexError beyond the raster, negative included."""
        starts = []
        for axis in (0, 1):
            if not 0 <= index[axis] < self.shape[axis]:
                raise IndexError(f"tile {index} of a raster of {self.shape} tiles")
            starts.append(index[axis] * self.tile_shape[axis])
        stops = [min(starts[a] + self.tile_shape[a], self.raster_shape[a]) for a in (0, 1)]
        return slice(starts[0], stops[0]), slice(starts[1], stops[1])

    def indices(self) -> Iterator[tuple[int, int]]:
        """All `(iy, ix)` in row-major order."""
        return ((iy, ix) for iy in range(self.shape[0]) for ix in range(self.shape[1]))

    def __iter__(self) -> Iterator[Roi]:
        """All tiles' slices in row-major order."""
        return (self[index] for index in self.indices())


def padded_size(size: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is >= `size`."""
    return -(-size // multiple) * multiple


def _mirror_index(size: int, multiple: int) -> NDArray[np.intp]:
    """Source index of each padded position: mirrored about the edge, or the edge repeated if too short."""
    index = np.arange(padded_size(size, multiple))
    if index.size <= 2 * size:
        return np.where(index < size, index, 2 * size - 1 - index)
    return np.minimum(index, size - 1)


def pad_to_multiple(x: NDArray[_Scalar], multiple: int) -> tuple[NDArray[_Scalar], tuple[int, int]]:
    """Extend the bottom and right of `x` so that rows and columns are multiples of `multiple`.

    Parameters
    ----------
    x : [..., H, W], any dtype, H and W >= 1
    multiple : >= 1
    Returns
    -------
    padded : [..., H', W'], same dtype; mirrored about the edge (edge pixel repeated once, so there is no
        step and no change of texture); the edge pixel repeated throughout where less than half of the
        padded size is there to mirror. `x` itself where nothing has to be added.
    (H, W) : the size to `crop` to
    Raises
    ------
    InputError : an empty raster, or a multiple below 1
    """
    rows, cols = x.shape[-2:]
    if multiple < 1 or rows < 1 or cols < 1:
        raise InputError(f"cannot pad {rows} x {cols} pixels to a multiple of {multiple}")
    padded = x
    if rows % multiple:
        padded = np.take(padded, _mirror_index(rows, multiple), axis=-2)
    if cols % multiple:
        padded = np.take(padded, _mirror_index(cols, multiple), axis=-1)
    return padded, (rows, cols)


def crop(x: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Undo `pad_to_multiple`: the first `size` = (rows, cols) of `x` [..., H', W'], as a view.

    Raises
    ------
    InputError : `x` is smaller than `size`
    """
    if x.shape[-2] < size[0] or x.shape[-1] < size[1]:
        raise InputError(f"cannot crop {x.shape[-2:]} to {size}")
    return x[..., : size[0], : size[1]]
