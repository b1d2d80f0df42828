"""What a scene is to eocodec: a description, and pixels read by windows. Files are adapted to it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from eocodec.errors import RasterError
from eocodec.raster.tiles import Tiles
from eocodec.types import AnyArray, BoolArray

Window = tuple[slice, slice]  # (rows, cols), with explicit start and stop
TileWindow = tuple[int, int, Window]  # (tile row, tile column, window)
TileBatch = list[TileWindow]  # neighbours of one tile row
PIXELS_PER_BATCH = 4 * 512 * 512  # of tiles that are coded together: bounds their memory
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
    sources : names of the files; of band files, one for each band that is not absent
    notes : what had to be assumed, a sentence each
    factors : native pixel size of each band over the grid's, 1 or more; empty: the grid is native to all
    absent : bands that the source does not have; nodata throughout, and not written back
    left_out : files of the source that are derived from what is kept, and were not taken
    product : what a Sentinel-2 product's metadata say, as plain values (see `safe_metadata`)
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
    factors: tuple[int, ...] = ()
    absent: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    product: Mapping[str, Any] = field(default_factory=dict)

    @property
    def raw_bytes(self) -> int:
        """Bytes of the pixels without any compression: of the bands that are there, each on its own grid."""
        _, rows, cols = self.shape
        factors = [self.native_factors[k] for k in self.present]
        return sum((rows // factor) * (cols // factor) for factor in factors) * self.dtype.itemsize

    @property
    def native_factors(self) -> tuple[int, ...]:
        """`factors`, one for each band."""
        return self.factors or (1,) * self.shape[0]

    @property
    def present(self) -> tuple[int, ...]:
        """Positions of the bands that the source has."""
        return tuple(k for k, name in enumerate(self.bands) if name not in self.absent)


class SceneSource(Protocol):
    """A scene whose pixels are read window by window."""

    @property
    def info(self) -> SceneInfo: ...

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window, in the scene's dtype and the model's band order."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class TiledSource(SceneSource, Protocol):
    """A scene that is kept in tiles."""

    def read_tiles(self, batch: TileBatch) -> list[AnyArray]:
        """Pixels [C, h, w] of each window of a batch."""
        ...


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


def check_absent(nodata: float | int | None) -> None:
    """Raise RasterError unless there is a value to stand for bands that are missing."""
    if nodata is None:
        raise RasterError(
            "bands are missing, and no nodata value is known to stand for them; state one with --nodata 0"
        )


def is_nodata(pixels: AnyArray, nodata: float | int | None) -> BoolArray:
    """Bool, the shape of `pixels`: True where a pixel holds the nodata value; NaN always is nodata."""
    absent = np.isnan(pixels) if pixels.dtype.kind == "f" else np.zeros(pixels.shape, dtype=bool)
    return absent if nodata is None else np.asarray(absent | (pixels == nodata))


def read_ahead(
    source: SceneSource, windows: Iterable[TileWindow], tile: int
) -> Generator[tuple[TileBatch, list[AnyArray]], None, None]:
    """Tiles of a scene, batch by batch; while one batch is in use, the next one is read.

    Reading and what follows it have serial parts each, which leave a core to the other.
    """
    with ThreadPoolExecutor(1) as reader:
        waiting: list[tuple[TileBatch, Future[list[AnyArray]]]] = []
        for batch in tile_batches(windows, tile):
            waiting.append((batch, reader.submit(_read_tiles, source, batch)))
            if len(waiting) > 1:
                ready, tiles = waiting.pop(0)
                yield ready, tiles.result()
        for ready, tiles in waiting:
            yield ready, tiles.result()


def _read_tiles(source: SceneSource, batch: TileBatch) -> list[AnyArray]:
    """Read neighbours of a tile row at once (formats in strips unpack whole rows), then cut them apart."""
    if isinstance(source, TiledSource):
        return source.read_tiles(batch)
    rows = batch[0][2][0]
    first, last = batch[0][2][1].start, batch[-1][2][1].stop
    pixels = source.read(rows, slice(first, last))
    return [
        np.ascontiguousarray(pixels[:, :, cols.start - first : cols.stop - first])
        for _, _, (_, cols) in batch
    ]


def tile_batches(windows: Iterable[TileWindow], tile: int) -> Iterator[TileBatch]:
    """Neighbours within a tile row, up to PIXELS_PER_BATCH."""
    most = max(1, PIXELS_PER_BATCH // (tile * tile))
    batch: TileBatch = []
    for window in windows:
        if batch and (len(batch) == most or batch[-1][0] != window[0]):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
