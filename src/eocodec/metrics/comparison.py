"""All distortion metrics of two arrays at once, as a value that prints and goes through JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eocodec.errors import BandError
from eocodec.metrics import distortion, windowed
from eocodec.metrics.prepare import check_pair
from eocodec.types import AnyArray, BoolArray


@dataclass(frozen=True)
class BandComparison:
    """One band: its metrics over all timesteps, in DN and dB (NaN without valid pixels)."""

    name: str
    mse: float
    psnr: float
    ssim: float
    max_error: float
    n_valid: int


@dataclass(frozen=True)
class Comparison:
    """Two arrays compared over their valid pixels.

    `mse` [DN^2], `max_error` [DN]; `psnr` [dB] for `peak` [DN], infinite if identical; `ssim` and `ms_ssim`
    for a data range of `peak`; `sam` [degrees]; `index_error` by index name; `valid_share` 0 to 1. A metric
    without pixels to compute it from is NaN (small images: `ssim` below 11 pixels, `ms_ssim` below 176).
    """

    peak: float
    mse: float
    psnr: float
    ssim: float
    ms_ssim: float
    sam: float
    max_error: float
    index_error: dict[str, float]
    valid_share: float
    bands: tuple[BandComparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for `json.dumps`: NaN becomes None, an infinite PSNR (identical) the string "inf"."""
        plain: dict[str, Any] = _jsonable(asdict(self))
        return plain


def compare(
    x: AnyArray,
    x_hat: AnyArray,
    mask: BoolArray | None = None,
    band_names: Sequence[str] | None = None,
    *,
    peak: float = distortion.PEAK_DN,
) -> Comparison:
    """Compute every metric of this package between an array and its reconstruction.

    Parameters
    ----------
    x, x_hat : [T, C, H, W] or [C, H, W], any numeric dtype, DN
    mask : same shape or broadcastable, True = valid; None: all valid
    band_names : [C]; None: "1", "2", ... and no spectral indices
    peak : DN, for PSNR and as the data range of SSIM
    Returns
    -------
    Comparison
    Raises
    ------
    InputError : shapes differ
    BandError : not one name for each band
    """
    check_pair(x, x_hat, mask)
    n_bands = x.shape[-3]
    names = list(band_names) if band_names is not None else [str(n + 1) for n in range(n_bands)]
    if len(names) != n_bands:
        raise BandError(f"{len(names)} band names for {n_bands} bands")
    bands = _compare_bands(x, x_hat, mask, names, peak)
    n_valid = sum(band.n_valid for band in bands)
    total = distortion.mse(x, x_hat, mask=mask)
    return Comparison(
        peak=peak,
        mse=total,
        psnr=float(distortion.mse_to_psnr(np.array(total), peak)),
        ssim=windowed.mean_known([band.ssim for band in bands]),
        ms_ssim=windowed.ms_ssim(x, x_hat, data_range=peak, mask=mask),
        sam=distortion.sam(x, x_hat, mask=mask),
        max_error=float(np.fmax.reduce([band.max_error for band in bands])),
        index_error=distortion.index_error(x, x_hat, names, mask=mask) if band_names is not None else {},
        valid_share=n_valid / x.size,
        bands=bands,
    )


def _compare_bands(
    x: AnyArray, x_hat: AnyArray, mask: BoolArray | None, names: list[str], peak: float
) -> tuple[BandComparison, ...]:
    sums, counts = distortion.squared_errors(x, x_hat, mask)
    worst = distortion.max_error(x, x_hat, mask=mask, per_band=True)
    similar = windowed.ssim_per_band(x, x_hat, data_range=peak, mask=mask)
    rows = []
    for band, name in enumerate(names):
        error = float(sums[band] / counts[band]) if counts[band] else math.nan
        rows.append(
            BandComparison(
                name=name,
                mse=error,
                psnr=float(distortion.mse_to_psnr(np.array(error), peak)),
                ssim=float(similar[band]),
                max_error=float(worst[band]),
                n_valid=int(counts[band]),
            )
        )
    return tuple(rows)


def _jsonable(value: Any) -> Any:
    """The value with NaN as None and infinities as strings, tuples as lists."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
