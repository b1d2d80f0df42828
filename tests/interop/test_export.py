"""Decoding to what other programs take: cloud-optimized GeoTIFF, plain Zarr, files of one grid."""

import json
import logging

import numpy as np
import pytest
import rasterio
import zarr
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.interop.rio import open_scene
from eocodec.sensors import S2_BAND_NAMES, S2_L2A
from interop_support import names_in, smooth_scene, write_band_folder, write_stack
from safe_support import SIDE, STAMP, ULX, ULY, make_product


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def product(tmp_path):
    root, pixels = make_product(tmp_path)
    run("encode", root, "a.tec", "--quality", 100)
    return pixels


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.mark.parametrize("compression", ["zstd", "deflate", "none"])
def test_a_valid_cog(tmp_path, compression, caplog):
    cogeo = pytest.importorskip("rio_cogeo", reason="rio-cogeo is not installed")
    pixels = smooth_scene(600, 550)
    write_stack("in.tif", pixels, nodata=0)
    run("encode", "in.tif", "a.tec", "--quality", 100)
    with caplog.at_level(logging.ERROR):
        run("decode", "a.tec", "cog.tif", "--cog", "--compress", compression)
    valid, errors, warnings = cogeo.cog_validate("cog.tif", strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open("in.tif") as first, rasterio.open("cog.tif") as second:
        for name in ("shape", "dtypes", "crs", "transform", "descriptions", "nodata"):
            assert getattr(first, name) == getattr(second, name), name
        assert second.overviews(1) == [2]
    assert np.array_equal(read("cog.tif"), pixels)
    assert names_in(tmp_path) == ["a.tec", "cog.tif", "in.tif"]


def test_cog_needs_a_tif(product):
    assert "--cog makes a GeoTIFF" in run("decode", "a.tec", "folder", "--cog", code=2).stderr


def test_a_geotiff_has_the_bands_that_are_there_and_says_what_it_lacks(tmp_path):
    root, pixels = make_product(tmp_path)
    run("encode", root, "a.tec", "--quality", 100, "--bands", "B03,B8A,B12")
    said = run("decode", "a.tec", "a.tif").stderr
    assert "AOT WVP SCL MSK_CLDPRB stay in the encoded file" in said
    assert "B8A B12 are interpolated" in said
    with rasterio.open("a.tif") as dataset:
        assert dataset.descriptions == ("B03", "B8A", "B12")
        assert dataset.shape == (SIDE, SIDE)
        assert dataset.tags()["PROCESSING_BASELINE"] == "05.09"
        assert dataset.offsets == (-0.1,) * 3
        assert np.array_equal(dataset.read(1), pixels["B03", 10][0])


def test_everything_on_the_finest_grid(product):
    run("decode", "a.tec", "fine", "--grid", "finest")
    for band in S2_L2A:
        with rasterio.open(f"fine/{STAMP}_{band.name}_10m.tif") as dataset:
            assert dataset.shape == (SIDE, SIDE)
            assert dataset.res == (10, 10)
            assert dataset.tags()["EOCODEC_GRID"].startswith("native" if band.pixel_size == 10 else "finest")
    run("decode", "a.tec", "native")
    with rasterio.open(f"native/{STAMP}_B09_60m.tif") as dataset:
        assert dataset.tags()["EOCODEC_GRID"] == "native, means of 6 x 6 decoded pixels"


@pytest.mark.parametrize("grid", ["native", "finest"])
def test_a_plain_store(product, grid):
    run("decode", "a.tec", "plain.zarr", "--grid", grid)
    group = zarr.open_group("plain.zarr", mode="r", use_consolidated=True)
    assert np.array_equal(group["10m/B02"][:], product["B02", 10][0])
    assert np.array_equal(group["20m/SCL"][:], product["SCL", 20][0])
    size = 60 if grid == "native" else 10
    b09 = group[f"{size}m/B09"]
    assert b09.shape == (SIDE * 10 // size,) * 2
    assert b09.attrs["_FillValue"] == 0
    transform = group[f"{size}m/spatial_ref"].attrs["GeoTransform"].split()
    assert [float(value) for value in transform] == [ULX, size, 0, ULY, 0, -size]
    names = {codec["name"] for codec in b09.metadata.to_dict()["codecs"]}
    assert names == {"bytes", "blosc", "crc32c"}  # nothing of ours: any reader opens it


def test_a_stack_becomes_files_named_by_their_bands(tmp_path):
    pixels = smooth_scene(40, 50)
    write_stack("in.tif", pixels, nodata=0)
    run("encode", "in.tif", "a.tec", "--quality", 100)
    run("decode", "a.tec", "out")
    assert names_in("out") == [f"{band}.tif" for band in sorted(S2_BAND_NAMES)]
    assert np.array_equal(read("out/B8A.tif")[0], pixels[8])


def test_band_files_come_back_as_they_were(tmp_path):
    planes = write_band_folder("bands", nodata=0)
    run("encode", "bands", "a.tec", "--quality", 100, "--tile", 64)
    run("decode", "a.tec", "out")
    assert names_in("out") == names_in("bands")
    for band, plane in planes.items():
        (name,) = (name for name in names_in("out") if f"_{band}_" in name)
        difference = np.abs(read(f"out/{name}")[0].astype(int) - plane)
        assert difference.max() <= 1, band


def test_a_thirteenth_band_travels_beside(tmp_path):
    pixels = smooth_scene(40, 50, 13)
    write_stack("in.tif", pixels, [*S2_BAND_NAMES[:10], "B10", *S2_BAND_NAMES[10:]], nodata=0)
    run("encode", "in.tif", "a.tec", "--quality", 30)
    run("decode", "a.tec", "out")
    assert np.array_equal(read("out/B10.tif")[0], pixels[10])
    run("decode", "a.tec", "a.tif")
    with rasterio.open("a.tif") as dataset:
        assert dataset.descriptions == S2_BAND_NAMES
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "numcodecs", None)
        assert "pip install numcodecs" in run("encode", "in.tif", "b.tec", code=2).stderr
        run("encode", "in.tif", "b.tec", "--layers", "none")


def test_json_and_gdal_options(product, tmp_path):
    (root,) = tmp_path.glob("*.SAFE")
    found = json.loads(run("encode", root, "b.tec", "--json", "--gdal", "GDAL_NUM_THREADS=1").output)
    assert found["output"] == "b.tec"
    assert found["total_bytes"] == (tmp_path / "b.tec").stat().st_size
    assert found["layers"] == ["AOT", "WVP", "SCL", "MSK_CLDPRB"]
    assert json.loads(run("decode", "b.tec", "b.tif", "--json").stdout)["total_bytes"] > 0
    assert "is not KEY=VALUE" in run("encode", root, "c.tec", "--gdal", "GDAL", code=2).stderr
    assert "four numbers" in run("encode", root, "c.tec", "--bbox", "1,2,3", code=2).stderr


def test_gdal_options_hold_for_the_run_only(monkeypatch):
    import os

    from eocodec.interop.gdal import gdal_options, gdal_session

    monkeypatch.setenv("EOCODEC_TEST_KEPT", "before")
    monkeypatch.delenv("EOCODEC_TEST_NEW", raising=False)
    with gdal_options({"EOCODEC_TEST_KEPT": "1", "EOCODEC_TEST_NEW": "2", "GDAL_NUM_THREADS": "1"}):
        assert os.environ["EOCODEC_TEST_NEW"] == "2"
        with gdal_session() as session:
            assert session.options["GDAL_NUM_THREADS"] == "1"
    assert os.environ["EOCODEC_TEST_KEPT"] == "before"
    assert "EOCODEC_TEST_NEW" not in os.environ


def test_a_failed_write_leaves_nothing(product, tmp_path):
    before = names_in(tmp_path)
    (tmp_path / "there").mkdir()
    assert "there exists already" in run("decode", "a.tec", "there", code=2).stderr
    run("decode", "a.tec", "there", "--force")
    assert names_in(tmp_path) == sorted([*before, "there"])


@pytest.mark.parametrize("bbox", [(), ("--bbox", f"{ULX + 600},{ULY - 1800},{ULX + 1800},{ULY - 600}")])
def test_a_decoded_folder_is_a_product_again(product, tmp_path, bbox):
    (root,) = tmp_path.glob("*.SAFE")
    run("encode", root, "b.tec", "--quality", 100, *bbox)
    run("decode", "b.tec", "there")
    info, first = open_scene(["there"]).info, open_scene([root]).info
    assert info.product == first.product
    assert info.crs_wkt == first.crs_wkt
    assert info.factors == first.factors
    assert info.shape == ((12, 120, 120) if bbox else first.shape)
    run("encode", "there", "c.tec", "--quality", 100)
    run("decode", "c.tec", "again")
    for name in names_in("there"):
        if name.endswith(".tif"):
            assert np.abs(read(f"there/{name}").astype(int) - read(f"again/{name}")).max() <= 1, name
