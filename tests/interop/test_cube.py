"""NetCDF and Zarr cubes."""

import numpy as np
import pytest

from eocodec.errors import BandError, InputError, RasterError
from eocodec.interop.rio import ReadOptions, open_scene
from eocodec.sensors import S2_BAND_NAMES
from interop_support import TRANSFORM, smooth_scene

xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
CRS_WKT = 'PROJCRS["made up"]'
ROWS, COLS = 30, 40


def read_all(source):
    _, rows, cols = source.info.shape
    return source.read(slice(0, rows), slice(0, cols))


def cube(pixels, bands, dims, **coords):
    """A dataset with one cube, placed as `write_stack` places rasters."""
    array = xr.DataArray(
        pixels, dims=dims, coords={**({} if bands is None else {"band": list(bands)}), **coords}
    )
    array = array.assign_coords(
        x=TRANSFORM[2] + 10 * (np.arange(COLS) + 0.5), y=TRANSFORM[5] - 10 * (np.arange(ROWS) + 0.5)
    )
    array.attrs["_FillValue"] = np.uint16(0)
    array.attrs["grid_mapping"] = "spatial_ref"
    dataset = array.to_dataset(name="reflectance")
    dataset["spatial_ref"] = xr.DataArray(0, attrs={"crs_wkt": CRS_WKT})
    return dataset


def save(dataset, path):
    if path.suffix == ".zarr":
        dataset.to_zarr(path)
    else:
        pytest.importorskip("h5py", reason="h5py is not installed")
        pytest.importorskip("h5netcdf", reason="h5netcdf is not installed")
        dataset.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("name", ["cube.nc", "cube.zarr"])
def test_a_scene_in_another_order(tmp_path, name):
    pixels = smooth_scene(ROWS, COLS)
    pixels[:, :4] = 0
    path = save(cube(pixels[::-1], S2_BAND_NAMES[::-1], ("band", "y", "x")), tmp_path / name)
    source = open_scene([path])
    assert np.array_equal(read_all(source), pixels)
    assert np.array_equal(source.read(slice(3, 9), slice(5, 6)), pixels[:, 3:9, 5:6])
    info = source.info
    assert info.bands == S2_BAND_NAMES
    assert info.order == tuple(range(11, -1, -1))
    assert info.nodata == 0
    assert info.crs_wkt == CRS_WKT
    assert info.transform == TRANSFORM
    source.close()


@pytest.mark.parametrize("name", ["cube.nc", "cube.zarr"])
def test_one_timestep_of_several(tmp_path, name):
    dates = np.array(["2023-06-10", "2023-06-15"], "datetime64[ns]")
    pixels = np.stack([smooth_scene(ROWS, COLS, seed=k) for k in range(2)])
    path = save(cube(pixels, S2_BAND_NAMES, ("time", "band", "y", "x"), time=dates), tmp_path / name)
    with pytest.raises(InputError, match=r"has 2 timesteps; .* such as --time 2023-06-10"):
        open_scene([path])
    for time in ("2023-06-15", "1"):
        source = open_scene([path], read=ReadOptions(time=time))
        assert np.array_equal(read_all(source), pixels[1])
        assert source.info.tags["DATETIME"] == "2023-06-15T00:00:00"
    for time in ("2023", "2024-01-01", "7"):
        with pytest.raises(InputError, match="of the 2 timesteps"):
            open_scene([path], read=ReadOptions(time=time))


def test_a_variable_for_each_band_and_one_that_no_model_knows(tmp_path):
    pixels = smooth_scene(ROWS, COLS, 13)
    names = [*S2_BAND_NAMES[:10], "B10", *S2_BAND_NAMES[10:]]
    dataset = xr.Dataset({name: (("y", "x"), plane) for name, plane in zip(names, pixels, strict=True)})
    source = open_scene([save(dataset, tmp_path / "cube.zarr")])
    assert np.array_equal(read_all(source), np.delete(pixels, 10, 0))
    (layer,) = source.layers
    assert layer.info.name == "B10"
    assert np.array_equal(layer.read(slice(0, ROWS), slice(0, COLS))[0], pixels[10])


def test_bands_can_be_stated_and_are_asked_for(tmp_path):
    pixels = smooth_scene(ROWS, COLS)
    path = save(cube(pixels, [f"layer {k}" for k in range(12)], ("band", "y", "x")), tmp_path / "a.zarr")
    with pytest.raises(BandError, match="--bands"):
        open_scene([path])
    assert np.array_equal(read_all(open_scene([path], bands=S2_BAND_NAMES)), pixels)


def test_what_is_no_cube(tmp_path):
    plain = xr.Dataset({"a": (("y", "x"), np.zeros((3, 3)))})
    with pytest.raises(RasterError, match="has no variable with a band axis"):
        open_scene([save(plain, tmp_path / "a.zarr")])
    with pytest.raises(RasterError, match="no variable nir; it has a"):
        open_scene([tmp_path / "a.zarr"], read=ReadOptions(variable="nir"))
    with pytest.raises(RasterError, match="does not exist"):
        open_scene([tmp_path / "no.nc"])
    (tmp_path / "text.nc").write_text("text")
    with pytest.raises(RasterError, match="cannot be read as a cube"):
        open_scene([tmp_path / "text.nc"])
    pixels = smooth_scene(ROWS, COLS)
    two = cube(pixels, S2_BAND_NAMES, ("band", "y", "x"))
    two["other"] = two["reflectance"]
    with pytest.raises(InputError, match="several cubes, other, reflectance; choose with --variable"):
        open_scene([save(two, tmp_path / "two.zarr")])
    assert (
        read_all(open_scene([tmp_path / "two.zarr"], read=ReadOptions(variable="other"))).shape
        == pixels.shape
    )
