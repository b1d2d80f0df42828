"""Find the quality that reaches a target: quantisation and coding repeat, analysis only of long series."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eocodec.codec import Analysed, analyse, decode_batch, finish
from eocodec.errors import InputError
from eocodec.metrics import mse_to_psnr, squared_errors
from eocodec.models import registry
from eocodec.options import EncodeOptions
from eocodec.raster.masks import valid_mask
from eocodec.types import AnyArray

MAX_ENCODES = 8
PSNR_TOLERANCE = 0.05  # dB
RATE_TOLERANCE = 0.01  # share of the target
PSNR_SLOPE = 0.2  # dB a unit of quality, typically
LOG_RATE_SLOPE = 0.036  # log of the rate a unit of quality, typically


@dataclass(frozen=True)
class SearchResult:
    """Quality found, and what it reached on the sample.

    psnr : dB, peak 10 000 DN, all bands, all tiles together; None if it was not asked for
    bpppc : bits of the codestreams per pixel per band
    encodes : how many times the sample was encoded; reached : whether the target was met within tolerance
    """

    quality: float
    bpppc: float
    psnr: float | None
    encodes: int
    reached: bool


@dataclass(frozen=True)
class _Sample:
    """The tiles of a search, analysed once."""

    tiles: Sequence[AnyArray]
    options: EncodeOptions
    analysed: Sequence[Analysed]

    def encode(self, quality: float) -> list[bytes]:
        return [finish(tile, quality, self.options.tokens) for tile in self.analysed]

    def bpppc(self, streams: Sequence[bytes]) -> float:
        return 8 * sum(map(len, streams)) / sum(tile.size for tile in self.tiles)

    def psnr(self, streams: Sequence[bytes]) -> float:
        total, count = 0.0, 0.0
        for tile, decoded in zip(self.tiles, decode_batch(streams), strict=True):
            mask = valid_mask(tile.reshape(-1, *tile.shape[-3:]), self.options.nodata).reshape(tile.shape)
            sums, counts = squared_errors(tile, decoded, mask)
            total, count = total + float(np.sum(sums)), count + float(np.sum(counts))
        if count == 0:
            raise InputError("the sample has no valid pixel, so no PSNR; choose another target")
        factor = self.options.scale or 1.0
        return float(mse_to_psnr(np.array(total / count * factor**2), 10_000))


def search_quality(
    tiles: Sequence[AnyArray],
    options: EncodeOptions,
    *,
    psnr: float | None = None,
    ratio: float | None = None,
    bpppc: float | None = None,
) -> SearchResult:
    """Quality at which a sample of tiles reaches one target.

    Parameters
    ----------
    tiles : [C, H, W] or [T, C, H, W] each
    options : its quality is not used
    psnr : dB, peak 10 000 DN; ratio : raw bytes by coded bytes; bpppc : bits per pixel per band. Exactly one

    Returns
    -------
    The best of at most `MAX_ENCODES` encodes; `reached` tells whether it is within tolerance (a target beyond
    what the model can do ends at quality 0 or 100).
    """
    if registry.by_id(options.model).quality is not None:
        raise InputError(f"{options.model} has one rate, so there is nothing to search; leave the target out")
    if sum(target is not None for target in (psnr, ratio, bpppc)) != 1:
        raise InputError("state exactly one of psnr, ratio and bpppc")
    if bpppc is None and ratio is not None:
        raw_bits = 8 * sum(tile.nbytes for tile in tiles) / sum(tile.size for tile in tiles)
        bpppc = raw_bits / ratio if ratio > 0 else -1.0
    if bpppc is not None and not bpppc > 0:
        raise InputError("a target rate or ratio must be positive")
    sample = _Sample(tiles, options, analyse(tiles, options))
    if bpppc is not None:
        goal = _Goal(math.log(bpppc), RATE_TOLERANCE, LOG_RATE_SLOPE, lambda found: math.log(found.bpppc))
        return _search(sample, goal, with_psnr=False)
    goal = _Goal(float(psnr or 0.0), PSNR_TOLERANCE, PSNR_SLOPE, lambda found: found.psnr or 0.0)
    return _search(sample, goal, with_psnr=True)


@dataclass(frozen=True)
class _Goal:
    """A value of a result that rises with quality, what it should be, and about how fast it rises."""

    target: float
    tolerance: float
    slope: float
    value: Callable[[SearchResult], float]

    def error(self, found: SearchResult) -> float:
        return self.value(found) - self.target


def _search(sample: _Sample, goal: _Goal, *, with_psnr: bool) -> SearchResult:
    """Secant steps kept inside a bracket."""
    errors: dict[float, float] = {}
    results: list[SearchResult] = []
    low, high, quality = 0.0, 100.0, 50.0
    while len(results) < MAX_ENCODES:
        streams = sample.encode(quality)
        reached_psnr = sample.psnr(streams) if with_psnr else None
        found = SearchResult(quality, sample.bpppc(streams), reached_psnr, len(results) + 1, False)
        results.append(found)
        errors[quality] = error = goal.error(found)
        if abs(error) <= goal.tolerance:
            break
        low, high = (quality, high) if error < 0 else (low, quality)
        if low == high:
            break
        quality = _next(errors, low, high, goal.slope)
    best = min(results, key=lambda found: abs(goal.error(found)))
    return replace(best, encodes=len(results), reached=abs(goal.error(best)) <= goal.tolerance)


def _next(errors: dict[float, float], low: float, high: float, slope: float) -> float:
    """Secant step within (low, high); by the usual slope while an end has not been tried."""
    if low in errors and high in errors:
        share = -errors[low] / (errors[high] - errors[low])
        return round(low + (high - low) * min(max(share, 0.05), 0.95), 2)
    known = low if low in errors else high
    return round(min(max(known - errors[known] / slope, low), high), 2)
