"""Stacks and cubes that lack bands: encoded with what is there, decoded to it, the rest next to free."""

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.errors import RasterError
from eocodec.interop.rio import open_scene
from eocodec.interop.store import write_store
from eocodec.interop.views import fill_absent, pick_bands
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import smooth_scene, write_stack

TEN = ("B08", "B04", "B03", "B02", "B05", "B06", "B07", "B8A", "B11", "B12")  # in an order of their own
PLACES = [S2_BAND_NAMES.index(band) for band in TEN]


def read_all(source):
    _, rows, cols = source.info.shape
    return source.read(slice(0, rows), slice(0, cols))


def run(*arguments):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def ten(tmp_path):
    """Path of a stack of ten bands, and what all twelve are."""
    pixels = smooth_scene(96, 80)
    pixels[:, :7] = 0
    units = {"nodata": 0}
    path = write_stack(tmp_path / "ten.tif", pixels[PLACES], TEN, **units)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(2, WAVELENGTH="665")
        dataset.scales = [0.0001] * len(TEN)
    return path, pixels


def test_absent_bands_are_nodata(ten):
    path, pixels = ten
    source = open_scene([path])
    info = source.info
    assert info.shape == (12, 96, 80)
    assert info.bands == S2_BAND_NAMES
    assert info.absent == ("B01", "B09")
    assert info.descriptions[0] is None
    assert info.band_tags[S2_BAND_NAMES.index("B04")] == {"WAVELENGTH": "665"}
    assert info.scales[0] == 1
    assert sorted(info.order) == list(range(12))
    assert "has no B01 B09" in info.notes[0]
    found = read_all(source)
    assert np.array_equal(found[PLACES], pixels[PLACES])
    assert not found[[0, 9]].any()
    assert info.raw_bytes == 10 * 96 * 80 * 2


def test_picking_the_bands_that_are_there_undoes_it(ten):
    source = open_scene([ten[0]])
    again = pick_bands(source, source.info.present)
    assert again.info.absent == ()
    assert [again.info.bands[again.info.order.index(k)] for k in range(10)] == list(TEN)
    assert fill_absent(again).info == source.info


@pytest.mark.usefixtures("standin")
def test_they_are_not_written_back(ten, tmp_path):
    path, _ = ten
    run("encode", path, tmp_path / "a.tec", "--quality", 100)
    assert json.loads(run("info", tmp_path / "a.tec", "--json").output)["absent"] == ["B01", "B09"]
    run("decode", tmp_path / "a.tec", tmp_path / "back.tif")
    with rasterio.open(tmp_path / "back.tif") as back, rasterio.open(path) as first:
        assert back.descriptions == TEN
        assert np.array_equal(back.read(), first.read())
        assert back.scales == first.scales
        assert back.tags(2)["WAVELENGTH"] == "665"
    run("decode", tmp_path / "a.tec", tmp_path / "bands")
    names = sorted(file.name for file in (tmp_path / "bands").iterdir())
    assert names == sorted(f"{band}.tif" for band in TEN)


def test_they_cost_next_to_nothing(tiny_model, tmp_path):
    import torch

    torch.set_num_threads(1)
    noise = np.random.default_rng(1).normal(0, 100, (12, 96, 80))  # each band's own
    pixels = (smooth_scene(96, 80) + noise).astype(np.uint16)
    sizes = []
    for count in (12, 10, 2):
        kept = S2_BAND_NAMES[:count]
        source = open_scene([write_stack(tmp_path / f"{count}.tif", pixels[:count], kept, nodata=0)])
        options = EncodeOptions(tiny_model, 90, nodata=0)
        sizes.append(write_store(tmp_path / f"{count}.tec", source, options).codestream_bytes)
    assert sizes == pytest.approx([sizes[0], sizes[0] * 10 / 12, sizes[0] * 2 / 12], rel=0.1)


def test_without_a_nodata_value_there_is_nothing_to_stand_for_them(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(20, 20, 2), ["B02", "B03"])
    with pytest.raises(RasterError, match="--nodata 0"):
        open_scene([path])
    assert open_scene([path], nodata=0).info.absent[0] == "B01"


def test_a_cube_of_some_bands(tmp_path):
    xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
    pixels = smooth_scene(30, 40)
    planes = {band: (("y", "x"), pixels[k]) for band, k in zip(TEN, PLACES, strict=True)}
    xr.Dataset(planes).to_zarr(tmp_path / "cube.zarr")
    source = open_scene([tmp_path / "cube.zarr"], nodata=0)
    assert source.info.absent == ("B01", "B09")
    assert np.array_equal(read_all(source)[PLACES], pixels[PLACES])
