"""`eocodec inpaint`: series in, dates without clouds out, georeferenced; bad input is one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.filling import inpaint
from eocodec.interop.cloud_masks import grow
from eocodec.sensors import S2_BAND_NAMES
from filling_support import clouds_on, disc, seasons
from interop_support import CRS, write_stack

DATES = ("2023-01-05", "2023-03-11", "2023-05-20", "2023-08-02")
NAMES = [f"scene_{date.replace('-', '')}.tif" for date in DATES]
SIZE = (72, 60)


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def series():
    """Four files, and a mask that hides a part of the second and the third."""
    series = seasons(*SIZE, seed=2, dtype="uint16")
    for name, pixels in zip(NAMES, series, strict=True):
        write_stack(name, pixels, nodata=0)
    clouds = clouds_on(series, 1, disc(*SIZE, (30, 30), 16))
    clouds[2] = disc(*SIZE, (50, 20), 12)
    write_stack("clouds.tif", clouds.astype("uint8"), None)
    return series, clouds


def run(*arguments):
    result = CliRunner().invoke(cli, ["inpaint", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def read(path):
    with rasterio.open(path) as source:
        return source.read()


def test_files_in_a_folder_of_files_out(series):
    pixels, clouds = series
    result = run(*NAMES, "out", "--mask", "clouds.tif")
    expected = inpaint(pixels, clouds, dates=DATES, nodata=0)
    assert sorted(path.name for path in Path("out").iterdir()) == NAMES
    for name, image in zip(NAMES, expected, strict=True):
        np.testing.assert_array_equal(read(Path("out") / name), image)
    assert "scene_20230311: 18" in result.stdout
    with rasterio.open(f"out/{NAMES[1]}") as filled, rasterio.open(NAMES[1]) as source:
        assert (filled.crs, filled.transform, filled.nodata) == (source.crs, source.transform, 0)
        assert filled.crs == rasterio.crs.CRS.from_string(CRS)
        assert filled.descriptions == S2_BAND_NAMES


@pytest.mark.parametrize("time", ["2", "2023-05"])
def test_one_date(series, time):
    pixels, clouds = series
    found = json.loads(run(*NAMES, "a.tif", "--mask", "clouds.tif", "--time", time, "--json").stdout)
    np.testing.assert_array_equal(read("a.tif"), inpaint(pixels, clouds, dates=DATES, timestep=2, nodata=0))
    assert found["dates"][0]["name"] == "scene_20230520"
    assert found["dates"][0]["clouded"] == pytest.approx(clouds[2].mean())
    assert found["dates"][0]["references"]


def test_a_mask_for_each_date_by_class_and_grown(series):
    pixels, clouds = series
    masks = []
    for k, plane in enumerate(clouds):
        write_stack(f"scl_{k}.tif", np.where(plane, 9, 4).astype("uint8")[None], None)
        masks += ["--mask", f"scl_{k}.tif"]
    run(*NAMES, "a.tif", *masks, "--classes", "cloud_high,cirrus", "--time", "1", "--grow", "2")
    expected = inpaint(pixels, grow(clouds, 2), dates=DATES, timestep=1, nodata=0)
    np.testing.assert_array_equal(read("a.tif"), expected)


def test_the_scene_classification_of_the_inputs(series):
    pixels, clouds = series
    for name, image, plane in zip(NAMES, pixels, clouds, strict=True):
        stack = np.concatenate([image, np.where(plane, 8, 4).astype("uint16")[None]])
        write_stack(name, stack, [*S2_BAND_NAMES, "SCL"], nodata=0)
    run(*NAMES, "a.tif", "--mask", "scl", "--time", "1")
    expected = inpaint(pixels, clouds, dates=DATES, timestep=1, nodata=0)
    np.testing.assert_array_equal(read("a.tif"), expected)


def test_brightness_warns(series):
    pixels, clouds = series
    for name, image, plane in zip(NAMES, pixels, clouds, strict=True):
        write_stack(name, np.where(plane, 9000, image).astype("uint16"), nodata=0)
    result = run(*NAMES, "a.tif", "--mask", "bright:8000", "--time", "1")
    assert result.stderr.startswith("warning: ") and "snow" in result.stderr
    np.testing.assert_array_equal(read("a.tif"), inpaint(pixels, clouds, dates=DATES, timestep=1, nodata=0))


def test_encoded_dates_are_taken_as_they_are_decoded(series):
    pixels, clouds = series
    encoded = []
    for name in NAMES:
        encoded.append(name.replace(".tif", ".tec"))
        arguments = ["encode", name, encoded[-1], "--tile", "32", "--quality", "60"]
        assert CliRunner().invoke(cli, arguments).exit_code == 0
        CliRunner().invoke(cli, ["decode", encoded[-1], f"decoded_{name}"], catch_exceptions=False)
    run(*encoded, "out", "--mask", "clouds.tif")
    decoded = np.stack([read(f"decoded_{name}") for name in NAMES])
    assert (decoded != pixels).any()
    expected = inpaint(decoded, clouds, dates=DATES, nodata=0)
    np.testing.assert_array_equal(np.stack([read(f"out/{name}") for name in NAMES]), expected)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_cube(series, suffix):
    xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
    pytest.importorskip("h5netcdf" if suffix == ".nc" else "zarr")
    pixels, clouds = series
    cube = xr.DataArray(
        pixels,
        dims=("time", "band", "y", "x"),
        coords={"time": np.array(DATES, "datetime64[ns]"), "band": list(S2_BAND_NAMES)},
        name="dn",
    ).to_dataset()
    cube.dn.attrs["nodata"] = 0
    cube.to_netcdf("cube.nc", engine="h5netcdf") if suffix == ".nc" else cube.to_zarr("cube.zarr")
    run(f"cube{suffix}", "out", "--mask", "clouds.tif")
    expected = inpaint(pixels, clouds, dates=DATES, nodata=0)
    names = [f"{k:03d}_{date}.tif" for k, date in enumerate(DATES)]
    assert sorted(path.name for path in Path("out").iterdir()) == names
    np.testing.assert_array_equal(np.stack([read(f"out/{name}") for name in names]), expected)


def test_an_encoded_cube(series):
    xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
    pytest.importorskip("zarr")
    from eocodec.interop.xarray import TecBackend  # registers the accessor

    pixels, clouds = series
    coords = {"time": np.array(DATES, "datetime64[ns]"), "band": list(S2_BAND_NAMES)}
    cube = xr.DataArray(pixels, dims=("time", "band", "y", "x"), coords=coords, name="dn").to_dataset()
    cube.eocodec.to_zarr("cube.tec", quality=60, nodata=0)
    decoded = TecBackend().open_dataset("cube.tec", mask_and_scale=False).dn.values
    assert (decoded != pixels).any()
    run("cube.tec", "a.tif", "--mask", "clouds.tif", "--time", "2023-03")
    expected = inpaint(decoded, clouds, dates=DATES, timestep=1, nodata=0)
    np.testing.assert_array_equal(read("a.tif"), expected)


def refused(*arguments):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = CliRunner().invoke(cli, ["inpaint", *map(str, arguments)])
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    assert result.exit_code == 2 and result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("warning")]
    assert line.startswith("error: ") and "; " in line
    return line


def test_bad_input(series):
    mask = ("--mask", "clouds.tif")
    assert "at least two dates" in refused(NAMES[0], "out", *mask)
    assert "no.tif does not exist" in refused("no.tif", NAMES[0], "out", *mask)
    assert "order of time" in refused(*NAMES[::-1], "out", *mask)
    assert "choose it with --time" in refused(*NAMES, "out.tif", *mask)
    assert "nor does it end in .tif" in refused(*NAMES, "out.png", *mask)
    assert "--time 2024 fits 0" in refused(*NAMES, "out.tif", *mask, "--time", "2024")
    assert "4 masks for 3 dates" in refused(*NAMES[:3], "out", *mask)
    assert "no layer SCL" in refused(*NAMES, "out", "--mask", "scl")
    assert "no class haze" in refused(*NAMES, "out", *mask, "--classes", "haze")
    assert "is no threshold" in refused(*NAMES, "out", "--mask", "bright:much")
    assert "give it once" in refused(*NAMES, "out", "--mask", "scl", *mask)
    Path("out").mkdir()
    assert "out exists already" in refused(*NAMES, "out", *mask)


def test_scenes_of_two_grids(series):
    write_stack("scene_20230901.tif", series[0][0][:, :40], nodata=0)
    assert "differ in shape" in refused(*NAMES, "scene_20230901.tif", "out", "--mask", "clouds.tif")
    write_stack("scene_20230901.tif", series[0][0], nodata=1)
    assert "differ in nodata" in refused(*NAMES, "scene_20230901.tif", "out", "--mask", "clouds.tif")


def test_everything_clouded(series):
    write_stack("clouds.tif", np.ones((4, *SIZE), "uint8"), None)
    assert "nothing to fill from" in refused(*NAMES, "out", "--mask", "clouds.tif")
