"""A scene written as files of its own kind again: one per band and layer, each at its native pixels.

GeoTIFF is written window by window. JPEG 2000 and cloud-optimized GeoTIFF cannot be: GDAL makes them from a
finished raster, which lies in a temporary folder beside the output meanwhile.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from eocodec.interop.atomic import atomic_output, check_output, write_failure
from eocodec.interop.container import FolderSink
from eocodec.interop.gdal import Dataset, file_layer, gdal_session, gdal_threads, open_dataset, rio_window
from eocodec.interop.geotiff import BLOCK, is_complete, raster_profile, write_geotiff, write_metadata
from eocodec.interop.layer_store import array_documents, write_array
from eocodec.interop.layers import Layer, documents_of, layers_of
from eocodec.interop.native import RowAverager
from eocodec.interop.scene import Progress, SceneInfo, SceneSource, read_ahead, tile_windows
from eocodec.types import AnyArray

GRID_TAG = "EOCODEC_GRID"
LAYER_BLOCK = 1024
# Lossless: the reversible wavelet with nothing thrown away.
JPEG2000 = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
JPEG2000_DTYPES = frozenset({"uint8", "int16", "uint16"})


@dataclass(frozen=True)
class ExportOptions:
    """How to write files.

    Attributes
    ----------
    jpeg2000 : write .jp2 rather than .tif, where the type of the pixels allows it
    native : each band at its own pixel size; False: all on the finest grid
    compression : of GeoTIFF
    """

    jpeg2000: bool = False
    native: bool = True
    compression: str = "zstd"


def write_folder(
    path: str | Path,
    source: SceneSource,
    options: ExportOptions,
    *,
    tile: int = BLOCK,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write a folder with a file for each band and layer, and the metadata documents; returns its bytes.

    Raises
    ------
    OutputExists, OutputError : as in `eocodec.interop.atomic.atomic_output`
    """
    target = Path(path)
    with atomic_output(target, force=force, durable=False) as partial:
        partial.mkdir()
        with _as_output_error(target), gdal_session():
            _write_files(partial, source, options, tile, progress)
        return sum(file.stat().st_size for file in partial.iterdir())


def write_zarr(
    path: str | Path,
    source: SceneSource,
    options: ExportOptions,
    *,
    tile: int = BLOCK,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write an ordinary Zarr store, without loss: a group per pixel size, an array per band and layer.

    Raises
    ------
    OutputExists, OutputError : as in `eocodec.interop.atomic.atomic_output`
    """
    target = Path(path)
    check_output(target, force=force)
    with _spool(target) as files:
        plain = replace(options, jpeg2000=False)
        with _as_output_error(target), gdal_session(), ExitStack() as stack:
            places = _write_files(files, source, plain, tile, progress)
            layers: list[Layer] = [
                file_layer(open_dataset(str(files / file), stack), name, file)
                for name, file in places.items()
            ]
            with atomic_output(target, force=force, durable=False) as partial:
                sink = FolderSink(partial)
                total = sum(write_array(sink, layer, "") for layer in layers)
                for key, document in _zarr_documents(source, layers).items():
                    sink.put(key, document)
                    total += len(document)
    return total


def write_cog(
    path: str | Path,
    source: SceneSource,
    *,
    tile: int = BLOCK,
    compression: str = "zstd",
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write a cloud-optimized GeoTIFF with overviews; returns its bytes. Arguments of `write_geotiff`.

    Raises
    ------
    OutputExists, OutputError : as in `eocodec.interop.atomic.atomic_output`
    """
    target = Path(path)
    check_output(target, force=force)
    settings = {"driver": "COG", "BLOCKSIZE": str(BLOCK), "BIGTIFF": "IF_SAFER", "RESAMPLING": "AVERAGE"}
    settings |= {"COMPRESS": compression.upper(), "NUM_THREADS": gdal_threads()}
    if compression != "none":
        settings["PREDICTOR"] = "YES"
    with _spool(target) as spool:
        plain = spool / "plain.tif"
        write_geotiff(plain, source, tile=tile, compression=compression, progress=progress)
        with atomic_output(target, force=force, durable=False) as partial, _as_output_error(target):
            _copy(plain, partial, settings)
            return partial.stat().st_size


def file_names(info: SceneInfo, *, native: bool, suffix: str) -> dict[str, str]:
    """A file name for each band that is there: as in the source, with the pixel size that it has now."""
    names = {}
    aligned = len(info.sources) == len(info.present)
    for place, k in enumerate(info.present):
        stem = Path(info.sources[place]).stem if aligned else info.bands[k]
        size = _metres(info, info.native_factors[k] if native else 1)
        head, _, last = stem.rpartition("_")
        if size and head and last.endswith("m") and last[:-1].isdigit():
            stem = f"{head}_{size}m"
        names[info.bands[k]] = f"{stem}{suffix}"
    return names


def _metres(info: SceneInfo, factor: int) -> str | None:
    if info.transform is None or info.transform[0] != int(info.transform[0]):
        return None
    return str(int(info.transform[0]) * factor)


def _write_files(
    folder: Path, source: SceneSource, options: ExportOptions, tile: int, progress: Progress | None
) -> dict[str, str]:
    """Files of bands, layers and documents in a folder; gives the rasters' names by band and layer."""
    suffix = ".jp2" if options.jpeg2000 and source.info.dtype.name in JPEG2000_DTYPES else ".tif"
    places = file_names(source.info, native=options.native, suffix=suffix)
    with tempfile.TemporaryDirectory(prefix=".plain.", dir=folder) as spool:
        plain = {band: Path(spool) / f"{band}.tif" for band in places}
        compression = "zstd" if suffix == ".jp2" else options.compression
        _write_bands(plain, source, replace(options, compression=compression), tile, progress)
        for band, file in plain.items():
            _finish(file, folder / places[band])
        for layer in layers_of(source):
            info = layer.info
            is_jpeg2000 = options.jpeg2000 and info.dtype.name in JPEG2000_DTYPES
            stem = Path(info.source).stem if info.name in info.source else info.name
            places[info.name] = f"{stem}{'.jp2' if is_jpeg2000 else '.tif'}"
            file = Path(spool) / f"{info.name}.tif"
            _write_layer(file, layer, source.info, options.compression)
            _finish(file, folder / places[info.name])
    for name, content in documents_of(source).items():
        (folder / name).write_bytes(content)
    return places


def _finish(plain: Path, target: Path) -> None:
    """Move a GeoTIFF to its place, or make a JPEG 2000 file of it."""
    if not is_complete(plain):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # what GDAL only logs
    if target.suffix == ".jp2":
        _copy(plain, target, JPEG2000)
        plain.unlink()
    else:
        plain.rename(target)


def _copy(source: Path, target: Path, settings: dict[str, str]) -> None:
    with gdal_session():
        rasterio.shutil.copy(str(source), str(target), strict=False, **settings)


def _write_bands(
    files: dict[str, Path], source: SceneSource, options: ExportOptions, tile: int, progress: Progress | None
) -> None:
    """GeoTIFFs of all bands at once, so that every tile is decoded once."""
    info = source.info
    with ExitStack() as stack:
        datasets = {
            k: stack.enter_context(_new_band(files[info.bands[k]], info, k, options)) for k in info.present
        }
        groups: dict[int, list[int]] = {}
        for k in info.present:
            groups.setdefault(info.native_factors[k] if options.native else 1, []).append(k)
        means = {f: RowAverager(info, len(ks), f) for f, ks in groups.items() if f > 1}
        windows = list(tile_windows(info.shape[1:], tile))
        done = 0
        with closing(read_ahead(source, windows, tile)) as batches:
            for batch, tiles in batches:
                for (_, _, (rows, cols)), pixels in zip(batch, tiles, strict=True):
                    for factor, ks in groups.items():
                        if factor == 1:
                            _write_planes(datasets, ks, pixels[ks], rows, cols)
                            continue
                        means[factor].add(pixels[ks], rows, cols)
                        if cols.stop == info.shape[2]:  # the last tile of its row
                            for whole, planes in means[factor].take(rows.stop):
                                _write_planes(datasets, ks, planes, whole, slice(0, planes.shape[2]))
                done += len(batch)
                if progress is not None:
                    progress(done, len(windows))


def _write_planes(
    datasets: dict[int, Dataset], bands: list[int], planes: AnyArray, rows: slice, cols: slice
) -> None:
    window = rio_window(rows, cols)
    for k, plane in zip(bands, planes, strict=True):
        datasets[k].write(plane, 1, window=window)


@contextmanager
def _new_band(file: Path, info: SceneInfo, k: int, options: ExportOptions) -> Iterator[Dataset]:
    """A new GeoTIFF for one band, described as in the scene, on its grid."""
    factor = info.native_factors[k] if options.native else 1
    part = replace(
        info,
        shape=(1, info.shape[1] // factor, info.shape[2] // factor),
        bands=(info.bands[k],),
        order=(0,),
        descriptions=(info.bands[k],),
        band_tags=info.band_tags[k : k + 1],
        scales=info.scales[k : k + 1],
        offsets=info.offsets[k : k + 1],
        units=info.units[k : k + 1],
        transform=_coarser(info.transform, factor),
        tags={**info.tags, GRID_TAG: _grid_text(info.native_factors[k], native=options.native)},
        gcps=tuple((p[0] / factor, p[1] / factor, *p[2:]) for p in info.gcps),
        rpcs=info.rpcs if factor == 1 else None,
    )
    with rasterio.open(file, "w", **raster_profile(part, options.compression)) as dataset:
        write_metadata(dataset, part)
        yield dataset


def _grid_text(factor: int, *, native: bool) -> str:
    if factor == 1:
        return "native"
    if native:
        return f"native, means of {factor} x {factor} decoded pixels"
    return f"finest, interpolated from pixels {factor} times as large"


def _coarser(transform: tuple[float, ...] | None, factor: int) -> tuple[float, ...] | None:
    if transform is None:
        return None
    a, b, c, d, e, f = transform
    return a * factor, b * factor, c, d * factor, e * factor, f


def _write_layer(file: Path, layer: Layer, scene: SceneInfo, compression: str) -> None:
    info = layer.info
    part = SceneInfo(
        info.shape,
        info.dtype,
        (info.name,) * info.shape[0],
        nodata=info.nodata,
        crs_wkt=scene.crs_wkt,
        transform=info.transform,
        tags=info.tags,
    )
    with rasterio.open(file, "w", **raster_profile(part, compression)) as dataset:
        write_metadata(dataset, part)
        for _, _, (rows, cols) in tile_windows((info.shape[1], info.shape[2]), LAYER_BLOCK):
            dataset.write(layer.read(rows, cols), window=rio_window(rows, cols))


def _zarr_documents(source: SceneSource, layers: list[Layer]) -> dict[str, bytes]:
    """Metadata of a plain store, the root's last with everything consolidated."""
    parts = array_documents(layers, source.info.crs_wkt, "")
    root: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"source": list(source.info.sources), **source.info.tags},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": parts},
    }
    found = {f"{path}/zarr.json": part for path, part in parts.items()} | {"zarr.json": root}
    return {key: json.dumps(part, ensure_ascii=False).encode() for key, part in found.items()}


@contextmanager
def _spool(target: Path) -> Iterator[Path]:
    """A temporary folder beside the output, for what GDAL can only copy."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.absolute().parent) as spool:
            yield Path(spool)
    except OSError as error:
        raise write_failure(target, error.strerror or str(error)) from error


@contextmanager
def _as_output_error(target: Path) -> Iterator[None]:
    """What GDAL says when it cannot write, as an error of ours."""
    try:
        yield
    except RasterioError as error:
        raise write_failure(target, str(error)) from error
