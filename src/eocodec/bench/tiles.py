"""Any folder of tiles or series as input: GeoTIFF, SSL4EO-S12 `.zarr.zip`, `.npz`, a file a band.

What is in a folder is found by `find_sources`; nothing is read until a source is loaded, which any process
can do.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from eocodec.bench.base import Image
from eocodec.bench.classical import require
from eocodec.bench.datasets import load_tile
from eocodec.coding.crc import crc32c
from eocodec.errors import RasterError
from eocodec.raster.fill import smooth_fill
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray, BoolArray

SourceKind = Literal["geotiff", "series of geotiff", "zarr", "npz", "bands"]
NODATA = -32768  # where a file says nothing else
SEASON = re.compile(r"(.+)_(\d+)")
MAX_ROWS = 1 << 20
ZARR_VARIABLE = "bands"  # of SSL4EO-S12 v1.1: [sample,] time, band, y, x


@dataclass(frozen=True)
class Tile:
    """One array to code.

    data : int16 DN, [C, H, W] or [T, C, H, W], H and W even, nodata filled smoothly
    mask : [..., C, H, W], True = valid, or None where all is
    """

    name: str
    data: Image
    mask: BoolArray | None
    bands: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """CRC32C of the samples, hexadecimal."""
        return f"{crc32c(np.ascontiguousarray(self.data).tobytes()):08x}"


@dataclass(frozen=True)
class Cut:
    """What is coded: the top left `side` x `side` pixels (0: all), the first `dates` of a series."""

    side: int = 256
    dates: int = 4


@dataclass(frozen=True)
class Source:
    """Where one tile is: its files, and the sample in a file of many."""

    name: str
    kind: SourceKind
    paths: tuple[Path, ...]
    sample: int | None = None

    def load(self, cut: Cut) -> Tile:
        """Read, cut, fill.

        Raises
        ------
        RasterError : unreadable, of another number of bands, or smaller than 16 x 16 pixels
        """
        data, valid, bands = _read(self, cut)
        rows, cols = (min(n, cut.side or n) // 2 * 2 for n in data.shape[-2:])
        if min(rows, cols) < 16:
            raise RasterError(f"{self.name}: {data.shape[-2]} x {data.shape[-1]} pixels are too few")
        data, valid = data[..., :rows, :cols], valid[..., :rows, :cols]
        if valid.all():
            return Tile(self.name, np.ascontiguousarray(data), None, bands)
        if not valid.any():
            raise RasterError(f"{self.name}: no valid pixel in the part that is coded")
        return Tile(self.name, _fill(data, valid), valid, bands)


def find_sources(folder: Path, *, series: bool = False, limit: int | None = None) -> list[Source]:
    """Tiles of a folder and of those in it, sorted by name.

    Parameters
    ----------
    series : GeoTIFFs whose names differ in a last `_0`, `_1`, ... only are the dates of one series
    limit : at most so many

    Raises
    ------
    RasterError : there is none
    """
    found: list[Source] = []
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    tiffs = [path for path in paths if path.suffix.lower() in (".tif", ".tiff")]
    found += _series_of(tiffs) if series else [Source(path.stem, "geotiff", (path,)) for path in tiffs]
    for path in paths:
        if path.name.endswith(".zarr.zip"):
            found += _samples(path)
        elif path.suffix == ".npz":
            found.append(Source(path.stem, "npz", (path,)))
        elif path.name == "B02.jp2":
            found.append(Source(path.parent.name, "bands", (path.parent,)))
    if not found:
        raise RasterError(
            f"{folder}: no GeoTIFF, .zarr.zip, .npz, or folder with B02.jp2 and the other bands"
        )
    names = [source.name for source in found]
    if len(set(names)) < len(names):
        raise RasterError(f"{folder}: several tiles have the name {max(set(names), key=names.count)}")
    return sorted(found, key=lambda source: source.name)[:limit]


def _series_of(paths: list[Path]) -> list[Source]:
    """GeoTIFFs grouped by what stands before the last number; what has none stays by itself."""
    groups: dict[tuple[Path, str], list[tuple[int, Path]]] = defaultdict(list)
    alone = []
    for path in paths:
        match = SEASON.fullmatch(path.stem)
        if match:
            groups[path.parent, match[1]].append((int(match[2]), path))
        else:
            alone.append(Source(path.stem, "geotiff", (path,)))
    grouped = [
        Source(f"{name}_series", "series of geotiff", tuple(path for _, path in sorted(members)))
        for (_, name), members in groups.items()
    ]
    return [*alone, *grouped]


def _samples(path: Path) -> list[Source]:
    name = path.name.removesuffix(".zarr.zip")
    shape = _zarr_array(path).shape
    if len(shape) == 4:
        return [Source(name, "zarr", (path,))]
    return [Source(f"{name}_{i}", "zarr", (path,), i) for i in range(shape[0])]


def _zarr_array(path: Path) -> Any:
    zarr = require("zarr", "zarr")
    try:
        array = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")[ZARR_VARIABLE]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise RasterError(f"{path}: no array {ZARR_VARIABLE!r} that can be read ({error})") from error
    if array.ndim not in (4, 5):
        raise RasterError(
            f"{path}: {ZARR_VARIABLE} has the shape {array.shape}, expected [sample,] T, C, H, W"
        )
    return array


def _read(source: Source, cut: Cut) -> tuple[AnyArray, BoolArray, tuple[str, ...]]:
    """int16 array, mask and band names, not cut in space."""
    path = source.paths[0]
    if source.kind == "npz":
        with np.load(path) as arrays:
            names = tuple(str(name) for name in arrays["bands"])
            data, mask = arrays["data"][: cut.dates], arrays["mask"][: cut.dates, None]
        return _int16(data), np.broadcast_to(mask, data.shape), names
    if source.kind == "bands":
        from eocodec.bench.mosaic import read_native

        data = read_native(path, cut.side or MAX_ROWS)
    elif source.kind == "zarr":
        array = _zarr_array(path)
        data = _int16(array[: cut.dates] if source.sample is None else array[source.sample, : cut.dates])
    elif source.kind == "geotiff":
        return *_geotiff(path), S2_BAND_NAMES
    else:
        dates = [_geotiff(p) for p in source.paths[: cut.dates]]
        sizes = {date.shape for date, _ in dates}
        if len(sizes) > 1:
            raise RasterError(f"{source.name}: its dates have several sizes, {sorted(sizes)}")
        return np.stack([d for d, _ in dates]), np.stack([valid for _, valid in dates]), S2_BAND_NAMES
    if data.shape[-3] != len(S2_BAND_NAMES):
        raise RasterError(f"{source.name}: {data.shape[-3]} bands, expected {len(S2_BAND_NAMES)}")
    return data, data != NODATA, S2_BAND_NAMES


def _geotiff(path: Path) -> tuple[Image, BoolArray]:
    """The 12 bands of a GeoTIFF, and where they are not the nodata value that it states."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # where a tile is does not matter here
        data = load_tile(path, crop=None)
        with rasterio.open(path) as raster:
            nodata = NODATA if raster.nodata is None else raster.nodata
    return data, data != nodata


def _int16(data: AnyArray) -> Image:
    image: Image = np.clip(data, -32768, 32767).astype(np.int16)
    return image


def _fill(data: AnyArray, valid: BoolArray) -> Image:
    """Nodata filled smoothly, date by date: no codec is asked to code it."""
    size = data.shape[-3:]
    pairs = zip(data.reshape(-1, *size), valid.reshape(-1, *size), strict=True)
    filled = [np.rint(smooth_fill(date.astype(np.float32), mask)) for date, mask in pairs]
    return _int16(np.stack(filled).reshape(data.shape))
