"""PCHIP against SciPy; Bjontegaard differences of curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.errors import InputError
from eocodec.metrics import bd_psnr, bd_rate, clean_curve, overlap
from eocodec.metrics.bdrate import pchip

RATES = np.array([0.1, 0.2, 0.4, 0.7, 1.3])
PSNR = np.array([35.0, 38.2, 41.0, 43.9, 47.0])


@settings(deadline=None)
@given(n=st.integers(2, 12), seed=st.integers(0, 2**16), monotone=st.booleans())
def test_pchip_equals_scipy(n: int, seed: int, monotone: bool) -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.01, 3, n))
    y = np.cumsum(rng.uniform(0, 1, n)) if monotone else rng.integers(-3, 4, n).astype(float)
    at = np.concatenate([x, rng.uniform(x[0], x[-1], 50)])
    np.testing.assert_allclose(pchip(x, y, at), interpolate.PchipInterpolator(x, y)(at), atol=1e-10)


def test_pchip_refuses_what_it_cannot_interpolate() -> None:
    for x, y in (([1.0], [1.0]), ([1.0, 1.0], [1.0, 2.0]), ([2.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(InputError):
            pchip(x, y, [1.0])
    for at in (0.9, 2.1, np.nan):
        with pytest.raises(InputError):
            pchip([1.0, 2.0], [1.0, 2.0], [at])


def test_a_scaled_rate_is_that_many_percent() -> None:
    assert bd_rate(RATES, PSNR, RATES, PSNR) == pytest.approx(0, abs=1e-9)
    assert bd_rate(RATES, PSNR, 0.5 * RATES, PSNR) == pytest.approx(-50)
    assert bd_rate(RATES, PSNR, 1.6 * RATES, PSNR) == pytest.approx(60)
    assert bd_rate(RATES, PSNR, 0.35 * RATES, PSNR, low=36, high=46) == pytest.approx(-65)


def test_a_shifted_quality_is_that_many_db() -> None:
    assert bd_psnr(RATES, PSNR, RATES, PSNR + 1.5) == pytest.approx(1.5)
    assert bd_psnr(RATES, PSNR, RATES, PSNR - 2, low=0.2, high=1.0) == pytest.approx(-2)


def test_rate_difference_equals_the_integral_by_scipy() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    test_rates, test_psnr = np.array([0.05, 0.15, 0.3, 0.9]), np.array([34.0, 39.0, 42.0, 46.0])
    curves = [
        interpolate.PchipInterpolator(q, np.log(r)) for r, q in ((RATES, PSNR), (test_rates, test_psnr))
    ]
    for low, high in ((None, None), (36, 45), (36, 60)):
        start, stop = overlap(PSNR, test_psnr, low=low, high=high)
        difference = (curves[1].integrate(start, stop) - curves[0].integrate(start, stop)) / (stop - start)
        expected = 100 * (np.exp(difference) - 1)
        assert bd_rate(RATES, PSNR, test_rates, test_psnr, low=low, high=high) == pytest.approx(expected)


def test_a_difference_outside_the_window_does_not_count() -> None:
    bent = RATES.copy()
    bent[-1] *= 3  # beyond 43.9 dB
    assert bd_rate(RATES, PSNR, bent, PSNR) > 5
    assert bd_rate(RATES, PSNR, bent, PSNR, high=41.0) == pytest.approx(0, abs=1e-9)


def test_swapping_the_curves_inverts_the_ratio() -> None:
    other = RATES * [0.5, 0.6, 0.8, 0.9, 0.9]
    forth, back = bd_rate(RATES, PSNR, other, PSNR), bd_rate(other, PSNR, RATES, PSNR)
    assert (1 + forth / 100) * (1 + back / 100) == pytest.approx(1)


def test_order_and_useless_points_do_not_matter() -> None:
    shuffled = [3, 0, 4, 2, 1]
    rates = np.append(RATES[shuffled], [0.5, 0.4, 0.1])  # worse than 0.4 -> 41.0, equal rate twice
    psnr = np.append(PSNR[shuffled], [40.9, 30.0, 35.0])
    cleaned = clean_curve(rates, psnr)
    np.testing.assert_array_equal(cleaned[0], RATES)
    np.testing.assert_array_equal(cleaned[1], PSNR)
    assert bd_rate(RATES, PSNR, rates, psnr) == pytest.approx(0, abs=1e-9)


def test_overlap_is_stated() -> None:
    assert overlap([35, 47], [34, 46]) == (35.0, 46.0)
    assert overlap([35, 47], [34, 46], low=36, high=50) == (36.0, 46.0)


def test_no_overlap_is_named() -> None:
    with pytest.raises(InputError, match="do not overlap"):
        bd_rate(RATES, PSNR, RATES, PSNR + 20)
    with pytest.raises(InputError, match="between 50 and 60"):
        bd_rate(RATES, PSNR, RATES, PSNR, low=50, high=60)
    with pytest.raises(InputError, match="do not overlap"):
        bd_psnr(RATES, PSNR, RATES * 100, PSNR)


def test_bad_curves_are_named() -> None:
    for rates, psnr in (
        ([0.1, 0.2], [40.0, 39.0]),
        ([0.0, 0.2], [40.0, 42.0]),
        ([0.1, np.nan], [40.0, 42.0]),
        ([0.1, 0.2], [40.0, np.inf]),
        ([0.1, 0.2, 0.3], [40.0, 42.0]),
        ([], []),
    ):
        with pytest.raises(InputError):
            clean_curve(rates, psnr)
    with pytest.raises(InputError, match="must be positive"):
        bd_psnr(RATES, PSNR, RATES, PSNR, low=0)


@pytest.mark.parametrize("seed", range(5))
def test_differences_equal_those_of_the_package_bjontegaard(seed: int) -> None:
    reference = pytest.importorskip("bjontegaard", reason="no bjontegaard: pip install bjontegaard")
    rng = np.random.default_rng(seed)
    rates = [np.cumsum(rng.uniform(0.05, 0.4, 5)) for _ in range(2)]
    quality = [34 + np.cumsum(rng.uniform(1, 4, 5)) for _ in range(2)]
    ours = (rates[0], quality[0], rates[1], quality[1])
    options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    assert bd_rate(*ours) == pytest.approx(reference.bd_rate(*ours, **options), rel=1e-3, abs=1e-3)
    assert bd_psnr(*ours) == pytest.approx(reference.bd_psnr(*ours, **options), rel=1e-3, abs=1e-3)
