"""The folder of an archive and its manifest: what a kill may leave, and what comes of it."""

import json
import subprocess
import sys

import pytest

from eocodec.errors import InputError, OutputError, OutputExists
from eocodec.interop.container import FolderSink
from eocodec.interop.scale import folder
from eocodec.interop.scale.folder import WORK, finished_before, open_folder, publish
from eocodec.interop.scale.manifest import Manifest, read_manifest
from interop_support import names_in


def entry(name="a", **more):
    return {
        "source": f"/in/{name}.tif",
        "output": f"{name}.tec",
        "request": "0",
        "status": "ok",
        "error": None,
        "bytes": 3,
        "beside_bytes": 0,
        "raw_bytes": 100,
        **more,
    }


def make(run, name="a.tec", content="new"):
    path = run / name
    path.write_text(content)
    return path


def test_a_finished_output_gets_its_name(tmp_path):
    out = tmp_path / "out"
    with open_folder(out) as (run, left):
        assert left == []
        publish(make(run), out, entry(), force=False)
        assert (out / "a.tec").read_text() == "new"
        assert finished_before(run, out, "a.tec") == entry()
        assert finished_before(run, out, "b.tec") is None
    assert names_in(out) == ["a.tec"]


def test_what_is_there_is_not_replaced_unasked(tmp_path):
    (tmp_path / "a.tec").write_text("old")
    with open_folder(tmp_path) as (run, _):
        with pytest.raises(OutputExists, match="--force"):
            publish(make(run), tmp_path, entry(), force=False)
        assert (tmp_path / "a.tec").read_text() == "old"
        # The entry that was left beside speaks of a file that did not get the name.
        assert finished_before(run, tmp_path, "a.tec") is None
        publish(make(run), tmp_path, entry(), force=True)
    assert (tmp_path / "a.tec").read_text() == "new"


def killed(out, *steps):
    """A process that takes the folder, does something in it and kills itself."""
    code = (
        "import os, sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(folder.__file__).rpartition('/eocodec/')[0]!r})\n"
        "from eocodec.interop.scale.folder import *\n"
        f"out = Path({str(out)!r})\n"
        "with open_folder(out) as (run, _):\n"
        + "".join(f"    {step}\n" for step in steps)
        + "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


def test_a_killed_run_has_not_lost_what_it_published(tmp_path):
    killed(
        tmp_path,
        "(run / 'a.tec').write_text('new')",
        f"publish(run / 'a.tec', out, {entry()!r}, force=False)",
        "(run / 'b.tec').write_text('half')",
    )
    assert WORK in names_in(tmp_path)
    with open_folder(tmp_path) as (_, left):
        assert left == [entry()]
    assert names_in(tmp_path) == ["a.tec"]


def test_a_kill_right_before_the_name_is_given(tmp_path):
    (tmp_path / "a.tec").write_text("old")
    killed(
        tmp_path,
        "from eocodec.interop.scale import folder",
        "folder.replace_output = lambda *_: os.kill(os.getpid(), 9)",
        "(run / 'a.tec').write_text('new')",
        f"publish(run / 'a.tec', out, {entry()!r}, force=True)",
    )
    assert (tmp_path / "a.tec").read_text() == "old"
    with open_folder(tmp_path) as (_, left):
        assert left == []  # the old one is of the same size, and another


def test_what_outlives_its_run_finds_no_name(tmp_path):
    """A worker on another machine goes on writing after its run was killed and another has begun."""
    with open_folder(tmp_path) as (run, _):
        sink = FolderSink(run / "a.zarr")
        sink.put("zarr.json", b"{}")
    with open_folder(tmp_path):
        sink.put("dn/c/0/0/1", b"a tile")  # makes the folders again, without those before
        assert (run / "a.zarr").exists()
        with pytest.raises(OutputError, match="has ended"):
            publish(run / "a.zarr", tmp_path, entry(output="a.zarr"), force=False)
    assert names_in(tmp_path) == []


def test_one_run_at_a_time(tmp_path):
    pytest.importorskip("fcntl", reason="no locks on this system")
    with open_folder(tmp_path) as (first, _):
        with pytest.raises(OutputError, match="another run writes to"), open_folder(tmp_path):
            pass
        assert first.is_dir()
    with open_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), open_folder(tmp_path / "file" / "out"):
        pass


def test_the_last_line_of_a_source_counts(tmp_path):
    manifest = Manifest(tmp_path / "m.jsonl", tmp_path)
    assert not manifest.path.exists()
    for one in (entry("a", status="failed", error="why"), entry("b"), entry("a")):
        manifest.append(one)
    assert len(manifest.path.read_text().splitlines()) == 3
    again = Manifest(manifest.path, tmp_path)
    assert list(again.entries.values()) == [entry("a"), entry("b")]
    again.compact(["/in/a.tif"])
    assert list(read_manifest(again.path)) == ["/in/b.tif", "/in/a.tif"]
    again.compact(["/in/b.tif"])
    assert [json.loads(line) for line in again.path.read_text().splitlines()] == [entry("a"), entry("b")]


def test_a_torn_last_line_at_every_byte(tmp_path):
    manifest = Manifest(tmp_path / "m.jsonl", tmp_path)
    manifest.append(entry("a"))
    first = manifest.path.read_bytes()
    manifest.append(entry("b", notes=["Öl"]))
    whole = manifest.path.read_bytes()
    for size in range(len(first), len(whole)):
        manifest.path.write_bytes(whole[:size])
        found = Manifest(manifest.path, tmp_path)
        expected = ["/in/a.tif", "/in/b.tif"][: 1 + (size == len(whole) - 1)]
        assert list(found.entries) == expected, size
        found.append(entry("c"))
        assert list(read_manifest(manifest.path)) == [*expected, "/in/c.tif"], size


@pytest.mark.parametrize("line", ["{", "3", '{"source": "a"}', '{"source": "a", "status": "ok"}'])
def test_damage_elsewhere_is_named(tmp_path, line):
    path = tmp_path / "m.jsonl"
    path.write_text(f"{line}\n{json.dumps(entry())}\n")
    with pytest.raises(InputError, match=r"line 1 of .* is no entry"):
        read_manifest(path)
