"""Distortion between an array and its reconstruction, in DN, over valid pixels. SSIM is in `windowed`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import BandError
from eocodec.metrics.prepare import bands_of, check_pair
from eocodec.sensors import band_index
from eocodec.types import AnyArray, BoolArray

_Float64 = NDArray[np.float64]

PEAK_DN = 10_000.0  # reflectance 1
# (a - b) / (a + b) of these bands; NDWI is McFeeters' (1996), of open water
INDICES: dict[str, tuple[str, str]] = {"NDVI": ("B08", "B04"), "NDWI": ("B03", "B08")}


def squared_errors(
    x: AnyArray, x_hat: AnyArray, mask: BoolArray | None = None
) -> tuple[_Float64, NDArray[np.int64]]:
    """Sum of squared errors and number of valid pixels of each band, over all timesteps.

    They add up over tiles, so that the PSNR of a raster larger than memory is exact.

    Parameters
    ----------
    x, x_hat : [..., C, H, W], any numeric dtype, DN
    mask : same shape or broadcastable, True = valid; None: all valid
    Returns
    -------
    sums : [C], DN^2
    counts : [C]
    Raises
    ------
    InputError : shapes differ
    """
    check_pair(x, x_hat, mask)
    n_bands, rows, cols = x.shape[-3:]
    sums, counts = [], []
    for a, b, valid in bands_of(x, x_hat, mask):
        error = (a - b).ravel()  # invalid pixels are 0 in both
        sums.append(float(error @ error))
        counts.append(rows * cols if valid is None else int(np.count_nonzero(valid)))
    by_band = np.array(sums).reshape(-1, n_bands).sum(axis=0)
    return by_band, np.array(counts, dtype=np.int64).reshape(-1, n_bands).sum(axis=0)


@overload
def mse(
    x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = ..., per_band: Literal[False] = ...
) -> float: ...
@overload
def mse(
    x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = ..., per_band: Literal[True]
) -> _Float64: ...
def mse(
    x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = None, per_band: bool = False
) -> float | _Float64:
    """Mean squared error over the valid pixels [DN^2].

    Parameters
    ----------
    x, x_hat, mask : as in `squared_errors`
    per_band : one value for each band instead of one over all pixels of all bands
    Returns
    -------
    float, or [C] float64; NaN where no pixel is valid
    Raises
    ------
    InputError : shapes differ
    """
    sums, counts = squared_errors(x, x_hat, mask)
    if not per_band:
        return float(sums.sum() / counts.sum()) if counts.any() else math.nan
    by_band: _Float64 = np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=counts > 0)
    return by_band


@overload
def psnr(
    x: AnyArray,
    x_hat: AnyArray,
    *,
    peak: float = ...,
    mask: BoolArray | None = ...,
    per_band: Literal[False] = ...,
) -> float: ...
@overload
def psnr(
    x: AnyArray, x_hat: AnyArray, *, peak: float = ..., mask: BoolArray | None = ..., per_band: Literal[True]
) -> _Float64: ...
def psnr(
    x: AnyArray,
    x_hat: AnyArray,
    *,
    peak: float = PEAK_DN,
    mask: BoolArray | None = None,
    per_band: bool = False,
) -> float | _Float64:
    """Peak signal-to-noise ratio [dB]: `10 log10(peak^2 / mse)`.

    Parameters
    ----------
    x, x_hat, mask, per_band : as in `mse`; the value over all bands is that of their pooled error, not the
        mean of the bands' values
    peak : DN
    Returns
    -------
    float, or [C] float64; infinite for identical pixels, NaN where no pixel is valid
    Raises
    ------
    InputError : shapes differ
    """
    if per_band:
        return mse_to_psnr(mse(x, x_hat, mask=mask, per_band=True), peak)
    return float(mse_to_psnr(np.array(mse(x, x_hat, mask=mask)), peak))


def mse_to_psnr(values: _Float64, peak: float = PEAK_DN) -> _Float64:
    """PSNR [dB] of mean squared errors [DN^2], any shape; infinite where the error is 0."""
    with np.errstate(divide="ignore"):
        return 20 * math.log10(peak) - 10 * np.log10(values)


@overload
def max_error(
    x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = ..., per_band: Literal[False] = ...
) -> float: ...
@overload
def max_error(
    x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = ..., per_band: Literal[True]
) -> _Float64: ...
def max_error(
    x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = None, per_band: bool = False
) -> float | _Float64:
    """Largest absolute error of a valid pixel [DN]; parameters, NaN and errors as in `mse`."""
    check_pair(x, x_hat, mask)
    worst = [
        math.nan if valid is not None and not valid.any() else float(np.abs(a - b).max())
        for a, b, valid in bands_of(x, x_hat, mask)
    ]
    by_plane = np.array(worst).reshape(-1, x.shape[-3])
    by_band: _Float64 = np.fmax.reduce(by_plane, axis=0)  # fmax: NaN only where all are
    return by_band if per_band else float(np.fmax.reduce(by_band))


def sam(x: AnyArray, x_hat: AnyArray, *, mask: BoolArray | None = None) -> float:
    """Spectral angle [degrees], mean over the pixels whose bands are all valid.

    Parameters
    ----------
    x, x_hat, mask : as in `mse`
    Returns
    -------
    0 to 180; NaN if no pixel has all bands valid. Two zero spectra are at 0, one zero spectrum at 90.
    Raises
    ------
    InputError : shapes differ
    Notes
    -----
    Kruse et al. 1993, computed as `2 atan2(|u |v| - v |u||, |u |v| + v |u||)` (Kahan), which does not lose
    small angles to the arccosine.
    """
    check_pair(x, x_hat, mask)
    n_bands, rows, cols = x.shape[-3:]
    masks = np.broadcast_to(np.True_ if mask is None else mask, x.shape).reshape(-1, n_bands, rows * cols)
    pairs = zip(x.reshape(masks.shape), x_hat.reshape(masks.shape), strict=True)
    total, count = 0.0, 0
    for (a, b), mask_t in zip(pairs, masks, strict=True):
        valid = mask_t.all(axis=0)
        total += float(_angles(a[:, valid].astype(np.float64), b[:, valid].astype(np.float64)).sum())
        count += int(np.count_nonzero(valid))
    return math.degrees(total / count) if count else math.nan


def _angles(u: _Float64, v: _Float64) -> _Float64:
    """Angle [rad] between the columns of two [C, n] arrays."""
    norm_u, norm_v = np.sqrt((u * u).sum(axis=0)), np.sqrt((v * v).sum(axis=0))
    difference = u * norm_v - v * norm_u
    total = u * norm_v + v * norm_u
    angle = 2 * np.arctan2(np.sqrt((difference**2).sum(axis=0)), np.sqrt((total**2).sum(axis=0)))
    return np.where((norm_u == 0) != (norm_v == 0), math.pi / 2, angle)


def index_error(
    x: AnyArray, x_hat: AnyArray, band_names: Sequence[str], *, mask: BoolArray | None = None
) -> dict[str, float]:
    """Mean absolute error of the normalised-difference indices NDVI and NDWI.

    Parameters
    ----------
    x, x_hat, mask : as in `mse`; DN without radiometric offset, or the indices are not those of reflectance
    band_names : [C], as `sensors.band_index` reads them
    Returns
    -------
    index name -> mean of |index(x) - index(x_hat)| (range of an index: -1 to 1) over the pixels where both
    bands are valid and both sums positive; NaN if there are none. Without its bands, an index is absent.
    Raises
    ------
    InputError : shapes differ
    BandError : not one name for each band
    """
    check_pair(x, x_hat, mask)
    if len(band_names) != x.shape[-3]:
        raise BandError(f"{len(band_names)} band names for {x.shape[-3]} bands")
    positions = {band_index(name): position for position, name in enumerate(band_names)}
    masks = np.broadcast_to(np.True_ if mask is None else mask, x.shape)
    errors = {}
    for name, pair in INDICES.items():
        first, second = (positions.get(band_index(band)) for band in pair)
        if first is None or second is None:
            continue
        valid = masks[..., first, :, :] & masks[..., second, :, :]
        index, ok = _normalised_difference(x, first, second)
        index_hat, ok_hat = _normalised_difference(x_hat, first, second)
        valid = valid & ok & ok_hat
        errors[name] = float(np.abs(index - index_hat)[valid].mean()) if valid.any() else math.nan
    return errors


def _normalised_difference(x: AnyArray, first: int, second: int) -> tuple[_Float64, BoolArray]:
    """(a - b) / (a + b), and where the sum is positive; reflectances below 0 are clipped to 0."""
    a, b = (np.maximum(x[..., band, :, :].astype(np.float64), 0.0) for band in (first, second))
    total = a + b
    positive = np.asarray(total > 0)
    return np.divide(a - b, total, out=np.zeros_like(total), where=positive), positive
