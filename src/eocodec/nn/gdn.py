"""Generalised divisive normalisation (Balle et al., ICLR 2016), parametrised as in published checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from eocodec.nn.quantise import lower_bound

_PEDESTAL = 2.0**-36


class _LowerBound(nn.Module):
    """Holds the bound as a buffer, because published parameter sets carry it."""

    bound: Tensor

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.register_buffer("bound", torch.tensor([bound], dtype=torch.float32))


class NonNegative(nn.Module):
    """A parameter p stands for max(p, bound)^2 - pedestal, which is >= `minimum`."""

    pedestal: Tensor

    def __init__(self, minimum: float) -> None:
        super().__init__()
        self.register_buffer("pedestal", torch.tensor([_PEDESTAL], dtype=torch.float32))
        self.lower_bound = _LowerBound((minimum + _PEDESTAL) ** 0.5)

    def stored(self, value: Tensor) -> Tensor:
        """The parameter that stands for `value`."""
        return torch.sqrt(torch.clamp(value + self.pedestal, min=_PEDESTAL))

    def forward(self, parameter: Tensor) -> Tensor:
        """The value that `parameter` stands for."""
        return lower_bound(parameter, self.lower_bound.bound) ** 2 - self.pedestal


class GDN(nn.Module):
    """x_i / sqrt(beta_i + sum_j gamma_ij x_j^2); multiplies instead when `inverse`.

    Parameters
    ----------
    channels : number of channels C
    inverse : True for the synthesis side (IGDN)
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_reparam = NonNegative(1e-6)
        self.gamma_reparam = NonNegative(0.0)
        self.beta = nn.Parameter(self.beta_reparam.stored(torch.ones(channels)))
        self.gamma = nn.Parameter(self.gamma_reparam.stored(0.1 * torch.eye(channels)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> same."""
        beta = self.beta_reparam(self.beta)
        gamma = self.gamma_reparam(self.gamma)
        norm = functional.conv2d(x * x, gamma[:, :, None, None], beta)
        return x * torch.sqrt(norm) if self.inverse else x * torch.rsqrt(norm)
