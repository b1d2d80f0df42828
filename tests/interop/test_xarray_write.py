"""Writing from xarray: the accessor and `encoding`; what is not for the codec is kept as it is."""

import numpy as np
import pytest
import zarr

from eocodec.errors import BandError, InputError, ModelNotFound, OutputExists, UnitsError
from eocodec.options import DEFAULT_MODEL
from eocodec.sensors import S2_BAND_NAMES
from interop_support import CRS, names_in, smooth_scene, write_stack

xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
pytest.importorskip("dask", reason="dask is not installed (extra xarray)")
rioxarray = pytest.importorskip("rioxarray", reason="rioxarray is not installed (extra xarray)")

from eocodec.interop.xarray import encoding  # noqa: E402  (imports xarray)

ROWS, COLS = 70, 90
TIMES = np.array(["2023-05-01T10:15:29.024", "2023-05-06T10:15:31.000"], "datetime64[ns]")
EXACT = {"quality": 100, "tile": 32}


def cube(times=TIMES, seed=0):
    """Two dates of twelve bands and of a classification; a hole of nodata in the first date."""
    pixels = np.stack([smooth_scene(ROWS, COLS, seed=seed + k) for k in range(len(times))])
    pixels[0, :, 5:9, 5:9] = 0
    ds = xr.Dataset(
        {
            "dn": (("time", "band", "y", "x"), pixels, {"_FillValue": 0, "long_name": "digital numbers"}),
            "scl": (("time", "y", "x"), (pixels[:, 0] % 12).astype(np.uint8)),
        },
        coords={
            "time": times,
            "band": list(S2_BAND_NAMES),
            "x": 600_005.0 + 10 * np.arange(COLS),
            "y": 5_300_035.0 - 10 * np.arange(ROWS),
            "orbit": ("time", np.full(len(times), 122)),
        },
    )
    return ds.rio.write_crs(CRS)


@pytest.fixture(params=["cube.zarr", "cube.tec"])
def target(request, tmp_path):
    return tmp_path / request.param


def read(path, **more):
    return xr.open_dataset(path, engine="eocodec", mask_and_scale=False, **more)


@pytest.mark.filterwarnings("error", "ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_cube_comes_back_with_everything(standin, target):
    ds = cube()
    ds.eocodec.to_zarr(target, **EXACT)
    found = read(target)
    for name in ("dn", "scl", "time", "band", "x", "y", "orbit"):
        assert np.array_equal(found[name].values, ds[name].values), name
    assert found.dn.attrs == {"_FillValue": 0, "long_name": "digital numbers"}
    assert found.wavelength.sel(band="B12") == 2202
    assert found.rio.crs == CRS
    assert found.attrs["spatial:transform"] == [10.0, 0.0, 600_000.0, 0.0, -10.0, 5_300_040.0]
    assert found.attrs["proj:code"] == CRS
    assert ds.dn.attrs["_FillValue"] == 0  # what was given is as it was


def test_only_twelve_band_variables_are_encoded(standin, target):
    cube().eocodec.to_zarr(target, timesteps=2, **EXACT)
    encodings = {name: array.encoding for name, array in read(target).variables.items()}
    assert encodings["dn"]["chunks"] == (2, 12, 32, 32)
    assert encodings["scl"]["chunks"] == (1, 32, 32)
    assert type(encodings["dn"]["serializer"]).__name__ == "TecCodec"
    assert type(encodings["scl"]["serializer"]).__name__ == "BytesCodec"


def test_masked_data_are_stored_as_they_were(standin, tmp_path, target):
    """Opened with NaN for nodata, changed, written again: integers and the same nodata in the file."""
    cube().eocodec.to_zarr(tmp_path / "first.zarr", **EXACT)
    masked = xr.open_dataset(tmp_path / "first.zarr", engine="eocodec")
    assert masked.dn.dtype == np.float32
    encoded_as = masked.dn.encoding
    masked["dn"] = masked.dn.where(masked.scl != 3)
    masked.dn.encoding = encoded_as
    masked.eocodec.to_zarr(target, **EXACT)
    expected = cube().dn.where(cube().scl != 3, 0)
    found = read(target)
    assert found.dn.dtype == np.uint16
    assert np.array_equal(found.dn.values, expected.values)


def test_an_array_and_its_window(standin, target):
    """Coordinates, not the file's old corner, say where a window lies."""
    window = cube().dn.isel(time=0, x=slice(10, 50), y=slice(20, 60))
    window.eocodec.to_zarr(target, **EXACT)
    found = xr.open_dataset(target, engine="eocodec", chunks={})
    assert found.dn.dims == ("band", "y", "x")
    assert tuple(found.rio.transform())[:6] == (10.0, 0.0, 600_100.0, 0.0, -10.0, 5_299_840.0)
    assert found.spatial_ref.attrs["GeoTransform"].startswith("600100.0 10.0")
    assert found.time.values == TIMES[0]
    assert np.array_equal(found.dn.fillna(0).values, window.values)


def test_reflectance(standin, target):
    ds = (cube()[["dn"]].astype("float32") / 10_000).where(cube()[["dn"]] != 0)
    ds.dn.attrs.clear()
    ds.eocodec.to_zarr(target, scale=10_000, **EXACT)
    found = xr.open_dataset(target, engine="eocodec")
    assert np.array_equal(np.isnan(found.dn.values), np.isnan(ds.dn.values))
    assert np.nanmax(np.abs(found.dn.values - ds.dn.values)) < 1e-4


def test_dask_arrays_are_written_along_the_tiles(standin, target):
    ds = cube().chunk({"time": 2, "band": 5, "y": 33, "x": 50})
    ds.eocodec.to_zarr(target, **EXACT)
    assert np.array_equal(read(target).dn.values, cube().dn.values)


def test_writing_later(standin, tmp_path):
    path = tmp_path / "a.zarr"
    job = cube().chunk({"time": 1}).eocodec.to_zarr(path, compute=False, **EXACT)
    assert not (path / "dn" / "c").exists()
    job.compute()
    assert np.array_equal(read(path).dn.values, cube().dn.values)


def test_sharded(standin, tmp_path):
    path = tmp_path / "a.zarr"
    cube().eocodec.to_zarr(path, shard=64, **EXACT)
    assert sorted(file.name for file in (path / "dn/c/0/0/0").iterdir()) == ["0", "1"]
    standin.calls.clear()
    assert np.array_equal(read(path).dn[1, :, 40:50, 70:].values, cube().dn[1, :, 40:50, 70:].values)
    assert sum(standin.calls) == 1


NEXT = np.array(["2023-05-11T10:15:30.512"], "datetime64[ns]")


@pytest.mark.parametrize("chunked", [False, True])
def test_dates_are_appended(standin, tmp_path, chunked):
    path = tmp_path / "a.zarr"
    cube().eocodec.to_zarr(path, **EXACT)
    before = {file: file.stat().st_mtime_ns for file in (path / "dn" / "c").rglob("*") if file.is_file()}
    new = cube(NEXT, seed=9)
    (new.chunk({"x": 50}) if chunked else new).eocodec.to_zarr(path, append_dim="time")
    found = read(path)
    assert np.array_equal(found.dn.values, np.concatenate([cube().dn.values, new.dn.values]))
    assert np.array_equal(found.time.values, np.concatenate([TIMES, NEXT]))
    assert found.orbit.values.tolist() == [122] * 3
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    assert np.array_equal(xr.open_zarr(path).time.values, found.time.values)  # in the consolidated copy, too


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.assign_coords(time=TIMES[:1]), "2023-05-01.* already"),
        (lambda ds: ds.drop_vars("scl"), "scl is in only one"),
        (lambda ds: ds.assign(extra=ds.scl), "extra is in only one"),
        (lambda ds: ds.assign_coords(x=ds.x + 10), "x differs"),
        (lambda ds: ds.isel(time=0), "need the axis 'time'"),
        (lambda ds: ds.assign(dn=ds.dn.assign_attrs(scale_factor=1e-4)), "dn is as stored"),
    ],
)
def test_what_does_not_fit_is_not_appended(standin, tmp_path, change, words):
    path = tmp_path / "a.zarr"
    cube().eocodec.to_zarr(path, **EXACT)
    with pytest.raises(InputError, match=words):
        change(cube(NEXT)).eocodec.to_zarr(path, append_dim="time")
    assert read(path).sizes["time"] == 2
    assert np.array_equal(read(path).dn.values, cube().dn.values)


@pytest.mark.parametrize(
    ("change", "settings", "error", "words"),
    [
        (lambda ds: ds.isel(band=slice(3)), {}, BandError, r"dn \(time: 2, band: 3, y: 70"),
        (lambda ds: ds.transpose("y", "x", "band", "time"), {}, BandError, "transpose"),
        (lambda ds: ds.dn.to_dataset("band"), {}, BandError, "to_dataarray"),
        (lambda ds: ds.isel(band=slice(None, None, -1)), {}, BandError, r"isel\(band=\[11, 10"),
        (lambda ds: ds.astype("float64"), {}, UnitsError, "scale=10000"),
        (lambda ds: ds, {"model": "tec-nowhere"}, ModelNotFound, "tec-nowhere"),
        (lambda ds: ds, {"tile": 8}, InputError, "smaller than 16"),
        (lambda ds: ds, {"quality": 101}, InputError, "between 0 and 100"),
    ],
)
def test_refused_before_anything_is_written(standin, target, change, settings, error, words):
    with pytest.raises(error, match=words):
        change(cube()).eocodec.to_zarr(target, **settings)
    assert names_in(target.parent) == []


def test_settings_are_those_of_the_store_when_appending(standin, tmp_path):
    path = tmp_path / "a.zarr"
    cube().eocodec.to_zarr(path, **EXACT)
    with pytest.raises(InputError, match="leave out quality"):
        cube(NEXT).eocodec.to_zarr(path, append_dim="time", quality=30)


def test_outputs_that_are_there(standin, target):
    cube().eocodec.to_zarr(target, **EXACT)
    with pytest.raises((OutputExists, zarr.errors.ContainsGroupError, FileExistsError)):
        cube(seed=5).eocodec.to_zarr(target, **EXACT)
    cube(seed=5).eocodec.to_zarr(target, mode="w", **EXACT)
    assert np.array_equal(read(target).dn.values, cube(seed=5).dn.values)
    assert names_in(target.parent) == [target.name]


def test_shards_are_whole_tiles(standin, tmp_path):
    with pytest.raises(InputError, match="multiple of the tile"):
        cube().eocodec.to_zarr(tmp_path / "a.zarr", tile=32, shard=80)


def test_masked_digital_numbers_need_no_conversion(standin, target):
    """What arithmetic leaves of a masked array: floats, and nothing said of how they were stored."""
    ds = cube()[["dn"]].where(cube()[["dn"]] != 0)
    ds.dn.attrs.clear()
    with pytest.raises(UnitsError, match="scale=1 for digital numbers"):
        ds.eocodec.to_zarr(target, **EXACT)
    ds.eocodec.to_zarr(target, scale=1, **EXACT)
    assert np.array_equal(read(target).dn.values, ds.dn.values, equal_nan=True)


@pytest.mark.parametrize("settings", [{"append_dim": "time"}, {"compute": False}, {"shard": 512}])
def test_a_tec_is_written_at_once(standin, tmp_path, settings):
    with pytest.raises(InputError, match=r"use a \.zarr"):
        cube().eocodec.to_zarr(tmp_path / "a.tec", **settings)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_encoding_for_xarrays_own_writer(standin, tmp_path):
    ds = cube()
    found = encoding(ds, **EXACT)
    assert found["dn"]["serializer"]["name"] == "eocodec.tec"
    assert found["dn"]["chunks"] == (1, 12, 32, 32)
    assert found["dn"]["fill_value"] == found["dn"]["serializer"]["configuration"]["nodata"] == 0
    del ds.dn.attrs["_FillValue"]
    ds["band"] = ds.band.astype(object)
    ds.to_zarr(tmp_path / "a.zarr", encoding=found, zarr_format=3, consolidated=False)
    back = read(tmp_path / "a.zarr")
    assert np.array_equal(back.dn.values, ds.dn.values)
    assert back.rio.crs == CRS


def test_a_geotiff_opened_with_rioxarray(standin, tmp_path, target):
    """Its bands have numbers, and their names are descriptions; in another order they are refused."""
    pixels = smooth_scene(ROWS, COLS)
    scene = rioxarray.open_rasterio(write_stack(tmp_path / "a.tif", pixels, nodata=0))
    scene.eocodec.to_zarr(target, **EXACT)
    found = read(target)
    assert list(found.band.values) == list(S2_BAND_NAMES)
    assert found.wavelength.sel(band="B04") == 665
    assert np.array_equal(found.dn.values, pixels)
    assert found.dn.attrs["_FillValue"] == 0
    assert found.rio.crs == CRS
    path = write_stack(tmp_path / "b.tif", pixels, S2_BAND_NAMES[::-1])
    with pytest.raises(BandError, match=r"isel\(band=\[11, 10"):
        rioxarray.open_rasterio(path).eocodec.to_zarr(tmp_path / "b.zarr")


def test_scales_of_what_was_opened_as_stored(standin, target):
    """One without effect would turn integers into floats; another one is kept, and applied when reading."""
    ds = cube()
    ds.dn.attrs |= {"scale_factor": 1.0, "add_offset": 0.0}
    ds.eocodec.to_zarr(target, **EXACT)
    assert read(target).dn.attrs.keys() == {"_FillValue", "long_name"}
    ds.dn.attrs["scale_factor"] = 1e-4
    ds.eocodec.to_zarr(target, mode="w", **EXACT)
    assert np.array_equal(read(target).dn.values, ds.dn.values)
    scaled = xr.open_dataset(target, engine="eocodec").dn
    assert np.allclose(scaled.fillna(0).values, ds.dn.values * 1e-4)


def test_a_bound_on_the_error_reaches_the_codec():
    found = encoding(cube(), max_error=2)["dn"]["serializer"]["configuration"]
    assert found == {"model": DEFAULT_MODEL, "max_error": 2, "nodata": 0}
    assert encoding(cube())["dn"]["serializer"]["configuration"]["quality"] == 50


def test_bands_without_names_are_taken_to_be_in_order(standin, target):
    ds = cube().drop_vars("band").assign_coords(band=np.arange(1, 13))
    ds.eocodec.to_zarr(target, **EXACT)
    assert np.array_equal(read(target).dn.values, ds.dn.values)
    assert "wavelength" not in read(target).coords
