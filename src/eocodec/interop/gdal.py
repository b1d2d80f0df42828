"""Rasters through rasterio: opened, described and read by windows, with errors of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RioWindow

from eocodec.errors import InputError, RasterError
from eocodec.interop.layers import LayerInfo
from eocodec.interop.scene import SceneInfo
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray

Dataset: TypeAlias = Any  # rasterio has no types
RASTER_SUFFIXES = frozenset({".jp2", ".tif", ".tiff", ".img", ".vrt", ".j2k", ".bil", ".dat"})
BLOCK_CACHE_BYTES = (
    256 << 20
)  # GDAL's own default is 5 % of the memory, which on a big machine breaks our bound
VOLATILE_TAGS = ("STATISTICS_",)  # computed from pixels that a lossy codec changes


def gdal_session() -> Any:
    """Context in which GDAL reports to rasterio's log instead of the terminal, with a bounded block cache."""
    ours = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": BLOCK_CACHE_BYTES}
    return rasterio.Env(GDAL_NUM_THREADS=gdal_threads(), **ours)


def gdal_threads() -> str:
    """Threads that pack and unpack blocks: as GDAL's own variable says, else all cores."""
    return os.environ.get("GDAL_NUM_THREADS", "ALL_CPUS")


@contextmanager
def gdal_options(pairs: Mapping[str, str]) -> Iterator[None]:
    """GDAL's configuration options, for every thread, while the block lasts."""
    before = {key: os.environ.get(key) for key in pairs}
    os.environ.update(pairs)  # where GDAL looks for what is set nowhere else; rasterio's own is per thread
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def parse_gdal_options(texts: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE texts as a dictionary.

    Raises
    ------
    InputError : a text has no '=' or no key
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key.strip() and equals):
            raise InputError(f"--gdal {text!r} is not KEY=VALUE; write for example --gdal GDAL_NUM_THREADS=2")
        pairs[key.strip()] = value.strip()
    return pairs


def open_dataset(path: str, stack: ExitStack) -> Dataset:
    """Open a raster for reading; `stack` closes it.

    Raises
    ------
    RasterError : it is not there, or no raster
    """
    try:
        with gdal_session():
            return stack.enter_context(rasterio.open(path))
    except (RasterioError, OSError) as error:
        is_plain = "://" not in path and not path.startswith("/vsi") and ":" not in path
        if is_plain and not Path(path).exists():
            raise RasterError(f"{path} does not exist; check the path") from error
        raise RasterError(
            f"{path} cannot be read as a raster ({error}); "
            "check that it is complete and of a format that rasterio reads"
        ) from error


def rio_window(rows: slice, cols: slice) -> RioWindow:
    """A window with explicit start and stop as rasterio spells it: columns first, sizes for ends."""
    return RioWindow(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)


def read_window(dataset: Dataset, indexes: list[int], rows: slice, cols: slice) -> AnyArray:
    """Pixels [n, h, w] of some bands (counted from 1) of a window.

    Raises
    ------
    RasterError : the file is damaged there
    """
    try:
        with gdal_session():
            return np.asarray(dataset.read(indexes, window=rio_window(rows, cols)))
    except (RasterioError, OSError) as error:
        raise RasterError(
            f"{dataset.name} cannot be read at rows {rows.start}-{rows.stop}, "
            f"columns {cols.start}-{cols.stop}; "
            "the file is damaged or incomplete, fetch it again"
        ) from error


def native_nodata(dataset: Dataset) -> float | int | None:
    """The nodata value in the pixels' own type; None where that type cannot hold it."""
    return as_nodata(dataset.nodata, np.dtype(dataset.dtypes[0]))


def as_nodata(value: float | None, dtype: np.dtype[Any]) -> float | int | None:
    """A stated nodata value in a type; None where the type cannot hold it."""
    if value is None or dtype.kind == "f":
        return None if value is None else float(value)
    limits = np.iinfo(dtype)
    holds = np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max
    return int(value) if holds else None


def affine_of(dataset: Dataset) -> tuple[float, ...] | None:
    """The transform's a, b, c, d, e, f; None where there is no georeferencing."""
    return None if dataset.transform.is_identity else tuple(dataset.transform)[:6]


def describe(dataset: Dataset, path: str, order: tuple[int, ...], nodata: float | int | None) -> SceneInfo:
    """All that rasterio tells about a dataset, its bands taken in `order`."""
    if len(set(dataset.dtypes)) != 1:
        raise RasterError(
            f"the bands of {path} have different types ({', '.join(sorted(set(dataset.dtypes)))}); "
            "convert them to one"
        )
    gcps, gcps_crs = dataset.gcps
    return SceneInfo(
        shape=(len(order), dataset.height, dataset.width),
        dtype=np.dtype(dataset.dtypes[0]),
        bands=S2_BAND_NAMES if len(order) == len(S2_BAND_NAMES) else tuple(f"{k}" for k in order),
        nodata=native_nodata(dataset) if nodata is None else nodata,
        crs_wkt=dataset.crs.to_wkt() if dataset.crs else None,
        transform=affine_of(dataset),
        order=order,
        descriptions=tuple(dataset.descriptions[k] for k in order),
        band_tags=tuple(stable_tags(dataset.tags(k + 1)) for k in order),
        scales=tuple(dataset.scales[k] for k in order),
        offsets=tuple(dataset.offsets[k] for k in order),
        units=tuple(dataset.units[k] for k in order),
        tags=stable_tags(dataset.tags()),
        gcps=tuple((g.row, g.col, g.x, g.y, g.z, g.id, g.info) for g in gcps),
        gcps_crs_wkt=gcps_crs.to_wkt() if gcps_crs else None,
        rpcs=dataset.rpcs.to_gdal() if dataset.rpcs else None,
        sources=(Path(path).name,),
    )


def stable_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags without those that a lossy codec would make untrue."""
    return {key: value for key, value in tags.items() if not key.startswith(VOLATILE_TAGS)}


@dataclass(frozen=True)
class FileLayer:
    """Bands (counted from 1) of an open raster as a layer."""

    info: LayerInfo
    dataset: Dataset
    indexes: tuple[int, ...]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [n, h, w] of a window."""
        return read_window(self.dataset, list(self.indexes), rows, cols)


def file_layer(dataset: Dataset, name: str, file: str, indexes: tuple[int, ...] = ()) -> FileLayer:
    """Bands of an open raster as a layer.

    Parameters
    ----------
    name, file : of the layer, of its file
    indexes : of the bands, counted from 1; none: all

    Raises
    ------
    RasterError : the bands have different types
    """
    indexes = indexes or tuple(range(1, dataset.count + 1))
    dtypes = {dataset.dtypes[index - 1] for index in indexes}
    if len(dtypes) != 1:
        raise RasterError(f"the bands of {file} have different types; convert them to one")
    tags = dataset.tags() if len(indexes) == dataset.count else dataset.tags(indexes[0])
    info = LayerInfo(
        name,
        (len(indexes), dataset.height, dataset.width),
        np.dtype(dtypes.pop()),
        affine_of(dataset),
        native_nodata(dataset),
        file,
        stable_tags(tags),
    )
    return FileLayer(info, dataset, indexes)
