"""An archive in one call: what is there already is left alone, what fails does not stop the rest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eocodec.interop.container import ZARR_SUFFIX, check_suffix
from eocodec.interop.metadata import GROUP_KEY
from eocodec.interop.scale.folder import open_folder
from eocodec.interop.scale.manifest import MANIFEST, Entry, Manifest
from eocodec.interop.scale.pools import Pool, open_pool
from eocodec.interop.scale.sources import Source
from eocodec.interop.scale.work import Job, Request, failure
from eocodec.interop.scale.workers import Workers
from eocodec.interop.scene import Progress

DEFAULT_RETRIES = 2
ON_ALL_CORES = Workers()


@dataclass(frozen=True)
class ManyReport:
    """What a run came to.

    Attributes
    ----------
    sources, encoded, there : scenes asked for; those encoded by this run; those that were there already
    failed : sources and reasons
    total_bytes, beside_bytes, raw_bytes : of all outputs of these sources, as in `EncodeReport`
    seconds : of the run
    manifest : its path
    """

    sources: int
    encoded: int
    there: int
    failed: tuple[tuple[str, str], ...]
    total_bytes: int
    beside_bytes: int
    raw_bytes: int
    seconds: float
    manifest: str

    @property
    def ratio(self) -> float | None:
        """Bytes of the uncompressed pixels over bytes of the files; None where there are none."""
        coded = self.total_bytes - self.beside_bytes
        return self.raw_bytes / coded if coded else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        failed = [{"source": source, "error": reason} for source, reason in self.failed]
        return {**asdict(self), "failed": failed, "ratio": self.ratio}


def encode_many(
    sources: Sequence[Source],
    out: str | Path,
    request: Request,
    *,
    workers: Workers = ON_ALL_CORES,
    retries: int = DEFAULT_RETRIES,
    force: bool = False,
    progress: Progress | None = None,
) -> ManyReport:
    """Encode scenes into a folder, each to a file of its name, and keep a manifest there.

    A run that is stopped or killed at any moment is gone on with by the same call: scenes that are done are
    not done again, and what has a name in the folder is whole.

    Parameters
    ----------
    sources : see `find_sources`
    out : folder; made where missing
    retries : further attempts at a source whose failure may pass: its file cannot be read, its worker dies
    force : replace outputs of other settings or of unknown origin; without, they are failures
    progress : called with (sources done, sources in all)

    Raises
    ------
    InputError, MissingDependency : nothing could be begun
    OutputError : another run has the folder, the manifest cannot be written, or the scheduler is gone
    """
    begin = time.perf_counter()
    folder = Path(out).absolute()
    check_suffix(Path(f"a{request.suffix}"))
    key = request.key
    with open_folder(folder) as (run, left):
        manifest = Manifest(folder / MANIFEST, run)
        for entry in left:
            manifest.append(entry)
        known = manifest.entries
        results = {s.id: known[s.id] for s in sources if is_done(known.get(s.id), folder, s, request, key)}
        there = len(results)
        todo = [source for source in sources if source.id not in results]
        jobs = [Job(source, request, key, folder, run, force, workers.threads_each) for source in todo]
        if jobs:
            with open_pool(workers, request.options.model) as pool:
                for entry in _work_through(jobs, pool, retries):
                    results[str(entry["source"])] = entry
                    if not _speaks_of_less(entry, manifest, folder):
                        manifest.append(entry)
                    if progress is not None:
                        progress(len(results), len(sources))
        manifest.compact([source.id for source in sources])
    return _report(
        [results[source.id] for source in sources], there, manifest.path, time.perf_counter() - begin
    )


def _speaks_of_less(entry: Entry, manifest: Manifest, folder: Path) -> bool:
    """Whether a source could not be encoded as asked, but what it was encoded to before is still there."""
    before = manifest.entries.get(str(entry["source"]))
    is_there = before is not None and before["status"] == "ok" and (folder / str(before["output"])).exists()
    return is_there and entry["status"] != "ok"


def is_done(entry: Entry | None, folder: Path, source: Source, request: Request, key: str) -> bool:
    """Whether a source's entry in the manifest says that it is encoded as asked, and its output is there."""
    output = f"{source.name}{request.suffix}"
    wanted = {"status": "ok", "request": key, "output": output}
    if entry is None or any(entry[name] != value for name, value in wanted.items()):
        return False
    path = folder / output
    if request.suffix == ZARR_SUFFIX:
        return (path / GROUP_KEY).is_file()
    return path.is_file() and path.stat().st_size == entry["bytes"]


def _work_through(jobs: Sequence[Job], pool: Pool, retries: int) -> Iterator[Entry]:
    """An entry for each job, as they come; no more jobs are out than there are workers."""
    waiting = deque(jobs)
    running = 0
    while waiting or running:
        while waiting and running < pool.slots():
            pool.submit(waiting.popleft())
            running += 1
        job, outcome = pool.next()
        running -= 1
        if outcome.entry is not None:
            yield outcome.entry
        elif outcome.again and len(job.reasons) < retries:
            waiting.append(replace(job, reasons=(*job.reasons, outcome.reason)))
        else:
            yield failure(job, outcome.reason)


def _report(entries: Sequence[Entry], there: int, manifest: Path, seconds: float) -> ManyReport:
    failed = tuple((str(e["source"]), str(e["error"])) for e in entries if e["status"] != "ok")
    whole = [entry for entry in entries if entry["status"] == "ok"]
    return ManyReport(
        sources=len(entries),
        encoded=len(whole) - there,
        there=there,
        failed=failed,
        total_bytes=sum(entry["bytes"] for entry in whole),
        beside_bytes=sum(entry["beside_bytes"] for entry in whole),
        raw_bytes=sum(entry["raw_bytes"] for entry in whole),
        seconds=seconds,
        manifest=str(manifest),
    )
