"""Rounding and its differentiable stand-ins."""

from __future__ import annotations

import torch
from torch import Tensor


def round_straight_through(x: Tensor) -> Tensor:
    """round(x) whose gradient is that of x."""
    return x + (torch.round(x) - x).detach()


def round_dead_zone(x: Tensor, dead_zone: float) -> Tensor:
    """Round towards zero more readily: |x| is rounded after `dead_zone` (0 to 0.5) is taken off; straight-through.

    What a rate-distortion optimised encoder does on average: zero is cheaper than one.
    """
    hard = torch.sign(x) * torch.floor((x.abs() + (0.5 - dead_zone)).clamp_min(0))
    return x + (hard - x).detach()


def add_uniform_noise(x: Tensor) -> Tensor:
    """x + U(-1/2, 1/2): the stand-in for rounding under which the rate is differentiable."""
    return x + torch.rand_like(x) - 0.5
