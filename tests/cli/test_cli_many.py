"""`eocodec encode-many`: what it prints, and how it ends."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.interop.inspect import describe_file
from interop_support import names_in, smooth_scene, write_stack

HERE = ("--scheduler", "none")


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        write_stack(f"s{k}.tif", smooth_scene(64, 80, seed=k), nodata=0)


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, ["encode-many", *map(str, arguments), *HERE])
    assert result.exit_code == code, result.output
    return result


def test_an_archive():
    result = run("s*.tif", "out", "--quality", 80)
    assert result.stdout.startswith("out: 3 scenes encoded, 0 there already, 0 failed; ")
    assert result.stderr == ""
    assert names_in("out") == ["manifest.jsonl", "s0.tec", "s1.tec", "s2.tec"]
    assert "0 scenes encoded, 3 there already" in run("s*.tif", "out", "--quality", 80).stdout
    assert run("s*.tif", "out", "--quality", 80, "--quiet").output == ""


def test_json_is_the_report():
    found = json.loads(run("s*.tif", "out", "--json", "--samples", 1).stdout)
    assert (found["sources"], found["encoded"], found["there"], found["failed"]) == (3, 3, 0, [])
    assert found["total_bytes"] == sum(path.stat().st_size for path in Path("out").glob("*.tec"))
    assert found["ratio"] == pytest.approx(found["raw_bytes"] / found["total_bytes"])
    assert Path(found["manifest"]).is_file()


def test_some_that_fail_are_named_and_the_code_says_so():
    Path("broken.tif").write_text("")
    result = run("*.tif", "out", "--retries", 0, code=1)
    assert result.stderr.startswith("failed: ")
    assert "broken.tif: RasterError: " in result.stderr
    assert "3 scenes encoded, 0 there already, 1 failed" in result.stdout
    found = json.loads(run("*.tif", "out", "--json", code=1).stdout)
    assert found["failed"][0]["error"].startswith("RasterError: ")


def test_many_that_fail_are_counted():
    for k in range(12):
        Path(f"broken{k}.tif").write_text("")
    result = run("broken*.tif", "out", "--retries", 0, code=1)
    assert result.stderr.count("failed: ") == 10
    assert "and 2 more, see out/manifest.jsonl" in result.stderr


def test_a_dry_run_says_what_to_expect_and_writes_nothing():
    before = names_in(".")
    result = run("s*.tif", "out", "--dry-run", "--workers", 4)
    assert "3 scenes, 0 there already, 3 to encode: about " in result.stdout
    assert "on 1 worker, judged by 3 tiles" in result.stdout
    found = json.loads(run("s*.tif", "out", "--dry-run", "--json").stdout)
    assert found["raw_bytes"] == 3 * 12 * 64 * 80 * 2
    assert found["total_bytes"] > 0
    assert names_in(".") == before
    run("s*.tif", "out")
    assert "3 there already, 0 to encode: about 0 bytes" in run("s*.tif", "out", "--dry-run").stdout


def test_options_are_those_of_encode():
    run("s0.tif", "out", "--ratio", 5, "--tile", 48, "--format", "zarr")
    found = describe_file("out/s0.zarr")
    assert found["tile"] == [48, 48]
    assert found["ratio"] == pytest.approx(5, rel=0.1)
    both = run("s0.tif", "out", "--ratio", 10, "--quality", 3, code=2)
    assert "exclude each other" in both.stderr
    assert "--max-error goes with" in run("s0.tif", "out", "--psnr", 3, "--max-error", 3, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no*.tif", "out"], "nothing matches no*.tif"),
        (["s0.tif", "out", "--model", "unknown"], "no model 'unknown'"),
        (["s0.tif", "s0.tif/out"], "cannot write"),
        (["s0.tif", "out", "--scheduler", "there"], "tcp://host:8786"),
        (["s0.tif", "out", "--gdal", "X"], "KEY=VALUE"),
    ],
)
def test_what_cannot_begin(arguments, words):
    result = CliRunner().invoke(cli, ["encode-many", *HERE, *arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "eocodec.interop.scale.dask_pool", raising=False)
    monkeypatch.delattr("eocodec.interop.scale.dask_pool", raising=False)
    result = CliRunner().invoke(cli, ["encode-many", "s0.tif", "out"])
    assert result.exit_code == 2
    assert "pip install 'eocodec[dask]', or use --scheduler none" in result.stderr


def test_an_interruption(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("eocodec.interop.scale.work.encode_scene", interrupted)
    assert run("s*.tif", "out", code=2).stderr == "error: interrupted; run the same command again to go on\n"
