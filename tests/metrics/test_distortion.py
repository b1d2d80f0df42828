"""Masked errors, angles and indices against direct formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eocodec.errors import BandError, InputError
from eocodec.metrics import index_error, max_error, mse, psnr, sam, squared_errors
from eocodec.sensors import S2_BAND_NAMES

RNG = np.random.default_rng(0)
X = RNG.integers(0, 9000, (2, 3, 17, 19)).astype(np.uint16)
X_HAT = (X + RNG.integers(-20, 21, X.shape)).clip(0).astype(np.uint16)
MASK = RNG.random(X.shape) < 0.7


def test_mse_and_psnr_of_unsigned_arrays() -> None:
    error = X.astype(float) - X_HAT  # unsigned differences would wrap around
    assert mse(X, X_HAT) == pytest.approx((error**2).mean(), rel=1e-12)
    assert psnr(X, X_HAT) == pytest.approx(10 * math.log10(1e8 / (error**2).mean()), rel=1e-12)
    assert psnr(X, X_HAT, peak=65535) - psnr(X, X_HAT) == pytest.approx(20 * math.log10(6.5535))


def test_masked_pixels_do_not_count() -> None:
    spoilt = X_HAT.astype(np.float32)
    spoilt[~MASK] = np.nan
    error = (X.astype(float) - X_HAT)[MASK]
    assert mse(X, spoilt, mask=MASK) == pytest.approx((error**2).mean(), rel=1e-12)
    assert max_error(X, spoilt, mask=MASK) == np.abs(error).max()


def test_per_band_values_pool_to_the_total() -> None:
    sums, counts = squared_errors(X, X_HAT, MASK)
    np.testing.assert_array_equal(counts, MASK.sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(mse(X, X_HAT, mask=MASK, per_band=True), sums / counts)
    assert mse(X, X_HAT, mask=MASK) == pytest.approx(sums.sum() / counts.sum())
    for band in range(3):
        own = np.s_[:, band : band + 1]
        assert psnr(X, X_HAT, mask=MASK, per_band=True)[band] == pytest.approx(
            psnr(X[own], X_HAT[own], mask=MASK[own])
        )
        assert max_error(X, X_HAT, mask=MASK, per_band=True)[band] == max_error(
            X[own], X_HAT[own], mask=MASK[own]
        )


def test_sums_add_up_over_tiles() -> None:
    whole = squared_errors(X, X_HAT)[0]
    parts = [squared_errors(X[..., s, :], X_HAT[..., s, :])[0] for s in (slice(0, 8), slice(8, 17))]
    np.testing.assert_allclose(whole, parts[0] + parts[1])


def test_a_mask_broadcasts_over_bands_and_times() -> None:
    plane = MASK[0, 0]
    full = np.broadcast_to(plane, X.shape)
    assert mse(X, X_HAT, mask=plane) == mse(X, X_HAT, mask=full)
    assert sam(X, X_HAT, mask=plane) == sam(X, X_HAT, mask=full)


def test_identical_and_empty() -> None:
    nothing = np.zeros(X.shape, bool)
    assert psnr(X, X) == math.inf
    assert max_error(X, X) == sam(X, X) == 0.0
    for metric in (mse, psnr, max_error, sam):
        assert math.isnan(metric(X, X_HAT, mask=nothing))
    one_band = nothing.copy()
    one_band[:, 1] = True
    values = psnr(X, X_HAT, mask=one_band, per_band=True)
    assert np.isnan(values).tolist() == [True, False, True]


def test_spectral_angle_is_the_arccosine() -> None:
    u, v = X.astype(float), X_HAT.astype(float)
    cosine = (u * v).sum(axis=1) / np.sqrt((u**2).sum(axis=1) * (v**2).sum(axis=1))
    assert sam(X, X_HAT) == pytest.approx(np.degrees(np.arccos(cosine.clip(-1, 1))).mean(), rel=1e-6)
    assert sam(X, X * 3.0) == pytest.approx(0, abs=1e-9)  # brightness does not matter


def test_small_and_undefined_spectral_angles() -> None:
    one, tilted = np.array([1.0, 0.0]).reshape(2, 1, 1), np.array([1.0, 1e-9]).reshape(2, 1, 1)
    assert sam(one, tilted) == pytest.approx(math.degrees(1e-9), rel=1e-6)
    assert sam(one, one[::-1].copy()) == pytest.approx(90)
    assert sam(one, -one) == pytest.approx(180)
    assert sam(0 * one, one) == pytest.approx(90)
    assert sam(0 * one, 0 * one) == 0.0


def test_spectral_angle_needs_all_bands_of_a_pixel() -> None:
    mask = np.ones(X.shape, bool)
    mask[0, 1, 2, 3] = False
    full = mask.copy()
    full[0, :, 2, 3] = False
    spoilt = X_HAT.copy()
    spoilt[0, :, 2, 3] = (9000, 0, 0)
    assert sam(X, spoilt, mask=mask) == sam(X, X_HAT, mask=full)


def test_index_errors_by_hand() -> None:
    x = np.zeros((12, 1, 1))
    red, green, nir = (S2_BAND_NAMES.index(name) for name in ("B04", "B03", "B08"))
    x[red], x[green], x[nir] = 500, 600, 3500
    x_hat = x.copy()
    x_hat[nir] = 3000
    errors = index_error(x, x_hat, S2_BAND_NAMES)
    assert errors["NDVI"] == pytest.approx(3000 / 4000 - 2500 / 3500)
    assert errors["NDWI"] == pytest.approx(2900 / 4100 - 2400 / 3600)


def test_index_errors_follow_names_and_masks() -> None:
    x = RNG.uniform(100, 4000, (2, 8, 9))
    x_hat = x + 50
    errors = index_error(x, x_hat, ["b8", "B4"])
    assert list(errors) == ["NDVI"]
    assert errors == index_error(x[::-1], x_hat[::-1], ["B04", "B08"])
    mask = np.ones(x.shape, bool)
    mask[0, :4] = False
    assert index_error(x, x_hat, ["B08", "B04"], mask=mask)["NDVI"] == pytest.approx(
        index_error(x[:, 4:], x_hat[:, 4:], ["B08", "B04"])["NDVI"]
    )
    assert math.isnan(index_error(0 * x, 0 * x, ["B08", "B04"])["NDVI"])
    assert index_error(x, x_hat, ["red", "B11"]) == {}
    with pytest.raises(BandError):
        index_error(x, x_hat, ["B08"])


def test_shapes_that_do_not_fit_are_refused() -> None:
    bad_masks = (np.ones((2, 3, 17, 18), bool), np.ones(X.shape, np.uint8), np.ones((1, *X.shape), bool))
    for metric in (mse, psnr, max_error, sam):
        with pytest.raises(InputError):
            metric(X, X_HAT[..., 1:])
        with pytest.raises(InputError):
            metric(X[0, 0], X_HAT[0, 0])
        for mask in bad_masks:
            with pytest.raises(InputError):
                metric(X, X_HAT, mask=mask)
