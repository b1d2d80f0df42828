"""Writing GeoTIFFs: everything that the source said comes back."""

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine

from eocodec.errors import OutputError
from eocodec.interop import geotiff
from eocodec.interop.geotiff import write_geotiff
from eocodec.interop.rio import open_scene
from eocodec.sensors import S2_BAND_NAMES
from interop_support import TRANSFORM, names_in, smooth_scene, write_stack

RPC_VALUES = RPC(
    height_off=120.0, height_scale=500.0, lat_off=47.1, lat_scale=0.5, line_off=10.0, line_scale=10.0,
    long_off=9.2, long_scale=0.7, samp_off=12.0, samp_scale=12.0,
    line_num_coeff=[0.5 * k for k in range(20)], line_den_coeff=[1.0, *[0.0] * 19],
    samp_num_coeff=[0.25 * k for k in range(20)], samp_den_coeff=[1.0, *[0.0] * 19],
)  # fmt: skip


def copy_of(path, tmp_path, **options):
    source = open_scene([path])
    write_geotiff(tmp_path / "copy.tif", source, **options)
    source.close()
    return rasterio.open(tmp_path / "copy.tif")


def test_all_comes_back_in_the_sources_order(tmp_path):
    pixels = smooth_scene(90, 130, dtype="int16")
    path = write_stack(tmp_path / "a.tif", pixels[::-1], S2_BAND_NAMES[::-1], nodata=-32768)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(PRODUCT="S2A_MSIL2A", NOTE="für später")
        dataset.update_tags(1, STATISTICS_MEAN="17", gain="1.25")
        dataset.scales = [1e-4] * 11 + [2e-4]
        dataset.offsets = [-0.1] * 12
        dataset.set_band_unit(12, "DN")
    with rasterio.open(path) as first, copy_of(path, tmp_path, tile=32) as second:
        assert np.array_equal(first.read(), second.read())
        for name in ("descriptions", "nodata", "dtypes", "crs", "transform", "scales", "offsets", "units"):
            assert getattr(first, name) == getattr(second, name), name
        tags = second.tags()
        assert (tags["PRODUCT"], tags["NOTE"], tags["AREA_OR_POINT"]) == ("S2A_MSIL2A", "für später", "Area")
        assert second.tags(1) == {"gain": "1.25"}  # statistics of other pixels would be false
        assert second.profile["tiled"]
        assert second.profile["compress"] == "zstd"


def test_ground_control_points(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(40, 40), crs=None, transform=None)
    points = [
        GroundControlPoint(row=r, col=c, x=9 + c / 100, y=47 - r / 100, z=3.0, id=str(r + c), info="")
        for r, c in ((0, 0), (0, 39), (39, 0), (39, 39))
    ]
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    with copy_of(path, tmp_path) as copy:
        found, crs = copy.gcps
        assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [
            (p.row, p.col, p.x, p.y, p.z) for p in points
        ]
        assert crs == rasterio.crs.CRS.from_epsg(4326)


def test_rational_polynomials(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(40, 40), crs=None, transform=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.rpcs = RPC_VALUES
    with rasterio.open(path) as first, copy_of(path, tmp_path) as copy:
        assert copy.rpcs.to_gdal() == first.rpcs.to_gdal()
        assert copy.rpcs.line_num_coeff == RPC_VALUES.line_num_coeff


@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (300, 20), (513, 512)])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_any_size_and_no_georeferencing(tmp_path, shape, compression):
    pixels = smooth_scene(*shape)
    path = write_stack(tmp_path / "a.tif", pixels, crs=None, transform=None)
    with copy_of(path, tmp_path, compression=compression) as copy:
        assert np.array_equal(copy.read(), pixels)
        assert copy.crs is None
        assert copy.transform == Affine.identity()


def test_float_and_point_raster(tmp_path):
    pixels = (smooth_scene(64, 64) / 10_000).astype("float32")
    path = write_stack(tmp_path / "a.tif", pixels, nodata=float("nan"), compress="deflate")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT="Point")
    with copy_of(path, tmp_path, compression="deflate") as copy:
        assert np.array_equal(copy.read(), pixels)
        assert copy.tags()["AREA_OR_POINT"] == "Point"
        assert tuple(copy.transform)[:6] == TRANSFORM


def test_progress_counts_tiles(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(100, 200))
    calls = []
    copy_of(path, tmp_path, tile=32, progress=lambda done, total: calls.append((done, total))).close()
    assert calls[-1] == (28, 28)
    assert calls == sorted(calls)


def test_a_block_that_gdal_lost_is_noticed(tmp_path, monkeypatch):
    """GDAL reports a failed flush in its log only; without our own look the file would pass for whole."""
    path = write_stack(tmp_path / "a.tif", smooth_scene(64, 64))
    check = geotiff.is_complete

    def cut_then_check(partial):
        with rasterio.open(partial) as dataset:
            offsets = [
                int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=band)) for band in dataset.indexes
            ]
        with partial.open("rb+") as stream:
            stream.truncate(max(offsets) + 10)
        return check(partial)

    monkeypatch.setattr(geotiff, "is_complete", cut_then_check)
    with pytest.raises(OutputError, match=r"copy\.tif: a block is missing"):
        copy_of(path, tmp_path)
    assert names_in(tmp_path) == ["a.tif"]
