"""TEC-FP: analysis and synthesis transforms around a factorized prior.

  x --> g_a --> y --> turn --> / step, round --> symbols --> * step --> turn back --> y_hat --> g_s --> x_hat
                                                    |
                                 factorized prior (one table a channel and tile)

Two sets of transforms share the class. `GdnTransform` is the published one (four strided 5 x 5 convolutions
with GDN; Balle et al. 2017 as in arXiv:2510.12670). `CompactAnalysis` and `CompactSynthesis` are what is
shipped: a block transform (DCT in space, the tile's own principal axes across the bands: nn/spectral.py) with
residual convolutions beside it at 1/4 and 1/8 resolution, which bend what the linear path alone would do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from eocodec.entropy.factorized import EntropyBottleneck
from eocodec.entropy.tile_laplace import tile_bits
from eocodec.errors import ConfigError
from eocodec.models.gain import Steps
from eocodec.models.plain import config_from
from eocodec.nn.blocks import Double, Halve, ResidualBlock, conv1, residual_chain, zero_init
from eocodec.nn.gdn import GDN
from eocodec.nn.quantise import add_uniform_noise, round_magnitude
from eocodec.nn.rates import Rates
from eocodec.nn.spectral import BLOCK, BlockTransform, principal_axes, turn, turn_back

STRIDE = 16  # latents are at 1/16 of the resolution, in every configuration


@dataclass(frozen=True)
class FpConfig:
    """Sizes of TEC-FP.

    transform : 'compact' (shipped) or 'gdn' (published)
    bands : C
    N, M : hidden and latent channels of 'gdn'; 'compact' has M = 256 C
    quarter, eighth, sixteenth : channels at 1/4, 1/8 and 1/16 resolution ('compact')
    bent : leading latents that the convolutions act on
    analysis_blocks, synthesis_blocks : residual blocks at (1/4, 1/8)
    levels : rate levels of the gain vectors
    rates : levels of quality that the synthesis is told of ('compact'); 0: it is not told
    """

    transform: str = "compact"
    bands: int = 12
    N: int = 128
    M: int = 192
    quarter: int = 48
    eighth: int = 96
    sixteenth: int = 128
    bent: int = 512
    analysis_blocks: tuple[int, int] = (1, 1)
    synthesis_blocks: tuple[int, int] = (2, 1)
    levels: int = 8
    rates: int = 0

    @property
    def latents(self) -> int:
        """Latent channels of the transform in use."""
        return self.M if self.transform == "gdn" else BLOCK**2 * self.bands

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; of 'gdn' those that it has."""
        values = asdict(self)
        return {k: values[k] for k in ("transform", "bands", "N", "M")} if self.transform == "gdn" else values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FpConfig:
        """Inverse of `to_dict`; an unknown key is a `ConfigError`."""
        return config_from(cls, values, "TEC-FP")


class GdnTransform(nn.Module):
    """The published transforms: `g_a` and `g_s` are 4 x (5 x 5, stride 2) with GDN between."""

    def __init__(self, config: FpConfig) -> None:
        super().__init__()
        n, m, c = config.N, config.M, config.bands
        down = [nn.Conv2d(i, o, 5, stride=2, padding=2) for i, o in ((c, n), (n, n), (n, n), (n, m))]
        up = [
            nn.ConvTranspose2d(i, o, 5, stride=2, padding=2, output_padding=1)
            for i, o in ((m, n), (n, n), (n, n), (n, c))
        ]
        self.g_a = nn.Sequential(down[0], GDN(n), down[1], GDN(n), down[2], GDN(n), down[3])
        inverse = [GDN(n, inverse=True) for _ in range(3)]
        self.g_s = nn.Sequential(up[0], inverse[0], up[1], inverse[1], up[2], inverse[2], up[3])


class CompactAnalysis(nn.Module):
    """Block transform; convolutions add to its leading latents, in units of each one's standard deviation."""

    lead: Tensor
    latent_std: Tensor

    def __init__(self, config: FpConfig) -> None:
        super().__init__()
        self.linear = BlockTransform(config.bands)
        self.register_buffer("lead", torch.arange(config.bent))
        self.register_buffer("latent_std", torch.ones(config.bent))
        quarter, eighth = config.analysis_blocks
        self.stem = conv1(16 * config.bands, config.quarter)
        self.at_quarter = residual_chain(config.quarter, quarter)
        self.to_eighth = Halve(config.quarter, config.eighth)
        self.at_eighth = residual_chain(config.eighth, eighth)
        self.to_sixteenth = Halve(config.eighth, config.sixteenth)
        self.head = zero_init(conv1(config.sixteenth, config.bent))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W], sides multiples of 16 -> y [B, M, H/16, W/16]."""
        h = self.at_quarter(self.stem(functional.pixel_unshuffle(x, 4)))  # (B, quarter, H/4, W/4)
        h = self.head(self.to_sixteenth(self.at_eighth(self.to_eighth(h))))  # (B, bent, H/16, W/16)
        with torch.autocast(x.device.type, enabled=False):
            y = self.linear.analysis(x.float())
            return y.index_add(1, self.lead, h.float() * self.latent_std[:, None, None])


class CompactSynthesis(nn.Module):
    """Linear reconstruction, then a convolutional correction that sees it and the leading latents.

    Where it is told the quality, the residual blocks have biases and the head's input has gains that depend
    on it: an image of few bits needs another correction than one of many.
    """

    lead: Tensor
    latent_std: Tensor

    def __init__(self, config: FpConfig, linear: BlockTransform) -> None:
        super().__init__()
        self.linear = (linear,)  # in a tuple: shared with the analysis, registered there
        self.register_buffer("lead", torch.arange(config.bent))
        self.register_buffer("latent_std", torch.ones(config.bent))
        quarter, eighth = config.synthesis_blocks
        self.from_latents = conv1(config.bent, config.sixteenth)
        self.to_eighth = Double(config.sixteenth, config.eighth)
        self.at_eighth = residual_chain(config.eighth, eighth)
        self.to_quarter = Double(config.eighth, config.quarter)
        self.from_quarter = conv1(16 * config.bands, config.quarter)
        self.at_quarter = residual_chain(config.quarter, quarter)
        self.head = zero_init(conv1(config.quarter, 16 * config.bands))
        self.rates: Rates | None = None
        if config.rates:
            biases = eighth * config.eighth + quarter * config.quarter
            self.rates = Rates(config.rates, biases, config.quarter)

    def forward(self, y_hat: Tensor, quality: Tensor | None = None) -> Tensor:
        """[B, M, h, w] -> x_hat [B, C, 16 h, 16 w]; float64 all the way if y_hat and the weights are.

        quality : [B], 0 to 1, of each sample, where the synthesis is told

        Raises
        ------
        ConfigError : it has to be told and is not
        """
        with torch.autocast(y_hat.device.type, enabled=False):
            linear = self.linear[0].synthesis(y_hat if y_hat.dtype == torch.float64 else y_hat.float())
        return linear + self.correction(linear, self.leading(y_hat), quality).to(linear.dtype)

    def leading(self, y_hat: Tensor) -> Tensor:
        """The latents [B, M, h, w] that convolutions see, [B, bent, h, w], by their standard deviations."""
        return y_hat[:, self.lead] / self.latent_std[:, None, None]

    def correction(self, linear: Tensor, lead: Tensor, quality: Tensor | None = None) -> Tensor:
        """What the convolutions add to the linear reconstruction [B, C, H, W], given `leading` latents."""
        quarters = functional.pixel_unshuffle(linear, 4)  # (B, 16 C, H/4, W/4)
        eighth, at_quarter, gain = self.told(quality)
        h = _in_turn(self.at_eighth, self.to_eighth(self.from_latents(lead)), eighth)
        h = _in_turn(self.at_quarter, self.to_quarter(h) + self.from_quarter(quarters), at_quarter)
        if gain is not None:
            h = h * gain[:, :, None, None].to(h.dtype)
        return functional.pixel_shuffle(self.head(h), 4)

    def told(self, quality: Tensor | None) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Biases of the residual blocks at 1/8 and at 1/4, and gains before the head, at qualities [B]."""
        if self.rates is None:
            return [], [], None
        if quality is None:
            raise ConfigError("this synthesis has to be told the quality")
        bias, gain = self.rates.at(quality)
        sizes = [_channels(block) for block in (*self.at_eighth, *self.at_quarter)]
        parts = list(bias.split(sizes, dim=1))
        return parts[: len(self.at_eighth)], parts[len(self.at_eighth) :], gain


def _channels(block: nn.Module) -> int:
    if not isinstance(block, ResidualBlock):
        raise TypeError(f"not a residual block: {block}")
    return block.inner.out_channels


def _in_turn(chain: nn.Sequential, h: Tensor, biases: list[Tensor]) -> Tensor:
    """The blocks one after the other, each with its bias where there are some."""
    if not biases:
        return chain(h)  # type: ignore[no-any-return]
    for block, bias in zip(chain, biases, strict=True):
        h = block(h, bias)
    return h


@dataclass(frozen=True)
class TrainOutput:
    """x_hat [B, C, H, W] in network units; bits [B], estimated bits of each sample."""

    x_hat: Tensor
    bits: Tensor


class TecFp(nn.Module):
    """TEC-FP. `analysis` and `synthesis` are what a codec calls; `forward` is for training."""

    def __init__(self, config: FpConfig) -> None:
        super().__init__()
        self.config = config
        if config.transform == "gdn":
            published = GdnTransform(config)
            self.g_a: nn.Module = published.g_a
            self.g_s: nn.Module = published.g_s
            self.entropy_bottleneck = EntropyBottleneck(config.M)
        elif config.transform == "compact":
            analysis = CompactAnalysis(config)
            self.g_a = analysis
            self.g_s = CompactSynthesis(config, analysis.linear)
            self.steps = Steps(config.levels, config.latents)
        else:
            raise ConfigError(f"transform must be 'compact' or 'gdn', not {config.transform!r}")

    def analysis(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in network units, sides multiples of 16 -> y [B, M, H/16, W/16]."""
        return self.g_a(x)  # type: ignore[no-any-return]

    def synthesis(self, y_hat: Tensor, quality: Tensor | None = None) -> Tensor:
        """y_hat [B, M, h, w] -> x_hat [B, C, 16 h, 16 w] in network units; quality [B], 0 to 1."""
        if isinstance(self.g_s, CompactSynthesis):
            return self.g_s(y_hat, quality)  # type: ignore[no-any-return]
        return self.g_s(y_hat)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, level: Tensor, *, dead_zone: float = 0.0) -> TrainOutput:
        """Training pass: straight-through rounding for the distortion, its soft twin for the rate's gradient.

        Parameters
        ----------
        x : [B, C, H, W], network units, sides multiples of 16
        level : [B], fractional rate level (ignored by the published configuration)
        dead_zone : how much sooner than at 1/2 symbols are rounded towards zero
        """
        y = self.analysis(x).float()
        if self.config.transform == "gdn":
            y_hat = self.entropy_bottleneck.round(y)
            likelihoods = self.entropy_bottleneck.likelihoods(
                add_uniform_noise(y) if self.training else y_hat
            )
            return TrainOutput(self.synthesis(y_hat), -torch.log2(likelihoods).sum((1, 2, 3)))
        step = self.steps.at(level)[:, :, None, None]
        ring = self.block_transform.ring
        bases = principal_axes(y.detach(), self.config.bands, ring)
        v = turn(y, bases, ring) / step
        magnitude = round_magnitude(v.abs(), dead_zone)
        v_hat = torch.copysign(magnitude, v)
        bits = tile_bits(magnitude, v_hat[:, : self.config.bands])
        quality = level / max(self.config.levels - 1, 1)
        return TrainOutput(self.synthesis(turn_back(v_hat * step, bases, ring), quality), bits)

    @property
    def block_transform(self) -> BlockTransform:
        """The linear path of the compact configuration."""
        if not isinstance(self.g_a, CompactAnalysis):
            raise ConfigError("only the compact transform has a linear path")
        return self.g_a.linear
