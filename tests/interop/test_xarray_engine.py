"""The engine `eocodec`: lazily, tile by tile, with the coordinates that users of xarray expect."""

import subprocess
import sys

import numpy as np
import pytest
from rasterio.crs import CRS as Crs

from eocodec.bench.range_server import serve
from eocodec.errors import ChecksumMismatch, CodecError, RasterError
from eocodec.interop.scene import ArraySource, SceneInfo
from eocodec.interop.store import write_store
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import CRS, TRANSFORM, smooth_scene

xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
pytest.importorskip("dask", reason="dask is not installed (extra xarray)")
ROWS, COLS, TILE = 100, 150, 64
WKT = Crs.from_string(CRS).to_wkt()


def pixels_with_a_hole():
    pixels = smooth_scene(ROWS, COLS)
    pixels[:, 10:20, 30:50] = 0
    return pixels


def write(path, **known):
    pixels = pixels_with_a_hole()
    known = {"crs_wkt": WKT, "transform": TRANSFORM, "nodata": 0, **known}
    info = SceneInfo(pixels.shape, pixels.dtype, S2_BAND_NAMES, **known)
    options = EncodeOptions(quality=100, nodata=known["nodata"])
    write_store(path, ArraySource(info, pixels), options, tile=TILE)
    return path


@pytest.fixture(params=["scene.tec", "scene.zarr"])
def scene(request, standin, tmp_path):
    return write(tmp_path / request.param)


def test_coordinates(scene):
    ds = xr.open_dataset(scene, engine="eocodec")
    assert ds.dn.dims == ("band", "y", "x")
    assert list(ds.band.values) == list(S2_BAND_NAMES)
    assert ds.wavelength.sel(band="B8A") == 865
    assert ds.wavelength.attrs["units"] == "nm"
    assert ds.x.values[[0, -1]].tolist() == [600_005.0, 600_005.0 + 10 * (COLS - 1)]
    assert ds.y.values[[0, -1]].tolist() == [5_300_035.0, 5_300_035.0 - 10 * (ROWS - 1)]
    assert ds.x.attrs["standard_name"] == "projection_x_coordinate"
    assert ds.attrs["proj:code"] == CRS
    assert "band_names" not in ds.dn.attrs  # a coordinate now, which follows a selection
    assert ds.dn.sel(band=["B04", "B08"]).wavelength.values.tolist() == [665, 833]


def test_nodata_is_masked_as_everywhere_in_xarray(scene):
    pixels = pixels_with_a_hole()
    masked = xr.open_dataset(scene, engine="eocodec").dn
    assert masked.dtype == np.float32
    assert np.array_equal(np.isnan(masked.values), pixels == 0)
    assert np.array_equal(masked.fillna(0).values, pixels)
    assert masked.encoding["_FillValue"] == 0
    stored = xr.open_dataset(scene, engine="eocodec", mask_and_scale=False).dn
    assert stored.dtype == np.uint16
    assert stored.attrs["_FillValue"] == 0
    assert np.array_equal(stored.values, pixels)


def test_a_window_decodes_only_the_tiles_it_touches(standin, scene):
    ds = xr.open_dataset(scene, engine="eocodec")
    standin.calls.clear()
    window = ds.dn.sel(x=slice(600_700, 600_900), y=slice(5_299_900, 5_299_700))
    assert standin.calls == []
    assert np.array_equal(window.values, pixels_with_a_hole()[:, 14:34, 70:90].astype("f4"), equal_nan=False)
    assert sum(standin.calls) == 1
    standin.calls.clear()
    ds.dn[3, 60:70, 60:70].load()
    assert sum(standin.calls) == 4
    standin.calls.clear()
    ds.dn[:, [1, 2, 99], 5].load()
    assert sum(standin.calls) == 2


def test_dask_chunks_are_tiles(standin, scene):
    ds = xr.open_dataset(scene, engine="eocodec", chunks={})
    assert ds.dn.chunks == ((12,), (64, 36), (64, 64, 22))
    assert ds.dn.encoding["preferred_chunks"] == {"band": 12, "y": TILE, "x": TILE}
    standin.calls.clear()
    means = ds.dn[:, :64, 64:128].mean(("y", "x")).compute()
    assert sum(standin.calls) == 1
    # The hole of nodata lies in another tile.
    assert np.allclose(means, pixels_with_a_hole()[:, :64, 64:128].mean((1, 2)))


def test_rioxarray_finds_system_and_affine(scene):
    pytest.importorskip("rioxarray", reason="rioxarray is not installed (extra xarray)")
    ds = xr.open_dataset(scene, engine="eocodec")
    assert ds.rio.crs == Crs.from_string(CRS)
    assert tuple(ds.dn.rio.transform())[:6] == TRANSFORM
    assert ds.dn.rio.nodata is None or np.isnan(ds.dn.rio.nodata)
    assert ds.dn.rio.encoded_nodata == 0
    window = ds.dn[:, 20:30, 40:50]
    assert tuple(window.rio.transform())[:6] == (10.0, 0.0, 600_400.0, 0.0, -10.0, 5_299_840.0)


@pytest.mark.parametrize(
    ("known", "coordinates"),
    [
        ({"transform": None, "crs_wkt": None}, {"band", "wavelength"}),
        ({"transform": (7.0, 7.0, 0.0, 7.0, -7.0, 0.0)}, {"band", "wavelength", "spatial_ref"}),
        ({"crs_wkt": None}, {"band", "wavelength", "spatial_ref", "x", "y"}),
    ],
)
def test_what_is_not_known_is_not_made_up(standin, tmp_path, known, coordinates):
    ds = xr.open_dataset(write(tmp_path / "a.tec", **known), engine="eocodec")
    assert set(ds.coords) == coordinates


def test_degrees(standin, tmp_path):
    path = write(tmp_path / "a.tec", crs_wkt=Crs.from_epsg(4326).to_wkt(), transform=(0.1, 0, 9, 0, -0.1, 48))
    ds = xr.open_dataset(path, engine="eocodec")
    assert ds.x.attrs["units"] == "degrees_east"
    assert ds.y.attrs["standard_name"] == "latitude"


def test_the_engine_of_a_tec_is_guessed(standin, tmp_path):
    path = write(tmp_path / "a.tec")
    assert np.array_equal(xr.open_dataset(path).dn.fillna(0).values, pixels_with_a_hole())
    assert "eocodec" in xr.backends.list_engines()


def test_without_nodata_nothing_is_masked(standin, tmp_path):
    pixels = smooth_scene(20, 20)
    info = SceneInfo(pixels.shape, pixels.dtype, S2_BAND_NAMES)
    write_store(tmp_path / "a.tec", ArraySource(info, pixels), EncodeOptions(quality=100), tile=TILE)
    ds = xr.open_dataset(tmp_path / "a.tec", engine="eocodec")
    assert ds.dn.dtype == np.uint16
    assert np.array_equal(ds.dn.values, pixels)


@pytest.mark.parametrize("content", ["", "[]", '{"zarr_format": 3, "node_type": "group"}'])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_folders_that_are_no_scene(tmp_path, content):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(content)
    if "group" in content:
        assert len(xr.open_dataset(tmp_path / "a.zarr", engine="eocodec")) == 0
    else:
        with pytest.raises((OSError, ValueError, TypeError, KeyError)):
            xr.open_dataset(tmp_path / "a.zarr", engine="eocodec")
    with pytest.raises(FileNotFoundError):
        xr.open_dataset(tmp_path / "b.zarr", engine="eocodec")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_xarray_alone_opens_a_folder(standin, tmp_path):
    """Without our engine and without a listing, as from a plain web server; no warning that it is slow."""
    write(tmp_path / "a.zarr")
    with serve(tmp_path) as traffic:
        for place in (tmp_path / "a.zarr", f"{traffic.address}/a.zarr"):
            ds = xr.open_zarr(place, decode_coords="all")
            assert np.array_equal(ds.dn.fillna(0).values, pixels_with_a_hole())
            assert ds.spatial_ref.attrs["crs_wkt"] == WKT


def test_over_http_by_few_requests(standin, tmp_path):
    write(tmp_path / "a.tec")
    with serve(tmp_path) as traffic:
        ds = xr.open_dataset(f"{traffic.address}/a.tec", engine="eocodec", mask_and_scale=False)
        assert len(traffic.requests) == 1
        traffic.clear()
        window = ds.dn[:, 70:90, 10:30]
        assert np.array_equal(window.values, pixels_with_a_hole()[:, 70:90, 10:30])
        assert len(traffic.requests) <= 1  # none if the tile came with the end of the file


def test_errors_have_names(standin, tmp_path):
    with pytest.raises(RasterError, match="does not exist"):
        xr.open_dataset(tmp_path / "a.tec", engine="eocodec")
    path = write(tmp_path / "a.tec")
    data = bytearray(path.read_bytes())
    data[500] ^= 1  # in the first tile
    path.write_bytes(data)
    ds = xr.open_dataset(path, engine="eocodec")
    assert ds.dn[:, 70:, 70:].load().size
    with pytest.raises(ChecksumMismatch, match="dn/c/0/0/0"):
        ds.dn[:, :5, :5].load()
    path.write_bytes(data[:-40])
    with pytest.raises(CodecError):
        xr.open_dataset(path, engine="eocodec")


def test_opening_imports_no_torch(standin, tmp_path):
    write(tmp_path / "a.tec")
    code = (
        "import sys, xarray as xr\n"
        "ds = xr.open_dataset('a.tec', engine='eocodec', chunks={})\n"
        "assert ds.dn.shape == (12, 100, 150) and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
