"""Averages back to native pixels, from tiles of any size; and what interpolation must keep for them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.interop.native import RowAverager
from eocodec.interop.resample import BLOCK, keep_means
from eocodec.interop.scene import SceneInfo, tile_windows

SATURATED = 65_535


def upsample(plane, factor, nodata=None, window=None):
    rows, cols = plane.shape
    fine = (rows * factor, cols * factor)
    window = window or (slice(0, fine[0]), slice(0, fine[1]))
    return keep_means(lambda r, c: plane[r, c], plane.shape, fine, window, nodata)


def means(fine, factor):
    rows, cols = fine.shape
    return fine.reshape(rows // factor, factor, cols // factor, factor).astype(np.float64).mean((1, 3))


def hills(rows, cols, dtype="uint16"):
    y, x = np.mgrid[0:rows, 0:cols]
    rough = np.random.default_rng(3).normal(0, 120, (rows, cols))
    return (3000 + 800 * np.sin(y / 5) + 600 * np.cos(x / 7) + rough).astype(dtype)


@pytest.mark.parametrize("factor", [2, 3, 6])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_means_are_kept_with_nodata_and_saturation_where_they_were(factor, dtype):
    plane = hills(30, 41, dtype)
    plane[:5, 10:20] = plane[17, 3] = -1 if dtype == "int16" else 0
    nodata = -1 if dtype == "int16" else 0
    if dtype == "uint16":
        plane[12, 12] = SATURATED
    fine = upsample(plane, factor, nodata)
    assert fine.dtype == plane.dtype
    valid = (plane != nodata) & (plane != SATURATED)
    assert np.abs(means(fine, factor) - plane)[valid].max() <= (0.5 if dtype != "float32" else 0.01)
    repeated = plane.repeat(factor, 0).repeat(factor, 1)
    for mark in {nodata, SATURATED}:
        assert np.array_equal(fine == mark, repeated == mark)


def test_smoother_than_repeating():
    y, x = np.mgrid[0:40, 0:40]
    plane = (3000 + 800 * np.sin(y / 5) + 600 * np.cos(x / 7)).astype(np.uint16)
    bends = [
        np.abs(np.diff(fine.astype(float), n=2)).mean() for fine in (upsample(plane, 2), plane.repeat(2, 1))
    ]
    assert bends[0] < 0.1 * bends[1]


def test_a_window_is_a_cut_of_the_whole_bit_for_bit():
    """Tiles must not depend on what was read together with them: a resumed run makes the same bytes."""
    plane = hills(BLOCK + 40, BLOCK + 30)
    plane[20:60, 200:270] = 0
    plane[100, 100] = SATURATED
    whole = upsample(plane, 2, 0)
    for rows, cols in [
        ((0, 100), (3, 500)),
        ((490, 530), (400, 560)),
        ((511, 512), (511, 512)),
        ((37, 590), (0, 9)),
    ]:
        window = (slice(*rows), slice(*cols))
        assert np.array_equal(upsample(plane, 2, 0, window), whole[window])


def test_nothing_but_nodata():
    plane = np.zeros((9, 9), np.uint16)
    assert not upsample(plane, 6, 0).any()
    assert (upsample(plane, 2, None) == 0).all()


def averaged(pixels, factor, tile, nodata):
    bands, rows, cols = pixels.shape
    info = SceneInfo(pixels.shape, pixels.dtype, ("B05",) * bands, nodata)
    average = RowAverager(info, bands, factor)
    out = np.full((bands, rows // factor, cols // factor), 7777, pixels.dtype)
    for _, _, (tile_rows, tile_cols) in tile_windows((rows, cols), tile):
        average.add(pixels[:, tile_rows, tile_cols], tile_rows, tile_cols)
        if tile_cols.stop == cols:
            for whole, planes in average.take(tile_rows.stop):
                out[:, whole] = planes
    return out


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 6]), st.integers(1, 40))
def test_averages_do_not_depend_on_tiles(rows, cols, factor, tile):
    pixels = np.random.default_rng(5).integers(1, 4000, (2, rows * factor, cols * factor)).astype("uint16")
    expected = np.rint([means(plane, factor) for plane in pixels])
    # sums are exact, so the halves are those of the whole
    assert np.array_equal(averaged(pixels, factor, tile, 0), expected)


def test_marks_do_not_count_and_stay_where_there_is_nothing_else():
    pixels = np.full((1, 4, 6), 100, np.uint16)
    pixels[0, :2, :2] = 0
    pixels[0, :2, 2] = 0
    pixels[0, 2:, :2] = SATURATED
    pixels[0, 2:, 2] = SATURATED
    assert averaged(pixels, 2, 3, 0).tolist() == [[[0, 100, 100], [SATURATED, 100, 100]]]
    # without a nodata value 0 is a number, and the mean of 0 and 100 is 50
    assert averaged(pixels, 2, 3, None)[0, 0].tolist() == [0, 50, 100]


def test_a_mean_that_would_be_nodata_steps_aside():
    pixels = np.array([[[9, 11], [9, 11]]], np.uint16)
    assert averaged(pixels, 2, 16, 10).tolist() == [[[11]]]
