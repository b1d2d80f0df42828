"""STAC items with local assets."""

import json

import numpy as np
import pytest

from eocodec.errors import BandError, InputError, RasterError
from eocodec.interop.rio import ReadOptions, open_scene
from eocodec.interop.stac import COMMON_NAMES, Asset
from eocodec.sensors import S2_BAND_NAMES, S2_L2A
from interop_support import smooth_scene, write_band, write_band_folder

KEYS = {band: key for key, band in reversed(COMMON_NAMES.items())}


def read_all(source):
    _, rows, cols = source.info.shape
    return source.read(slice(0, rows), slice(0, cols))


@pytest.fixture
def planes(tmp_path):
    found = write_band_folder(tmp_path / "files")
    write_band(tmp_path / "files" / "SCL.tif", smooth_scene(60, 90, 1, dtype="uint8")[0], 20)
    write_band(tmp_path / "files" / "B10.tif", smooth_scene(20, 30, 1)[0], 60)
    write_band(tmp_path / "files" / "visual.tif", smooth_scene(120, 180, 1)[0], 10)
    return found


def file_of(band):
    size = next(b.pixel_size for b in S2_L2A if b.name == band)
    return f"files/T33UXP_20200701T100031_{band}_{size}m.tif"


def item(name="S2A_X", **details):
    """An item as Earth Search has them: common names as keys, a description of each band."""
    assets = {}
    for band in S2_BAND_NAMES:
        raster = {"nodata": 0, "scale": 0.0001, "offset": -0.1}
        assets[KEYS[band]] = {
            "href": file_of(band),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data", "reflectance"],
            "raster:bands": [raster],
        }
    assets["scl"] = {"href": "./files/SCL.tif", "type": "image/tiff", "roles": ["data"]}
    assets["cirrus"] = {"href": "./files/B10.tif", "type": "image/tiff", "roles": ["data"]}
    assets["visual"] = {"href": "./files/visual.tif", "type": "image/tiff", "roles": ["visual"]}
    assets["granule_metadata"] = {"href": "metadata.xml", "type": "application/xml", "roles": ["metadata"]}
    properties = {
        "datetime": "2023-06-10T11:21:19Z",
        "platform": "sentinel-2b",
        "s2:processing_baseline": "05.09",
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-l2a",
        "properties": {**properties, **details},
        "assets": assets,
    }


def write(tmp_path, content):
    path = tmp_path / "item.json"
    path.write_text(json.dumps(content))
    return path


def test_an_item(tmp_path, planes):
    source = open_scene([write(tmp_path, item())])
    info = source.info
    assert info.shape == (12, 120, 180)
    assert info.nodata == 0
    assert info.factors == tuple(band.pixel_size // 10 for band in S2_L2A)
    assert info.product["offset"] == -1000
    assert info.product["name"] == "S2A_X"
    assert info.tags["DATETIME"] == "2023-06-10T11:21:19Z"
    assert {layer.info.name for layer in source.layers} == {"SCL", "B10"}
    assert set(info.left_out) == {"visual", "granule_metadata"}
    expected = open_scene([tmp_path / "files"], nodata=0)
    assert np.array_equal(read_all(source), read_all(expected))
    assert np.array_equal(read_all(source)[1], planes["B02"])


@pytest.mark.parametrize(
    ("details", "drop", "offset"),
    [
        ({"earthsearch:boa_offset_applied": True}, False, 0),
        ({}, True, -1000),
        ({"s2:processing_baseline": "03.01"}, True, 0),
        ({"s2:processing_baseline": "unknown"}, True, 0),
    ],
)
def test_where_the_offset_comes_from(tmp_path, planes, details, drop, offset):
    content = item(**details)
    if drop:
        for asset in content["assets"].values():
            asset.pop("raster:bands", None)
    assert open_scene([write(tmp_path, content)], nodata=0).info.product["offset"] == offset


def test_keys_with_resolutions_take_the_finest(tmp_path, planes):
    content = item()
    assets = {
        f"{band}_{b.pixel_size}m": content["assets"][KEYS[band]]
        for b, band in zip(S2_L2A, S2_BAND_NAMES, strict=True)
    }
    write_band(tmp_path / "files" / "coarse.tif", smooth_scene(20, 30, 1)[0], 60)
    assets = {"B02_60m": {"href": "files/coarse.tif", "type": "image/tiff"}, **assets}
    source = open_scene([write(tmp_path, {**content, "assets": assets})])
    assert np.array_equal(read_all(source)[1], planes["B02"])
    assert source.info.left_out == ("B02_60m",)


def test_a_collection_needs_a_choice(tmp_path, planes):
    path = write(tmp_path, {"type": "FeatureCollection", "features": [item("one"), item("two")]})
    with pytest.raises(InputError, match="has 2 items; choose one with --item, such as --item one"):
        open_scene([path])
    with pytest.raises(InputError, match="no item three"):
        open_scene([path], read=ReadOptions(item="three"))
    assert open_scene([path], read=ReadOptions(item="two")).info.product["name"] == "two"


def test_some_bands_and_missing_ones(tmp_path, planes):
    content = item()
    del content["assets"]["swir16"]
    path = write(tmp_path, content)
    with pytest.raises(BandError, match=r"no file for B11; .*--bands B01,B02"):
        open_scene([path])
    info = open_scene([path], bands=["B02", "B12"]).info
    assert [info.bands[k] for k in info.present] == ["B02", "B12"]
    assert "red" in info.left_out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "is no JSON"),
        ("{}", "is no STAC item"),
        ('{"features": [{}]}', "is no STAC item"),
        ("3", "no STAC"),
    ],
)
def test_what_is_no_item(tmp_path, content, words):
    (tmp_path / "item.json").write_text(content)
    with pytest.raises(RasterError, match=words):
        open_scene([tmp_path / "item.json"])
    with pytest.raises(RasterError, match="does not exist"):
        open_scene([tmp_path / "other.json"])


@pytest.mark.parametrize(
    ("key", "place", "details", "band"),
    [
        ("B8A_20m", "x.jp2", {}, "B8A"),
        ("nir08", "x.tif", {}, "B8A"),
        ("blue-jp2", "x.jp2", {}, "B02"),
        ("a", "x.tif", {"eo:bands": [{"name": "B05", "common_name": "rededge"}]}, "B05"),
        ("a", "x.tif", {"bands": [{"name": "swir", "eo:common_name": "swir22"}]}, "B12"),
        ("a", "T33_B07_20m.tif", {}, "B07"),
        ("visual", "x.tif", {"eo:bands": [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]}, None),
        ("a", "x.tif", {"eo:bands": [{"common_name": "rededge"}]}, None),
    ],
)
def test_bands_of_assets(key, place, details, band):
    assert Asset(key, place, details).band == band


@pytest.mark.parametrize(
    ("href", "place"),
    [
        ("https://example.com/B02.tif", "https://example.com/B02.tif"),
        ("s3://bucket/B02.tif", "s3://bucket/B02.tif"),
        ("file:///data/B02.tif", "/data/B02.tif"),
        ("../B02.tif", "folder/../B02.tif"),
    ],
)
def test_places_of_assets(href, place):
    from pathlib import Path

    from eocodec.interop.stac import item_assets

    (asset,) = item_assets({"assets": {"B02": {"href": href}}}, Path("folder/item.json"))
    assert asset.place == place
