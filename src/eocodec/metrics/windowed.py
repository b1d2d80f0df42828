"""Structural similarity (SSIM) and its multi-scale form, band by band, over wholly valid windows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eocodec.metrics.prepare import bands_of, check_pair
from eocodec.types import AnyArray, BoolArray

_Float64 = NDArray[np.float64]

WINDOW = 11  # pixels; with sigma 1.5 the setting of Wang et al. 2004
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, finest scale first


def _gaussian_taps() -> _Float64:
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    taps /= taps.sum()
    return taps


_TAPS = _gaussian_taps()


def ssim(
    x: AnyArray, x_hat: AnyArray, *, data_range: float = 10_000.0, mask: BoolArray | None = None
) -> float:
    """Structural similarity: mean over a plane's windows, then over timesteps, then over bands.

    Parameters
    ----------
    x, x_hat : [..., C, H, W], any numeric dtype, DN
    data_range : DN between black and white, for the stabilising constants
    mask : same shape or broadcastable, True = valid; windows that hold an invalid pixel are left out
    Returns
    -------
    -1 to 1; NaN if no window fits (below 11 x 11 pixels, or too few valid ones)
    Raises
    ------
    InputError : shapes differ
    Notes
    -----
    Wang et al. 2004 (IEEE TIP 13(4)): Gaussian window 11 x 11, sigma 1.5, K1 0.01, K2 0.03, population
    covariance; only whole windows count (no padding at the borders).
    """
    return mean_known(ssim_per_band(x, x_hat, data_range=data_range, mask=mask).tolist())


def ssim_per_band(
    x: AnyArray, x_hat: AnyArray, *, data_range: float = 10_000.0, mask: BoolArray | None = None
) -> _Float64:
    """SSIM of each band, [C] float64; parameters, NaN and errors as in `ssim`."""
    check_pair(x, x_hat, mask)
    planes = bands_of(x, x_hat, mask)
    return _band_means([_plane_terms(a, b, valid, data_range)[0] for a, b, valid in planes], x.shape[-3])


def ms_ssim(
    x: AnyArray, x_hat: AnyArray, *, data_range: float = 10_000.0, mask: BoolArray | None = None
) -> float:
    """Multi-scale structural similarity: five scales, each half the size of the one before.

    Parameters
    ----------
    x, x_hat, data_range, mask : as in `ssim`; a coarse pixel is valid if its four fine ones are
    Returns
    -------
    0 to 1; NaN if no window fits at the coarsest scale (below 176 x 176 pixels, or too few valid ones)
    Raises
    ------
    InputError : shapes differ
    Notes
    -----
    Wang, Simoncelli, Bovik 2003: contrast-structure terms of the four finer scales times the SSIM of the
    coarsest, with their exponents. Downsampling is the mean of 2 x 2 pixels, an odd last line dropped. A
    negative mean term counts as 0.
    """
    check_pair(x, x_hat, mask)
    planes = bands_of(x, x_hat, mask)
    values = [_plane_ms_ssim(a, b, valid, data_range) for a, b, valid in planes]
    return mean_known(_band_means(values, x.shape[-3]).tolist())


def mean_known(values: list[float]) -> float:
    """Mean of what is not NaN; NaN if nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _band_means(values: list[float], n_bands: int) -> _Float64:
    """Means over timesteps [C] of the planes' values, which come timestep by timestep."""
    return np.array([mean_known(values[band::n_bands]) for band in range(n_bands)])


def _plane_ms_ssim(x: _Float64, x_hat: _Float64, valid: BoolArray | None, data_range: float) -> float:
    product = 1.0
    for scale, weight in enumerate(MS_WEIGHTS):
        if scale:
            x, x_hat = _halve(x), _halve(x_hat)
            valid = None if valid is None else _halve(valid.astype(np.float64)) == 1.0
        full, contrast = _plane_terms(x, x_hat, valid, data_range)
        term = full if scale == len(MS_WEIGHTS) - 1 else contrast
        if math.isnan(term):
            return math.nan
        product *= max(term, 0.0) ** weight
    return product


def _plane_terms(
    x: _Float64, x_hat: _Float64, valid: BoolArray | None, data_range: float
) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure term of one plane [H, W]; NaN if no window fits."""
    if min(x.shape) < WINDOW:
        return math.nan, math.nan
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_x, mean_y = _blur(x), _blur(x_hat)
    cov = _blur(x * x_hat) - mean_x * mean_y
    power = _blur(x * x + x_hat * x_hat) - mean_x * mean_x - mean_y * mean_y
    contrast = (2 * cov + c2) / (power + c2)
    full = contrast * (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    if valid is not None:
        whole = _whole_windows(valid)
        if not whole.any():
            return math.nan, math.nan
        full, contrast = full[whole], contrast[whole]
    return float(full.mean()), float(contrast.mean())


def _blur(x: _Float64) -> _Float64:
    """Gaussian means of all whole windows, [H, W] -> [H - 10, W - 10]."""
    return _correlate_rows(_correlate_rows(x).T).T


def _correlate_rows(x: _Float64) -> _Float64:
    """Weighted sum of 11 successive rows; the taps are symmetric, so rows are added in pairs first."""
    n = x.shape[0] - WINDOW + 1
    half = WINDOW // 2
    out: _Float64 = x[half : half + n] * _TAPS[half]
    for tap in range(half):
        mirrored = WINDOW - 1 - tap
        out += (x[tap : tap + n] + x[mirrored : mirrored + n]) * _TAPS[tap]
    return out


def _whole_windows(valid: BoolArray) -> BoolArray:
    """True where all pixels of a window are valid, from a summed-area table."""
    table = np.pad(np.cumsum(np.cumsum(valid, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    counts = table[WINDOW:, WINDOW:] - table[:-WINDOW, WINDOW:] - table[WINDOW:, :-WINDOW]
    return np.asarray(counts + table[:-WINDOW, :-WINDOW] == WINDOW * WINDOW)


def _halve(x: _Float64) -> _Float64:
    """Means of 2 x 2 pixels, an odd last line dropped."""
    rows, cols = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    x = x[:rows, :cols]
    sums: _Float64 = x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]
    return sums / 4
