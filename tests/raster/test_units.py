"""DN to network units and back; restoring dtype and nodata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.errors import CodecError, InputError
from eocodec.raster.masks import valid_mask
from eocodec.raster.units import looks_like_reflectance, nodata_value, restore, standardise, to_dn
from eocodec.sensors import S2_L2A

MEANS = [band.mean for band in S2_L2A]
STDS = [band.std for band in S2_L2A]
INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.uint64]


def test_standardise_is_the_formula() -> None:
    x = np.random.default_rng(0).integers(0, 65536, (2, 12, 5, 6)).astype(np.uint16)
    units = standardise(x, MEANS, STDS)
    assert units.dtype == np.float32
    exact = (x - np.reshape(MEANS, (12, 1, 1))) / np.reshape(STDS, (12, 1, 1))
    np.testing.assert_allclose(units, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_all_16_bit_dn_survive_network_units(dtype: type) -> None:
    info = np.iinfo(dtype)
    x = np.arange(info.min, info.max + 1).astype(dtype).reshape(1, 1, 256, 256).repeat(12, axis=1)
    back = restore(to_dn(standardise(x, MEANS, STDS), MEANS, STDS), dtype)
    np.testing.assert_array_equal(back, x)


def test_float64_stays_float64() -> None:
    x = np.random.default_rng(0).normal(size=(12, 3, 3))
    assert to_dn(x, MEANS, STDS).dtype == standardise(x, MEANS, STDS).dtype == np.float64
    np.testing.assert_allclose(standardise(to_dn(x, MEANS, STDS), MEANS, STDS), x, atol=1e-12)


def test_statistics_of_another_number_of_bands_are_refused() -> None:
    with pytest.raises(InputError, match="12 means or stds for 3 bands"):
        standardise(np.zeros((3, 4, 4)), MEANS, STDS)
    with pytest.raises(InputError):
        to_dn(np.zeros((12, 4, 4)), 0.0, STDS)


def _restore_line(values: list[float], dtype: type, mask: list[bool] | None, nodata: float | None) -> list:
    x = np.array(values, np.float32).reshape(1, 1, 1, -1)
    valid = None if mask is None else np.array(mask).reshape(x.shape)
    return restore(x, dtype, valid, nodata).ravel().tolist()


def test_rounds_half_to_even_and_clips() -> None:
    assert _restore_line([0.5, 1.5, 2.5, -0.5, -3.0, 70000.0], np.uint16, None, None) == [
        0,
        2,
        2,
        0,
        0,
        65535,
    ]
    assert _restore_line([-1.5, -32769.0, 40000.0], np.int16, None, None) == [-2, -32768, 32767]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_huge_values_clip_and_do_not_wrap(dtype: type) -> None:
    info = np.iinfo(dtype)
    low, high = restore(np.array([[[-1e30, 1e30]]]), dtype).ravel().tolist()
    assert low == info.min
    assert info.max * (1 - 1e-15) <= high <= info.max


def test_valid_pixels_step_off_nodata_to_the_nearer_side() -> None:
    assert _restore_line([6.6, 7.4, 7.0, 6.4, 7.6], np.uint16, None, 7) == [6, 8, 8, 6, 8]
    assert _restore_line([-5.0, 0.4, 1.0], np.uint16, None, 0) == [1, 1, 1]
    assert _restore_line([65534.9, 70000.0, 65534.0], np.uint16, None, 65535) == [65534, 65534, 65534]
    assert _restore_line([-32768.0], np.int16, None, -32768) == [-32767]


def test_masked_pixels_get_nodata_even_from_nan() -> None:
    assert _restore_line([np.nan, 5.0, np.inf], np.int16, [False, True, False], -32768) == [-32768, 5, -32768]
    restored = _restore_line([3.0, 5.25], np.float32, [False, True], None)
    assert np.isnan(restored[0])
    assert restored[1] == 5.25


@settings(deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64]),
    nodata=st.sampled_from([0, 1, 7, 100, 127, None, "max", "min"]),
    seed=st.integers(0, 2**16),
)
def test_decoded_mask_is_the_original_one(dtype: type, nodata: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    value = {"max": info.max, "min": info.min}.get(nodata, nodata)
    mask = rng.random((2, 3, 4, 5)) < 0.6
    if value is None and np.dtype(dtype).kind != "f":
        mask[:] = True
    around = 0.0 if value is None or abs(value) > 1e9 else float(value)
    x_hat = (around + rng.integers(-2, 3, mask.shape)).astype(np.float32)  # many collisions
    if isinstance(nodata, str) and np.dtype(dtype).kind == "f":
        x_hat = np.full(mask.shape, value, np.float64)
    out = restore(x_hat, dtype, mask, value)
    assert out.dtype == dtype
    np.testing.assert_array_equal(valid_mask(out, value), mask)


def test_floats_are_not_rounded() -> None:
    x = np.random.default_rng(0).normal(2000, 1000, (3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(restore(x, np.float32), x)
    np.testing.assert_array_equal(restore(x, np.float64), x.astype(np.float64))


def test_a_float_beyond_its_dtype_stays_finite() -> None:
    assert np.isfinite(restore(np.array([[[1e300, -1e300]]]), np.float32)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_valid_pixel_that_is_not_finite_is_an_error(bad: float, dtype: type) -> None:
    with pytest.raises(CodecError, match="NaN or infinite"):
        restore(np.array([[[1.0, bad]]]), dtype)


@pytest.mark.parametrize("nodata", [None, np.nan, 0.5, -1, 65536, np.inf])
def test_nodata_that_the_dtype_cannot_hold_is_refused(nodata: float | None) -> None:
    with pytest.raises(InputError, match="nodata"):
        restore(np.zeros((1, 1, 2)), np.uint16, np.array([[[True, False]]]), nodata)
    with pytest.raises(InputError):
        nodata_value(np.uint16, nodata)


@pytest.mark.parametrize("nodata", [None, np.nan, 0.5, -1, 65536, np.inf])
def test_without_masked_pixels_any_nodata_will_do(nodata: float | None) -> None:
    assert restore(np.full((1, 1, 2), 3.0), np.uint16, None, nodata).tolist() == [[[3, 3]]]


def test_input_is_not_changed() -> None:
    x = np.array([[[1.5, np.nan]]], np.float32)
    for dtype in (np.uint16, np.float32):
        restore(x, dtype, np.array([[[True, False]]]), 0)
    assert x[0, 0, 0] == 1.5
    assert np.isnan(x[0, 0, 1])


def test_reflectance_is_told_from_dn() -> None:
    rng = np.random.default_rng(0)
    reflectance = rng.gamma(2, 0.1, (12, 32, 32)).astype(np.float32)
    reflectance[0, 0, :5] = 12.0  # a few hot pixels
    assert looks_like_reflectance(reflectance)
    assert looks_like_reflectance(reflectance.astype(np.float64) - 0.05)
    assert not looks_like_reflectance(reflectance * 10_000)
    assert not looks_like_reflectance((reflectance * 10_000).astype(np.uint16))
    assert not looks_like_reflectance((reflectance > 0.2).astype(np.uint8))


def test_reflectance_among_nodata() -> None:
    dn = np.full((1, 100, 100), 0.0, np.float32)
    assert not looks_like_reflectance(dn)
    dn[0, 0, :20] = 1503.5
    assert not looks_like_reflectance(dn)  # zeros do not make it reflectance
    assert looks_like_reflectance(dn / 10_000)
    masked = np.full((1, 10, 10), -9999.0, np.float32)
    masked[0, 0] = 0.15
    assert looks_like_reflectance(masked, masked != -9999)
    assert not looks_like_reflectance(masked, np.zeros(masked.shape, bool))
    assert not looks_like_reflectance(np.full((1, 4, 4), np.nan, np.float32))
    assert not looks_like_reflectance(np.float32([[0, 1, 2, 1]]))  # whole numbers: a dark scene in DN
