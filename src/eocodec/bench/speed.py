"""`eocodec bench speed`: file in to file out, beside OpenJPEG on the same scene, in the same run.

Two contests: in a warm process (libraries loaded, weights read), and as whole processes from the shell.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eocodec.bench.base import model_name
from eocodec.bench.contest import (
    Contestant,
    Timings,
    coded_path,
    decoded_path,
    limited_to,
    run_contest,
    size_of,
)
from eocodec.bench.mosaic import native_mosaic, write_scene
from eocodec.bench.openjpeg_files import Parallel, Split, decode_files, encode_files
from eocodec.bench.pixels import compare_rasters
from eocodec.bench.provenance import provenance
from eocodec.errors import CodecError, RasterError
from eocodec.sensors import S2_BAND_NAMES

OURS, THEIRS = "eocodec", "openjpeg"
COMPRESSION = "none"  # of the decoded GeoTIFF, for both: what it costs is no codec's doing
PSNR_TOLERANCE = 0.1  # dB, to which OpenJPEG's target is tuned to our PSNR
Report = Callable[[str], None]


@dataclass(frozen=True)
class SpeedOptions:
    """What to time: model, quality, threads, timed rounds, scene (None: a mosaic of `size` x `size`)."""

    model: str = "tec-elic"
    quality: float = 50.0
    threads: int = 2
    runs: int = 5
    size: int = 2048
    input: Path | None = None
    data: Path | None = None


def run_speed(options: SpeedOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Time both programs and return a JSON-ready result: `meta`, and per contest timings and ratios.

    Raises
    ------
    MissingDependency : imagecodecs is not installed (extra `bench`)
    RasterError : the scene is unreadable or has not 12 bands
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eocodec-speed-")))
        stack.enter_context(limited_to(options.threads))
        source = options.input or _make_scene(folder, options, report)
        rows, cols = _size(source)
        _set_threads(options.threads)
        ours = _ours_warm(options)
        psnr = _quality_of(ours, source, folder)
        report(f"{model_name(options.model)} at quality {options.quality:g}: {psnr:.2f} dB")
        split = _faster_split(source, folder, psnr, options.threads)
        level = _matching_level(source, folder, psnr, Parallel(options.threads, split))
        report(f"OpenJPEG: level {level:.2f} dB, threads used: {split}")
        parallel = Parallel(options.threads, split)
        contests = {"warm_process": (ours, _theirs_warm(level, parallel))}
        if model_name(options.model) == options.model:  # another process decodes installed models only
            contests["whole_process"] = (_ours_process(options), _theirs_process(level, parallel))
        results = {
            name: _contest(pair, source, folder, options.runs, rows * cols / 1e6, report)
            for name, pair in contests.items()
        }
        files = _files(contests["warm_process"], source, folder)
    meta = {**provenance(), **_plain(options), "rows": rows, "cols": cols, "openjpeg_split": split}
    meta["decoded_geotiff_compression"] = COMPRESSION
    return {"meta": meta, "files": files, **results}


def _plain(options: SpeedOptions) -> dict[str, Any]:
    fields = asdict(options)
    fields["input"] = options.input.name if options.input else "mosaic of train/native scenes"
    fields["model"] = model_name(options.model)
    fields.pop("data")
    return fields


def _make_scene(folder: Path, options: SpeedOptions, report: Report) -> Path:
    report(f"assembling a scene of {options.size} x {options.size} pixels")
    path = folder / "scene.tif"
    write_scene(path, native_mosaic(options.size, options.size, options.data))
    return path


def _size(source: Path) -> tuple[int, int]:
    import rasterio
    from rasterio.errors import RasterioIOError

    try:
        with rasterio.open(source) as raster:
            if raster.count != len(S2_BAND_NAMES):
                raise RasterError(f"{source.name}: {raster.count} bands, expected {len(S2_BAND_NAMES)}")
            return int(raster.height), int(raster.width)
    except RasterioIOError as error:
        raise RasterError(f"{source}: {error}") from error


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _ours_warm(options: SpeedOptions) -> Contestant:
    from eocodec.bench.ours import decode_file, encode_file

    def encode(source: Path, target: Path) -> None:
        encode_file(source, target, model=options.model, quality=options.quality)

    def decode(source: Path, target: Path) -> None:
        decode_file(source, target, compression=COMPRESSION)

    return Contestant(OURS, encode, decode, ".tec")


def _theirs_warm(level: float, parallel: Parallel) -> Contestant:
    def encode(source: Path, target: Path) -> None:
        encode_files(source, target, level, parallel)

    def decode(source: Path, target: Path) -> None:
        decode_files(source, target, parallel)

    return Contestant(THEIRS, encode, decode)


def _run(words: Sequence[str], threads: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, *words], env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CodecError(f"{' '.join(words[:3])} ended with exit code {done.returncode}: {last}")


def _ours_process(options: SpeedOptions) -> Contestant:
    program = ("-m", "eocodec.cli.main")
    common = ("--threads", str(options.threads), "--quiet")

    def encode(source: Path, target: Path) -> None:
        settings = ("--model", options.model, "--quality", f"{options.quality:g}")
        _run((*program, "encode", str(source), str(target), *settings, *common), options.threads)

    def decode(source: Path, target: Path) -> None:
        words = (*program, "decode", str(source), str(target), "--compress", COMPRESSION, *common)
        _run(words, options.threads)

    return Contestant(OURS, encode, decode, ".tec")


def _theirs_process(level: float, parallel: Parallel) -> Contestant:
    program = ("-m", "eocodec.bench.openjpeg_files")
    settings = ("--threads", str(parallel.threads), "--split", parallel.split)

    def encode(source: Path, target: Path) -> None:
        words = (*program, "encode", str(source), str(target), "--psnr", f"{level:.4f}", *settings)
        _run(words, parallel.threads)

    def decode(source: Path, target: Path) -> None:
        _run((*program, "decode", str(source), str(target), *settings), parallel.threads)

    return Contestant(THEIRS, encode, decode)


def _quality_of(contestant: Contestant, source: Path, folder: Path) -> float:
    """PSNR [dB] that the contestant reaches on the scene."""
    run_contest([contestant], source, folder, runs=0)
    return compare_rasters(source, decoded_path(contestant, folder)).psnr


def _faster_split(source: Path, folder: Path, psnr: float, threads: int) -> Split:
    """The use of threads with which OpenJPEG codes and decodes the scene sooner: it gets its better one."""
    splits: tuple[Split, ...] = ("bands", "inside")
    seconds = {}
    for split in splits:
        contestant = _theirs_warm(psnr, Parallel(threads, split))
        timings = run_contest([contestant], source, folder, runs=1)[THEIRS]
        seconds[split] = timings.encode_s[0] + timings.decode_s[0]
    return min(splits, key=lambda split: seconds[split])


def _matching_level(source: Path, folder: Path, psnr: float, parallel: Parallel, tries: int = 4) -> float:
    """OpenJPEG's PSNR target that gives the scene our PSNR within the tolerance."""
    level = psnr
    for _ in range(tries):
        error = psnr - _quality_of(_theirs_warm(level, parallel), source, folder)
        if abs(error) <= PSNR_TOLERANCE:
            break
        level += error
    return level


def _contest(
    pair: Sequence[Contestant], source: Path, folder: Path, runs: int, megapixels: float, report: Report
) -> dict[str, Any]:
    timings: dict[str, Timings] = run_contest(pair, source, folder, runs, report)
    result: dict[str, Any] = {name: timing.to_dict(megapixels) for name, timing in timings.items()}
    result["ratio_ours_over_openjpeg"] = {
        way: round(result[OURS][f"{way}_mpixel_per_s"] / result[THEIRS][f"{way}_mpixel_per_s"], 3)
        for way in ("encode", "decode")
    }
    return result


def _files(pair: Sequence[Contestant], source: Path, folder: Path) -> dict[str, Any]:
    """Bytes and PSNR of what the last round left."""
    facts = {}
    for contestant in pair:
        coded, decoded = coded_path(contestant, folder), decoded_path(contestant, folder)
        psnr = compare_rasters(source, decoded).psnr
        facts[contestant.name] = {"bytes": size_of(coded), "psnr": round(psnr, 3)}
    return facts


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Speeds [Mpixel/s, 12 bands each] as a table of text."""
    header = ["Mpixel/s (12 bands)", "eocodec", "OpenJPEG", "ratio"]
    rows = []
    for contest in filter(result.__contains__, ("warm_process", "whole_process")):
        for way in ("encode", "decode"):
            cells = [f"{result[contest][name][f'{way}_mpixel_per_s']:.2f}" for name in (OURS, THEIRS)]
            ratio = result[contest]["ratio_ours_over_openjpeg"][way]
            rows.append([f"{way}, {contest.replace('_', ' ')}", *cells, f"{ratio:.2f}"])
    return header, rows
