"""TEC-TT as published: the network, with the parameter names of the published checkpoints.

  x[t] --> analysis --> y --round--> y_hat --+--> dequantiser --> synthesis --> x_hat[t]
                                   ^         |        ^
  y_hat[t - 2], y_hat[t - 1] --> prior ---- z_cur ----+

The prior is in `tt_published_prior.py`, real coding in `tt_published_coding.py`. FlexTEC is this with
repacked tokens (`flextec_published.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from eocodec.entropy.gaussian_grid import likelihoods
from eocodec.errors import WeightsError
from eocodec.models.elic_published import conv5, deconv5
from eocodec.models.published_state import State, empty, fill, without_prefix
from eocodec.models.tt_published_prior import PAST, PublishedPrior, TtPublishedConfig
from eocodec.nn.attention import Attention, AttentionUnit
from eocodec.nn.blocks import conv1, conv3
from eocodec.nn.quantise import round_straight_through
from eocodec.nn.token_windows import SIDE, TOKENS, merge, padded, reflect, split

PUBLISHED = TtPublishedConfig()
_Model = TypeVar("_Model", bound="TtPublished")


def _units(channels: int) -> list[AttentionUnit]:
    return [AttentionUnit(channels) for _ in range(3)]


class Layers(nn.Module):
    """Level of nesting that the published names have."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.transforms = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H / 16, W / 16], or back."""
        return self.transforms(x)  # type: ignore[no-any-return]


class Transform(nn.Module):
    """Pixels to latents and back, frame by frame."""

    def __init__(self, config: TtPublishedConfig) -> None:
        super().__init__()
        a, b, c, m = config.widths
        # fmt: off
        self.analysis_transform = Layers(
            conv5(config.bands, a, 2), *_units(a), conv5(a, b, 2), *_units(b), Attention(b),
            conv5(b, c, 2), *_units(c), conv5(c, m, 2), Attention(m),
        )
        self.synthesis_transform = Layers(
            Attention(m), deconv5(m, c), *_units(c), deconv5(c, b), Attention(b), *_units(b),
            deconv5(b, a), *_units(a), deconv5(a, config.bands),
        )
        # fmt: on


class Refinement(nn.Module):
    """x + two convolutions, each with its activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(channels, channels), conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> same."""
        return x + functional.leaky_relu(self.conv2(functional.leaky_relu(self.conv1(x))))


class Dequantiser(nn.Module):
    """Adds to quantised latents what the prior knew of them."""

    def __init__(self, d: int, channels: int) -> None:
        super().__init__()
        self.process_conv = nn.Sequential(conv1(d, channels), nn.LeakyReLU(), Refinement(channels))

    def forward(self, y_hat: Tensor, z_cur: Tensor) -> Tensor:
        """y_hat [B, M, h, w], z_cur [B, d, h, w] -> [B, M, h, w]."""
        return y_hat + self.process_conv(z_cur)  # type: ignore[no-any-return]


class StandIn(nn.Module):
    """The frame before the first: one number a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, 1, 1))


@dataclass(frozen=True)
class TtOutput:
    """What the network says of a series; [B, T, M, h, w] where nothing else is said.

    x_hat : [B, T, C, 16 h, 16 w], network units; y : latents; y_hat : rounded; means, scales : of the prior
    bits : [B, T], estimated
    """

    x_hat: Tensor
    y: Tensor
    y_hat: Tensor
    means: Tensor
    scales: Tensor
    bits: Tensor


class TtPublished(nn.Module):
    """The published TEC-TT at any size."""

    def __init__(self, config: TtPublishedConfig) -> None:
        super().__init__()
        self.config = config
        self.transform = Transform(config)
        self.entropy_model = self._prior(config)
        self._temporal_pad_token_maker = StandIn(config.M)
        self._dequantizer = Dequantiser(config.d, config.M)

    def _prior(self, config: TtPublishedConfig) -> PublishedPrior:
        return PublishedPrior(config)

    @classmethod
    def from_state(cls: type[_Model], state: State, heads: int = PUBLISHED.heads) -> _Model:
        """A model in eval mode from a published state dict; all sizes but `heads` follow from its shapes.

        Parameters
        ----------
        state : the tensors of a checkpoint, which the model keeps; a leading `model.` of all names is dropped

        Raises
        ------
        WeightsError : tensors are missing, unknown, or of another shape
        """
        state = without_prefix(state)
        config = config_of(state, heads)
        return fill(empty(lambda: cls(config)), state, "published temporal model")

    @property
    def g_a(self) -> nn.Module:
        """Analysis transform."""
        return self.transform.analysis_transform

    @property
    def g_s(self) -> nn.Module:
        """Synthesis transform."""
        return self.transform.synthesis_transform

    @property
    def dequantiser(self) -> Dequantiser:
        """What stands before it."""
        return self._dequantizer

    def analysis(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in network units -> y [B, M, ceil(H / 16), ceil(W / 16)]."""
        return self.g_a(x)  # type: ignore[no-any-return]

    def synthesis(self, dequantised: Tensor) -> Tensor:
        """What the dequantiser gives, [B, M, h, w] -> x_hat [B, C, 16 h, 16 w] in network units."""
        return self.g_s(dequantised)  # type: ignore[no-any-return]

    def before_first(self, dtype: torch.dtype) -> Tensor:
        """What the prior sees of the frame before the first: one window for all, [1, PAST_TOKENS, d]."""
        constant = self._temporal_pad_token_maker.weight.to(dtype).expand(-1, -1, SIDE, SIDE)
        return self.entropy_model.see(constant)

    def forward(self, x: Tensor) -> TtOutput:
        """All frames, each latent with the context that its decoder will have.

        Parameters
        ----------
        x : [B, T, C, H, W], network units; any T, H, W >= 1
        """
        return self._series(x, [TOKENS] * x.shape[1])

    def _series(self, x: Tensor, shown: Sequence[int]) -> TtOutput:
        """`forward` with a number of tokens of each frame shown to the synthesis, and counted."""
        prior = self.entropy_model
        y = self.analysis(x.flatten(0, 1)).to(x.dtype).unflatten(0, x.shape[:2])  # under autocast, too
        rows, cols = y.shape[3:]
        past = (self.before_first(x.dtype),) * PAST
        frames = []
        for t, count in enumerate(shown):
            y_hat = round_straight_through(reflect(y[:, t], 0, padded(rows), padded(cols)))
            frames.append(self._frame(y_hat, (rows, cols), prior.join(*past), count))
            seen = prior.see(y_hat)
            past = (past[1] if t else seen, seen)
        x_hat, y_hat, means, scales, bits = (torch.stack(parts, 1) for parts in zip(*frames, strict=True))
        return TtOutput(x_hat, y, y_hat, means, scales, bits)

    def _frame(self, y_hat: Tensor, size: tuple[int, int], joint: Tensor, shown: int) -> tuple[Tensor, ...]:
        """x_hat, y_hat, means, scales, bits of one frame.

        Parameters
        ----------
        y_hat : [B, M, h, w], padded to windows; size : without that
        joint : context of its windows, or of one that serves them all
        """
        prior, tokens = self.entropy_model, split(y_hat, repacked=self.config.repacked)
        before = torch.cat([prior.start(len(tokens), tokens.dtype), tokens[:, :-1]], 1)
        z_cur = prior.advance(prior.begin(joint), before)
        means, scales = (part.to(y_hat.dtype) for part in prior.parameters_of(z_cur))
        bits = -torch.log2(likelihoods(tokens - means, scales))[:, :shown]

        def image(of_tokens: Tensor) -> Tensor:
            whole = merge(of_tokens, *y_hat.shape[2:], repacked=self.config.repacked)
            return whole[..., : size[0], : size[1]]

        shown_latents = (image(part) for part in self._shown(tokens, z_cur, shown))
        x_hat = self.synthesis(self.dequantiser(*shown_latents))
        bits_of_frame = bits.reshape(len(y_hat), -1).sum(1)
        return x_hat, image(tokens), image(means), image(scales), bits_of_frame

    def _shown(self, tokens: Tensor, z_cur: Tensor, shown: int) -> tuple[Tensor, Tensor]:
        """What the synthesis gets of tokens [W, TOKENS, M] and features [W, TOKENS, d]: here, everything."""
        return tokens, z_cur


def config_of(state: State, heads: int = PUBLISHED.heads) -> TtPublishedConfig:
    """Sizes of the model whose tensors these are, without the leading `model.`.

    Raises
    ------
    WeightsError : they are not those of a published temporal model
    """
    analysis = "transform.analysis_transform.transforms"
    try:
        convolutions = [state[f"{analysis}.{i}.weight"] for i in (0, 4, 9, 13)]
        a, b, c, m = (weight.shape[0] for weight in convolutions)
        bands, d = convolutions[0].shape[1], state["entropy_model.encoder_embedding.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{error.args[0]}: missing, so this is no published temporal model") from error
    found = (re.match(r"entropy_model\.(\w+)\.layers\.encoder_layer_(\d+)\.", name) for name in state)
    blocks = Counter(stack for stack, _ in {match.groups() for match in found if match})
    return TtPublishedConfig(
        bands,
        (a, b, c, m),
        d,
        heads,
        separate=blocks["encoder_sep"],
        joint=blocks["encoder_joint"],
        decoder=blocks["decoder"],
        repacked="entropy_model.mask_token" in state,
    )
