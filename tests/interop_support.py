"""What the tests of files and commands share: made-up scenes, and a stand-in for the networks.

The stand-in writes true codestreams whose symbols are deflated rounded pixels, so that everything around the
networks is tested as it is, in milliseconds.
"""

from __future__ import annotations

import sys
import types
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

import eocodec
from eocodec.codestream.header import Header
from eocodec.codestream.reader import read
from eocodec.codestream.sections import Section, SectionType
from eocodec.codestream.writer import write
from eocodec.metrics import psnr as measure
from eocodec.sensors import S2_BAND_NAMES

FINGERPRINT = b"standin!"
TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_300_040.0)
CRS = "EPSG:32633"


def smooth_scene(rows, cols, bands=12, seed=0, dtype="uint16"):
    """A scene [C, H, W] of smooth hills in DN, different in each band."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:cols]
    planes = []
    for band in range(bands):
        phase = rng.uniform(0, 6.28, 4)
        hills = np.sin(y / 17 + phase[0]) + np.cos(x / 23 + phase[1]) + np.sin((x + y) / 41 + phase[2])
        planes.append(1500 + 120 * band + 250 * hills + rng.normal(0, 8, (rows, cols)))
    return np.stack(planes).round().astype(dtype)


def write_stack(path, pixels, descriptions=S2_BAND_NAMES, **profile):
    """A GeoTIFF with all bands; `profile` adds to or replaces the georeferencing."""
    settings = {"crs": CRS, "transform": Affine(*TRANSFORM), **profile}
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=pixels.dtype.name,
        **settings,
    ) as dataset:
        dataset.write(pixels)
        for k, text in enumerate(descriptions or ()):
            dataset.set_band_description(k + 1, text)
    return Path(path)


def write_band(path, plane, pixel_size, **profile):
    """A GeoTIFF with one band at its own pixel size, its upper left corner where `write_stack` has it."""
    transform = Affine(pixel_size, 0.0, TRANSFORM[2], 0.0, -pixel_size, TRANSFORM[5])
    write_stack(path, plane[None], None, **{"transform": transform, **profile})
    return Path(path)


def write_band_folder(folder, rows=120, cols=180, seed=0, **profile):
    """One file per band at 10, 20 and 60 m; sizes must be multiples of 6. Gives {band: coarse plane}."""
    from eocodec.sensors import S2_L2A

    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    planes = {}
    for k, band in enumerate(S2_L2A):
        factor = band.pixel_size // 10
        plane = smooth_scene(rows // factor, cols // factor, 1, seed + k)[0]
        name = f"T33UXP_20200701T100031_{band.name}_{band.pixel_size}m.tif"
        write_band(folder / name, plane, band.pixel_size, **profile)
        planes[band.name] = plane
    return planes


def names_in(folder):
    """Names of what a folder holds, sorted."""
    return sorted(path.name for path in Path(folder).iterdir())


def _step(quality):
    return 1 + int(100 - quality)


def standin_encode(array, options):
    """A codestream of `array`, [C, H, W] or [T, C, H, W], rounded to steps that the quality gives."""
    scale = options.scale or 1.0
    step = _step(options.quality) / scale
    rounded = np.round(array / step) * step
    if array.dtype.kind != "f":
        limits = np.iinfo(array.dtype)
        rounded = np.clip(rounded, limits.min, limits.max)
    rounded = rounded.astype(array.dtype)
    if options.nodata is not None:
        absent = np.isnan(array) if np.isnan(options.nodata) else array == options.nodata
        rounded[absent] = options.nodata
    shape = array.shape if array.ndim == 4 else (1, *array.shape)
    header = Header(FINGERPRINT, shape, array.dtype.name, round(100 * options.quality), 0, options.nodata)
    return write(header, [Section(SectionType.SYMBOLS, zlib.compress(rounded.tobytes(), 1))])


def standin_decode(data):
    """Invert `standin_encode`."""
    stream = read(data)
    pixels = np.frombuffer(zlib.decompress(stream.sections[SectionType.SYMBOLS]), stream.header.dtype)
    shape = stream.header.shape
    return pixels.reshape(shape if shape[0] > 1 else shape[1:])


@dataclass(frozen=True)
class Found:
    """Result of a search."""

    quality: float
    psnr: float | None
    bpppc: float
    reached: bool


def standin_search(tiles, options, *, psnr=None, ratio=None, bpppc=None):
    """The largest whole quality within the rate, or the smallest that reaches the PSNR; by bisection."""
    values = sum(tile.size for tile in tiles)

    def at(quality):
        chosen = replace(options, quality=float(quality))
        streams = [standin_encode(tile, chosen) for tile in tiles]
        mean = np.mean([float(measure(t, standin_decode(s))) for t, s in zip(tiles, streams, strict=True)])
        rate = 8 * sum(map(len, streams)) / values
        reached = rate <= bpppc if bpppc is not None else mean >= psnr
        return Found(float(quality), float(mean), rate, bool(reached))

    low, high = 0, 100
    while high - low > 1:
        middle = (low + high) // 2
        found = at(middle)
        too_good = found.bpppc > bpppc if bpppc is not None else found.psnr >= psnr
        low, high = (low, middle) if too_good else (middle, high)
    return at(low if bpppc is not None else high)


def standin_modules():
    """Modules to stand in for those that need networks."""
    codec = types.ModuleType("eocodec.codec")
    codec.calls = []  # sizes of the batches, so that tests see what went through together

    def encode_batch(arrays, options):
        codec.calls.append(len(arrays))
        return [standin_encode(array, options) for array in arrays]

    def decode_batch(datas, dates=None):
        codec.calls.append(len(datas))
        whole = [standin_decode(data) for data in datas]
        return whole if dates is None else [series[list(dates)] for series in whole]

    codec.encode_batch, codec.decode_batch = encode_batch, decode_batch
    codec.decode = standin_decode
    search = types.ModuleType("eocodec.search")
    search.search_quality = standin_search
    return {"codec": codec, "search": search}


def install_standin():
    """Put the stand-in into this process, for commands that run in a process of their own."""
    for name, module in standin_modules().items():
        sys.modules[f"eocodec.{name}"] = module
        setattr(eocodec, name, module)
