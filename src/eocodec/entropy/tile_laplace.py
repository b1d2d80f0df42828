"""A factorized prior whose scale is fitted to the tile: the training-time twin of the coded tables.

Within a tile every latent channel is independent and identically distributed, and the encoder states which
table fits it (`entropy/prior.py`). While training, the tables are two-sided geometric distributions (Laplace on
integers): then a channel's bits follow from its mean absolute symbol alone, in closed form. The coded tables
come in more shapes than that, so coded bits are a little fewer than these.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LN2 = 0.6931471805599453
_TINY = 1e-6  # mean absolute symbol below which a channel costs nothing


def geometric_bits(mean_abs: Tensor) -> Tensor:
    """Entropy in bits a symbol of a two-sided geometric distribution with E|k| = mean_abs >= 0."""
    m = mean_abs + _TINY
    root = torch.sqrt(1 + m * m)
    theta = m / (1 + root)  # P(k) = (1 - theta) / (1 + theta) * theta^|k|
    return (torch.log1p(theta) - torch.log1p(-theta) - m * torch.log(theta)) / _LN2


def soft_magnitude(a: Tensor, dead_zone: float) -> Tensor:
    """Smooth stand-in for |round(a)|, a >= 0: zero below the dead zone, quadratic up to the first threshold, slope 1.

    Its gradient resists a latent that grows towards the threshold where it starts to cost bits, which the
    gradient of the hard rounding would not.
    """
    low, width = dead_zone, 0.5
    t = ((a - low) / width).clamp(0, 1)
    return 0.5 * width * t * t + (a - (low + width)).clamp_min(0)


def tile_bits(v: Tensor, v_hat: Tensor, dead_zone: float, offset_channels: int) -> Tensor:
    """Estimated bits of each sample.

    Parameters
    ----------
    v : [B, M, h, w], latents in units of the step; v_hat : the same, rounded, without gradient
    dead_zone : of the rounding; offset_channels : leading channels whose rounded mean is coded apart

    Returns
    -------
    [B]; the value is that of the rounded latents, the gradient that of `soft_magnitude`
    """
    centre = torch.round(v_hat[:, :offset_channels].mean((2, 3), keepdim=True))
    hard, soft = v_hat.abs(), soft_magnitude(v.abs(), dead_zone)
    lead, lead_hat = v[:, :offset_channels] - centre, v_hat[:, :offset_channels] - centre
    hard = torch.cat([lead_hat.abs(), hard[:, offset_channels:]], 1)
    soft = torch.cat([soft_magnitude(lead.abs(), dead_zone), soft[:, offset_channels:]], 1)
    mean_hard, mean_soft = hard.mean((2, 3)), soft.mean((2, 3))
    mean = mean_soft + (mean_hard - mean_soft).detach()
    return geometric_bits(mean).sum(1) * (v.shape[2] * v.shape[3])
