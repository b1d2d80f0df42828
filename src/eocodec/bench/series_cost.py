"""`eocodec bench series-cost`: processor time and memory of series by their number of dates, and speed."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import Image, model_name
from eocodec.bench.contest import Timings
from eocodec.bench.datasets import require_data
from eocodec.bench.provenance import provenance
from eocodec.bench.series import twelve
from eocodec.errors import RasterError

PLACE = "belgium_a"  # of the train split: more than 100 dates, clouds and all
SIDE = 256
NODATA = 0
SPEED_DATES = 4  # of the series that tables of speed are about
_PROCESS = Path("/proc/self")

Report = Callable[[str], None]


@dataclass(frozen=True)
class CostOptions:
    """What to run.

    timesteps : lengths of series; threads : of torch; data : imagery folder (None: found)
    speed_threads, runs : of the series of SPEED_DATES that is timed again and again
    """

    model: str = "tec-tt"
    quality: float = 60.0
    timesteps: tuple[int, ...] = (1, 4, 12, 60)
    threads: int = 1
    data: Path | None = None
    speed_threads: int = 2
    runs: int = 5


def long_series(timesteps: int, data: Path | None = None) -> Image:
    """First dates of a dense series of 64 x 64 pixels, mirrored to [T, 12, SIDE, SIDE].

    Raises
    ------
    RasterError : there are not so many dates
    """
    with np.load(require_data(data) / "train" / "series" / f"{PLACE}.npz") as archive:
        bands, dates = [str(band) for band in archive["bands"]], archive["data"][:timesteps]
    if len(dates) < timesteps:
        raise RasterError(f"{PLACE} has {len(dates)} dates, {timesteps} are asked for")
    more = [(0, 0), (0, 0), *((0, SIDE - side) for side in dates.shape[2:])]
    return np.pad(np.stack([twelve(date, bands) for date in dates]), more, mode="symmetric")


def run_cost(options: CostOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Encode and decode series of each length, every call in a process of its own; then one many times.

    Returns
    -------
    JSON-ready: `meta`; `rows`: processor seconds of a call, and the most memory held during it beyond what
    was there before and the array itself, bytes (None where the system does not tell); `speed`: seconds of
    calls in a warm process, array in and array out, and Mpixel/s of all bands, summed over dates
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="eocodec-cost-") as name:
        array, stream = Path(name) / "series.npy", Path(name) / "series.stream"
        for timesteps in options.timesteps:
            np.save(array, long_series(timesteps, options.data))
            for work in (_encode, _decode):
                found = _apart(work, options, array, stream)
                size = {"timesteps": timesteps, "work": work.__name__.strip("_")}
                rows.append({**size, **found, "codestream_bytes": stream.stat().st_size})
                report(f"{rows[-1]['work']} T = {timesteps}: {rows[-1]['cpu_s']:.2f} CPU s")
        np.save(array, long_series(SPEED_DATES, options.data))
        speed = _apart(_speed, options, array)
    meta = {
        **provenance(),
        "model": model_name(options.model),
        "quality": options.quality,
        "threads": options.threads,
        "series": {"place": PLACE, "shape": ["T", 12, SIDE, SIDE], "mirrored": True},
    }
    return {"meta": meta, "rows": rows, "speed": speed}


def _apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """`work` in another process: of this one, what was held before would be in the way."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _encode(options: CostOptions, array: Path, stream: Path) -> dict[str, Any]:
    codec, pixels = _ready(options, options.threads), np.load(array)
    found, data = _measured(
        lambda: codec.encode(pixels, model=options.model, quality=options.quality, nodata=NODATA), 0
    )
    stream.write_bytes(data)
    return found


def _decode(options: CostOptions, array: Path, stream: Path) -> dict[str, Any]:
    codec, data = _ready(options, options.threads), stream.read_bytes()
    return _measured(lambda: codec.decode(data), np.load(array, mmap_mode="r").nbytes)[0]


def _speed(options: CostOptions, array: Path) -> dict[str, Any]:
    codec, pixels, timings = _ready(options, options.speed_threads), np.load(array), Timings()
    for run in range(options.runs + 1):
        begin = time.perf_counter()
        data = codec.encode(pixels, model=options.model, quality=options.quality, nodata=NODATA)
        middle = time.perf_counter()
        codec.decode(data)
        if run:  # the first one warms up
            timings.encode_s.append(middle - begin)
            timings.decode_s.append(time.perf_counter() - middle)
    dates, _, rows, cols = pixels.shape
    what = {"timesteps": dates, "rows": rows, "cols": cols, "threads": options.speed_threads}
    return what | timings.to_dict(dates * rows * cols / 1e6)


def _ready(options: CostOptions, threads: int) -> Any:
    """The codec, its model loaded and run once."""
    import torch

    from eocodec import codec

    torch.set_num_threads(threads)
    ramp = np.linspace(1, 3000, 2 * 12 * 64 * 64).reshape(2, 12, 64, 64).astype(np.int16)
    codec.decode(codec.encode(ramp, model=options.model, quality=options.quality, nodata=NODATA))
    return codec


def _measured(call: Callable[[], Any], result_bytes: int) -> tuple[dict[str, Any], Any]:
    """Cost of a call whose result takes so many bytes that every way of decoding needs, and the result."""
    there = _peak_from_here()
    begin, wall = time.process_time(), time.perf_counter()
    result = call()
    cpu, wall = time.process_time() - begin, time.perf_counter() - wall
    peak = None if there is None else max(_status("VmHWM") - there - result_bytes, 0)
    return {"cpu_s": cpu, "wall_s": wall, "peak_bytes": peak}, result


def _peak_from_here() -> int | None:
    """Bytes that this process holds; the largest number of them is counted anew. None if it is not known."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:  # no Linux
        return None


def _status(name: str) -> int:
    line = next(x for x in (_PROCESS / "status").read_text().splitlines() if x.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows to print."""
    header = ["series", "CPU s", "CPU s a date", "MB beside the array", "kB a date", "Mpixel/s"]
    speed = result["speed"]
    timed = [
        [
            f"{work}, {speed['threads']} threads, warm",
            "-",
            "-",
            "-",
            "-",
            f"{speed[f'{work}_mpixel_per_s']:.2f}",
        ]
        for work in ("encode", "decode")
    ]
    return header, [*map(_row, result["rows"]), *timed]


def _row(row: dict[str, Any]) -> list[str]:
    dates, peak = row["timesteps"], row["peak_bytes"]
    return [
        f"{row['work']} T = {dates}",
        f"{row['cpu_s']:.2f}",
        f"{row['cpu_s'] / dates:.2f}",
        "-" if peak is None else f"{peak / 1e6:.0f}",
        f"{row['codestream_bytes'] / 1e3 / dates:.1f}",
        "-",
    ]
