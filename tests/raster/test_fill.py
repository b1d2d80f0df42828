"""Filled pixels are smooth, continuous and within range; valid ones do not change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.errors import InputError
from eocodec.raster.fill import smooth_fill


def _plane(rows: int, cols: int) -> np.ndarray:
    yy, xx = np.mgrid[:rows, :cols]
    return (2000 + 10 * xx + 5 * yy).astype(np.float32)


@settings(deadline=None)
@given(rows=st.integers(1, 40), cols=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_valid_pixels_stay_and_filled_ones_are_within_range(
    rows: int, cols: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(2000, 3000, (3, rows, cols)).astype(np.float32)
    mask = rng.random(x.shape) < share
    x[~mask] = np.nan
    filled = smooth_fill(x, mask, constant=-7.0)
    assert filled.dtype == np.float32
    assert filled[mask].tobytes() == x[mask].tobytes()
    for band, valid, result in zip(x, mask, filled, strict=True):
        if valid.any():
            slack = 1e-5 * np.abs(band[valid]).max()
            assert band[valid].min() - slack <= result.min() <= result.max() <= band[valid].max() + slack
        else:
            assert (result == -7.0).all()


def test_a_hole_in_a_ramp_is_closed_without_a_step() -> None:
    x = _plane(128, 128)[None]
    mask = np.ones((128, 128), bool)
    mask[40:90, 30:100] = False
    filled = smooth_fill(np.where(mask, x, 60000).astype(np.float32), mask)[0]
    # the ramp rises by 10 DN a pixel: neither the hole's border nor its inside may be much steeper
    assert np.abs(np.diff(filled, axis=1)).max() < 30
    assert np.abs(np.diff(filled, axis=0)).max() < 30
    assert np.abs(filled - x[0]).mean() < 30  # against a range of 1900 DN


def test_half_a_plane_is_continuous_and_then_flat() -> None:
    rng = np.random.default_rng(1)
    x = (2000 + rng.normal(0, 100, (1, 256, 256))).astype(np.float32)
    mask = np.broadcast_to(np.arange(256) < 100, (256, 256))
    filled = smooth_fill(x, mask)[0]
    step = np.abs(filled[:, 100] - filled[:, 99]).mean()
    texture = np.abs(np.diff(x[0], axis=1)).mean()
    assert step < texture
    assert np.abs(np.diff(filled[:, 116:], axis=1)).mean() < 0.02 * texture
    assert np.abs(np.diff(filled[:, 116:], axis=0)).mean() < 0.05 * texture


def test_one_mask_for_all_bands_equals_a_mask_for_each() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 33, 47)).astype(np.float32)
    mask = rng.random((33, 47)) < 0.3
    np.testing.assert_array_equal(smooth_fill(x, mask), smooth_fill(x, np.broadcast_to(mask, x.shape).copy()))


def test_bands_with_different_masks_do_not_mix() -> None:
    x = np.stack([_plane(32, 32), np.full((32, 32), 5, np.float32)])
    mask = np.ones(x.shape, bool)
    mask[1, :, 16:] = False
    filled = smooth_fill(x, mask)
    np.testing.assert_array_equal(filled[0], x[0])
    np.testing.assert_array_equal(filled[1], 5)


def test_empty_bands_get_their_constants() -> None:
    x = np.full((2, 5, 6), np.nan, np.float32)
    filled = smooth_fill(x, np.zeros((5, 6), bool), constant=[1.5, -2.0])
    assert (filled[0] == 1.5).all()
    assert (filled[1] == -2.0).all()


def test_input_is_not_changed() -> None:
    x = np.ones((1, 8, 8), np.float32)
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = True
    smooth_fill(x, mask)[:] = 9
    smooth_fill(x, np.ones((8, 8), bool))[:] = 9
    assert (x == 1).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    x = np.zeros((3, 4, 5), np.float32)
    for mask in (np.ones((4, 4), bool), np.ones((2, 4, 5), bool)):
        with pytest.raises(InputError):
            smooth_fill(x, mask)
    with pytest.raises(InputError):
        smooth_fill(x, np.ones((4, 5), bool), constant=[1.0, 2.0])
    with pytest.raises(InputError):
        smooth_fill(x[0], np.ones((4, 5), bool))
