"""Hidden channels that are told the quality: biases and gains for levels of it, linear in between."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Rates(nn.Module):
    """Starts as nothing: no biases, gains of 1.

    Parameters
    ----------
    levels : of quality, evenly from 0 to 1; at least 2
    biases, gains : channels that have one
    """

    def __init__(self, levels: int, biases: int, gains: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(levels, biases))
        self.gain = nn.Parameter(torch.zeros(levels, gains))  # less 1

    def at(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Biases and gains at qualities [B], 0 to 1: [B, biases] and [B, gains], in the parameters' dtype."""
        top = len(self.bias) - 1
        position = quality.to(self.bias.dtype) * top
        low = position.floor().clamp(0, top - 1)
        part, at = (position - low)[:, None], low.long()
        bias, gain = (torch.lerp(table[at], table[at + 1], part) for table in (self.bias, self.gain))
        return bias, 1 + gain
