"""Rounding and its differentiable stand-ins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TURN = 2 * math.pi


def round_straight_through(x: Tensor) -> Tensor:
    """round(x) whose gradient is that of x."""
    return x + (torch.round(x) - x).detach()


def round_magnitude(a: Tensor, dead_zone: float) -> Tensor:
    """Round magnitudes with a dead zone; the gradient is that of a smooth staircase.

    Parameters
    ----------
    a : >= 0, any shape
    dead_zone : 0 to 0.5; thresholds are at k - 1/2 + dead_zone: zero is cheaper than one, so it gets more

    Notes
    -----
    The gradient is 1 + cos(2 pi (a - threshold)), and zero below the dead zone: large near a threshold, where
    a little more changes the symbol, nothing between them. A plain straight-through gradient of 1 pretends
    that latents quantised to zero carry signal, and pulls all scales up.
    """
    hard = torch.floor(a + (0.5 - dead_zone))
    above = (a - dead_zone).clamp_min(0)
    soft = above - torch.sin(_TURN * above) / _TURN
    return hard.detach() + (soft - soft.detach())


def add_uniform_noise(x: Tensor) -> Tensor:
    """x + U(-1/2, 1/2): the stand-in for rounding under which the rate is differentiable."""
    return x + torch.rand_like(x) - 0.5
