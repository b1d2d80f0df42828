"""One codec, one tile, one setting: is it correct, what does it cost and lose, how long does it take."""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eocodec.bench.base import PSNR_PEAK, BenchCodec, check_decoded
from eocodec.bench.distortions import distortions, plain
from eocodec.bench.landcover import SpectralClasses
from eocodec.bench.tiles import Tile
from eocodec.errors import InputError
from eocodec.metrics import compare, psnr
from eocodec.types import AnyArray

TIME_BUDGET = 3.0  # s; a run that is slower than this is not repeated
Row = dict[str, Any]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timed:
    """Median seconds of the timed runs, their number, and the most memory [MB] that a run added, if known."""

    seconds: float
    runs: int
    peak_mb: float | None


def evaluate(codec: BenchCodec, tile: Tile, setting: float, classes: SpectralClasses, runs: int) -> Row:
    """Encode and decode a tile, check what came back, and measure it.

    Parameters
    ----------
    classes : of this tile
    runs : timed runs at most; what takes long is repeated less often

    Returns
    -------
    JSON-ready row; bits are those of the whole encoding, `free_bits` those of them that curves do not charge

    Raises
    ------
    InputError : shape, dtype or the stated bound are not kept
    """
    data, encode = _timed(lambda: codec.encode(tile.data, setting), runs)
    decoded, decode = _timed(lambda: codec.decode(data), runs)
    check_decoded(codec, decoded, tile.data)
    bound = codec.bound(setting)
    found = compare(tile.data, decoded, tile.mask, tile.bands, peak=PSNR_PEAK)
    if bound is not None and found.max_error > bound:
        raise InputError(f"{codec.name} promised {bound:g} DN and is off by {found.max_error:g}")
    return {
        "tile": tile.name,
        "codec": codec.name,
        "kind": codec.kind,
        "setting": setting,
        "bound": bound,
        "shape": list(tile.data.shape),
        "bits": 8 * len(data),
        "free_bits": 8 * codec.free_bytes(data),
        **distortions(found),
        "class_agreement": plain(classes.agreement(decoded), 5),
        **_dates(tile, decoded),
        "encode_s": round(encode.seconds, 5),
        "decode_s": round(decode.seconds, 5),
        "timed_runs": [encode.runs, decode.runs],
        "encode_peak_mb": encode.peak_mb,
        "decode_peak_mb": decode.peak_mb,
    }


def _dates(tile: Tile, decoded: AnyArray) -> Row:
    """PSNR of each date of a series."""
    if tile.data.ndim == 3:
        return {}
    masks = [None] * len(decoded) if tile.mask is None else list(tile.mask)
    pairs = zip(tile.data, decoded, masks, strict=True)
    return {"dates": {"psnr": [plain(psnr(x, x_hat, peak=PSNR_PEAK, mask=m), 3) for x, x_hat, m in pairs]}}


def _timed(action: Callable[[], Result], runs: int) -> tuple[Result, Timed]:
    """The action's result and timing; the first run is timed too: whoever calls has warmed up."""
    seconds: list[float] = []
    give_back()
    reset_peak()
    before = resident_mb()
    peak = None
    while True:
        start = time.perf_counter()
        result = action()
        seconds.append(time.perf_counter() - start)
        if before is not None and peak is None:
            peak = round(max((peak_mb() or before) - before, 0.0), 1)
        if len(seconds) >= runs or sum(seconds) > TIME_BUDGET:
            return result, Timed(statistics.median(seconds), len(seconds), peak)


def give_back() -> None:
    """Let the C library (glibc) return what it keeps of freed memory, which a run would not seem to add."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(ctypes.c_size_t(0))


def reset_peak() -> None:
    """Let the system forget this process's highest memory use (Linux; elsewhere nothing happens)."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        try:
            switch.write_text("5")
        except OSError:  # not allowed in some containers
            return


def resident_mb() -> float | None:
    """Memory in use now [MB], or None where the system does not say."""
    return _status("VmRSS")


def peak_mb() -> float | None:
    """Highest memory use [MB] since the last reset, or None where the system does not say."""
    return _status("VmHWM")


def _status(field: str) -> float | None:
    table = Path("/proc/self/status")
    if not table.is_file():
        return None
    for line in table.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    return None
