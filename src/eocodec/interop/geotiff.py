"""A scene written back as a GeoTIFF with everything that its source said about itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.rpc import RPC
from rasterio.transform import Affine

from eocodec.interop.atomic import atomic_output, write_failure
from eocodec.interop.gdal import gdal_session, gdal_threads, rio_window
from eocodec.interop.scene import Progress, SceneInfo, SceneSource, read_ahead, tile_windows

BLOCK = 512
COMPRESSIONS = ("zstd", "deflate", "none")
PROBE_BYTES = 1 << 20


def write_geotiff(
    path: str | Path,
    source: SceneSource,
    *,
    tile: int = BLOCK,
    compression: str = "zstd",
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write a scene as a tiled GeoTIFF, a few tiles in memory at a time; returns the file's bytes.

    Parameters
    ----------
    source : read by some tiles at a time; its bands are put back in the order that they came in
    compression : zstd (fast), deflate (readable by the oldest software) or none
    progress : called with (tiles written, tiles in all)

    Raises
    ------
    OutputExists, OutputError : as in `eocodec.interop.atomic.atomic_output`
    """
    target = Path(path)
    with atomic_output(target, force=force, durable=False) as partial, _gdal_errors() as reported:
        try:
            with rasterio.open(partial, "w", **raster_profile(source.info, compression)) as dataset:
                write_metadata(dataset, source.info)
                _write_pixels(dataset, source, tile, progress)
            complete = is_complete(partial)
        except RasterioError as error:
            raise write_failure(target, _cause(partial, [*reported, str(error)])) from error
        if not complete:
            raise write_failure(target, _cause(partial, [*reported, "a block is missing after writing"]))
        return partial.stat().st_size


@contextmanager
def _gdal_errors() -> Iterator[list[str]]:
    """Collect what GDAL reports: it may come before the exception and be nearer to the cause."""
    reported: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                reported.append(record.getMessage().rstrip("."))

    handler = Collect()
    logger = logging.getLogger("rasterio")
    logger.addHandler(handler)
    try:
        with gdal_session():
            yield reported
    finally:
        logger.removeHandler(handler)


def _cause(partial: Path, reported: list[str]) -> str:
    """Why writing failed: what the system says to a write of our own; GDAL names a consequence at best."""
    try:
        with partial.open("ab") as stream:
            stream.write(bytes(PROBE_BYTES))
    except OSError as error:
        return error.strerror or str(error)
    return reported[0]


def raster_profile(info: SceneInfo, compression: str) -> dict[str, Any]:
    """Arguments that make rasterio create the GeoTIFF of a scene."""
    count, height, width = info.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": info.dtype.name,
        "nodata": info.nodata,
        "interleave": "band",  # the predictor works along a row of one band
        "BIGTIFF": "IF_SAFER",
        "SPARSE_OK": False,
    }
    if min(height, width) >= 16:  # a block is a multiple of 16 pixels
        block = min(BLOCK, -(-max(height, width) // 16) * 16)
        profile |= {"tiled": True, "blockxsize": block, "blockysize": block}
    if compression != "none":
        profile |= {"compress": compression.upper(), "predictor": 3 if info.dtype.kind == "f" else 2}
        profile |= {"ZSTD_LEVEL": 1} if compression == "zstd" else {"ZLEVEL": 6}
        profile["NUM_THREADS"] = gdal_threads()
    if info.crs_wkt is not None:
        profile["crs"] = CRS.from_wkt(info.crs_wkt)
    if info.transform is not None:
        profile["transform"] = Affine(*info.transform)
    return profile


def write_metadata(dataset: Any, info: SceneInfo) -> None:
    """Put what a scene says about itself and its bands into a new raster."""
    dataset.update_tags(**info.tags)
    for k, position in enumerate(_order(info)):
        index = position + 1
        if k < len(info.descriptions) and info.descriptions[k] is not None:
            dataset.set_band_description(index, info.descriptions[k])
        if k < len(info.band_tags):
            dataset.update_tags(index, **info.band_tags[k])
        if k < len(info.units) and info.units[k]:
            dataset.set_band_unit(index, info.units[k])
    if any(value != 1.0 for value in info.scales) or any(info.offsets):
        dataset.scales = _in_source_order(info, info.scales)
        dataset.offsets = _in_source_order(info, info.offsets)
    if info.gcps:
        points = [GroundControlPoint(*point) for point in info.gcps]
        dataset.gcps = (points, CRS.from_wkt(info.gcps_crs_wkt) if info.gcps_crs_wkt else CRS())
    if info.rpcs:
        dataset.rpcs = RPC.from_gdal(dict(info.rpcs))


def _order(info: SceneInfo) -> tuple[int, ...]:
    return info.order or tuple(range(info.shape[0]))


def _in_source_order(info: SceneInfo, values: tuple[float, ...]) -> tuple[float, ...]:
    placed = dict(zip(_order(info), values, strict=True))
    return tuple(placed[position] for position in range(len(values)))


def _write_pixels(dataset: Any, source: SceneSource, tile: int, progress: Progress | None) -> None:
    indexes = [position + 1 for position in _order(source.info)]
    windows = list(tile_windows(source.info.shape[1:], tile))
    done = 0
    with closing(read_ahead(source, windows, tile)) as batches:
        for batch, tiles in batches:
            for (_, _, (rows, cols)), pixels in zip(batch, tiles, strict=True):
                dataset.write(pixels, indexes, window=rio_window(rows, cols))
            done += len(batch)
            if progress is not None:
                progress(done, len(windows))


def is_complete(path: Path) -> bool:
    """Whether every block is there: on a full disk GDAL may only log that it could not write one."""
    size = path.stat().st_size
    with rasterio.open(path) as dataset:
        block_rows, block_cols = dataset.block_shapes[0]
        down, across = -(-dataset.height // block_rows), -(-dataset.width // block_cols)
        for band in range(1, dataset.count + 1):
            for y, x in product(range(down), range(across)):
                offset = dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                length = dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                if offset is None or length is None or int(offset) + int(length) > size:
                    return False
    return True
