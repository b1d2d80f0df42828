"""The command with a true network: the installed model, or none of this can be tested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.cli.main import cli
from interop_support import write_stack

MODEL = "tec-fp"


@pytest.fixture(autouse=True)
def model():
    from eocodec.models import registry

    if MODEL not in {card.id for card in registry.installed()}:
        pytest.skip(f"the model {MODEL} is not installed in this checkout")


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def scene(tmp_path):
    from eocodec.bench.demo_scene import demo_scene

    pixels = demo_scene(160, 200, seed=3)
    return write_stack(tmp_path / "a.tif", pixels, nodata=0)


def test_there_and_back_in_another_process(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("EOCODEC_PRECISION", "float32")
    run("encode", scene, tmp_path / "a.tec", "--quality", 60, "--tile", 96)
    assert json.loads(run("validate", tmp_path / "a.tec", "--json").output)["ok"]
    run("decode", tmp_path / "a.tec", tmp_path / "here.tif")
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default"}
    command = [sys.executable, "-m", "eocodec.cli.main", "decode"]
    subprocess.run([*command, tmp_path / "a.tec", tmp_path / "there.tif"], check=True, env=environment)
    with rasterio.open(scene) as a, rasterio.open(tmp_path / "here.tif") as b:
        original, here = a.read(), b.read()
    with rasterio.open(tmp_path / "there.tif") as c:
        there = c.read()
    assert np.array_equal(original == 0, here == 0)
    # Symbols are the same everywhere, the synthesis is float: its rounding to integers may differ by one.
    assert np.abs(here.astype(int) - there).max() <= 1
    found = json.loads(run("compare", scene, tmp_path / "a.tec", "--json").output)
    assert found["psnr"] > 30
    assert found["nodata_differs"] == 0


def test_larger_quality_is_better_and_larger(scene, tmp_path):
    sizes, errors = [], []
    for quality in (10, 50, 90):
        run("encode", scene, tmp_path / "a.tec", "--quality", quality, "--force")
        found = json.loads(run("compare", scene, tmp_path / "a.tec", "--json").output)
        sizes.append(found["bytes"][1])
        errors.append(found["mse"])
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)


@pytest.mark.parametrize("option", ["--psnr", "--bpppc"])
def test_targets(scene, tmp_path, option):
    run("encode", scene, tmp_path / "a.tec", "--quality", 55)
    key = option.strip("-")
    wanted = json.loads(run("compare", scene, tmp_path / "a.tec", "--json").output)["psnr"]
    if key == "bpppc":
        wanted = json.loads(run("info", tmp_path / "a.tec", "--json").output)["bpppc"]
    run("encode", scene, tmp_path / "b.tec", option, wanted)
    reached = json.loads(run("compare", scene, tmp_path / "b.tec", "--json").output)["psnr"]
    if key == "bpppc":
        reached = json.loads(run("info", tmp_path / "b.tec", "--json").output)["bpppc"]
    assert reached == pytest.approx(wanted, rel=0.02)


def shared_data():
    folder = Path(
        os.environ.get("EOCODEC_DATA") or Path(__file__).resolve().parents[2].parent / "shared/data"
    )
    if not folder.is_dir():
        pytest.skip("the shared imagery is not here (EOCODEC_DATA)")
    return folder


@pytest.mark.data
def test_a_real_tile(tmp_path):
    scene = sorted((shared_data() / "dev/ssl4eo").glob("*.tif"))[0]
    line = run("encode", scene, tmp_path / "a.tec", "--ratio", 40).stdout
    assert "bytes" in line
    found = json.loads(run("info", tmp_path / "a.tec", "--json").output)
    assert found["ratio"] == pytest.approx(40, rel=0.03)
    run("decode", tmp_path / "a.tec", tmp_path / "a.tif")
    with rasterio.open(scene) as first, rasterio.open(tmp_path / "a.tif") as second:
        for name in ("shape", "count", "dtypes", "crs", "transform", "descriptions", "nodata"):
            assert getattr(first, name) == getattr(second, name), name


@pytest.mark.data
def test_real_band_files(tmp_path):
    folder = shared_data() / "train/native/norcia_1"
    run("encode", folder, tmp_path / "a.tec", "--quality", 70)
    found = json.loads(run("compare", folder, tmp_path / "a.tec", "--json").output)
    assert found["psnr"] > 35
