"""TEC-ELIC as published: the network, with the parameter names of the published checkpoints.

  x --> g_a --> y --> groups of channels, each in two passes of a checkerboard --> y_hat --> g_s --> x_hat
                |                        ^
               h_a --> z --> z_hat --> h_s

He et al., *ELIC: Efficient Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive
Coding*, CVPR 2022, with the bands of Sentinel-2 (arXiv:2510.12670). Real coding is in
`elic_published_coding.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from eocodec.entropy.factorized import EntropyBottleneck
from eocodec.entropy.gaussian import GaussianConditional
from eocodec.errors import ConfigError
from eocodec.models.plain import config_from
from eocodec.models.published_state import empty, fill, sizes_of, without_prefix
from eocodec.nn.attention import Attention, Bottleneck
from eocodec.nn.quantise import round_straight_through

NAME = "published TEC-ELIC"
LEADING_GROUPS = (16, 16, 32, 64)  # channels; the last group has the rest
CHANNEL_CONTEXT = (224, 128)  # hidden channels of the context from earlier groups
AGGREGATION = 512  # hidden channels where all contexts meet
STRIDE = 16


@dataclass(frozen=True)
class ElicPublishedConfig:
    """N, M : hidden and latent channels (published: 128, 192 and 192, 320); bands : C."""

    N: int = 128
    M: int = 192
    bands: int = 12

    @property
    def groups(self) -> tuple[int, ...]:
        """Channels of each group.

        Raises
        ------
        ConfigError : M leaves none for the last group
        """
        last = self.M - sum(LEADING_GROUPS)
        if last < 1:
            raise ConfigError(f"M must be above {sum(LEADING_GROUPS)}, not {self.M}")
        return (*LEADING_GROUPS, last)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ElicPublishedConfig:
        """Inverse of `to_dict`; an unknown key is a `ConfigError`."""
        return config_from(cls, values, NAME)


def conv5(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """5 x 5 convolution, zero padding."""
    return nn.Conv2d(in_channels, out_channels, 5, stride=stride, padding=2)


def deconv5(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """5 x 5 transposed convolution to twice the resolution."""
    return nn.ConvTranspose2d(in_channels, out_channels, 5, stride=2, padding=2, output_padding=1)


def _bottlenecks(channels: int) -> list[Bottleneck]:
    return [Bottleneck(channels) for _ in range(3)]


class CheckerboardConv(nn.Conv2d):
    """5 x 5 convolution that sees neighbours of the other colour only."""

    mask: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 5, padding=2)
        rows, cols = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
        self.register_buffer("mask", ((rows + cols) % 2).float().expand_as(self.weight).clone())

    def forward(self, x: Tensor) -> Tensor:
        """[B, g, h, w] -> [B, 2 g, h, w]."""
        return functional.conv2d(x, self.weight * self.mask, self.bias, padding=2)


class GaussianCodec(nn.Module):
    """Level of nesting that the published names have."""

    def __init__(self) -> None:
        super().__init__()
        self.gaussian_conditional = GaussianConditional()


class GroupCodec(nn.Module):
    """Contexts of one group: in space, and the aggregation of all there are.

    Parameters
    ----------
    channels : of the group, g
    support : channels of what is known before the group: context of earlier groups and hyperprior
    M : latent channels
    """

    def __init__(self, channels: int, support: int, M: int) -> None:
        super().__init__()
        self.entropy_parameters = nn.Sequential(
            nn.Conv2d(2 * channels + support, 2 * M, 1),
            nn.ReLU(),
            nn.Conv2d(2 * M, AGGREGATION, 1),
            nn.ReLU(),
            nn.Conv2d(AGGREGATION, 2 * channels, 1),
        )
        self.context_prediction = CheckerboardConv(channels, 2 * channels)
        self.y = GaussianCodec()


class LatentsCodec(nn.Module):
    """Contexts of all groups."""

    def __init__(self, config: ElicPublishedConfig) -> None:
        super().__init__()
        self.groups = config.groups
        wide, narrow = CHANNEL_CONTEXT
        contexts, codecs = {}, {}
        for k, g in enumerate(self.groups):
            if k:
                seen = self.groups[0] + (self.groups[k - 1] if k > 1 else 0)
                contexts[f"y{k}"] = nn.Sequential(
                    conv5(seen, wide), nn.ReLU(), conv5(wide, narrow), nn.ReLU(), conv5(narrow, 2 * g)
                )
            codecs[f"y{k}"] = GroupCodec(g, 2 * config.M + (2 * g if k else 0), config.M)
        self.channel_context = nn.ModuleDict(contexts)
        self.latent_codec = nn.ModuleDict(codecs)

    def group(self, k: int) -> GroupCodec:
        """Contexts of group k."""
        return cast(GroupCodec, self.latent_codec[f"y{k}"])

    def slices(self) -> list[slice]:
        """Channels of each group."""
        ends = [sum(self.groups[: k + 1]) for k in range(len(self.groups))]
        return [slice(end - g, end) for end, g in zip(ends, self.groups, strict=True)]

    def seen(self, k: int) -> list[slice]:
        """Channels of earlier groups that group k knows: those of the first one and of the one before it."""
        parts = self.slices()
        return [parts[0], parts[k - 1]][: min(k, 2)]

    def support(self, k: int, y_hat: Tensor, hyper: Tensor) -> Tensor:
        """What group k knows before its first symbol.

        Parameters
        ----------
        y_hat : [B, M, h, w], of which only earlier groups are looked at
        hyper : [B, 2 M, h, w]

        Returns
        -------
        [B, 2 M + 2 g, h, w]; group 0 has the hyperprior alone
        """
        if k == 0:
            return hyper
        seen = torch.cat([y_hat[:, part] for part in self.seen(k)], 1)
        return torch.cat([self.channel_context[f"y{k}"](seen), hyper], 1)


class Hyperprior(nn.Module):
    """z and back; z_hat is coded by a factorized prior."""

    def __init__(self, config: ElicPublishedConfig) -> None:
        super().__init__()
        n, m = config.N, config.M
        self.entropy_bottleneck = EntropyBottleneck(n)
        first, last = nn.Conv2d(m, n, 3, padding=1), nn.Conv2d(n * 3 // 2, 2 * m, 3, padding=1)
        self.h_a = nn.Sequential(first, nn.ReLU(), conv5(n, n, 2), nn.ReLU(), conv5(n, n, 2))
        self.h_s = nn.Sequential(deconv5(n, n), nn.ReLU(), deconv5(n, n * 3 // 2), nn.ReLU(), last)

    def parameters_of(self, z_hat: Tensor, rows: int, cols: int) -> Tensor:
        """z_hat [B, N, ceil(h / 4), ceil(w / 4)] -> [B, 2 M, h, w], cropped at right and bottom."""
        return self.h_s(z_hat)[..., :rows, :cols]  # type: ignore[no-any-return]


class ElicCodec(nn.Module):
    """All of entropy coding, under the published names."""

    def __init__(self, config: ElicPublishedConfig) -> None:
        super().__init__()
        self.y = LatentsCodec(config)
        self.hyper = Hyperprior(config)


@dataclass(frozen=True)
class ElicOutput:
    """What the two-pass form yields; [B, M, h, w] where nothing else is said.

    x_hat : [B, C, 16 h, 16 w], network units; y_hat, means, scales, symbols : of the latents
    z_symbols : [B, N, ceil(h / 4), ceil(w / 4)]; bits : [B], estimated
    """

    x_hat: Tensor
    y_hat: Tensor
    means: Tensor
    scales: Tensor
    symbols: Tensor
    z_symbols: Tensor
    bits: Tensor


class TecElicPublished(nn.Module):
    """The published TEC-ELIC at any N and M."""

    def __init__(self, config: ElicPublishedConfig) -> None:
        super().__init__()
        self.config = config
        n, m, c = config.N, config.M, config.bands
        # fmt: off
        self.g_a = nn.Sequential(
            conv5(c, n, 2), *_bottlenecks(n), conv5(n, n, 2), *_bottlenecks(n), Attention(n),
            conv5(n, n, 2), *_bottlenecks(n), conv5(n, m, 2), Attention(m),
        )
        self.g_s = nn.Sequential(
            Attention(m), deconv5(m, n), *_bottlenecks(n), deconv5(n, n), Attention(n), *_bottlenecks(n),
            deconv5(n, n), *_bottlenecks(n), deconv5(n, c),
        )
        # fmt: on
        self.latent_codec = ElicCodec(config)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> TecElicPublished:
        """A model in eval mode from a published state dict; N, M and the bands follow from its shapes.

        Parameters
        ----------
        state : the tensors of a checkpoint, which become those of the model; a leading `model.` of a name is
            dropped

        Raises
        ------
        WeightsError : tensors are missing, unknown, or of another shape or dtype
        """
        state = without_prefix(state)
        n, bands, *_ = sizes_of(state, "g_a.0.weight", NAME)
        m, *_ = sizes_of(state, "g_a.13.weight", NAME)
        return fill(empty(lambda: cls(ElicPublishedConfig(n, m, bands))), state, NAME)

    def update_tables(self) -> None:
        """Compute all integer tables; needed once, for a model that has none."""
        self.latent_codec.hyper.entropy_bottleneck.update_tables()
        for k in range(len(self.config.groups)):
            self.latent_codec.y.group(k).y.gaussian_conditional.update_tables()

    def analysis(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in network units -> y [B, M, ceil(H / 16), ceil(W / 16)]."""
        return self.g_a(x)  # type: ignore[no-any-return]

    def synthesis(self, y_hat: Tensor) -> Tensor:
        """y_hat [B, M, h, w] -> x_hat [B, C, 16 h, 16 w] in network units."""
        return self.g_s(y_hat)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> ElicOutput:
        """The two-pass form: every latent with the contexts that its decoder will have.

        Parameters
        ----------
        x : [B, C, H, W], network units

        Notes
        -----
        Parameters are what the network says, not yet snapped: coded symbols differ from these in the rare
        case that y - mean lies within 1/512 of a half.
        """
        y = self.analysis(x)
        bottleneck = self.latent_codec.hyper.entropy_bottleneck
        medians = bottleneck.medians[None, :, None, None]
        z_symbols = torch.round(self.latent_codec.hyper.h_a(y) - medians)
        z_bits = -torch.log2(bottleneck.likelihoods(z_symbols + medians)).sum((1, 2, 3))
        hyper = self.latent_codec.hyper.parameters_of(z_symbols + medians, *y.shape[2:])
        y_hat, means, scales = self.two_passes(y, hyper)
        symbols = torch.round(y - means)
        conditional = self.latent_codec.y.group(0).y.gaussian_conditional
        y_bits = -torch.log2(conditional.likelihoods(symbols, scales)).sum((1, 2, 3))
        return ElicOutput(self.synthesis(y_hat), y_hat, means, scales, symbols, z_symbols, y_bits + z_bits)

    def two_passes(self, y: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y_hat, means, scales, each like y; rounding passes gradients straight through.

        Parameters
        ----------
        y : [B, M, h, w]
        hyper : [B, 2 M, h, w]
        """
        codec = self.latent_codec.y
        rows, cols = y.shape[2:]
        anchor = is_anchor(rows, cols, y.device)
        parts: list[tuple[Tensor, ...]] = []  # y_hat, mean, scale of each group
        for k, part in enumerate(codec.slices()):
            group = codec.group(k)
            support = codec.support(k, torch.cat([y_hat for y_hat, *_ in parts] or [y[:, :0]], 1), hyper)
            spatial = support.new_zeros(len(y), 2 * codec.groups[k], rows, cols)
            first = _rounded(group, y[:, part], spatial, support)
            spatial = group.context_prediction(torch.where(anchor, first[0], 0))
            second = _rounded(group, y[:, part], spatial, support)
            parts.append(tuple(torch.where(anchor, a, b) for a, b in zip(first, second, strict=True)))
        y_hat, means, scales = (torch.cat(same, 1) for same in zip(*parts, strict=True))
        return y_hat, means, scales


def _rounded(group: GroupCodec, y: Tensor, spatial: Tensor, support: Tensor) -> tuple[Tensor, ...]:
    """y_hat, mean, scale of a group, each [B, g, h, w], float32 or wider."""
    parameters = group.entropy_parameters(torch.cat([spatial, support], 1))
    mean, scale = parameters.to(y.dtype).chunk(2, 1)
    return round_straight_through(y - mean) + mean, mean, scale


def is_anchor(rows: int, cols: int, device: torch.device | None = None) -> Tensor:
    """[rows, cols], bool: the half of the checkerboard that is coded first."""
    r, c = torch.arange(rows, device=device), torch.arange(cols, device=device)
    return (r[:, None] + c[None, :]) % 2 == 0
