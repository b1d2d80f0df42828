"""Reading stacks and band files."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from eocodec.errors import BandError, RasterError, UnitsError
from eocodec.interop.rio import check_units, open_scene
from eocodec.sensors import S2_BAND_NAMES
from interop_support import CRS, TRANSFORM, smooth_scene, write_band, write_band_folder, write_stack


def read_all(source):
    _, height, width = source.info.shape
    return source.read(slice(0, height), slice(0, width))


def test_a_stack_in_another_order(tmp_path):
    pixels = smooth_scene(40, 50)
    path = write_stack(tmp_path / "a.tif", pixels[::-1], S2_BAND_NAMES[::-1], nodata=0)
    source = open_scene([path])
    info = source.info
    assert np.array_equal(read_all(source), pixels)
    assert np.array_equal(source.read(slice(3, 9), slice(20, 50)), pixels[:, 3:9, 20:50])
    assert info.bands == info.descriptions == S2_BAND_NAMES
    assert info.order == tuple(range(11, -1, -1))
    assert (info.shape, info.dtype.name, info.nodata) == ((12, 40, 50), "uint16", 0)
    assert info.transform == TRANSFORM
    assert rasterio.crs.CRS.from_wkt(info.crs_wkt) == rasterio.crs.CRS.from_string(CRS)
    assert info.notes == ()
    source.close()


def test_a_stack_without_names_says_what_it_assumed(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(20, 20), None, crs=None, transform=None)
    info = open_scene([path]).info
    assert len(info.notes) == 1
    assert info.crs_wkt is None
    assert info.transform is None


def test_bands_can_be_stated(tmp_path):
    pixels = smooth_scene(20, 20)
    path = write_stack(tmp_path / "a.tif", pixels[::-1], [f"layer {k}" for k in range(12)])
    with pytest.raises(BandError, match="--bands"):
        open_scene([path])
    source = open_scene([path], bands=S2_BAND_NAMES[::-1])
    assert np.array_equal(read_all(source), pixels)
    assert source.info.notes == ()


@pytest.mark.parametrize("as_list", [False, True])
def test_band_files_at_three_pixel_sizes(tmp_path, as_list):
    folder = tmp_path / "bands"
    planes = write_band_folder(folder, nodata=0)
    inputs = sorted(folder.iterdir(), reverse=True) if as_list else [folder]
    source = open_scene(inputs)
    pixels = read_all(source)
    assert pixels.shape == source.info.shape == (12, 120, 180)
    assert source.info.transform == TRANSFORM
    assert np.array_equal(pixels[1], planes["B02"])
    for name, factor in (("B05", 2), ("B01", 6)):
        assert source.info.factors[S2_BAND_NAMES.index(name)] == factor
        plane = pixels[S2_BAND_NAMES.index(name)].astype(float)
        means = plane.reshape(120 // factor, factor, 180 // factor, factor).mean((1, 3))
        assert np.abs(means - planes[name]).max() <= 0.5
    assert np.array_equal(source.read(slice(7, 61), slice(100, 101)), pixels[:, 7:61, 100:101])


def test_the_finest_file_of_a_band_is_taken_and_others_ignored(tmp_path):
    folder = tmp_path / "S2A.SAFE"
    images = folder / "GRANULE" / "L2A" / "IMG_DATA"
    images.mkdir(parents=True)
    planes = write_band_folder(images)
    write_band(images / "T33_B02_20m.tif", smooth_scene(60, 90, 1)[0], 20)
    write_band(images / "T33_TCI_10m.tif", smooth_scene(120, 180, 1)[0], 10)
    write_band(images / "T33_B10_60m.tif", smooth_scene(20, 30, 1)[0], 60)
    (folder / "QI_DATA").mkdir()
    write_band(folder / "QI_DATA" / "MSK_B02_10m.tif", smooth_scene(120, 180, 1)[0], 10)
    source = open_scene([folder])
    assert np.array_equal(read_all(source)[1], planes["B02"])


def test_band_files_without_georeferencing(tmp_path):
    write_band_folder(tmp_path / "bands", crs=None, transform=None)
    source = open_scene([tmp_path / "bands"])
    assert source.info.transform is None
    assert read_all(source).shape == (12, 120, 180)


def replace_band(folder, name, pixel_size, shape=(20, 30), dtype="uint16", **profile):
    path = next(folder.glob(f"*_{name}_*"))
    write_band(path, smooth_scene(*shape, 1, dtype=dtype)[0], pixel_size, **profile)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("B09", {"pixel_size": 60, "shape": (21, 30)}, ["extents", "_B09_", "half a pixel"]),
        (
            "B09",
            {"pixel_size": 60, "transform": Affine(60, 0, TRANSFORM[2] + 40, 0, -60, TRANSFORM[5])},
            ["extents"],
        ),
        ("B09", {"pixel_size": 60, "crs": "EPSG:32632"}, ["coordinate reference systems", "reproject"]),
        ("B09", {"pixel_size": 60, "dtype": "int16"}, ["int16", "uint16", "convert"]),
        ("B09", {"pixel_size": 60, "nodata": 7}, ["nodata", "--nodata"]),
    ],
)
def test_band_files_that_disagree(tmp_path, name, arguments, words):
    folder = tmp_path / "bands"
    write_band_folder(folder, nodata=0)
    replace_band(folder, name, **arguments)
    with pytest.raises(RasterError) as caught:
        open_scene([folder])
    assert all(word in str(caught.value) for word in words), caught.value


def test_extents_may_differ_by_less_than_half_a_pixel(tmp_path):
    folder = tmp_path / "bands"
    write_band_folder(folder)
    replace_band(folder, "B09", 60, transform=Affine(60, 0, TRANSFORM[2] + 25, 0, -60, TRANSFORM[5]))
    assert open_scene([folder]).info.shape == (12, 120, 180)


def test_a_stated_nodata_settles_a_disagreement(tmp_path):
    folder = tmp_path / "bands"
    write_band_folder(folder, nodata=0)
    replace_band(folder, "B09", 60, nodata=7)
    assert open_scene([folder], nodata=0).info.nodata == 0


def test_missing_and_double_bands(tmp_path):
    folder = tmp_path / "bands"
    write_band_folder(folder)
    next(folder.glob("*_B11_*")).unlink()
    with pytest.raises(BandError, match="11 found, no file for B11"):
        open_scene([folder])
    write_band_folder(folder)
    write_band(folder / "T33UXP_another_B11_20m.tif", smooth_scene(60, 90, 1)[0], 20)
    with pytest.raises(BandError, match="are both B11"):
        open_scene([folder])


def test_missing_unreadable_and_damaged(tmp_path):
    with pytest.raises(RasterError, match="does not exist"):
        open_scene([tmp_path / "no.tif"])
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(RasterError, match="cannot be read as a raster"):
        open_scene([tmp_path / "text.tif"])
    with pytest.raises(BandError, match="no raster whose name contains a band"):
        open_scene([tmp_path])
    with pytest.raises(RasterError, match="no input"):
        open_scene([])
    path = write_stack(tmp_path / "hurt.tif", smooth_scene(200, 200), compress="deflate")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    source = open_scene([path])
    with pytest.raises(RasterError, match=r"hurt.tif cannot be read at rows.*damaged"):
        read_all(source)


def test_units(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(20, 20, dtype="float32") / 10_000)
    info = open_scene([path]).info
    with pytest.raises(UnitsError, match=r"a\.tif holds float32.*--scale 10000"):
        check_units(info, None)
    check_units(info, 10_000)
    path = write_stack(tmp_path / "c.tif", smooth_scene(20, 20).astype("complex64"))
    with pytest.raises(UnitsError, match="complex64"):
        check_units(open_scene([path]).info, 1.0)


def test_a_nodata_value_that_the_type_cannot_hold_means_none(tmp_path):
    path = write_stack(tmp_path / "a.tif", smooth_scene(20, 20, dtype="int16"), nodata=-32768)
    assert open_scene([path]).info.nodata == -32768
    path = write_stack(tmp_path / "f.tif", smooth_scene(20, 20, dtype="float32"), nodata=float("nan"))
    assert np.isnan(open_scene([path]).info.nodata)
