"""All distortions of a decoded tile as a JSON-ready row, and their means at equal rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eocodec.metrics import Comparison

Figures = dict[str, Any]
FIGURES = ("psnr", "ssim", "ms_ssim", "sam", "ndvi_error", "ndwi_error")


def distortions(found: Comparison) -> Figures:
    """Figures of all bands, and of each; units as in `Comparison`."""
    bands = found.bands
    return {
        "psnr": plain(found.psnr, 4),
        "ssim": plain(found.ssim, 6),
        "ms_ssim": plain(found.ms_ssim, 6),
        "sam": plain(found.sam, 5),
        "max_error": plain(found.max_error, 1),
        "ndvi_error": plain(found.index_error.get("NDVI", math.nan), 6),
        "ndwi_error": plain(found.index_error.get("NDWI", math.nan), 6),
        "bands": {
            "name": [band.name for band in bands],
            "psnr": [plain(band.psnr, 3) for band in bands],
            "ssim": [plain(band.ssim, 5) for band in bands],
            "max_error": [plain(band.max_error, 1) for band in bands],
        },
    }


def figures(found: Comparison) -> Figures:
    """What `eocodec bench rd` keeps of a point: FIGURES, and `bands`, the PSNR of each."""
    row = distortions(found)
    return {**{name: row[name] for name in FIGURES}, "bands": row["bands"]["psnr"]}


def plain(value: float, digits: int) -> float | None:
    """Rounded; None for what JSON cannot say: NaN (nothing to measure) and infinity (PSNR without error)."""
    return round(value, digits) if math.isfinite(value) else None


def at_rates(
    codecs: Mapping[str, Mapping[str, Sequence[Figures]]], rates: Sequence[float]
) -> dict[str, dict[str, Figures]]:
    """Means of every codec's figures at bits per sample, over the tiles in which all of them reach the rate.

    Parameters
    ----------
    codecs : rows of each codec's tiles, `bpppc` and what `figures` gives in each; between points figures are
        linear in log(bits)

    Returns
    -------
    codec -> rate as text -> figures, `bands` (PSNR of each), `n_tiles`; rates that no tile reaches are absent
    """
    found: dict[str, dict[str, Figures]] = {codec: {} for codec in codecs}
    shared = set.intersection(*(set(tiles) for tiles in codecs.values())) if codecs else set()
    for rate in rates:
        by_tile = [
            {codec: _between(tiles[tile], math.log(rate)) for codec, tiles in codecs.items()}
            for tile in sorted(shared)
        ]
        reached = [rows for rows in by_tile if None not in rows.values()]
        for codec in codecs if reached else ():
            rows = [row for each in reached if (row := each[codec]) is not None]
            means = {name: _mean([row[name] for row in rows], 6) for name in FIGURES}
            bands = [_mean(values, 3) for values in zip(*(row["bands"] for row in rows), strict=True)]
            found[codec][f"{rate:g}"] = {**means, "bands": bands, "n_tiles": len(rows)}
    return found


def _between(rows: Sequence[Figures], log_rate: float) -> Figures | None:
    """The figures of a tile at a rate; None outside its points."""
    ordered = sorted(rows, key=lambda row: row["bpppc"])
    logs = np.log([row["bpppc"] for row in ordered])
    if not logs[0] <= log_rate <= logs[-1]:
        return None

    def at(values: Sequence[float | None]) -> float:
        numbers = np.array([math.nan if v is None else v for v in values])
        return float(np.interp(log_rate, logs, numbers))

    bands = zip(*(row["bands"] for row in ordered), strict=True)
    return {**{name: at([row[name] for row in ordered]) for name in FIGURES}, "bands": [at(b) for b in bands]}


def _mean(values: Sequence[float], digits: int) -> float | None:
    return plain(float(np.mean(values)), digits)
