"""Bjontegaard differences between two rate-distortion curves, with monotone cubic interpolation (PCHIP).

Bjontegaard, VCEG-M33 (2001), defines the mean difference between fitted curves; PCHIP in place of his cubic
polynomial as in JCTVC practice, since it passes through the points and cannot overshoot between them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eocodec.errors import InputError

_Float64 = NDArray[np.float64]


def pchip(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> _Float64:
    """Piecewise cubic Hermite interpolation with the slopes of Fritsch and Butland (1984).

    Parameters
    ----------
    x : [n], n >= 2, strictly increasing
    y : [n]
    at : [m], within [x[0], x[-1]]
    Returns
    -------
    [m], float64; monotone wherever `y` is
    Raises
    ------
    InputError : fewer than two points, `x` not strictly increasing, or a point of `at` outside
    """
    knots, values, points = (np.asarray(v, dtype=np.float64) for v in (x, y, at))
    if knots.size < 2 or knots.shape != values.shape or not (np.diff(knots) > 0).all():
        raise InputError("interpolation needs two or more points with strictly increasing x")
    if points.size and not (points.min() >= knots[0] and points.max() <= knots[-1]):
        raise InputError(f"points outside the curve's {knots[0]:g} to {knots[-1]:g}")
    slopes = _slopes(np.diff(knots), np.diff(values) / np.diff(knots))
    left = np.clip(np.searchsorted(knots, points, side="right") - 1, 0, knots.size - 2)
    step = knots[left + 1] - knots[left]
    t = (points - knots[left]) / step
    rise = values[left + 1] - values[left]
    bend_left, bend_right = step * slopes[left] - rise, rise - step * slopes[left + 1]
    out: _Float64 = values[left] + t * rise + t * (1 - t) * ((1 - t) * bend_left + t * bend_right)
    return out


def _slopes(steps: _Float64, secants: _Float64) -> _Float64:
    """Derivatives at the knots: weighted harmonic means of the secants, zero at a turning point."""
    if secants.size == 1:
        return np.repeat(secants, 2)
    before, after = secants[:-1], secants[1:]
    w_before, w_after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    same = before * after > 0
    safe = [np.where(same, s, 1.0) for s in (before, after)]
    inner = np.where(same, (w_before + w_after) / (w_before / safe[0] + w_after / safe[1]), 0.0)
    first = _end_slope(steps[0], steps[1], secants[0], secants[1])
    last = _end_slope(steps[-1], steps[-2], secants[-1], secants[-2])
    return np.concatenate([[first], inner, [last]])


def _end_slope(step: float, step_2: float, secant: float, secant_2: float) -> float:
    """One-sided three-point derivative at an end, limited so that the curve stays monotone."""
    slope = ((2 * step + step_2) * secant - step * secant_2) / (step + step_2)
    if slope * secant <= 0:
        return 0.0
    if secant * secant_2 <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope


def clean_curve(rates: ArrayLike, psnr: ArrayLike) -> tuple[_Float64, _Float64]:
    """Sort a rate-distortion curve by rate and drop every point that costs more without being better.

    Parameters
    ----------
    rates : [n], > 0, any unit
    psnr : [n], dB (or another quality, larger is better)
    Returns
    -------
    rates, psnr : [m], float64, both strictly increasing, m >= 2
    Raises
    ------
    InputError : sizes differ, a value is not finite, a rate is not positive, or fewer than two points remain
    """
    r, q = np.asarray(rates, dtype=np.float64), np.asarray(psnr, dtype=np.float64)
    if r.ndim != 1 or r.shape != q.shape:
        raise InputError(f"a curve needs as many rates as PSNR values, not {r.shape} and {q.shape}")
    if not (np.isfinite(r).all() and np.isfinite(q).all() and (r > 0).all()):
        raise InputError("a curve has a rate that is not positive, or a value that is not finite")
    order = np.lexsort((-q, r))
    r, q = r[order], q[order]
    keep = q > np.concatenate([[-math.inf], np.maximum.accumulate(q)[:-1]])
    if np.count_nonzero(keep) < 2:
        raise InputError("a curve needs two points where a higher rate gives a higher PSNR")
    return r[keep], q[keep]


def overlap(
    first: ArrayLike, second: ArrayLike, *, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """The range that both sets of values cover, clipped to [low, high].

    Raises
    ------
    InputError : there is none, or it is a single point
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    start = max(a.min(), b.min(), -math.inf if low is None else low)
    stop = min(a.max(), b.max(), math.inf if high is None else high)
    if not start < stop:
        raise InputError(
            f"the curves {a.min():.4g} to {a.max():.4g} and {b.min():.4g} to {b.max():.4g} do not overlap"
            + ("" if low is None and high is None else f" between {low} and {high}")
        )
    return float(start), float(stop)


def _mean(x: _Float64, y: _Float64, start: float, stop: float) -> float:
    """Mean of the PCHIP curve over [start, stop]; Simpson's rule is exact for its cubic pieces."""
    edges = np.concatenate([[start], x[(x > start) & (x < stop)], [stop]])
    middles = (edges[:-1] + edges[1:]) / 2
    at_edges, at_middles = pchip(x, y, edges), pchip(x, y, middles)
    pieces = np.diff(edges) * (at_edges[:-1] + 4 * at_middles + at_edges[1:]) / 6
    return float(pieces.sum() / (stop - start))


def bd_rate(
    anchor_rates: ArrayLike,
    anchor_psnr: ArrayLike,
    test_rates: ArrayLike,
    test_psnr: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """Mean rate difference of the test curve against the anchor at equal PSNR, in percent.

    Parameters
    ----------
    anchor_rates, test_rates : [n], [m], > 0, the same unit (bpppc, bytes, ...)
    anchor_psnr, test_psnr : [n], [m], dB
    low, high : dB; the mean is over the PSNR that both curves cover, clipped to these. State
        the range with the result: it is `overlap` of the two `clean_curve`s' PSNR.
    Returns
    -------
    percent; negative: the test codec needs fewer bits
    Raises
    ------
    InputError : no overlap, or a curve that `clean_curve` refuses
    """
    rate_a, psnr_a = clean_curve(anchor_rates, anchor_psnr)
    rate_t, psnr_t = clean_curve(test_rates, test_psnr)
    start, stop = overlap(psnr_a, psnr_t, low=low, high=high)
    anchor = _mean(psnr_a, np.log(rate_a), start, stop)
    test = _mean(psnr_t, np.log(rate_t), start, stop)
    return 100.0 * math.expm1(test - anchor)


def bd_psnr(
    anchor_rates: ArrayLike,
    anchor_psnr: ArrayLike,
    test_rates: ArrayLike,
    test_psnr: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """Mean PSNR difference of the test curve against the anchor at equal rate, in dB; positive is better.

    Parameters
    ----------
    anchor_rates, anchor_psnr, test_rates, test_psnr : as in `bd_rate`
    low, high : rates, > 0; the mean is over the logarithm of the rate, clipped to these
    Raises
    ------
    InputError : no overlap, a curve that `clean_curve` refuses, or `low` or `high` not positive
    """
    if (low is not None and low <= 0) or (high is not None and high <= 0):
        raise InputError(f"low {low} and high {high} are rates and must be positive")
    rate_a, psnr_a = clean_curve(anchor_rates, anchor_psnr)
    rate_t, psnr_t = clean_curve(test_rates, test_psnr)
    bounds = overlap(rate_a, rate_t, low=low, high=high)
    start, stop = math.log(bounds[0]), math.log(bounds[1])
    log_a, log_t = np.log(rate_a), np.log(rate_t)
    # exp and log do not invert each other exactly: stay within both curves
    start, stop = max(start, log_a[0], log_t[0]), min(stop, log_a[-1], log_t[-1])
    return _mean(log_t, psnr_t, start, stop) - _mean(log_a, psnr_a, start, stop)
