"""Integers stated for every rate level, interpolated at a quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY


def at_quality(levels: NDArray[np.int64], quality_steps: int) -> NDArray[np.int64]:
    """levels [levels, ...] -> [...], rounded; quality_steps as in the header: 0 is the first level."""
    low, part = divmod(quality_steps * (len(levels) - 1), MAX_QUALITY)
    high = min(low + 1, len(levels) - 1)
    mixed = levels[low] * (MAX_QUALITY - part) + levels[high] * part
    return np.asarray((mixed + MAX_QUALITY // 2) // MAX_QUALITY)


def nearest_level(levels: int, quality_steps: int) -> int:
    """The level nearest to a quality."""
    return (2 * quality_steps * (levels - 1) + MAX_QUALITY) // (2 * MAX_QUALITY)
