"""One source as a task: read, encode, look at a sample of what came out, publish. Runs in any process."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from eocodec._version import __version__
from eocodec.errors import CodecError, OutputError, RasterError
from eocodec.interop.atomic import check_output
from eocodec.interop.container import TEC_SUFFIX
from eocodec.interop.files import EncodeReport, RateTarget, encode_scene
from eocodec.interop.rio import WHOLE, ReadOptions
from eocodec.interop.scale.folder import finished_before, publish
from eocodec.interop.scale.manifest import Entry
from eocodec.interop.scale.sources import Source
from eocodec.interop.scene import SceneSource, Window, is_nodata, tile_windows
from eocodec.interop.settings import number_to_json
from eocodec.interop.store import DEFAULT_TILE, StoreSource
from eocodec.metrics import mse_to_psnr, squared_errors
from eocodec.models import registry
from eocodec.options import EncodeOptions

DEFAULT_SAMPLES = 2  # tiles; a whole product has hundreds, and seconds are worth more than another digit
TRIES_PER_SAMPLE = 4  # tiles without a valid pixel say nothing
# What may be better next time: a file system or a server that did not answer, a full disk or memory.
TRANSIENT = (RasterError, OutputError, OSError, MemoryError)
_turn = (
    threading.Lock()
)  # one scene at a time in a process, whatever its scheduler thinks: that bounds memory


@dataclass(frozen=True)
class Request:
    """What to make of every source.

    Attributes
    ----------
    options, target, tile, bands, read : as in `encode_file`
    suffix : of outputs, `.tec` or `.zarr`
    samples : tiles of each output that are decoded and compared; 0: none
    """

    options: EncodeOptions
    target: RateTarget | None = None
    tile: int = DEFAULT_TILE
    bands: tuple[str, ...] | None = None
    read: ReadOptions = WHOLE
    suffix: str = TEC_SUFFIX
    samples: int = DEFAULT_SAMPLES

    @property
    def key(self) -> str:
        """16 hexadecimal digits that differ where outputs would."""
        asked = asdict(replace(self, samples=0))
        asked["options"]["model"] = registry.by_id(self.options.model).fingerprint.hex()
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def open(self, source: Source) -> SceneSource:
        """Open a source as this request reads it; errors of `open_scene`."""
        return source.open(bands=self.bands, nodata=self.options.nodata, read=self.read)


@dataclass(frozen=True)
class Job:
    """One source to encode.

    Attributes
    ----------
    key : of the request
    out, run : folders of the archive and of the run within it
    force : replace an output that is there
    threads : of the network; None: as they are
    reasons : why earlier attempts failed
    """

    source: Source
    request: Request
    key: str
    out: Path
    run: Path
    force: bool = False
    threads: int | None = None
    reasons: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """Name of the output in the archive."""
        return f"{self.source.name}{self.request.suffix}"


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to: an entry for the manifest, or a reason; `again`: another may do better."""

    entry: Entry | None
    reason: str = ""
    again: bool = False


def attempt(job: Job) -> Outcome:
    """Encode a source; what is wrong with it is told, not raised."""
    with _turn:
        try:
            done = finished_before(job.run, job.out, job.output)
            return Outcome(_encode(job) if done is None else done)
        except (CodecError, OSError, MemoryError) as error:
            text = " ".join(str(error).split()) or "out of memory"
            return Outcome(None, f"{type(error).__name__}: {text}", isinstance(error, TRANSIENT))


def failure(job: Job, reason: str) -> Entry:
    """The entry of a source that is given up."""
    return {**_head(job), "status": "failed", "error": reason}


def _head(job: Job) -> dict[str, Any]:
    return {
        "source": job.source.id,
        "output": job.output,
        "request": job.key,
        "attempts": len(job.reasons) + 1,
        "retried": list(job.reasons),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
    }


def _encode(job: Job) -> Entry:
    begin = time.perf_counter()
    request = job.request
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    check_output(job.out / job.output, force=job.force)
    made = job.run / job.output
    with closing(request.open(job.source)) as source:
        report = encode_scene(
            source, made, request.options, target=request.target, tile=request.tile, force=True
        )
        psnr = sample_psnr(source, made, request)
        info = source.info
    entry = {
        **_head(job),
        "status": "ok",
        "error": None,
        "shape": [len(info.present), *info.shape[1:]],
        **_figures(report),
        "psnr": number_to_json(None if psnr is None else round(psnr, 3)),
        "seconds": round(time.perf_counter() - begin, 3),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }
    publish(made, job.out, entry, force=job.force)
    return entry


def _figures(report: EncodeReport) -> dict[str, Any]:
    return {
        "bytes": report.total_bytes,
        "beside_bytes": report.beside_bytes,
        "raw_bytes": report.raw_bytes,
        "ratio": round(report.ratio, 3),
        "bpppc": round(report.bpppc, 5),
        "quality": report.quality,
        "max_error": report.max_error,
        "reached": report.reached,
        "tiles": report.tiles,
        "notes": list(report.notes),
    }


def sample_psnr(source: SceneSource, path: Path, request: Request) -> float | None:
    """PSNR [dB, peak 10 000 DN] of some tiles of a store, decoded, against the scene that it was made of.

    None where no tile was looked at, or none has a valid pixel.

    Raises
    ------
    CodestreamError : a tile cannot be decoded
    """
    total = count = 0.0
    seen = 0
    with closing(StoreSource(path)) as store:
        for window in spread_windows(source.info.shape[1:], request.tile, request.samples):
            if seen == request.samples:
                break
            pixels = source.read(*window)
            mask = ~is_nodata(pixels, source.info.nodata)
            if not mask.any():
                continue
            sums, counts = squared_errors(pixels, store.read(*window), mask)
            total, count, seen = total + float(np.sum(sums)), count + float(np.sum(counts)), seen + 1
    if not count:
        return None
    return float(mse_to_psnr(np.array(total / count * (request.options.scale or 1.0) ** 2), 10_000))


def spread_windows(shape: tuple[int, int], tile: int, samples: int) -> Iterator[Window]:
    """Windows of tiles spread over a raster of `shape`: some, and then others to take their places."""
    windows = [window for _, _, window in tile_windows(shape, tile)]
    count = min(samples * TRIES_PER_SAMPLE, len(windows))
    picked: Sequence[Window] = [windows[(2 * k + 1) * len(windows) // (2 * count)] for k in range(count)]
    for k in range(TRIES_PER_SAMPLE):  # those in the middle of their parts first
        yield from picked[(k + TRIES_PER_SAMPLE // 2) % TRIES_PER_SAMPLE :: TRIES_PER_SAMPLE]
