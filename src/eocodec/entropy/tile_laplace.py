"""A factorized prior whose scale is fitted to the tile: the training-time twin of the coded tables.

Within a tile every latent channel is independent and identically distributed, and the encoder states which
table fits it (`entropy/prior.py`). While training, the tables are two-sided geometric distributions (Laplace
on integers): then a channel's bits follow from its mean absolute symbol alone, in closed form. The coded
tables come in more shapes than that, so coded bits are a little fewer than these.
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


def tile_bits(magnitude: Tensor, lead: Tensor) -> Tensor:
    """Estimated bits of each sample.

    Parameters
    ----------
    magnitude : [B, M, h, w], |symbols|
    lead : [B, K, h, w], signed symbols of the leading channels, whose rounded mean is coded apart

    Returns
    -------
    [B], differentiable as far as the arguments are
    """
    centre = torch.round(lead.detach().mean((2, 3), keepdim=True))
    mean = torch.cat([(lead - centre).abs().mean((2, 3)), magnitude[:, lead.shape[1] :].mean((2, 3))], 1)
    return geometric_bits(mean).sum(1) * (magnitude.shape[2] * magnitude.shape[3])
