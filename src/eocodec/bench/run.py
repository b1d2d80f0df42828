"""`eocodec bench run`: every codec at every setting on every tile of a folder; goes on where it was stopped.

The result folder gets `results.jsonl`, one row per tile, codec and setting, written as they come, and
`meta.json`: what was coded, and which versions on which machine did it, session by session.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from eocodec.bench import landcover
from eocodec.bench.base import PSNR_PEAK, BenchCodec
from eocodec.bench.codecs import Entry, entries, select
from eocodec.bench.evaluate import Row, evaluate
from eocodec.bench.landcover import SpectralClasses
from eocodec.bench.provenance import provenance, write_json
from eocodec.bench.tiles import Cut, Source, Tile, find_sources
from eocodec.errors import CodecError, InputError

RESULTS, META, SUMMARY = "results.jsonl", "meta.json", "summary.json"
Key = tuple[str, str, float]  # tile, codec, setting
Progress = Callable[[int, int, Row], None]


@dataclass(frozen=True)
class RunOptions:
    """What to run.

    data : folder of tiles, or one file; out : result folder; codecs : names and groups
    cut, series, limit : see `tiles.find_sources` and `tiles.Cut`
    runs : timed runs of a point at most; workers : processes, each with one thread where the codec allows it
    again : measure these codecs anew on these tiles, also where that was done
    """

    data: Path
    out: Path
    codecs: tuple[str, ...] = ("default",)
    cut: Cut = field(default_factory=Cut)
    series: bool = False
    limit: int | None = None
    runs: int = 3
    workers: int = 2
    again: bool = False


@dataclass(frozen=True)
class Job:
    """One row to measure; picklable."""

    source: Source
    codec: str
    setting: float
    cut: Cut
    runs: int

    @property
    def key(self) -> Key:
        """Tile, codec, setting."""
        return self.source.name, self.codec, float(self.setting)


def run_bench(options: RunOptions, progress: Progress = lambda done, total, row: None) -> list[Row]:
    """Measure what is missing in the result folder; returns all of its rows of these tiles and codecs.

    Raises
    ------
    RasterError : no tiles; MissingDependency : the extra `bench` is not installed
    InputError : unknown codec, or the folder holds results of other tiles or of another cut
    CodecError : a worker died; what it had finished is kept
    """
    sources = find_sources(options.data, series=options.series, limit=options.limit)
    chosen = [(entry, entry.make()) for entry in select(options.codecs)]
    options.out.mkdir(parents=True, exist_ok=True)
    session = _begin_session(options, sources)
    rows = [row for row in read_rows(options.out) if "error" not in row]  # errors are tried again
    if options.again:
        tiles, names = {source.name for source in sources}, {codec.name for _, codec in chosen}
        rows = [row for row in rows if row["tile"] not in tiles or row["codec"] not in names]
    done = {_key(row) for row in rows}
    wanted = _jobs(options, sources, [codec for _, codec in chosen])
    missing = [job for job in wanted if job.key not in done]
    _write_rows(options.out, rows)  # without half a line that a kill left
    with (options.out / RESULTS).open("a") as stream:
        for row in _measured(missing, options.workers):
            row["session"] = session
            stream.write(json.dumps(row, allow_nan=False) + "\n")
            stream.flush()
            rows.append(row)
            progress(len(wanted) - len(missing) + len(rows) - len(done), len(wanted), row)
    return rows


def _jobs(options: RunOptions, sources: Sequence[Source], codecs: Sequence[BenchCodec]) -> list[Job]:
    return [
        Job(source, codec.name, setting, options.cut, options.runs)
        for source in sources
        for codec in codecs
        for setting in codec.settings
    ]


def _key(row: Row) -> Key:
    return row["tile"], row["codec"], float(row["setting"])


def read_rows(folder: Path) -> list[Row]:
    """Rows of a result folder; a line that was cut off by a kill is left out."""
    path = folder / RESULTS
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _write_rows(folder: Path, rows: Sequence[Row]) -> None:
    partial = folder / f"{RESULTS}.partial"
    partial.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
    partial.replace(folder / RESULTS)


def read_meta(folder: Path) -> dict[str, Any]:
    """What `meta.json` says.

    Raises
    ------
    InputError : there is none, or it is not JSON
    """
    path = folder / META
    try:
        meta: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: no results of `eocodec bench run` ({error})") from error
    return meta


def _begin_session(options: RunOptions, sources: Sequence[Source]) -> int:
    """Note this session in `meta.json`; its number.

    Raises
    ------
    InputError : the folder holds results of tiles with other pixels or of another cut
    """
    checksums = {source.name: source.load(options.cut).checksum for source in sources}
    what = {"cut": asdict(options.cut), "series": options.series}
    meta: dict[str, Any] = {
        "dataset": options.data.resolve().name,
        **what,
        "tiles": {},
        "psnr_peak": PSNR_PEAK,
        "seed": landcover.SEED,
        "sessions": [],
    }
    if (options.out / META).is_file():
        meta = read_meta(options.out)
        known = meta["tiles"]
        if {key: meta[key] for key in what} != what or any(
            known.get(n, c) != c for n, c in checksums.items()
        ):
            raise InputError(
                f"{options.out} holds results of other tiles or another cut; choose another --out"
            )
    meta["tiles"] |= checksums
    meta["labels"] = {entry.name: entry.label for entry in entries()}
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    meta["sessions"].append(
        {
            **provenance(),
            "codecs": list(options.codecs),
            "workers": options.workers,
            "timed_runs": options.runs,
            "load_average_at_start": load,
        }
    )
    write_json(options.out / META, meta)
    return len(meta["sessions"]) - 1


# --- workers ------------------------------------------------------------------------------------------------


def _measured(jobs: Sequence[Job], workers: int) -> Iterator[Row]:
    """Rows as they are ready, from processes or, with one worker, from this one."""
    if workers == 1 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with one_thread(), ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures: list[Future[Row]] = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise CodecError(
                "a worker was killed; run the command again, it goes on where it stopped"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes started meanwhile keep their libraries to one thread; x265 and SVT-AV1 have their own."""
    wanted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    wanted["OMP_WAIT_POLICY"] = "PASSIVE"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@lru_cache(maxsize=2)
def _tile(source: Source, cut: Cut) -> tuple[Tile, SpectralClasses]:
    tile = source.load(cut)
    return tile, SpectralClasses(tile)


@lru_cache(maxsize=1)
def _known() -> dict[str, Entry]:
    return {entry.name: entry for entry in entries()}


@lru_cache(maxsize=64)
def _codec(name: str) -> BenchCodec:
    return _known()[name].make()


@lru_cache(maxsize=256)
def _warm_up(name: str, setting: float, source: Source, cut: Cut) -> None:
    """One run that is not counted, for each codec and tile in each process."""
    tile, _ = _tile(source, cut)
    _codec(name).decode(_codec(name).encode(tile.data, setting))


def work(job: Job) -> Row:
    """Measure one row; a codec that fails gives a row with `error`, which the next run tries again."""
    settings = _codec(job.codec).settings
    try:
        _warm_up(job.codec, settings[len(settings) // 2], job.source, job.cut)
        tile, classes = _tile(job.source, job.cut)
        return evaluate(_codec(job.codec), tile, job.setting, classes, job.runs)
    except (CodecError, RuntimeError, OSError) as error:  # the libraries' own errors are of these kinds
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return {"tile": job.source.name, "codec": job.codec, "setting": job.setting, "error": message}
