"""`eocodec bench window`: requests and bytes of a window read over HTTP, from a `.tec` and from a COG."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eocodec.bench.mosaic import Report, SceneOptions
from eocodec.bench.provenance import provenance
from eocodec.bench.range_server import Traffic, serve
from eocodec.errors import MissingDependency
from eocodec.interop.files import encode_file
from eocodec.interop.rio import open_scene
from eocodec.interop.store import StoreSource
from eocodec.options import EncodeOptions

COG = {"driver": "COG", "compress": "DEFLATE", "predictor": "YES", "blocksize": 512, "overviews": "NONE"}
# As GDAL advises for COGs over a network: no listing, and a header that comes with the first read.
GDAL_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_INGESTED_BYTES_AT_OPEN": 32768}


@dataclass(frozen=True)
class WindowOptions(SceneOptions):
    """What to read: tile of the `.tec` and side of the window, in pixels."""

    tile: int = 512
    window: int = 100


def run_window(options: WindowOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Count what one window inside a tile and one across four tiles take, the opening included.

    Raises
    ------
    MissingDependency : fsspec is not installed, or GDAL is built without curl
    RasterError : the scene is unreadable or has not 12 bands
    """
    with tempfile.TemporaryDirectory(prefix="eocodec-window-") as name:
        folder = Path(name)
        source = options.scene(folder, report)
        encode_file(
            [source], folder / "a.tec", EncodeOptions(options.model, options.quality), tile=options.tile
        )
        write_cog(source, folder / "a.tif")
        with closing(open_scene([source])) as scene:
            size = scene.info.shape[1:]
        rows = []
        with serve(folder) as traffic:
            for place, at in windows(size, options.tile, options.window).items():
                for what, read in (("tec", read_tec), ("cog", read_cog)):
                    rows.append({"file": what, "window": place, **read(traffic, at)})
        files = {path.suffix[1:]: path.stat().st_size for path in (folder / "a.tec", folder / "a.tif")}
    return {"meta": {**provenance(), **options.described()}, "bytes": files, "reads": rows}


Window = tuple[slice, slice]


def windows(size: tuple[int, int], tile: int, side: int) -> dict[str, Window]:
    """A window in the middle of a tile, and one around a corner where four meet."""
    starts = {"inside a tile": (tile * 3 - side) // 2, "across four": tile - side // 2}
    return {
        place: (
            slice(min(start, size[0] - side), min(start, size[0] - side) + side),
            slice(min(start, size[1] - side), min(start, size[1] - side) + side),
        )
        for place, start in starts.items()
    }


def write_cog(source: Path, target: Path) -> None:
    """The scene, losslessly, as a cloud-optimised GeoTIFF."""
    import rasterio.shutil

    rasterio.shutil.copy(source, target, **COG)


def read_tec(traffic: Traffic, at: Window) -> dict[str, int]:
    """Requests and bytes of opening the `.tec` and of reading a window."""
    traffic.clear()
    with closing(StoreSource(f"{traffic.address}/a.tec")) as source:
        opening = _counted(traffic, "open")
        source.read(*at)
    return {**opening, **_counted(traffic, "read")}


def read_cog(traffic: Traffic, at: Window) -> dict[str, int]:
    """Requests and bytes of opening the COG through GDAL and of reading a window of all bands."""
    import rasterio
    from rasterio.errors import RasterioIOError

    traffic.clear()
    with rasterio.Env(**GDAL_OPTIONS, CPL_VSIL_CURL_NON_CACHED="/vsicurl/" + traffic.address):
        try:
            dataset = rasterio.open(f"/vsicurl/{traffic.address}/a.tif")
        except RasterioIOError as error:
            raise MissingDependency(f"GDAL cannot read over HTTP here ({error}); install rasterio") from error
        with dataset:
            opening = _counted(traffic, "open")
            dataset.read(window=at)
    return {**opening, **_counted(traffic, "read")}


def _counted(traffic: Traffic, stage: str) -> dict[str, int]:
    found = {f"{stage}_requests": len(traffic.requests), f"{stage}_bytes": traffic.sent}
    traffic.clear()
    return found


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows to print."""
    header = ["file, window", "requests to open", "kB", "requests to read", "kB"]
    rows = []
    for row in result["reads"]:
        counts = [
            str(row["open_requests"]),
            f"{row['open_bytes'] / 1000:.0f}",
            str(row["read_requests"]),
            f"{row['read_bytes'] / 1000:.0f}",
        ]
        rows.append([f"{row['file']}, {row['window']}", *counts])
    return header, rows
