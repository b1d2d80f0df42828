"""`encode`, `decode`, `compare`: the way of a scene through the command."""

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.sensors import S2_BAND_NAMES
from interop_support import smooth_scene, write_band_folder, write_stack


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def scene():
    pixels = smooth_scene(100, 150)
    pixels[:, 80:, 100:] = 0
    return write_stack("a.tif", pixels, nodata=0)


@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_there_and_back(scene, name):
    result = run("encode", scene, name, "--quality", 95, "--tile", 64)
    assert result.stdout.startswith(f"{name}: ")
    run("decode", name, "back.tif")
    with rasterio.open(scene) as first, rasterio.open("back.tif") as second:
        x, y = first.read(), second.read()
        assert np.array_equal(x == 0, y == 0)
        assert 0 < np.abs(x.astype(int) - y).max() <= 3  # the stand-in's step at this quality is 6
        assert (first.crs, first.transform, first.descriptions) == (
            second.crs,
            second.transform,
            second.descriptions,
        )


def test_the_summary_is_true(scene):
    line = run("encode", scene, "a.tec").stdout
    size = (scene.parent / "a.tec").stat().st_size
    assert f"a.tec: {size} bytes" in line
    assert f"ratio {12 * 100 * 150 * 2 / size:.1f}" in line
    assert f"{8 * size / (12 * 100 * 150):.4f} bpppc" in line
    assert "quality 50" in line
    assert line.count("\n") == 1


def test_quiet_says_nothing(scene):
    result = run("encode", scene, "a.tec", "--quiet")
    assert result.output == ""
    assert run("decode", "a.tec", "b.tif", "--quiet").output == ""


def test_what_was_assumed_is_said():
    write_stack("a.tif", smooth_scene(20, 20), None)
    assert "does not name its bands" in run("encode", "a.tif", "a.tec").stderr
    assert run("encode", "a.tif", "b.tec", "--bands", ",".join(S2_BAND_NAMES)).stderr == ""


def test_band_files(tmp_path):
    write_band_folder("bands")
    run("encode", "bands", "a.tec", "--quality", 100)
    run("encode", *sorted((tmp_path / "bands").iterdir()), "b.tec", "--quality", 100)
    assert json.loads(run("compare", "a.tec", "b.tec", "--json").output)["mse"] == 0
    assert json.loads(run("compare", "bands", "b.tec", "--json").output)["mse"] == 0


@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
@pytest.mark.parametrize(("option", "value"), [("--ratio", 8.0), ("--bpppc", 2.2)])
def test_rate_targets_are_of_the_whole_file(scene, name, option, value):
    run("encode", scene, name, option, value)
    found = json.loads(run("info", name, "--json").output)
    key = option.strip("-")
    assert found[key] == pytest.approx(value, rel=0.06)  # steps of whole qualities in the stand-in
    assert found["ratio"] >= value if key == "ratio" else found["bpppc"] <= value


def test_psnr_target(scene):
    result = run("encode", scene, "a.tec", "--psnr", 55)
    assert "dB on the sample" in result.stdout
    found = json.loads(run("compare", scene, "a.tec", "--json").output)
    assert found["psnr"] == pytest.approx(55, abs=0.6)


def test_a_target_out_of_reach_is_said(scene):
    assert "out of the model's reach" in run("encode", scene, "a.tec", "--bpppc", 0.01).stderr
    assert "reach" not in run("encode", scene, "a.tec", "--bpppc", 3, "--force").stderr


def test_targets_exclude_each_other(scene):
    result = run("encode", scene, "a.tec", "--ratio", 8, "--quality", 3, code=2)
    assert "exclude each other" in result.stderr
    assert "above 0" in run("encode", scene, "a.tec", "--psnr", -3, code=2).stderr


def test_reflectance_with_a_scale():
    pixels = (smooth_scene(40, 40) / 10_000).astype("float32")
    pixels[:, :5] = np.nan
    write_stack("a.tif", pixels, nodata=float("nan"))
    run("encode", "a.tif", "a.tec", "--scale", 10000, "--quality", 95)
    run("decode", "a.tec", "b.tif")
    with rasterio.open("b.tif") as dataset:
        decoded = dataset.read()
    assert decoded.dtype == np.float32
    assert np.array_equal(np.isnan(decoded), np.isnan(pixels))
    assert np.nanmax(np.abs(decoded - pixels)) < 4e-4
    found = json.loads(run("compare", "a.tif", "b.tif", "--scale", 10000, "--json").output)
    assert found["max_error"] < 4
    assert found["valid_share"] == 35 / 40


def test_nodata_can_be_stated(scene):
    write_stack("b.tif", smooth_scene(30, 30), nodata=None)
    run("encode", "b.tif", "b.tec", "--nodata", 7)
    found = json.loads(run("info", "b.tec", "--json").output)
    assert found["nodata"] == 7
    assert found["settings"]["nodata"] == 7


def test_force_replaces(scene):
    run("encode", scene, "a.tec", "--quality", 10)
    first = scene.parent.joinpath("a.tec").read_bytes()
    run("encode", scene, "a.tec", "--quality", 90, "--force")
    assert scene.parent.joinpath("a.tec").read_bytes() != first


def test_a_bare_codestream_is_decoded(tmp_path):
    from eocodec.options import EncodeOptions
    from interop_support import standin_encode

    pixels = smooth_scene(30, 40)
    (tmp_path / "tile.bin").write_bytes(standin_encode(pixels, EncodeOptions(quality=100)))
    run("decode", "tile.bin", "tile.tif")
    with rasterio.open("tile.tif") as dataset:
        assert np.array_equal(dataset.read(), pixels)


def test_compare_prints_a_table(scene):
    run("encode", scene, "a.tec", "--quality", 60)
    output = run("compare", scene, "a.tec").output
    assert "PSNR" in output
    assert [line[:3] for line in output.splitlines()[-12:]] == list(S2_BAND_NAMES)


def test_compare_counts_lost_nodata(scene):
    write_stack("b.tif", smooth_scene(100, 150), nodata=0)
    found = json.loads(run("compare", "a.tif", "b.tif", "--json").output)
    assert found["nodata_differs"] == 12 * 20 * 50
    assert found["mse"] == 0


def test_compare_by_blocks_is_compare(scene, monkeypatch):
    run("encode", scene, "a.tec", "--quality", 60)
    whole = json.loads(run("compare", scene, "a.tec", "--json").output)
    monkeypatch.setattr("eocodec.interop.compare.BLOCK", 50)
    parts = json.loads(run("compare", scene, "a.tec", "--json").output)
    for key in ("mse", "psnr", "sam", "max_error", "valid_share"):
        assert parts[key] == pytest.approx(whole[key], rel=1e-6), key
    assert parts["ssim"] == pytest.approx(whole["ssim"], abs=0.01)
    for one, other in zip(parts["bands"], whole["bands"], strict=True):
        assert one["psnr"] == pytest.approx(other["psnr"])
        assert one["n_valid"] == other["n_valid"]
