"""SSIM against scikit-image; MS-SSIM against a direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eocodec.errors import InputError
from eocodec.metrics import ms_ssim, ssim, ssim_per_band
from eocodec.metrics.windowed import MS_WEIGHTS

ndimage = pytest.importorskip("scipy.ndimage")


def _scene(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (*[0] * (len(shape) - 2), 3, 3))
    return (2500 + 8000 * smooth).clip(0).astype(np.uint16)


X = _scene((3, 60, 71))
X_HAT = (X + np.random.default_rng(1).normal(0, 150, X.shape)).clip(0).astype(np.uint16)


def test_ssim_equals_scikit_image() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    for data_range in (10_000, 3_000):
        expected = [
            skimage.structural_similarity(
                a.astype(float),
                b.astype(float),
                data_range=data_range,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for a, b in zip(X, X_HAT, strict=True)
        ]
        np.testing.assert_allclose(ssim_per_band(X, X_HAT, data_range=data_range), expected, atol=1e-10)
        assert ssim(X, X_HAT, data_range=data_range) == pytest.approx(np.mean(expected), abs=1e-10)


def test_ssim_leaves_out_windows_with_invalid_pixels() -> None:
    mask = np.ones(X.shape, bool)
    mask[:, :, 40:] = False
    spoilt = X_HAT.astype(np.float32)
    spoilt[~mask] = np.nan
    assert ssim(X, spoilt, mask=mask) == pytest.approx(ssim(X[..., :40], X_HAT[..., :40]), abs=1e-12)
    hole = np.ones(X.shape, bool)
    hole[1] = False
    assert np.isnan(ssim_per_band(X, X_HAT, mask=hole)).tolist() == [False, True, False]
    assert ssim(X, X_HAT, mask=hole) == pytest.approx(ssim(X[::2], X_HAT[::2]))


def test_ssim_of_series_is_the_mean_over_times() -> None:
    x, x_hat = np.stack([X, X[:, ::-1]]), np.stack([X_HAT, X[:, ::-1]])
    np.testing.assert_allclose(ssim_per_band(x, x_hat), (ssim_per_band(X, X_HAT) + 1) / 2)


def test_identical_images_have_similarity_one() -> None:
    big = _scene((1, 180, 190))
    assert ssim(X, X) == pytest.approx(1, abs=1e-12)
    assert ms_ssim(big, big) == pytest.approx(1, abs=1e-12)


def test_one_window_is_the_formula() -> None:
    a, b = X[0, :11, :11].astype(float), X_HAT[0, :11, :11].astype(float)
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weight = np.outer(taps, taps) / taps.sum() ** 2
    mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
    cov = (weight * (a - mean_a) * (b - mean_b)).sum()
    power = (weight * (a - mean_a) ** 2).sum() + (weight * (b - mean_b) ** 2).sum()
    expected = (2 * mean_a * mean_b + 1e4) / (mean_a**2 + mean_b**2 + 1e4) * (2 * cov + 9e4) / (power + 9e4)
    assert ssim(a[None], b[None]) == pytest.approx(expected, rel=1e-9)


def _direct_ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """One plane, by two-dimensional correlation and block means."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2

    def blur(a: np.ndarray) -> np.ndarray:
        return ndimage.correlate(a, kernel)[5:-5, 5:-5]

    product = 1.0
    for scale, weight in enumerate(MS_WEIGHTS):
        cov = blur(x * y) - blur(x) * blur(y)
        power = blur(x * x) - blur(x) ** 2 + blur(y * y) - blur(y) ** 2
        term = (2 * cov + 9e4) / (power + 9e4)
        if scale == 4:
            term = term * (2 * blur(x) * blur(y) + 1e4) / (blur(x) ** 2 + blur(y) ** 2 + 1e4)
        product *= term.mean() ** weight
        x, y = (a[: len(a) // 2 * 2, : a.shape[1] // 2 * 2] for a in (x, y))
        x, y = (a.reshape(len(a) // 2, 2, -1, 2).mean(axis=(1, 3)) for a in (x, y))
    return product


def test_ms_ssim_equals_the_direct_computation() -> None:
    x = _scene((2, 183, 200))
    y = (x + np.random.default_rng(2).normal(0, 600, x.shape)).clip(0)
    expected = [_direct_ms_ssim(a.astype(float), b.astype(float)) for a, b in zip(x, y, strict=True)]
    assert ms_ssim(x, y) == pytest.approx(np.mean(expected), rel=1e-9)
    mask = np.ones((1, 183, 200), bool)
    mask[:, :, 184:] = False
    assert ms_ssim(x, y, mask=mask) == pytest.approx(ms_ssim(x[..., :184], y[..., :184]), rel=1e-9)


def test_ms_ssim_falls_with_noise_and_never_below_zero() -> None:
    x = _scene((1, 176, 176)).astype(float)
    noise = np.random.default_rng(3).normal(size=x.shape)
    values = [ms_ssim(x, x + sigma * noise) for sigma in (10, 100, 1000, 5000)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.99
    assert ms_ssim(x, 5000 - x) == 0.0


def test_too_small_is_nan() -> None:
    assert math.isnan(ssim(X[..., :10], X_HAT[..., :10]))
    assert not math.isnan(ssim(X[..., :11], X_HAT[..., :11]))
    assert math.isnan(ms_ssim(_scene((1, 175, 300)), _scene((1, 175, 300))))
    assert math.isnan(ssim(X, X_HAT, mask=np.zeros(X.shape, bool)))


def test_shapes_that_differ_are_refused() -> None:
    for metric in (ssim, ms_ssim):
        with pytest.raises(InputError):
            metric(X, X_HAT[:2])
