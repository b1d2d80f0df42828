"""From rate-distortion points to curves, their average over tiles, BD-rates; the method is stated here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.bench.base import RatePoint
from eocodec.metrics.bdrate import bd_rate, clean_curve, pchip

BD_RANGE = (36.0, 46.0)  # dB
GRID_STEP = 0.25  # dB
MIN_OVERLAP = 1.0  # dB; below it a BD-rate says nothing

METHOD = (
    "PSNR has the peak 10 000 DN and is taken over all bands of a tile together; bits are those of whole "
    "streams. A tile's curve is log(bits) as a function of PSNR, interpolated by PCHIP, never extrapolated. "
    f"BD-rate of a tile: mean log ratio of the two curves over {BD_RANGE[0]:g}-{BD_RANGE[1]:g} dB, cut to "
    "where both are defined (the overlap is given); the mean is over tiles. BD-rate of the average curve: at "
    "each PSNR of a grid, bits are averaged over the tiles in which both codecs reach that PSNR, and the log "
    "ratio of the two averages is integrated over the grid. The average curve given for a codec is over the "
    "tiles that reach the PSNR (n_tiles says how many), and is drawn where all do."
)

Curve = NDArray[np.float64]


def by_codec_and_tile(points: Iterable[RatePoint]) -> dict[str, dict[str, list[RatePoint]]]:
    """Points as codec -> tile -> list, sorted by rate."""
    grouped: dict[str, dict[str, list[RatePoint]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        grouped[point.codec][point.tile].append(point)
    return {
        codec: {tile: sorted(rows, key=lambda p: p.bits) for tile, rows in tiles.items()}
        for codec, tiles in grouped.items()
    }


def increasing(points: Sequence[RatePoint]) -> tuple[Curve, Curve]:
    """(bits, PSNR) of the points that are better than all cheaper ones: a function both ways.

    Raises
    ------
    InputError : fewer than two such points
    """
    return clean_curve([p.bits for p in points], [p.psnr for p in points])


def psnr_grid(low: float, high: float) -> Curve:
    """PSNR values [dB] from low to high, both included."""
    return np.linspace(low, high, round((high - low) / GRID_STEP) + 1)


def bits_at(points: Sequence[RatePoint], grid: Curve) -> Curve:
    """Bits of one tile's curve at each PSNR of the grid, NaN outside the curve.

    Raises
    ------
    InputError : fewer than two usable points
    """
    bits, psnr = increasing(points)
    inside = (grid >= psnr[0]) & (grid <= psnr[-1])
    out = np.full(grid.shape, np.nan)
    out[inside] = np.exp(pchip(psnr, np.log(bits), grid[inside]))
    return out


@dataclass(frozen=True)
class BdResult:
    """BD-rates [%] of one codec against an anchor; negative = fewer bits than the anchor."""

    anchor: str
    per_tile: dict[str, float]
    overlap: dict[str, tuple[float, float]]
    of_average: float

    @property
    def mean(self) -> float:
        """Mean over the tiles that overlap."""
        return float(np.mean(list(self.per_tile.values()))) if self.per_tile else float("nan")

    @property
    def worst(self) -> tuple[str, float]:
        """The tile with the largest BD-rate."""
        if not self.per_tile:
            return "", float("nan")
        name = max(self.per_tile, key=lambda tile: self.per_tile[tile])
        return name, self.per_tile[name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN becomes None."""
        tile, value = self.worst
        return {
            "anchor": self.anchor,
            "range_db": list(BD_RANGE),
            "mean_percent": _number(self.mean),
            "of_average_curve_percent": _number(self.of_average),
            "worst_tile": tile,
            "worst_percent": _number(value),
            "per_tile_percent": {name: _number(value) for name, value in self.per_tile.items()},
            "overlap_db": {name: [round(v, 3) for v in span] for name, span in self.overlap.items()},
        }


def _number(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def compare(
    test: Mapping[str, Sequence[RatePoint]], anchor: Mapping[str, Sequence[RatePoint]], anchor_name: str
) -> BdResult:
    """BD-rates of the test codec's tiles against the anchor's, over the tiles that both have."""
    per_tile: dict[str, float] = {}
    overlap: dict[str, tuple[float, float]] = {}
    for tile in sorted(set(test) & set(anchor)):
        anchor_bits, anchor_psnr = increasing(anchor[tile])
        test_bits, test_psnr = increasing(test[tile])
        low = max(BD_RANGE[0], anchor_psnr[0], test_psnr[0])
        high = min(BD_RANGE[1], anchor_psnr[-1], test_psnr[-1])
        if high - low < MIN_OVERLAP:
            continue
        overlap[tile] = (float(low), float(high))
        per_tile[tile] = bd_rate(anchor_bits, anchor_psnr, test_bits, test_psnr, low=low, high=high)
    return BdResult(anchor_name, per_tile, overlap, bd_of_average(test, anchor))


def bd_of_average(
    test: Mapping[str, Sequence[RatePoint]], anchor: Mapping[str, Sequence[RatePoint]]
) -> float:
    """BD-rate [%] between the curves averaged over tiles; NaN where no grid point is shared."""
    tiles = sorted(set(test) & set(anchor))
    grid = psnr_grid(*BD_RANGE)
    if not tiles:
        return float("nan")
    test_bits = np.stack([bits_at(test[tile], grid) for tile in tiles])
    anchor_bits = np.stack([bits_at(anchor[tile], grid) for tile in tiles])
    shared = np.isfinite(test_bits) & np.isfinite(anchor_bits)
    reached = shared.any(0)
    if reached.sum() < 2:
        return float("nan")
    ratio = np.where(shared, test_bits, 0).sum(0)[reached] / np.where(shared, anchor_bits, 0).sum(0)[reached]
    log_ratio, where = np.log(ratio), grid[reached]
    area = float(np.sum((log_ratio[1:] + log_ratio[:-1]) / 2 * np.diff(where)))
    return 100 * float(np.expm1(area / (where[-1] - where[0])))


def average_curve(
    tiles: Mapping[str, Sequence[RatePoint]], grid: Curve, samples: int
) -> list[dict[str, Any]]:
    """Mean bits per sample (bpppc) at each PSNR of the grid over the tiles that reach it, with their number.

    Parameters
    ----------
    samples : pixels x bands of one tile
    """
    bits = np.stack([bits_at(points, grid) for points in tiles.values()])
    counts = np.isfinite(bits).sum(0)
    totals = np.nansum(bits, axis=0)
    return [
        {"psnr": float(p), "bpppc": round(float(t / n / samples), 5), "n_tiles": int(n)}
        for p, t, n in zip(grid, totals, counts, strict=True)
        if n
    ]
