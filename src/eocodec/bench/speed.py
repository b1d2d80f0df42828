"""`eocodec bench speed`: file in to file out, beside OpenJPEG and video encoders on one scene, in one run.

Two contests: in a warm process (libraries loaded, weights read), and as whole processes from the shell, there
without the video encoders. All give the scene the same PSNR, as nearly as their settings allow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eocodec.bench.base import LABELS, BenchCodec, model_name
from eocodec.bench.contest import (
    Contestant,
    Timings,
    coded_path,
    decoded_path,
    limited_to,
    run_contest,
    size_of,
)
from eocodec.bench.mosaic import Report, SceneOptions
from eocodec.bench.openjpeg_files import Parallel, Split, decode_files, encode_files
from eocodec.bench.pixels import compare_rasters
from eocodec.bench.provenance import provenance
from eocodec.bench.whole_files import decode_file, encode_file
from eocodec.errors import CodecError, RasterError
from eocodec.sensors import S2_BAND_NAMES

OURS, THEIRS = "eocodec", "openjpeg"
COMPRESSION = "none"  # of the decoded GeoTIFF, for all: what it costs is no codec's doing
PSNR_TOLERANCE = 0.1  # dB, to which the others are tuned to our PSNR
TRIES = 5  # of a setting
# What one more of a setting does to PSNR [dB], about: OpenJPEG's target, x265's and SVT-AV1's CRF.
SLOPES = {THEIRS: 1.0, "x265": -0.7, "av1": -0.45}
NAMES = {OURS: "eocodec", THEIRS: "OpenJPEG", **{name: LABELS[name] for name in ("x265", "av1")}}


@dataclass(frozen=True)
class SpeedOptions(SceneOptions):
    """What to time: threads, timed rounds, and whether the video encoders take part."""

    threads: int = 2
    runs: int = 5
    video: bool = True


@dataclass(frozen=True)
class _Ground:
    """Where it happens: the scene, a folder for what is coded, and the PSNR [dB] that all have to meet."""

    source: Path
    folder: Path
    psnr: float
    report: Report

    def matched(self, name: str, make: Callable[[float], Contestant], start: float, *, whole: bool) -> float:
        """The setting with which a contestant gives the scene that PSNR."""

        def reached(setting: float) -> float:
            return _quality_of(make(setting), self.source, self.folder)

        found = matching(reached, self.psnr, start, SLOPES[name], whole=whole)
        self.report(f"{NAMES[name]}: setting {found:g}")
        return found


def run_speed(options: SpeedOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Time the programs and return a JSON-ready result: `meta`, and per contest timings and ratios.

    Raises
    ------
    MissingDependency : imagecodecs or PyAV is not installed (extra `bench`)
    RasterError : the scene is unreadable or has not 12 bands
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eocodec-speed-")))
        stack.enter_context(limited_to(options.threads))
        source = options.scene(folder, report)
        rows, cols = _size(source)
        _set_threads(options.threads)
        ours = _ours_warm(options)
        psnr = _quality_of(ours, source, folder)
        report(f"{model_name(options.model)} at quality {options.quality:g}: {psnr:.2f} dB")
        ground = _Ground(source, folder, psnr, report)
        parallel = Parallel(options.threads, _faster_split(source, folder, psnr, options.threads))
        level = ground.matched(THEIRS, lambda level: _theirs_warm(level, parallel), psnr, whole=False)
        video, settings = _video(ground) if options.video else ([], {})
        contests = {"warm_process": (ours, _theirs_warm(level, parallel), *video)}
        if model_name(options.model) == options.model:  # another process decodes installed models only
            contests["whole_process"] = (_ours_process(options), _theirs_process(level, parallel))
        results = {
            name: _contest(contestants, source, folder, options.runs, rows * cols / 1e6, report)
            for name, contestants in contests.items()
        }
        files = _files(contests["warm_process"], source, folder)
    meta = {**provenance(), **options.described(), "rows": rows, "cols": cols}
    meta |= {"settings": {THEIRS: level, **settings}, "openjpeg_split": parallel.split}
    meta["decoded_geotiff_compression"] = COMPRESSION
    return {"meta": meta, "files": files, **results}


def _video(ground: _Ground) -> tuple[list[Contestant], dict[str, float]]:
    """The video encoders at the PSNR of all, and their settings."""
    from eocodec.bench.classical import X265, SvtAv1

    contestants, settings = [], {}
    for codec in (X265(wavefronts=True), SvtAv1()):
        middle = codec.settings[len(codec.settings) // 2]
        make = partial(_video_warm, codec)
        settings[codec.name] = ground.matched(codec.name, make, middle, whole=not codec.continuous)
        contestants.append(make(settings[codec.name]))
    return contestants, settings


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
    from eocodec.bench import ours

    def encode(source: Path, target: Path) -> None:
        ours.encode_file(source, target, model=options.model, quality=options.quality)

    def decode(source: Path, target: Path) -> None:
        ours.decode_file(source, target, compression=COMPRESSION)

    return Contestant(OURS, encode, decode, ".tec")


def _theirs_warm(level: float, parallel: Parallel) -> Contestant:
    def encode(source: Path, target: Path) -> None:
        encode_files(source, target, level, parallel)

    def decode(source: Path, target: Path) -> None:
        decode_files(source, target, parallel)

    return Contestant(THEIRS, encode, decode)


def _video_warm(codec: BenchCodec, setting: float) -> Contestant:
    return Contestant(
        codec.name, partial(encode_file, codec, setting), partial(decode_file, codec), f".{codec.name}"
    )


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


def matching(
    quality_of: Callable[[float], float], psnr: float, start: float, slope: float, *, whole: bool
) -> float:
    """The setting whose PSNR is nearest to `psnr` [dB], of those tried on the way there.

    Parameters
    ----------
    quality_of : PSNR at a setting; start, slope : a first guess, and the PSNR that one more of a setting adds
    whole : only whole numbers mean something
    """
    tried: dict[float, float] = {}
    setting = start
    for _ in range(TRIES):
        setting = float(round(setting)) if whole else setting
        if setting in tried:
            break
        tried[setting] = quality_of(setting)
        if abs(psnr - tried[setting]) <= PSNR_TOLERANCE:
            break
        setting += (psnr - tried[setting]) / _slope(tried, slope)
    return min(tried, key=lambda setting: abs(psnr - tried[setting]))


def _slope(tried: Mapping[float, float], guess: float) -> float:
    """PSNR that one more of a setting adds, by the last two tried; the guess where they contradict it."""
    if len(tried) < 2:
        return guess
    (a, psnr_a), (b, psnr_b) = list(tried.items())[-2:]
    found = (psnr_b - psnr_a) / (b - a)
    return found if 0.3 < found / guess < 3 else guess


def _contest(
    contestants: Sequence[Contestant],
    source: Path,
    folder: Path,
    runs: int,
    megapixels: float,
    report: Report,
) -> dict[str, Any]:
    timings: dict[str, Timings] = run_contest(contestants, source, folder, runs, report)
    result: dict[str, Any] = {name: timing.to_dict(megapixels) for name, timing in timings.items()}
    ratios = {name: _ratios(result[OURS], found) for name, found in result.items() if name != OURS}
    return {**result, **{f"ratio_ours_over_{name}": ratio for name, ratio in ratios.items()}}


def _ratios(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Our speed over another's, both ways."""
    keys = {way: f"{way}_mpixel_per_s" for way in ("encode", "decode")}
    return {way: round(ours[key] / theirs[key], 3) for way, key in keys.items()}


def _files(contestants: Sequence[Contestant], source: Path, folder: Path) -> dict[str, Any]:
    """Bytes and PSNR of what the last round left."""
    facts = {}
    for contestant in contestants:
        coded, decoded = coded_path(contestant, folder), decoded_path(contestant, folder)
        psnr = compare_rasters(source, decoded).psnr
        facts[contestant.name] = {"bytes": size_of(coded), "psnr": round(psnr, 3)}
    return facts


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Speeds [Mpixel/s, 12 bands each] as a table of text; beside each of the others, ours over it."""
    rivals = [name for name in NAMES if name in result["warm_process"] and name != OURS]
    rows = []
    for contest in filter(result.__contains__, ("warm_process", "whole_process")):
        for way in ("encode", "decode"):
            ours = f"{result[contest][OURS][f'{way}_mpixel_per_s']:.2f}"
            cells = [_beside(result[contest], name, way) for name in rivals]
            rows.append([f"{way}, {contest.replace('_', ' ')}", ours, *cells])
    return ["Mpixel/s (12 bands)", NAMES[OURS], *(f"{NAMES[name]} (ratio)" for name in rivals)], rows


def _beside(contest: Mapping[str, Any], name: str, way: str) -> str:
    if name not in contest:
        return "-"
    return f"{contest[name][f'{way}_mpixel_per_s']:.3g} ({contest[f'ratio_ours_over_{name}'][way]:.2f})"
