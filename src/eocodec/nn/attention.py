"""Blocks of the published context models: bottleneck residuals and the attention that is made of them.

Cheng et al., *Learned Image Compression with Discretized Gaussian Mixture Likelihoods and Attention Modules*,
CVPR 2020, section 3.3, and He et al., *ELIC*, CVPR 2022, figure 2. Parameter names are those of the published
checkpoints.

What is added to x is computed in the dtype of the weights, and x keeps its own: with weights in bfloat16 and
x in float32, only what is added is rounded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eocodec.nn.blocks import conv1, conv3


class Bottleneck(nn.Module):
    """x + three convolutions through half the channels; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv1(channels, channels // 2)
        self.conv2 = conv3(channels // 2, channels // 2)
        self.conv3 = conv1(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> same."""
        h = torch.relu(self.conv1(x.to(self.conv1.weight.dtype)))
        return x + self.conv3(torch.relu(self.conv2(h)))  # type: ignore[no-any-return]


class AttentionUnit(nn.Module):
    """relu(x + three convolutions through half the channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            conv1(channels, half), nn.ReLU(), conv3(half, half), nn.ReLU(), conv1(half, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> same."""
        return torch.relu(x + self.conv(x.to(self.conv[0].weight.dtype)))  # type: ignore[arg-type]


class Attention(nn.Module):
    """x + a(x) * sigmoid(b(x)): what to add, and a gate that says where."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(AttentionUnit(channels) for _ in range(3)))
        self.conv_b = nn.Sequential(*(AttentionUnit(channels) for _ in range(3)), conv1(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> same."""
        h = x.to(self.conv_b[-1].weight.dtype)  # type: ignore[arg-type]
        return x + self.conv_a(h) * torch.sigmoid(self.conv_b(h))  # type: ignore[no-any-return]
