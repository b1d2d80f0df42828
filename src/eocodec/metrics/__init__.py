"""Rates, distortions and Bjontegaard differences. NumPy only."""

from __future__ import annotations

from eocodec.metrics.bdrate import bd_psnr, bd_rate, clean_curve, overlap
from eocodec.metrics.comparison import BandComparison, Comparison, compare
from eocodec.metrics.distortion import (
    PEAK_DN,
    index_error,
    max_error,
    mse,
    mse_to_psnr,
    psnr,
    sam,
    squared_errors,
)
from eocodec.metrics.rate import bpp, bpppc, ratio
from eocodec.metrics.windowed import ms_ssim, ssim, ssim_per_band

__all__ = [
    "PEAK_DN",
    "BandComparison",
    "Comparison",
    "bd_psnr",
    "bd_rate",
    "bpp",
    "bpppc",
    "clean_curve",
    "compare",
    "index_error",
    "max_error",
    "ms_ssim",
    "mse",
    "mse_to_psnr",
    "overlap",
    "psnr",
    "ratio",
    "sam",
    "squared_errors",
    "ssim",
    "ssim_per_band",
]
