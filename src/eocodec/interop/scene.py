"""What a scene is to eocodec: a description, and pixels read by windows. Files are adapted to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eocodec.raster.tiles import Tiles
from eocodec.types import AnyArray, BoolArray

Window = tuple[slice, slice]  # (rows, cols), with explicit start and stop
Progress = Callable[[int, int], None]  # called with (tiles done, tiles in all)


@dataclass(frozen=True)
class SceneInfo:
    """Everything about a scene except its pixels. Bands are in the model's order.

    Attributes
    ----------
    shape : (C, H, W)
    dtype : of the pixels
    bands : C names, as in `eocodec.sensors`
    nodata : the value of pixels that hold no measurement, or None
    crs_wkt : WKT of the coordinate reference system, or None
    transform : affine a, b, c, d, e, f (x = a col + b row + c), or None where there is no georeferencing
    order : position of each band in the file it came from (0-based)
    descriptions, band_tags, scales, offsets, units : of each band, as the source had them; may be empty
    tags : of the file
    gcps, gcps_crs_wkt : ground control points as (row, col, x, y, z, id, info) and their reference system
    rpcs : rational polynomial coefficients as GDAL's strings
    sources : names of the files
    notes : what had to be assumed, a sentence each
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    bands: tuple[str, ...]
    nodata: float | int | None = None
    crs_wkt: str | None = None
    transform: tuple[float, ...] | None = None
    order: tuple[int, ...] = ()
    descriptions: tuple[str | None, ...] = ()
    band_tags: tuple[Mapping[str, str], ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    gcps: tuple[tuple[Any, ...], ...] = ()
    gcps_crs_wkt: str | None = None
    rpcs: Mapping[str, str] | None = None
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def raw_bytes(self) -> int:
        """Bytes of the pixels without any compression."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class SceneSource(Protocol):
    """A scene whose pixels are read window by window."""

    @property
    def info(self) -> SceneInfo: ...

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window, in the scene's dtype and the model's band order."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ArraySource:
    """A scene held in memory; `pixels` is [C, H, W]."""

    info: SceneInfo
    pixels: AnyArray

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window."""
        return self.pixels[:, rows, cols]

    def close(self) -> None:
        """Nothing to close."""


def tile_windows(shape: tuple[int, int], tile: int) -> Iterator[tuple[int, int, Window]]:
    """(tile row, tile column, window) over a raster of `shape` (rows, cols); edge tiles are smaller."""
    tiles = Tiles(shape, (tile, tile))
    return ((i, j, tiles[i, j]) for i, j in tiles.indices())


def is_nodata(pixels: AnyArray, nodata: float | int | None) -> BoolArray:
    """Bool, the shape of `pixels`: True where a pixel holds the nodata value; NaN always is nodata."""
    absent = np.isnan(pixels) if pixels.dtype.kind == "f" else np.zeros(pixels.shape, dtype=bool)
    return absent if nodata is None else np.asarray(absent | (pixels == nodata))
