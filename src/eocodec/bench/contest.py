"""Timing several programs on the same files: alternating runs, one warm-up each, medians."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FileAction = Callable[[Path, Path], object]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Contestant:
    """A way from a GeoTIFF to coded files and back; `suffix` names the coded output ('' = a folder)."""

    name: str
    encode: FileAction
    decode: FileAction
    suffix: str = ""


@dataclass
class Timings:
    """Wall-clock seconds of each timed run."""

    encode_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)

    def to_dict(self, megapixels: float) -> dict[str, Any]:
        """Runs, medians and speeds [Mpixel/s]."""
        encode, decode = statistics.median(self.encode_s), statistics.median(self.decode_s)
        return {
            "encode_s": [round(s, 4) for s in self.encode_s],
            "decode_s": [round(s, 4) for s in self.decode_s],
            "encode_mpixel_per_s": round(megapixels / encode, 3),
            "decode_mpixel_per_s": round(megapixels / decode, 3),
        }


def coded_path(contestant: Contestant, folder: Path) -> Path:
    """Where the contestant's coded output is."""
    return folder / f"{contestant.name}{contestant.suffix}"


def decoded_path(contestant: Contestant, folder: Path) -> Path:
    """Where the contestant's decoded GeoTIFF is."""
    return folder / f"{contestant.name}.tif"


def run_contest(
    contestants: Sequence[Contestant],
    source: Path,
    folder: Path,
    runs: int,
    report: Report = lambda line: None,
) -> dict[str, Timings]:
    """Each contestant in turn, `runs` + 1 times; the first round warms caches and is not counted.

    The coded and decoded files of the last round stay in `folder`.
    """
    timings = {contestant.name: Timings() for contestant in contestants}
    for turn in range(runs + 1):
        for contestant in contestants:
            coded, decoded = coded_path(contestant, folder), decoded_path(contestant, folder)
            remove(coded)
            remove(decoded)
            encode_s = _seconds(contestant.encode, source, coded)
            decode_s = _seconds(contestant.decode, coded, decoded)
            report(f"round {turn} {contestant.name}: encode {encode_s:.2f} s, decode {decode_s:.2f} s")
            if turn:
                timings[contestant.name].encode_s.append(encode_s)
                timings[contestant.name].decode_s.append(decode_s)
    return timings


def _seconds(action: FileAction, source: Path, target: Path) -> float:
    start = time.perf_counter()
    action(source, target)
    return time.perf_counter() - start


def remove(path: Path) -> None:
    """Delete a file or folder where it is."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size


@contextmanager
def limited_to(cpus: int) -> Iterator[None]:
    """Keep this process and its children on `cpus` processors, where the system can (Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cpus])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
