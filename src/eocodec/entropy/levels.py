"""What is stated for every rate level, and in between by quality; quality_steps are those of the header."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY


def at_quality(levels: NDArray[np.int64], quality_steps: int) -> NDArray[np.int64]:
    """Integers of levels [levels, ...] -> [...], interpolated and rounded; 0 is the first level."""
    low, part = divmod(quality_steps * (len(levels) - 1), MAX_QUALITY)
    high = min(low + 1, len(levels) - 1)
    mixed = levels[low] * (MAX_QUALITY - part) + levels[high] * part
    return np.asarray((mixed + MAX_QUALITY // 2) // MAX_QUALITY)


def nearest_level(levels: int, quality_steps: int) -> int:
    """The level nearest to a quality."""
    return (2 * quality_steps * (levels - 1) + MAX_QUALITY) // (2 * MAX_QUALITY)


def step_at(log2_step: NDArray[np.float64], quality_steps: int) -> NDArray[np.float64]:
    """Quantisation steps of levels [levels, ...] -> [...], their logarithms interpolated."""
    top = len(log2_step) - 1
    position = quality_steps / MAX_QUALITY * top
    low = min(int(position), max(top - 1, 0))
    part = position - low
    return np.asarray(np.exp2((1 - part) * log2_step[low] + part * log2_step[min(low + 1, top)]))


def quality_of_step(log2_step: NDArray[np.float64], step: float) -> float:
    """Inverse of `step_at` for steps that fall from level to level, in quality steps, within their range."""
    position = np.interp(-np.log2(step), -log2_step, np.arange(len(log2_step)))
    return float(position) * MAX_QUALITY / (len(log2_step) - 1)


def lmbda_at(lowest: float, highest: float, quality_steps: int) -> float:
    """Lambda between those of qualities 0 and 100, by equal ratios."""
    return float(lowest * (highest / lowest) ** (quality_steps / MAX_QUALITY))
