"""Archives, one scene after another in this process, with a stand-in for the networks."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eocodec.errors import InputError, OutputError
from eocodec.interop.files import RateTarget, encode_file
from eocodec.interop.inspect import describe_file, validate_file
from eocodec.interop.rio import ReadOptions
from eocodec.interop.scale import many, work
from eocodec.interop.scale.estimate import estimate
from eocodec.interop.scale.manifest import MANIFEST, read_manifest
from eocodec.interop.scale.many import encode_many
from eocodec.interop.scale.sources import find_sources
from eocodec.interop.scale.work import Request, spread_windows
from eocodec.interop.scale.workers import Workers
from eocodec.interop.store import StoreSource
from eocodec.metrics import psnr
from eocodec.options import EncodeOptions
from interop_support import names_in, smooth_scene, write_stack
from safe_support import make_product

HERE = Workers("none")
REQUEST = Request(EncodeOptions(quality=90.0), tile=64)
COUNT = 4


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return standin


@pytest.fixture
def sources(tmp_path):
    for k in range(COUNT):
        pixels = smooth_scene(100, 130, seed=k)
        pixels[:, :70] = 0
        write_stack(tmp_path / f"s{k}.tif", pixels, nodata=0)
    return find_sources(["s*.tif"])


def run(sources, request=REQUEST, out="out", **more):
    return encode_many(sources, out, request, workers=HERE, **more)


def contents(out="out"):
    """Bytes of every output, the manifest apart."""
    files = [path for path in Path(out).rglob("*") if path.is_file() and path.name != MANIFEST]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def entries(out="out"):
    return list(read_manifest(Path(out) / MANIFEST).values())


@pytest.mark.parametrize("suffix", [".tec", ".zarr"])
def test_outputs_are_those_of_one_at_a_time(sources, suffix):
    report = run(sources, replace(REQUEST, suffix=suffix))
    assert (report.sources, report.encoded, report.there, report.failed) == (COUNT, COUNT, 0, ())
    encode_file(["s3.tif"], f"alone{suffix}", REQUEST.options, tile=64)
    alone = Path(f"alone{suffix}")
    expected = contents(alone) if suffix == ".zarr" else {"": alone.read_bytes()}
    found = contents(f"out/s3{suffix}") if suffix == ".zarr" else {"": Path("out/s3.tec").read_bytes()}
    assert found == expected
    assert names_in("out") == [MANIFEST, *(f"s{k}{suffix}" for k in range(COUNT))]


def test_the_manifest_is_true(sources):
    report = run(sources)
    lines = Path("out", MANIFEST).read_text().splitlines()
    assert [json.loads(line) for line in lines] == entries()
    assert [entry["source"] for entry in entries()] == [source.id for source in sources]
    for entry in entries():
        found = describe_file(Path("out", entry["output"]))
        assert entry["bytes"] == found["bytes"] == Path("out", entry["output"]).stat().st_size
        assert entry["ratio"] == pytest.approx(found["ratio"], abs=1e-3)
        assert entry["quality"] == found["settings"]["quality"]
        assert (entry["status"], entry["error"], entry["attempts"], entry["retried"]) == ("ok", None, 1, [])
        assert entry["seconds"] > 0
    assert report.total_bytes == sum(entry["bytes"] for entry in entries())
    assert report.ratio == pytest.approx(COUNT * 12 * 100 * 130 * 2 / report.total_bytes)


def test_the_psnr_of_enough_samples_is_that_of_the_scene(sources):
    request = replace(REQUEST, samples=6)  # all tiles; the upper half of the scene is nodata
    run(sources[:1], request)
    with_nodata = smooth_scene(100, 130, seed=0)
    with_nodata[:, :70] = 0
    store = StoreSource("out/s0.tec")
    decoded = store.read(slice(0, 100), slice(0, 130))
    expected = psnr(with_nodata, decoded, mask=with_nodata > 0)
    assert entries()[0]["psnr"] == pytest.approx(float(expected), abs=1e-3)
    run(sources[:1], replace(REQUEST, samples=0), "none")
    assert entries("none")[0]["psnr"] is None
    run(sources[:1], replace(REQUEST, options=EncodeOptions(quality=100)), "exact")
    assert entries("exact")[0]["psnr"] == "Infinity"


def test_sampled_windows_are_spread():
    windows = list(spread_windows((640, 640), 64, 2))
    assert len(windows) == 8
    rows = [window[0].start for window in windows]
    assert rows[0] < 320 < rows[1]
    assert len(set(map(str, windows))) == 8
    assert list(spread_windows((640, 640), 64, 0)) == []
    assert len(list(spread_windows((30, 30), 64, 2))) == 1


def test_a_second_run_does_nothing(sources, inside):
    run(sources)
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.tec")}
    calls = len(inside.calls)
    report = run(sources)
    assert (report.encoded, report.there) == (0, COUNT)
    assert len(inside.calls) == calls
    assert before == {path: path.stat().st_mtime_ns for path in Path("out").glob("*.tec")}
    assert report.total_bytes == sum(entry["bytes"] for entry in entries())


def test_what_was_removed_or_cut_is_made_again(sources):
    run(sources)
    whole = contents()
    Path("out/s1.tec").unlink()
    Path("out/s2.tec").write_bytes(whole["s2.tec"][:100])
    report = run(sources, force=True)
    assert (report.encoded, report.there) == (2, COUNT - 2)
    assert contents() == whole


def test_broken_sources_do_not_stop_the_others(sources, tmp_path):
    (tmp_path / "s2.tif").write_bytes(b"no raster")
    write_stack(tmp_path / "rgb.tif", smooth_scene(20, 20, 3), ["red", "green", "blue"])
    steps = []
    report = run(
        [*sources, *find_sources(["rgb.tif", "no.tif"])], retries=1, progress=lambda *at: steps.append(at)
    )
    assert (report.encoded, [Path(source).name for source, _ in report.failed]) == (
        COUNT - 1,
        ["s2.tif", "rgb.tif", "no.tif"],
    )
    assert steps == [(k, COUNT + 2) for k in range(1, COUNT + 3)]
    found = {Path(entry["source"]).name: entry for entry in entries()}
    assert found["s2.tif"]["status"] == "failed"
    assert found["s2.tif"]["error"].startswith("RasterError: ")
    assert found["s2.tif"]["attempts"] == 2  # it may be a file system that did not answer
    assert found["s2.tif"]["retried"] == [found["s2.tif"]["error"]]
    assert found["rgb.tif"]["attempts"] == 1  # of bands there will not be more
    assert "has 3 bands" in found["rgb.tif"]["error"]
    assert len(contents()) == COUNT - 1
    write_stack(tmp_path / "s2.tif", smooth_scene(30, 30))
    again = run(sources)
    assert (again.encoded, again.there, again.failed) == (1, COUNT - 1, ())
    assert len(entries()) == COUNT + 2


def test_a_failure_that_passes(sources, monkeypatch):
    tries = []

    def unsteady(source, path, request):
        tries.append(path)
        if len(tries) < 3:
            raise MemoryError

    monkeypatch.setattr(work, "sample_psnr", unsteady)
    report = run(sources[:2])
    assert report.failed == ()
    assert [entry["attempts"] for entry in entries()] == [2, 2]  # at the end of the queue each time
    assert entries()[0]["retried"] == ["MemoryError: out of memory"]


def test_other_settings_are_not_mixed_in(sources):
    run(sources)
    other = replace(REQUEST, options=EncodeOptions(quality=20.0))
    report = run(sources, other)
    assert len(report.failed) == COUNT
    assert all("--force" in reason for _, reason in report.failed)
    assert describe_file("out/s0.tec")["settings"]["quality"] == 90
    assert run(sources).there == COUNT  # what is known of outputs that are there is not forgotten
    assert run(sources, other, force=True).encoded == COUNT
    assert describe_file("out/s0.tec")["settings"]["quality"] == 20
    assert run(sources, other, force=True).encoded == 0  # force is not "again"


@pytest.mark.parametrize(
    "change",
    [
        {"options": EncodeOptions(quality=91.0)},
        {"options": EncodeOptions(quality=90.0, max_error=5)},
        {"target": RateTarget(ratio=20)},
        {"tile": 128},
        {"bands": ("B02",)},
        {"read": ReadOptions(layers=("SCL",))},
        {"suffix": ".zarr"},
    ],
)
def test_requests_differ_where_outputs_do(change):
    assert replace(REQUEST, **change).key != REQUEST.key
    assert replace(REQUEST, samples=9).key == REQUEST.key


def test_files_of_unknown_origin_are_left(sources):
    Path("out").mkdir()
    Path("out/s1.tec").write_text("mine")
    report = run(sources)
    assert [source for source, _ in report.failed] == [sources[1].id]
    assert Path("out/s1.tec").read_text() == "mine"
    assert run(sources, force=True).encoded == 1
    assert validate_file("out/s1.tec").ok


def test_targets_are_searched_for_each_scene(sources):
    run(sources[:2], replace(REQUEST, target=RateTarget(psnr=52.0)))
    assert [entry["psnr"] for entry in entries()] == pytest.approx([52, 52], abs=1.2)


def test_a_product_with_its_layers(tmp_path):
    root, _ = make_product(tmp_path)
    report = run(find_sources([str(root)]))
    assert report.beside_bytes > 1000
    found = describe_file(f"out/{root.stem}.tec")
    assert [layer["name"] for layer in found["layers"]] == ["AOT", "WVP", "SCL", "MSK_CLDPRB"]
    assert found["bytes"] == report.total_bytes


def test_an_interruption_leaves_what_is_done(sources, monkeypatch):
    undisturbed = run(sources, out="whole")
    assert undisturbed.encoded == COUNT
    encode = work.encode_scene

    def interrupted(source, output, *rest, **more):
        if output.name == "s3.tec":
            raise KeyboardInterrupt
        return encode(source, output, *rest, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work, "encode_scene", interrupted)
        run(sources)
    assert names_in("out") == [MANIFEST, "s0.tec", "s1.tec", "s2.tec"]
    assert run(sources).there == 3
    assert contents() == contents("whole")


def test_two_runs_in_one_folder(sources):
    def second(done, total):
        with pytest.raises(OutputError, match="another run writes"):
            run(sources)

    assert run(sources, progress=second).encoded == COUNT


PROCESS = """
import sys, time
sys.path[:0] = {paths!r}
import interop_support
interop_support.install_standin()
import eocodec.codec
quick = eocodec.codec.encode_batch
def slowly(arrays, options):
    time.sleep(0.02)
    return quick(arrays, options)
eocodec.codec.encode_batch = slowly
from eocodec.cli.main import main
main()
"""


def test_killed_at_any_moment(sources):
    """A process that is killed again and again, a little later each time, until it gets to the end."""
    run(sources, out="whole")
    tests = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", PROCESS.format(paths=[tests])]
    command += ["encode-many", "s*.tif", "out", "--scheduler", "none", "--quality", "90", "--tile", "64"]
    kills, seen = 0, 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(Path("out").glob("*.tec"))) == seen:
            time.sleep(0.002)
        time.sleep(0.015 * kills)
        process.kill()
        process.communicate()
        whole = sorted(Path("out").glob("*.tec"))
        assert all(validate_file(path).ok for path in whole)
        assert len(whole) > seen or process.returncode == 0
        if process.returncode == 0:
            break
        kills, seen = kills + 1, len(whole)
    assert kills >= 1
    report = run(sources)
    assert (report.there, report.failed) == (COUNT, ())  # not one was done again for want of an entry
    assert contents() == contents("whole")
    assert len(entries()) == COUNT


@pytest.mark.parametrize("target", [None, RateTarget(ratio=6)])
def test_an_estimate_writes_nothing_and_is_near(tmp_path, target):
    for k in range(COUNT):
        write_stack(tmp_path / f"e{k}.tif", smooth_scene(150 + 20 * k, 200, seed=k), nodata=0)
    sources = find_sources(["e*.tif"])
    request = replace(REQUEST, target=target)
    before = names_in(tmp_path)
    found = estimate(sources, "out", request, workers=HERE)
    assert names_in(tmp_path) == before
    assert (found.sources, found.there, found.workers, found.unreadable) == (COUNT, 0, 1, ())
    report = run(sources, request)
    assert found.total_bytes == pytest.approx(report.total_bytes, rel=0.1)
    assert found.raw_bytes == report.raw_bytes
    assert found.seconds > 0
    after = estimate(sources, "out", request, workers=HERE)
    assert (after.there, after.total_bytes, after.seconds) == (COUNT, 0, 0)


def test_an_estimate_counts_layers_and_names_what_is_broken(tmp_path):
    root, _ = make_product(tmp_path)
    (tmp_path / "a.tif").write_text("no raster")
    sources = find_sources([str(root), "a.tif"])
    found = estimate(sources, "out", REQUEST, workers=Workers("none"))
    assert [Path(source).name for source, _ in found.unreadable] == ["a.tif"]
    report = run(sources[:1])
    assert found.beside_bytes == pytest.approx(2 * report.beside_bytes, rel=0.02)  # each scene counts as one
    with pytest.raises(InputError, match="none of the 1 sources"):
        estimate(sources[1:], "out", REQUEST, workers=Workers("none"))


def test_schedulers():
    assert Workers("none", 5).processes == 1
    assert Workers("local", 3, 2).threads_each == 2
    assert Workers("tcp://a:1").threads_each is None
    with pytest.raises(InputError, match="tcp://host:8786"):
        Workers("somewhere")


def test_no_more_jobs_are_out_than_workers(sources):
    class Two:
        """Counts what is out."""

        def __init__(self):
            self.out, self.most = [], 0

        def slots(self):
            return 2

        def submit(self, job):
            self.out.append(job)
            self.most = max(self.most, len(self.out))

        def next(self):
            job = self.out.pop()
            return job, work.Outcome(None, "broken")

    pool = Two()
    jobs = [work.Job(source, REQUEST, "0", Path("out"), Path("run")) for source in sources]
    assert len(list(many._work_through(jobs, pool, 2))) == COUNT
    assert pool.most == 2
    assert np.ptp([len(job.reasons) for job in jobs]) == 0
