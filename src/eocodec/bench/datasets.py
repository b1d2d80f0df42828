"""Where the benchmark's imagery is, and the recorded points of the classical codecs on it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from eocodec.bench.base import Image, RatePoint
from eocodec.errors import RasterError
from eocodec.sensors import S2_BAND_NAMES

CROP = 256  # the recorded classical points are those of the 256 x 256 pixels at the top left
SERIES_DATES = 4  # of the recorded series
DATA_VARIABLE = "EOCODEC_DATA"
RECORDED_CODECS = ("j2k", "x265", "av1")
IVF_BYTES, IVF_FRAME_BYTES = 32, 12  # of the files that the points of SVT-AV1 were taken from


def data_dir() -> Path | None:
    """The imagery folder: `EOCODEC_DATA`, else ../shared/data beside the checkout, else None."""
    stated = os.environ.get(DATA_VARIABLE)
    if stated:
        return Path(stated) if Path(stated).is_dir() else None
    checkout = Path(__file__).resolve().parents[3]
    for base in (checkout, Path.cwd()):
        candidate = base.parent / "shared" / "data"
        if candidate.is_dir():
            return candidate
    return None


def require_data(root: Path | None = None) -> Path:
    """The imagery folder, or `RasterError` saying how to name it."""
    found = root or data_dir()
    if found is None or not found.is_dir():
        raise RasterError(f"no imagery found: set {DATA_VARIABLE} to the folder that holds dev/ and train/")
    return found


def dev_tiles(root: Path | None = None) -> list[Path]:
    """The GeoTIFFs of the dev split, sorted by name; a tile's name is its path's stem."""
    folder = require_data(root) / "dev" / "ssl4eo"
    tiles = sorted(folder.glob("*.tif"))
    if not tiles:
        raise RasterError(f"no GeoTIFF in {folder}")
    return tiles


def load_tile(path: Path, crop: int | None = CROP) -> Image:
    """Top-left `crop` x `crop` pixels (all where None) of a 12-band raster, int16 DN [12, H, W].

    Raises
    ------
    RasterError : unreadable, another number of bands, or smaller than the crop
    """
    import rasterio
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window

    try:
        with rasterio.open(path) as source:
            if source.count != len(S2_BAND_NAMES):
                raise RasterError(f"{path.name}: {source.count} bands, expected {len(S2_BAND_NAMES)}")
            if crop is not None and min(source.height, source.width) < crop:
                raise RasterError(f"{path.name}: {source.height} x {source.width}, smaller than {crop}")
            window = None if crop is None else Window(0, 0, crop, crop)
            pixels = source.read(window=window)
    except RasterioIOError as error:
        raise RasterError(f"{path}: {error}") from error
    image: Image = np.clip(pixels, -32768, 32767).astype(np.int16)
    return image


def recorded_beside(tiles: Path) -> list[RatePoint]:
    """Recorded points of tiles and series where these tiles are in the dev split of an imagery folder."""
    for root in (tiles, *tiles.resolve().parents):
        if (root / "dev" / "classical.json").is_file():
            return [*recorded_points(root), *recorded_points(root, dates=SERIES_DATES)]
    return []


def recorded_points(root: Path | None = None, *, dates: int = 1) -> list[RatePoint]:
    """Points of dev/classical.json on the dev tiles, or on its series of so many dates, date by date.

    JPEG 2000 bits there are already less 169 header bytes a band. From those of SVT-AV1 the IVF container is
    taken off here: what counts is the raw stream, as it does where the codec is run.

    Raises
    ------
    RasterError : the file is missing or not what is expected
    """
    path = require_data(root) / "dev" / "classical.json"
    if not path.is_file():
        raise RasterError(f"{path} not found")
    recorded = json.loads(path.read_text())
    frames = dates * len(S2_BAND_NAMES)
    containers = {"av1": 8 * (IVF_BYTES + IVF_FRAME_BYTES * frames)}
    return [
        RatePoint(tile, codec, float(setting), int(bits) - containers.get(codec, 0), float(psnr))
        for tile, entry in recorded.items()
        if entry["shape"] == [frames, CROP, CROP]
        for codec in RECORDED_CODECS
        for setting, bits, psnr in entry.get(codec, [])
    ]
