"""Rounding and bounds, and their differentiable stand-ins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def round_straight_through(x: Tensor) -> Tensor:
    """round(x), exactly, whose gradient is that of x."""
    return torch.round(x).detach() + (x - x.detach())


def round_magnitude(a: Tensor, dead_zone: float) -> Tensor:
    """Round magnitudes with a dead zone; the gradient passes where the result is not zero.

    Parameters
    ----------
    a : >= 0, any shape
    dead_zone : 0 to 0.5; thresholds are at k - 1/2 + dead_zone: zero is cheaper than one, so it gets more

    Notes
    -----
    A latent that is rounded to zero stays there when it changes a little: its gradient is zero, and most
    latents are such. A gradient of 1 for these too pretends that they carry signal, and pulls all scales up;
    so does, less, a smooth staircase, which is steep at the threshold.
    """
    hard = torch.floor(a + (0.5 - dead_zone))
    live = a * (hard > 0)
    return hard.detach() + (live - live.detach())


def add_uniform_noise(x: Tensor) -> Tensor:
    """x + U(-1/2, 1/2): the stand-in for rounding under which the rate is differentiable."""
    return x + torch.rand_like(x) - 0.5


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: Tensor | float) -> Tensor:
        ctx.save_for_backward(x >= bound)
        return torch.clamp(x, min=bound)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * (inside | (grads[0] < 0)), None


def lower_bound(x: Tensor, bound: Tensor | float) -> Tensor:
    """max(x, bound), whose gradient passes below the bound too where descent leads up.

    With a plain maximum, what has once fallen below would stay there.
    """
    return _LowerBound.apply(x, bound)  # type: ignore[no-any-return, no-untyped-call]
