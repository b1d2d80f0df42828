"""What stands in where no map can be fitted, and what maps are compared with: clear pixels of other dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eocodec.types import BoolArray

Float = NDArray[np.float64]
Frame = tuple[Float, BoolArray]  # image [C, h, w] and its clear pixels [h, w]


def nearest_first(times: Sequence[float], t: int, *, later: bool) -> list[int]:
    """Timesteps before or after t, the nearest in time first."""
    side = range(t + 1, len(times)) if later else range(t - 1, -1, -1)
    return sorted(side, key=lambda k: abs(times[k] - times[t]))


def nearest_clear(
    frames: Callable[[int], Frame], order: Sequence[int], times: Sequence[float], wanted: BoolArray
) -> tuple[Float, Float, BoolArray]:
    """Each pixel's first clear value in an order of timesteps, until all that are wanted have one.

    Returns
    -------
    values [C, h, w], their times [h, w], where there are any [h, w]
    """
    values, moments, known = np.zeros(()), np.zeros(wanted.shape), np.zeros(wanted.shape, bool)
    for k in order:
        image, clear = frames(k)
        new = clear & ~known
        values = np.where(new, image, values)
        moments[new] = times[k]
        known |= new
        if known[wanted].all():
            break
    return values, moments, known


def interpolated(frames: Callable[[int], Frame], times: Sequence[float], t: int, wanted: BoolArray) -> Frame:
    """Linear interpolation in time between each pixel's nearest clear dates; beyond the ends the nearest one.

    Parameters
    ----------
    frames : image and clear pixels of a timestep; times : of all timesteps, at least two, ascending
    t : the timestep to make; wanted : [h, w], pixels that matter; others may go without

    Returns
    -------
    image [C, h, w], and where it is known [h, w]: pixels that any other date has clear
    """
    sides = [nearest_first(times, t, later=later) for later in (False, True)]
    (early, before, was), (late, after, will) = (nearest_clear(frames, side, times, wanted) for side in sides)
    span = np.where(was & will, after - before, 1.0)
    share = np.where(was & will, (times[t] - before) / span, will * 1.0)
    return np.asarray(early * (1 - share) + late * share), was | will
