"""Comparing two rasters window by window, so that a whole scene need not be in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eocodec.bench.base import PSNR_PEAK
from eocodec.errors import RasterError
from eocodec.metrics.distortion import max_error, mse_to_psnr, squared_errors
from eocodec.types import AnyArray

WINDOW_ROWS = 512


@dataclass(frozen=True)
class PixelDifference:
    """PSNR [dB, peak 10 000, all bands together], largest difference [DN], and pixels x bands compared."""

    psnr: float
    max_error: float
    samples: int


def compare_rasters(original: Path, decoded: Path) -> PixelDifference:
    """Difference over the pixels that are valid in the original.

    Raises
    ------
    RasterError : unreadable, or other sizes
    """
    squares, largest, samples = 0.0, 0.0, 0
    for a, b, valid in _windows(original, decoded):
        if not valid.any():
            continue
        per_band, counts = squared_errors(a, b, valid)
        squares, samples = squares + float(per_band.sum()), samples + int(counts.sum())
        largest = max(largest, float(max_error(a, b, mask=valid)))
    mse = np.asarray(squares / samples if samples else math.nan)
    return PixelDifference(float(mse_to_psnr(mse, PSNR_PEAK)), largest, samples)


def _windows(original: Path, decoded: Path) -> Iterator[tuple[AnyArray, AnyArray, AnyArray]]:
    import rasterio
    from rasterio.errors import RasterioIOError
    from rasterio.windows import Window

    try:
        with rasterio.open(original) as first, rasterio.open(decoded) as second:
            if (first.count, first.shape) != (second.count, second.shape):
                raise RasterError(
                    f"{decoded.name}: {second.count} x {second.shape}, expected {first.count} x {first.shape}"
                )
            for top in range(0, first.height, WINDOW_ROWS):
                window = Window(0, top, first.width, min(WINDOW_ROWS, first.height - top))
                a, b = first.read(window=window), second.read(window=window)
                yield a, b, np.ones(a.shape, bool) if first.nodata is None else a != first.nodata
    except RasterioIOError as error:
        raise RasterError(str(error)) from error
