"""Small convolutional building blocks on `[B, C, H, W]`; H and W are kept unless the name says otherwise."""

from __future__ import annotations

from torch import Tensor, nn


def conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3 x 3 convolution, zero padding."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def conv1(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1 x 1 convolution."""
    return nn.Conv2d(in_channels, out_channels, 1)


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Set weights and bias to zero, so that the branch which ends here starts as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """x + conv3(lrelu(conv3(x))); no activation after the sum, starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = conv3(channels, channels)
        self.act = nn.LeakyReLU(0.1, inplace=True)
        self.outer = zero_init(conv3(channels, channels))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, C, H, W] -> same; bias [B, C], of each sample, on top of the inner convolution's."""
        h = self.inner(x)
        if bias is not None:
            h = h + bias[:, :, None, None].to(h.dtype)
        return x + self.outer(self.act(h))  # type: ignore[no-any-return]


def residual_chain(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


class Halve(nn.Sequential):
    """Half the resolution: 2 x 2 pixels become channels, then 1 x 1 to `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 2, stride=2), nn.LeakyReLU(0.1, inplace=True))


class Double(nn.Sequential):
    """Twice the resolution: 1 x 1 to 4 x `out_channels`, then channels become 2 x 2 pixels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            conv1(in_channels, 4 * out_channels), nn.PixelShuffle(2), nn.LeakyReLU(0.1, inplace=True)
        )
