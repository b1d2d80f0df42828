"""`eocodec bench whole-scene`: time and memory of one large scene, file in to file out, a process each way.

The scene is a mosaic of training scenes, repeated until it is as large as a product of 10 m pixels. It is
made in a temporary folder strip by strip, as are the encoded and the decoded file; all are deleted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import PSNR_PEAK, Image
from eocodec.bench.contest import size_of
from eocodec.bench.mosaic import Report, SceneOptions, native_mosaic, scene_profile
from eocodec.bench.provenance import provenance
from eocodec.errors import CodecError
from eocodec.interop.scene import tile_windows
from eocodec.interop.store import DEFAULT_TILE
from eocodec.metrics.distortion import mse_to_psnr
from eocodec.sensors import S2_BAND_NAMES

REPEATED = 2048  # pixels a side of the mosaic, at most
SAMPLES = 24  # tiles whose PSNR is measured
COMPRESSION = "none"  # of the decoded GeoTIFF: what it costs is not the codec's doing
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in


@dataclass(frozen=True)
class WholeSceneOptions(SceneOptions):
    """What to code: `size` pixels a side; threads; suffix of the encoded file, `.tec` or `.zarr`."""

    size: int = 10980
    threads: int = 2
    suffix: str = ".tec"

    def scene(self, folder: Path, report: Report) -> Path:
        """The scene's GeoTIFF; a mosaic is made in `folder`."""
        if self.input is not None:
            return self.input
        report(f"assembling a scene of {self.size} x {self.size} pixels")
        side = min(self.size, REPEATED)
        path = folder / "scene.tif"
        write_repeated(path, native_mosaic(side, side, self.data), self.size)
        return path


@dataclass(frozen=True)
class Usage:
    """What a process took: wall-clock seconds, seconds on all processors, and its largest resident set."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int

    def to_dict(self, megapixels: float) -> dict[str, float]:
        """JSON-ready, with the speed."""
        return {
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "mpixel_per_s": round(megapixels / self.seconds, 4),
            "peak_rss_mb": round(self.peak_rss_bytes / 1e6, 1),
        }


def run_whole_scene(options: WholeSceneOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Encode and decode the scene, and return a JSON-ready result.

    Raises
    ------
    RasterError : no imagery, or the scene is unreadable
    CodecError : a process failed; with its last words
    """
    with tempfile.TemporaryDirectory(prefix="eocodec-scene-") as name:
        folder = Path(name)
        source = options.scene(folder, report)
        coded, decoded = folder / f"coded{options.suffix}", folder / "decoded.tif"
        common = ("--threads", str(options.threads), "--quiet")
        settings = ("--model", options.model, "--quality", f"{options.quality:g}")
        report("encoding")
        encode = measured(("encode", str(source), str(coded), *settings, *common), options.threads)
        report(f"encoded in {encode.seconds:.0f} s; decoding")
        words = ("decode", str(coded), str(decoded), "--compress", COMPRESSION, *common)
        decode = measured(words, options.threads)
        report(f"decoded in {decode.seconds:.0f} s; comparing")
        psnr, samples, megapixels = sampled_psnr(source, decoded)
        size = size_of(coded)
    return {
        "meta": {**provenance(), **options.described(), "decoded_geotiff_compression": COMPRESSION},
        "megapixels": round(megapixels, 3),
        "encode": encode.to_dict(megapixels),
        "decode": decode.to_dict(megapixels),
        "bytes": size,
        "bpppc": round(8e-6 * size / megapixels / len(S2_BAND_NAMES), 5),
        "psnr": round(psnr, 3),
        "psnr_tiles": samples,
    }


def write_repeated(path: Path, image: Image, side: int) -> None:
    """Write an image [C, h, w], side by side with itself, as a GeoTIFF of side x side pixels."""
    import rasterio
    from rasterio.windows import Window

    bands, height, _ = image.shape
    wide = np.take(image, np.arange(side), axis=2, mode="wrap")
    with rasterio.open(
        path, "w", **scene_profile(bands, side, side, image.dtype), BIGTIFF="IF_SAFER"
    ) as target:
        for top in range(0, side, height):
            rows = min(height, side - top)
            target.write(wide[:, :rows], window=Window(0, top, side, rows))
        target.descriptions = S2_BAND_NAMES


def measured(words: Sequence[str], threads: int) -> Usage:
    """Run `eocodec WORDS...` in a process of its own.

    Raises
    ------
    CodecError : it failed
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    program = [sys.executable, "-m", "eocodec.cli.main", *words]
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)  # as nothing else gives this one process's memory
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = (said.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise CodecError(f"{words[0]} ended with exit code {process.returncode}: {last}")
    return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * _RSS_UNIT)


def sampled_psnr(original: Path, decoded: Path) -> tuple[float, int, float]:
    """PSNR [dB, peak 10 000] over some tiles, how many they are, and Mpixel of the scene."""
    squares, values, tiles = 0.0, 0, 0
    with _opened(original) as first, _opened(decoded) as second:
        for window in _sample(first.shape):
            error = first.read(window=window).astype(np.float64) - second.read(window=window)
            squares, values, tiles = squares + float(np.square(error).sum()), values + error.size, tiles + 1
        megapixels = first.height * first.width / 1e6
    return float(mse_to_psnr(np.asarray(squares / values), PSNR_PEAK)), tiles, megapixels


def _opened(path: Path) -> Any:
    import rasterio

    return rasterio.open(path)


def _sample(shape: tuple[int, int]) -> Iterator[Any]:
    """Windows of tiles that are spread over the scene."""
    from rasterio.windows import Window

    windows = [window for _, _, window in tile_windows(shape, DEFAULT_TILE)]
    count = min(SAMPLES, len(windows))
    for k in range(count):
        yield Window.from_slices(*windows[(2 * k + 1) * len(windows) // (2 * count)])


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The result as a table of text."""
    rows = [
        [
            way,
            *(f"{result[way][key]:.4g}" for key in ("seconds", "cpu_seconds", "mpixel_per_s", "peak_rss_mb")),
        ]
        for way in ("encode", "decode")
    ]
    return ["", "s", "CPU s", "Mpixel/s", "peak MB"], rows
