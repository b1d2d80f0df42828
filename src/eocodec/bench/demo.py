"""`eocodec demo`: a scene there and back, its figures, and a picture of it before and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.bench.contest import size_of
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.bench.ours import decode_file, encode_file
from eocodec.bench.pixels import PixelDifference, compare_rasters
from eocodec.errors import RasterError
from eocodec.types import AnyArray, BoolArray

DEMO_NODATA = 0
TRUE_COLOUR = (4, 3, 2)  # bands B04, B03, B02, counted from 1
PANEL_SIDE = 1024  # pixels; larger scenes are shown thinned out
ERROR_GAIN = 10.0
GAP = 8  # white pixels between the panels

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration measured; seconds, and bytes (`raw_bytes`: pixels x bands x depth)."""

    source: Path
    coded: Path
    decoded: Path
    picture: Path
    raw_bytes: int
    coded_bytes: int
    pixels: int
    difference: PixelDifference
    encode_s: float
    decode_s: float

    @property
    def ratio(self) -> float:
        """Raw bytes per coded byte."""
        return self.raw_bytes / self.coded_bytes

    def rows(self) -> list[tuple[str, str]]:
        """The figures as a table of text."""
        mega = self.pixels / 1e6
        return [
            ("scene", str(self.source)),
            ("raw pixels", f"{self.raw_bytes:,} bytes"),
            ("compressed", f"{self.coded_bytes:,} bytes"),
            ("ratio", f"{self.ratio:.1f} : 1"),
            ("PSNR (peak 10 000)", f"{self.difference.psnr:.2f} dB"),
            ("largest error", f"{self.difference.max_error:g} DN"),
            ("encode", f"{self.encode_s:.2f} s ({mega / self.encode_s:.2f} Mpixel/s, loading included)"),
            ("decode", f"{self.decode_s:.2f} s ({mega / self.decode_s:.2f} Mpixel/s)"),
            ("coded file", str(self.coded)),
            ("decoded file", str(self.decoded)),
            ("picture", f"{self.picture} (original | decoded | error x {ERROR_GAIN:g})"),
        ]


def run_demo(
    out: Path,
    *,
    source: Path | None = None,
    model: str = "tec-elic",
    quality: float = 50.0,
    encode: Callable[..., object] = encode_file,
    decode: Callable[[Path, Path], object] = decode_file,
) -> DemoReport:
    """Compress a scene, restore it, compare, and draw.

    Parameters
    ----------
    out : folder for all that is written; what an earlier run left there is replaced
    source : a 12-band raster; None: the made-up scene, written to `out`/scene.tif
    encode, decode : replace the file functions (tests)

    Raises
    ------
    RasterError : the source is missing or unreadable
    """
    out.mkdir(parents=True, exist_ok=True)
    if source is None:
        source = out / "scene.tif"
        write_scene(source, demo_scene(nodata=DEMO_NODATA), DEMO_NODATA)
    raw_bytes, pixels = _raw_size(source)
    coded, decoded = out / f"{source.stem}.tec", out / f"{source.stem}.decoded.tif"
    start = time.perf_counter()
    encode(source, coded, model=model, quality=quality)
    middle = time.perf_counter()
    decode(coded, decoded)
    end = time.perf_counter()
    picture = out / f"{source.stem}.before-after.png"
    write_side_by_side(source, decoded, picture)
    return DemoReport(
        source=source,
        coded=coded,
        decoded=decoded,
        picture=picture,
        raw_bytes=raw_bytes,
        coded_bytes=size_of(coded),
        pixels=pixels,
        difference=compare_rasters(source, decoded),
        encode_s=middle - start,
        decode_s=end - middle,
    )


def _raw_size(source: Path) -> tuple[int, int]:
    import rasterio
    from rasterio.errors import RasterioIOError

    try:
        with rasterio.open(source) as raster:
            pixels = raster.height * raster.width
            depth = sum(np.dtype(kind).itemsize for kind in raster.dtypes)
    except RasterioIOError as error:
        raise RasterError(f"{source}: {error}") from error
    return pixels * depth, pixels


def write_side_by_side(original: Path, decoded: Path, picture: Path) -> None:
    """Draw original, decoded and error x 10 in true colour, side by side, as a PNG without further libraries.

    The stretch is the original's 1st to 99th percentile below clouds' brightness; the same for both. Error is
    drawn about mid-grey on the same scale, ten times.
    """
    import rasterio

    before, valid = _read_true_colour(original)
    after, _ = _read_true_colour(decoded)
    low, high = _stretch_limits(before, valid)
    error = 127.5 + 255.0 * ERROR_GAIN * (after - before) / (high - low)
    panels = [_to_bytes(_stretched(image, low, high), valid) for image in (before, after)]
    panels.append(_to_bytes(error, valid))
    gap = np.full((3, before.shape[1], GAP), 255, np.uint8)
    sheet = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=2)
    profile: dict[str, Any] = {"driver": "PNG", "count": 3, "dtype": "uint8"}
    with rasterio.open(picture, "w", height=sheet.shape[1], width=sheet.shape[2], **profile) as target:
        target.write(sheet)
    picture.with_name(picture.name + ".aux.xml").unlink(missing_ok=True)  # GDAL's sidecar says nothing here


def _read_true_colour(path: Path) -> tuple[AnyArray, BoolArray]:
    """float32 [3, rows, cols] in DN and the valid mask, thinned out to at most PANEL_SIDE a side."""
    import rasterio

    with rasterio.open(path) as raster:
        step = max(1.0, max(raster.shape) / PANEL_SIDE)
        rows, cols = (max(1, round(side / step)) for side in raster.shape)
        image = raster.read(TRUE_COLOUR, out_shape=(3, rows, cols))
        valid = np.ones((rows, cols), bool) if raster.nodata is None else (image != raster.nodata).any(0)
    return image.astype(np.float32), valid


def _stretch_limits(image: AnyArray, valid: BoolArray) -> tuple[float, float]:
    """DN shown black and white: percentiles of what is not cloud, over the three bands together."""
    seen = image[:, valid]
    ground = seen[seen < 4000.0]
    if ground.size == 0:
        ground = seen if seen.size else np.zeros(1, np.float32)
    low, high = np.percentile(ground, (0.5, 99.0))
    return float(low), float(max(high, low + 1.0))


def _stretched(image: AnyArray, low: float, high: float) -> AnyArray:
    """0 to 255 with a gamma of 1.5, which lifts forest and water out of the dark."""
    return 255.0 * np.clip((image - low) / (high - low), 0.0, 1.0) ** (1 / 1.5)


def _to_bytes(image: AnyArray, valid: BoolArray) -> Rgb:
    """Rounded and clipped; black where there is no data."""
    return np.where(valid, np.clip(np.rint(image), 0, 255), 0).astype(np.uint8)
