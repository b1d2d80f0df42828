"""Filling clouds: better than simpler ways, clear pixels untouched, no size or cloud too much."""

import tracemalloc

import numpy as np
import pytest

import eocodec
from eocodec.bench.inpaint import METHODS, OURS
from eocodec.errors import InputError
from eocodec.filling import Filler, filler, inpaint
from filling_support import clouds_on, disc, seasons


def error(found, truth, area):
    return float(np.abs(found.astype(float) - truth)[..., area].mean())


@pytest.fixture(scope="module")
def series():
    return seasons()


def test_it_is_what_the_package_hands_out(series):
    clouds = clouds_on(series, 1, disc(96, 96, (40, 40), 20))
    np.testing.assert_array_equal(eocodec.inpaint(series, clouds), inpaint(series, clouds))


@pytest.mark.parametrize("radius", [6, 20, 40])
@pytest.mark.parametrize("t", [0, 2, 3])
def test_it_beats_the_simpler_ways(series, t, radius):
    cloud = disc(96, 96, (50, 45), radius)
    clouds = clouds_on(series, t, cloud)
    errors = {name: error(method(series, clouds, t), series[t], cloud) for name, method in METHODS.items()}
    others = [value for name, value in errors.items() if name != OURS]
    assert errors[OURS] < 0.35 * min(others), errors


def test_clear_pixels_and_other_dates_are_unchanged(series):
    clouds = clouds_on(series, 1, disc(96, 96, (30, 60), 25))
    filled = inpaint(series, clouds)
    assert filled.dtype == series.dtype
    untouched = np.broadcast_to(~clouds[:, None], series.shape)
    np.testing.assert_array_equal(filled[untouched], series[untouched])
    assert (filled != series).any()


def test_what_lies_under_the_clouds_is_never_looked_at(series):
    clouds = clouds_on(series, 1, disc(96, 96, (30, 60), 25))
    clouds[3] = disc(96, 96, (50, 60), 20)
    hidden = np.where(clouds[:, None], 9999, series).astype(series.dtype)
    np.testing.assert_array_equal(inpaint(series, clouds), inpaint(hidden, clouds))


def test_one_date_alone_is_that_of_all(series):
    clouds = clouds_on(series, 1, disc(96, 96, (30, 60), 25))
    clouds[2] = disc(96, 96, (60, 30), 30)
    filled = inpaint(series, clouds)
    for t in (2, -2):
        np.testing.assert_array_equal(inpaint(series, clouds, timestep=t), filled[2])


def test_references_with_clouds_of_their_own(series):
    """No date is clear everywhere; each part is filled from dates that see it."""
    clouds = np.stack([disc(96, 96, centre, 34) for centre in ((30, 30), (30, 66), (66, 30), (66, 66))])
    filled = inpaint(series, clouds)
    for t in range(4):
        mean = error(np.full_like(series[t], series[t].mean()), series[t], clouds[t])
        assert error(filled[t], series[t], clouds[t]) < 0.15 * mean


def test_two_dates():
    series = seasons(dates=2, seed=3)
    cloud = disc(96, 96, (48, 48), 30)
    found = inpaint(series, clouds_on(series, 0, cloud))
    assert error(found[0], series[0], cloud) < 0.35 * error(series[1], series[0], cloud)


def test_many_dates_with_many_clouds():
    series = seasons(48, 48, dates=60, bands=4, seed=4)
    rng = np.random.default_rng(0)
    clouds = np.stack([disc(48, 48, rng.integers(0, 48, 2), rng.integers(5, 40)) for _ in range(60)])
    clouds[30] = disc(48, 48, (26, 20), 14)
    found = inpaint(series, clouds, timestep=30)
    mean = error(np.full_like(series[30], series[30].mean()), series[30], clouds[30])
    assert error(found, series[30], clouds[30]) < 0.15 * mean


def test_a_date_that_is_all_cloud_is_interpolated(series):
    clouds = clouds_on(series, 1, np.ones((96, 96), bool))
    expected = series[0] + (series[2].astype(float) - series[0]) * 0.25
    found = inpaint(
        series, clouds, timestep=1, dates=["2023-01-01", "2023-02-01", "2023-05-05", "2023-09-01"]
    )
    np.testing.assert_allclose(found, expected, atol=1)


def test_the_first_date_all_cloud_takes_the_next(series):
    clouds = clouds_on(series, 0, np.ones((96, 96), bool))
    np.testing.assert_array_equal(inpaint(series, clouds, timestep=0), series[1])


def test_pixels_that_no_date_has_clear_are_filled_from_around(series):
    clouds = np.zeros((4, 96, 96), bool)
    clouds[:, 40:56, 40:56] = True
    found = inpaint(series, clouds)
    around = series[:, :, 30:66, 30:66]
    hole = found[:, :, 40:56, 40:56]
    assert hole.min() >= around.min() and hole.max() <= around.max()
    assert not (hole == series[:, :, 40:56, 40:56]).all()


def test_a_handful_of_clear_pixels_does_no_harm(series):
    cloud = np.ones((96, 96), bool)
    cloud[:10, :8] = False
    found = inpaint(series, clouds_on(series, 1, cloud), timestep=1)
    assert error(found, series[1], cloud) < 1.3 * error(series[0], series[1], cloud)


def test_nodata_stays_and_is_not_used(series):
    series = series.copy()
    series[1, :, :20] = -1
    series[2, 3, 50:60, 50:60] = -1  # a single band
    clouds = clouds_on(series, 1, disc(96, 96, (25, 50), 20))
    found = inpaint(series, clouds, nodata=-1)
    np.testing.assert_array_equal(found == -1, series == -1)
    inside = clouds[1] & (series[1] != -1).all(0)
    assert error(found[1], seasons()[1], inside) < 60


def test_what_is_filled_is_never_nodata():
    series = np.full((2, 1, 20, 20), 7, np.uint8)
    series[:, :, 0, 0] = 0
    clouds = clouds_on(series, 0, disc(20, 20, (10, 10), 5))
    found = inpaint(series, clouds, nodata=7 + 0)  # everything but one pixel is nodata
    np.testing.assert_array_equal(found, series)
    assert not (filler._as_dtype(np.array([6.9, 254.8]), np.dtype(np.uint8), 7) == 7).any()


def test_a_band_that_is_not_there_stays_away(series):
    series = series.copy()
    series[:, 5] = 0
    cloud = disc(96, 96, (40, 40), 20)
    found = inpaint(series, clouds_on(series, 1, cloud), nodata=0, timestep=1)
    assert not found[5].any()
    others = [c for c in range(12) if c != 5]
    assert error(found[others], series[1][others], cloud) < 60


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_floats_and_other_integers(dtype):
    series = seasons(dtype=dtype)
    scale = 1 if dtype == "uint16" else 1e-4
    series = (series * scale).astype(dtype)
    if dtype != "uint16":
        series[2, :, 5, 5] = np.nan
    cloud = disc(96, 96, (60, 60), 20)
    found = inpaint(series, clouds_on(series, 2, cloud))
    assert found.dtype == series.dtype
    assert error(found[2], series[2], cloud) < 60 * scale
    assert np.isnan(found).sum() == np.isnan(series).sum()


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (65, 7), (70, 321)])
def test_any_size(shape):
    series = seasons(*shape, bands=3)
    clouds = np.zeros((4, *shape), bool)
    clouds[1, : max(1, shape[0] // 2)] = True
    found = inpaint(series, clouds)
    assert found.shape == series.shape
    np.testing.assert_array_equal(found[:, :, ~clouds[1]], series[:, :, ~clouds[1]])


def test_windows_leave_no_seams_and_cover_everything():
    """A wide image in windows is as good at their borders as within."""
    series = seasons(80, 700, seed=6)
    rng = np.random.default_rng(1)
    discs = [disc(80, 700, (rng.integers(80), rng.integers(700)), 18) for _ in range(20)]
    discs += [disc(80, 700, (40, 288), 30)]
    clouds = clouds_on(series, 1, *discs)
    wrong = np.abs(inpaint(series, clouds, timestep=1) - series[1].astype(float)).mean(0)
    wrong[~clouds[1]] = np.nan
    overlap = np.nanmean(wrong[:, 256:320])
    assert overlap < 1.5 * np.nanmean(wrong)
    weights = np.zeros(700)
    for (i, _), (_, cols) in filler._windows((80, 700)):
        if i == 0:
            weights[cols] += filler._ramp(cols, 700)
    np.testing.assert_allclose(weights, 1)


def test_any_window_is_that_of_the_whole():
    series = seasons(300, 340, bands=3, seed=7)
    clouds = clouds_on(series, 1, disc(300, 340, (200, 270), 90))
    read = lambda t, rows, cols: series[t, :, rows, cols]  # noqa: E731
    whole = inpaint(series, clouds, timestep=1)
    part = Filler(read, clouds, range(4)).fill(1, slice(190, 280), slice(200, 331))
    np.testing.assert_array_equal(part, whole[:, 190:280, 200:331])


def test_memory_does_not_grow_with_dates():
    peaks = []
    for dates in (4, 24):
        series = seasons(64, 64, dates=dates, bands=4)
        clouds = clouds_on(series, 1, disc(64, 64, (30, 30), 12))
        read = lambda t, rows, cols: series[t, :, rows, cols]  # noqa: B023, E731
        tracemalloc.start()
        Filler(read, clouds, range(dates)).fill(1, slice(0, 64), slice(0, 64))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 4 * peaks[0]  # the sample looks at CANDIDATES dates, whatever there are more


def test_progress(series):
    seen = []
    clouds = clouds_on(series, 1, disc(96, 96, (30, 60), 25))
    inpaint(series, clouds, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 4) for k in range(4)]


def test_no_clouds_no_change(series):
    np.testing.assert_array_equal(inpaint(series, np.zeros((4, 96, 96), bool)), series)


def test_clouds_with_an_axis_for_bands(series):
    clouds = clouds_on(series, 1, disc(96, 96, (30, 60), 25))
    np.testing.assert_array_equal(inpaint(series, clouds[:, None]), inpaint(series, clouds))


@pytest.mark.parametrize(
    ("series", "clouds", "options", "words"),
    [
        (np.zeros((4, 3, 8)), np.zeros((4, 8, 8), bool), {}, "[T, C, H, W]"),
        (np.zeros((4, 3, 8, 8), bool), np.zeros((4, 8, 8), bool), {}, "of numbers"),
        (np.zeros((4, 3, 8, 8)), np.zeros((4, 8, 9), bool), {}, "(4, 8, 9)"),
        (np.zeros((4, 3, 8, 8)), np.zeros((4, 8, 8), int), {}, "bool"),
        (np.zeros((1, 3, 8, 8)), np.zeros((1, 8, 8), bool), {}, "at least two"),
        (np.zeros((2, 3, 8, 8)), np.ones((2, 8, 8), bool), {}, "nothing to fill from"),
        (np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8), bool), {"timestep": 2}, "timestep 2"),
        (np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8), bool), {"dates": ["2023-01-01"]}, "1 dates for 2"),
        (np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8), bool), {"dates": ["x", "y"]}, "cannot be read"),
        (np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8), bool), {"dates": ["2023-02-01"] * 2}, "later"),
    ],
)
def test_what_does_not_fit(series, clouds, options, words):
    with pytest.raises(InputError) as caught:
        inpaint(series, clouds, **options)
    assert words in str(caught.value)


def test_clear_only_where_there_is_no_data():
    series = np.zeros((2, 3, 8, 8), np.int16)
    series[:, :, :, 4:] = 5
    clouds = np.zeros((2, 8, 8), bool)
    clouds[:, :, 4:] = True
    with pytest.raises(InputError, match="no date has a clear pixel with data"):
        inpaint(series, clouds, nodata=0)
