"""Bilinear upsampling: against GDAL, by windows, with nodata."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from eocodec.interop.resample import axis_weights, bilinear


def whole(plane, factor, nodata=None, window=None):
    rows, cols = plane.shape
    fine = (rows * factor, cols * factor)
    window = window or (slice(0, fine[0]), slice(0, fine[1]))
    return bilinear(lambda r, c: plane[r, c], plane.shape, fine, window, nodata)


def by_gdal(plane, factor):
    rows, cols = plane.shape
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=1, height=rows, width=cols, dtype=plane.dtype.name) as dataset:
            dataset.write(plane, 1)
        with memory.open() as dataset:
            return dataset.read(1, out_shape=(rows * factor, cols * factor), resampling=Resampling.bilinear)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("factor", [2, 6])
def test_as_gdal(dtype, factor):
    plane = np.random.default_rng(1).integers(1, 4000, (20, 33)).astype(dtype)
    if dtype != "uint16":
        plane -= 2000
    difference = np.abs(whole(plane, factor) - by_gdal(plane, factor).astype(np.float64))
    # At factor 6 GDAL's own rounding errors decide exact halves, 1 in 144 at most.
    assert difference.max() <= (0 if factor == 2 or dtype == "float32" else 1)
    assert np.mean(difference > 0) < 0.005


@given(data=st.data(), factor=st.sampled_from([2, 3, 6]))
def test_a_window_is_a_cut_of_the_whole(data, factor):
    plane = np.random.default_rng(2).integers(0, 9999, (7, 5)).astype("uint16")
    top = data.draw(st.integers(0, 7 * factor - 1))
    left = data.draw(st.integers(0, 5 * factor - 1))
    rows = slice(top, data.draw(st.integers(top + 1, 7 * factor)))
    cols = slice(left, data.draw(st.integers(left + 1, 5 * factor)))
    assert np.array_equal(whole(plane, factor, window=(rows, cols)), whole(plane, factor)[rows, cols])


def test_reads_no_more_than_the_window_needs():
    weights = axis_weights(slice(600, 1200), 10980, 1830)
    assert (weights.start, weights.stop) == (99, 201)


def test_nodata_keeps_its_footprint_and_gets_no_weight():
    plane = np.full((4, 4), 1000, "uint16")
    plane[1, 2] = 0
    fine = whole(plane, 2, nodata=0)
    hole = np.zeros((8, 8), bool)
    hole[2:4, 4:6] = True
    assert np.array_equal(fine == 0, hole)
    assert np.all(fine[~hole] == 1000)


def test_nan_is_nodata():
    plane = np.full((3, 3), 0.5, "float32")
    plane[0, 0] = np.nan
    fine = whole(plane, 2)
    assert np.isnan(fine).sum() == 4
    assert np.all(fine[2:] == 0.5)


def test_all_nodata():
    assert np.all(whole(np.full((2, 2), -5, "int16"), 6, nodata=-5) == -5)
