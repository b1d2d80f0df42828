"""Two scenes compared block by block, so that size is no limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.errors import InputError
from eocodec.interop.files import open_any
from eocodec.interop.model_bands import for_model
from eocodec.interop.rio import check_units
from eocodec.interop.scene import SceneSource, is_nodata, tile_windows
from eocodec.metrics import BandComparison, Comparison, compare, mse_to_psnr
from eocodec.types import AnyArray, BoolArray

BLOCK = 1024  # the metrics' float64 temporaries take about 1 GB at this size and 12 bands


@dataclass(frozen=True)
class FileComparison:
    """Metrics of two scenes, and their files' bytes; `nodata_differs` counts values valid in one only."""

    metrics: Comparison
    bytes_a: int
    bytes_b: int
    nodata_differs: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "bytes": [self.bytes_a, self.bytes_b],
            "nodata_differs": self.nodata_differs,
            **self.metrics.to_dict(),
        }


def compare_files(a: str | Path, b: str | Path, *, scale: float | None = None) -> FileComparison:
    """Compare two scenes, each encoded or anything that `open_scene` reads.

    Parameters
    ----------
    scale : digital numbers per unit of float pixels, 10000 for reflectance; integers are taken as they are

    Raises
    ------
    InputError : sizes differ, float pixels without a scale, or a scene cannot be read
    Notes
    -----
    SSIM and MS-SSIM of scenes above 1024 x 1024 pixels are means over blocks of that size.
    """
    with closing(open_any(a)) as one, closing(open_any(b)) as other:
        first, second = for_model(one, other.info.bands), for_model(other, one.info.bands)
        if first.info.shape != second.info.shape:
            raise InputError(
                f"{a} has (bands, rows, cols) {first.info.shape}, {b} {second.info.shape}; "
                "compare scenes of one size"
            )
        parts: list[tuple[Comparison, int]] = []
        differs = 0
        for _, _, (rows, cols) in tile_windows(first.info.shape[1:], BLOCK):
            x, valid_x = _read_dn(first, rows, cols, scale)
            y, valid_y = _read_dn(second, rows, cols, scale)
            differs += int(np.count_nonzero(valid_x != valid_y))
            valid = valid_x & valid_y
            parts.append((compare(x, y, valid, first.info.bands), x[0].size))
    return FileComparison(merge(parts), _bytes_of(Path(a)), _bytes_of(Path(b)), differs)


def _read_dn(
    source: SceneSource, rows: slice, cols: slice, scale: float | None
) -> tuple[AnyArray, BoolArray]:
    """Digital numbers [C, h, w] and which of them are valid."""
    check_units(source.info, scale)
    pixels = source.read(rows, cols)
    absent = is_nodata(pixels, source.info.nodata)
    if pixels.dtype.kind != "f":
        return pixels, ~absent
    absent |= np.isinf(pixels)
    return np.where(absent, 0.0, pixels * np.float64(scale or 1.0)), ~absent


def merge(parts: Sequence[tuple[Comparison, int]]) -> Comparison:
    """Metrics of a whole from those of its blocks, each with its number of pixels."""
    if len(parts) == 1:
        return parts[0][0]
    blocks = [block for block, _ in parts]
    pixels = [count * block.valid_share for block, count in parts]
    bands = tuple(
        _merge_band([block.bands[k] for block in blocks], blocks[0].peak) for k in range(len(blocks[0].bands))
    )
    peak = blocks[0].peak
    total = _mean([block.mse for block in blocks], pixels)
    return Comparison(
        peak=peak,
        mse=total,
        psnr=float(mse_to_psnr(np.array(total), peak)),
        ssim=_mean([block.ssim for block in blocks], pixels),
        ms_ssim=_mean([block.ms_ssim for block in blocks], pixels),
        sam=_mean([block.sam for block in blocks], pixels),
        max_error=_largest([block.max_error for block in blocks]),
        index_error={
            name: _mean([block.index_error[name] for block in blocks], pixels)
            for name in blocks[0].index_error
        },
        valid_share=sum(pixels) / sum(count for _, count in parts),
        bands=bands,
    )


def _merge_band(parts: Sequence[BandComparison], peak: float) -> BandComparison:
    weights = [float(part.n_valid) for part in parts]
    error = _mean([part.mse for part in parts], weights)
    return BandComparison(
        name=parts[0].name,
        mse=error,
        psnr=float(mse_to_psnr(np.array(error), peak)),
        ssim=_mean([part.ssim for part in parts], weights),
        max_error=_largest([part.max_error for part in parts]),
        n_valid=sum(part.n_valid for part in parts),
    )


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if not math.isnan(value)]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else math.nan


def _largest(values: Sequence[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _bytes_of(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
