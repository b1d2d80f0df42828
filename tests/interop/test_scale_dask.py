"""Archives on Dask: two worker processes with a real, tiny model; killed, gone on with, compared."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eocodec.errors import InputError
from eocodec.interop.inspect import validate_file
from eocodec.interop.scale.estimate import estimate
from eocodec.interop.scale.manifest import MANIFEST, read_manifest
from eocodec.interop.scale.many import encode_many
from eocodec.interop.scale.sources import find_sources
from eocodec.interop.scale.work import Request
from eocodec.interop.scale.workers import WORKER_DIED, Workers
from eocodec.options import EncodeOptions
from interop_support import names_in, smooth_scene, write_stack

distributed = pytest.importorskip("distributed", reason="distributed is not installed (extra dask)")
psutil = pytest.importorskip("psutil", reason="psutil is not installed (distributed brings it)")

# Those at even places are done soon; while they are, the worker beside is in the middle of another.
SIDES = (32, 512, 32, 512, 64)
TWO = Workers("local", 2, 1)
SECONDS = 120


@pytest.fixture(scope="module")
def archive(tiny_model, tmp_path_factory):
    """Folder, sources, request, and the outputs of an undisturbed run in this process."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("archive")
    (folder / "in").mkdir()
    for k, side in enumerate(SIDES):
        write_stack(folder / "in" / f"s{k}.tif", smooth_scene(side, side, seed=k), nodata=0)
    request = Request(EncodeOptions(tiny_model, 60.0), tile=128)
    sources = find_sources([str(folder / "in" / "*.tif")])
    assert encode_many(sources, folder / "whole", request, workers=Workers("none", None, 1)).failed == ()
    (folder / "in" / "broken.tif").write_bytes(b"no raster")
    return folder, request, contents(folder / "whole")


def contents(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tec"))}


def worker_pids(process):
    """Of the worker processes of a cluster that a process has."""
    found = [child for child in process.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return [child.pid for child in found]


def test_a_killed_run_is_gone_on_with_and_survives_the_death_of_a_worker(archive):
    folder, request, expected = archive
    out = folder / "out"
    kill_the_run_when_it_has_begun(folder, request, out)
    done = {path: path.stat().st_mtime_ns for path in out.glob("*.tec")}
    assert 0 < len(done) < len(SIDES)
    assert all(validate_file(path).ok for path in done)
    killed = []

    def kill_the_other(done, total):
        if killed or done == total:
            return
        last = list(read_manifest(out / MANIFEST).values())[-1]
        if last["status"] == "ok":
            busy = [pid for pid in worker_pids(psutil.Process()) if not last["worker"].endswith(f":{pid}")]
            os.kill(busy[0], signal.SIGKILL)
            killed.append(busy[0])

    sources = find_sources([str(folder / "in" / "*.tif")])
    report = encode_many(sources, out, request, workers=TWO, progress=kill_the_other)
    assert len(killed) == 1
    assert report.there == len(done)
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    assert contents(out) == expected
    assert names_in(out) == [MANIFEST, *sorted(expected)]
    entries = {Path(entry["source"]).name: entry for entry in read_manifest(out / MANIFEST).values()}
    assert [Path(source).name for source, _ in report.failed] == ["broken.tif"]
    assert entries["broken.tif"]["error"].startswith("RasterError: ")
    assert WORKER_DIED in [reason for entry in entries.values() for reason in entry["retried"]]


def kill_the_run_when_it_has_begun(folder, request, out):
    """Start the command with two workers, and kill it with SIGKILL as soon as an output is there."""
    command = [sys.executable, "-c", "from eocodec.cli.main import main; main()", "encode-many"]
    command += [str(folder / "in" / "*.tif"), str(out), "--workers", "2", "--threads", "1", "--tile", "128"]
    command += ["--model", request.options.model, "--quality", "60", "--retries", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + SECONDS
    while not list(out.glob("*.tec")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    workers = worker_pids(psutil.Process(process.pid))
    process.kill()
    _, stderr = process.communicate()
    assert process.returncode == -signal.SIGKILL, stderr
    gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], 10)
    assert not alive
    assert len(workers) == 2 or gone


def test_a_scheduler_at_an_address(archive):
    folder, request, expected = archive
    out = folder / "remote"
    (folder / "in" / "broken.tif").unlink()
    sources = find_sources([str(folder / "in" / "*.tif")])
    # Workers in this process, so that nothing has to be started; what a job is sent as is the same.
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp://"
    ) as cluster:
        workers = Workers(cluster.scheduler_address)
        assert estimate(sources, out, request, workers=workers).workers == 2
        assert not out.exists()
        report = encode_many(sources, out, request, workers=workers)
        assert (report.encoded, report.failed) == (len(SIDES), ())
        assert contents(out) == expected
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.tec")}
    again = encode_many(sources, out, request, workers=workers)  # there is nothing left to ask workers for
    assert (again.encoded, again.there) == (0, len(SIDES))
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("*.tec")}


def test_nobody_at_the_address(archive, monkeypatch, tmp_path):
    monkeypatch.setattr("eocodec.interop.scale.dask_pool.CONNECT_SECONDS", 0.3)
    folder, request, _ = archive
    sources = find_sources([str(folder / "in" / "s0.tif")])
    with pytest.raises(InputError, match=r"no Dask scheduler .* at tcp://127\.0\.0\.1:9"):
        encode_many(sources, tmp_path / "out", request, workers=Workers("tcp://127.0.0.1:9"))
    assert names_in(tmp_path / "out") == []


def test_the_manifest_is_lines_of_json(archive):
    lines = (archive[0] / "whole" / MANIFEST).read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["ok"] * len(SIDES)
