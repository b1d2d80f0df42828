"""What texts on the command line stand for."""

import json

import numpy as np
import pytest

from eocodec.bench.range_server import serve
from eocodec.errors import InputError, RasterError
from eocodec.interop.gdal import gdal_options
from eocodec.interop.rio import WHOLE, open_scene
from eocodec.interop.scale.sources import find_sources
from eocodec.interop.stac import read_items
from eocodec.sensors import S2_BAND_NAMES, S2_L2A
from interop_support import smooth_scene, write_band_folder, write_stack


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*texts):
    return [source.name for source in find_sources(texts)]


def item(name, folder="files"):
    """An item whose assets are those of `write_band_folder`."""
    assets = {
        band.name: {"href": f"{folder}/T33UXP_20200701T100031_{band.name}_{band.pixel_size}m.tif"}
        for band in S2_L2A
    }
    return {"type": "Feature", "id": name, "properties": {}, "assets": assets}


def test_paths_patterns_and_lists(inside):
    for name in ("b", "a", "c"):
        (inside / name).mkdir()
        write_stack(inside / name / f"{name}.tif", smooth_scene(20, 20))
    assert names("a/a.tif", "b/b.tif") == ["a", "b"]
    assert names("*/?.tif") == names("**/*.tif") == ["a", "b", "c"]
    assert names("[bc]/*.tif", "a/a.tif", str(inside / "b" / "b.tif")) == ["b", "c", "a"]
    (inside / "list.txt").write_text("# mine\n\n  c/c.tif\n[ab]/*.tif\n")
    assert names("list.txt") == ["c", "a", "b"]
    (found,) = find_sources(["a/a.tif"])
    assert found.id == found.path == str(inside / "a" / "a.tif")


def test_what_a_scene_is_called():
    assert names("x/S2B_MSIL2A_2023.SAFE", "y.zip", "z.v2.tif") == ["S2B_MSIL2A_2023", "y", "z.v2"]
    assert names("S2A_X.SAFE/MTD_MSIL2A.xml", "folder.of.bands") == ["S2A_X", "folder.of.bands"]
    assert names("https://a.example.com/one/my scene.tif?token=1") == ["my_scene"]


def test_two_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"x/a\.tif and .*y/a\.zip would both be called a; rename one"):
        find_sources(["x/a.tif", "y/a.zip"])


@pytest.mark.parametrize(
    ("text", "words"),
    [("*.tif", "nothing matches"), ("no.txt", "cannot be read"), ("empty.txt", "is empty")],
)
def test_nothing_there(inside, text, words):
    (inside / "empty.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match=words):
        find_sources([text])


def test_a_path_that_is_not_there_is_left_to_whoever_opens_it():
    (source,) = find_sources(["no.tif"])
    with pytest.raises(RasterError, match="does not exist"):
        source.open(bands=None, nodata=None, read=WHOLE)


def read_all(source):
    _, rows, cols = source.info.shape
    return source.read(slice(0, rows), slice(0, cols))


def test_a_collection_gives_its_items(inside):
    planes = write_band_folder(inside / "files")
    content = {"type": "FeatureCollection", "features": [item("one"), item("S2/two")]}
    (inside / "found.json").write_text(json.dumps(content))
    one, two = find_sources(["found.json"])
    assert (one.name, two.name) == ("one", "S2_two")
    assert two.id == f"{inside / 'found.json'}#S2/two"
    scene = two.open(bands=["B02", "B03"], nodata=0, read=WHOLE)
    assert scene.info.product["name"] == "S2/two"
    assert scene.info.absent[0] == "B01"
    assert np.array_equal(read_all(scene)[1], planes["B02"])


def test_a_collection_behind_an_address_with_pages(inside):
    planes = write_band_folder(inside / "files")
    pages = [
        {"features": [item("one")], "links": [{"rel": "next", "href": "2.json"}]},
        {"features": [item("two")], "links": [{"rel": "self", "href": "2.json"}]},
    ]
    for number, page in enumerate(pages, 1):
        (inside / f"{number}.json").write_text(json.dumps(page))
    # Without, GDAL lists folders while it holds Python's lock, which the server here needs to answer.
    with serve(inside) as traffic, gdal_options({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}):
        found = find_sources([f"{traffic.address}/1.json"])
        assert [source.part for source in found] == ["one", "two"]
        scene = found[1].open(bands=None, nodata=0, read=WHOLE)
        assert np.array_equal(read_all(scene)[1], planes["B02"])
        scene.close()
        assert open_scene([f"{traffic.address}/2.json"], nodata=0).info.bands == S2_BAND_NAMES
        with pytest.raises(RasterError, match=r"3\.json does not exist"):
            read_items(f"{traffic.address}/3.json")


def test_pages_that_take_another_way_are_named(inside):
    link = {"rel": "next", "href": "2.json", "method": "POST"}
    (inside / "1.json").write_text(json.dumps({"features": [item("one")], "links": [link]}))
    with serve(inside) as traffic, pytest.raises(RasterError, match="save what the search finds"):
        read_items(f"{traffic.address}/1.json")
    assert len(read_items(inside / "1.json")) == 1  # a file that was saved is what it is


def test_what_cannot_be_looked_into_is_one_source(inside):
    (inside / "a.json").write_text("[")
    (inside / "b.nc").write_text("no cube")
    assert names("a.json", "b.nc") == ["a", "b"]


def test_a_cube_gives_its_timesteps(inside):
    xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
    pixels = np.stack([smooth_scene(20, 30, seed=k) for k in range(3)])
    dates = np.array(["2023-06-10", "2023-06-15", "2023-06-15T11:21:19"], "datetime64[ns]")
    array = xr.DataArray(
        pixels, dims=("time", "band", "y", "x"), coords={"time": dates, "band": list(S2_BAND_NAMES)}
    )
    array.to_dataset(name="dn").to_zarr(inside / "cube.zarr", zarr_format=2)
    found = find_sources(["cube.zarr"])
    assert [s.name for s in found] == ["cube_20230610", "cube_20230615", "cube_20230615T112119"]
    for k, source in enumerate(found):
        assert np.array_equal(read_all(source.open(bands=None, nodata=None, read=WHOLE)), pixels[k])
    array.isel(time=[0]).to_dataset(name="dn").to_zarr(inside / "single.zarr", zarr_format=2)
    assert names("single.zarr") == ["single"]
    array.drop_vars("time").to_dataset(name="dn").to_zarr(inside / "plain.zarr", zarr_format=2)
    found = find_sources(["plain.zarr"])
    assert [s.name for s in found] == ["plain_0", "plain_1", "plain_2"]
    assert np.array_equal(read_all(found[2].open(bands=None, nodata=None, read=WHOLE)), pixels[2])
