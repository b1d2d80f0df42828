"""Georeferencing as attributes: what is stated, in which order, and the EPSG code in a WKT."""

import pytest
from rasterio.crs import CRS

from eocodec.interop.geozarr import epsg_code, geotransform, geozarr_attributes, parse_geotransform
from interop_support import TRANSFORM


@pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT2_2019"])
@pytest.mark.parametrize("code", [32633, 4326, 3035])
def test_the_code_of_the_whole_system(code, version):
    wkt = CRS.from_epsg(code).to_wkt(version=version)
    assert epsg_code(wkt) == code
    attributes = geozarr_attributes(wkt, None)
    assert attributes["proj:code"] == f"EPSG:{code}"
    assert "proj:wkt2" not in attributes
    assert [convention["name"] for convention in attributes["zarr_conventions"]] == ["proj:"]


def test_a_system_without_a_code_is_given_in_full():
    wkt = CRS.from_proj4("+proj=laea +lat_0=51 +lon_0=9 +datum=WGS84").to_wkt(version="WKT2_2019")
    assert epsg_code(wkt) is None  # those of its parts do not count
    assert geozarr_attributes(wkt, None)["proj:wkt2"] == wkt


def test_the_affine_in_both_orders():
    assert geotransform(TRANSFORM) == "600000.0 10.0 0.0 5300040.0 0.0 -10.0"
    assert parse_geotransform(geotransform(TRANSFORM)) == TRANSFORM
    attributes = geozarr_attributes(None, TRANSFORM, ("lat", "lon"))
    assert attributes["spatial:transform"] == list(TRANSFORM)
    assert attributes["spatial:dimensions"] == ["lat", "lon"]
    assert geozarr_attributes(None, None) == {}


@pytest.mark.parametrize("text", ["1 2 3", "a b c d e f", ""])
def test_other_texts_are_no_affine(text):
    with pytest.raises(ValueError):
        parse_geotransform(text)
