"""The prior of the published temporal models: what is expected of a frame's latents, given two earlier ones.

  frame t - 2 --> encoder_sep --+
                                +--> encoder_joint --> z_joint
  frame t - 1 --> encoder_sep --+                         |
  tokens 0 .. i - 1 of frame t --------------------> decoder --> z_cur --> mean and scale of token i

Mentzer et al., *VCT: A Video Compression Transformer*, NeurIPS 2022, section 4, at the sizes of
arXiv:2510.12670. Windows (`nn/token_windows.py`) do not see each other, so each is one of a batch here. All
runs in the arithmetic of its input. Parameter names are the published ones.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from eocodec.entropy.gaussian import LIKELIHOOD_FLOOR
from eocodec.entropy.gaussian_grid import SCALE_MIN
from eocodec.errors import ConfigError
from eocodec.models.plain import config_from
from eocodec.nn.gdn import _LowerBound
from eocodec.nn.token_windows import PAST_TOKENS, TOKENS, split_past
from eocodec.nn.transformer import DecoderBlock, EncoderBlock, KeyValues, LayerNorm, Linear, Position

LATENT_UNIT = 35.0  # latents are divided by it before they are embedded
PAST = 2  # frames that a prediction looks at


@dataclass(frozen=True)
class TtPublishedConfig:
    """Sizes of a published temporal model; the defaults are the published ones.

    bands : C; widths : channels of the transform at 1/2, 1/4, 1/8 and 1/16, the last ones are the latents
    d : channels of a token inside the transformers, heads : of each attention
    separate, joint, decoder : blocks of the three transformers
    repacked : whether tokens are slices of channels (Latent Repacking)
    """

    bands: int = 12
    widths: tuple[int, int, int, int] = (128, 160, 192, 192)
    d: int = 768
    heads: int = 16
    separate: int = 6
    joint: int = 4
    decoder: int = 5
    repacked: bool = False

    def __post_init__(self) -> None:
        if self.d % self.heads:
            raise ConfigError(f"d: {self.d} is not a multiple of {self.heads} heads")
        if self.repacked and (self.M % PAST_TOKENS or self.d % TOKENS):
            raise ConfigError(
                f"repacking needs latent channels in multiples of {PAST_TOKENS} and d of {TOKENS}; "
                f"found {self.M} and {self.d}"
            )

    @property
    def M(self) -> int:
        """Latent channels."""
        return self.widths[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TtPublishedConfig:
        """Inverse of `to_dict`; an unknown key is a `ConfigError`."""
        return config_from(cls, values, "the published TEC-TT")


class _GridTables(nn.Module):
    """What the published parameter set has in the place of tables: bounds, and buffers that are empty.

    The published tables are computed after loading; ours are those of `entropy/gaussian_grid.py`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale_bound", torch.tensor([SCALE_MIN]))
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        for name in ("_indexes_table", "_prior_mean", "_prior_scale"):
            self.register_buffer(name, torch.zeros(0))
        self.likelihood_lower_bound = _LowerBound(LIKELIHOOD_FLOOR)
        self.lower_bound_scale, self.lower_bound_zero = _LowerBound(SCALE_MIN), _LowerBound(0.0)
        self.upper_bound_mean, self.upper_bound_scale = _LowerBound(-99.0), _LowerBound(-255.0)


class Bottleneck(nn.Module):
    """Level of nesting that the published names have."""

    def __init__(self) -> None:
        super().__init__()
        self._entropy_model = _GridTables()


class Blocks(nn.Module):
    """Blocks in a row, under the published names."""

    def __init__(self, blocks: list[EncoderBlock] | list[DecoderBlock]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({f"encoder_layer_{i}": block for i, block in enumerate(blocks)})

    def encode(self, x: Tensor) -> Tensor:
        """x [B, n, d] through encoder blocks -> same."""
        for block in self.layers.values():
            x = block(x)
        return x

    def decoders(self) -> list[DecoderBlock]:
        """The decoder blocks."""
        return cast(list[DecoderBlock], list(self.layers.values()))


class StartToken(nn.Module):
    """What stands before the first token of a window."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sym = nn.Parameter(torch.empty(channels).uniform_(-1, 1))


class DecoderState:
    """Where the decoder is in its windows: what it has seen so far, of each block.

    Parameters
    ----------
    context : of each block, what it sees of the context
    """

    def __init__(self, context: list[KeyValues]) -> None:
        self.context = context
        self.seen: list[KeyValues | None] = [None] * len(context)
        self.tokens = 0


class PublishedPrior(nn.Module):
    """Transformers, embeddings and heads."""

    def __init__(self, config: TtPublishedConfig) -> None:
        super().__init__()
        self.config = config
        d, heads, m = config.d, config.heads, config.M
        self.bottleneck = Bottleneck()
        self.encoder_sep = Blocks([EncoderBlock(d, heads) for _ in range(config.separate)])
        self.encoder_joint = Blocks([EncoderBlock(d, heads) for _ in range(config.joint)])
        self.learned_zero = StartToken(m)
        self.enc_position_sep = Position(PAST_TOKENS, d)
        self.enc_position_joint = Position(PAST * PAST_TOKENS, d)
        self.dec_position = Position(TOKENS, d)
        self.post_embedding_layernorm = LayerNorm(d)
        self.encoder_embedding, self.decoder_embedding = Linear(m, d), Linear(m, d)
        self.decoder = Blocks([DecoderBlock(d, heads, TOKENS) for _ in range(config.decoder)])
        self.mean_head, self.scale_head = _head(d, m), _head(d, m)

    def see(self, y_hat: Tensor) -> Tensor:
        """What the prior sees of a decoded frame.

        Parameters
        ----------
        y_hat : [B, M, rows, cols], quantised latents, rows and cols multiples of 4

        Returns
        -------
        [B x windows, PAST_TOKENS, d]
        """
        return self.see_windows(split_past(y_hat, repacked=self.config.repacked))

    def see_windows(self, tokens: Tensor) -> Tensor:
        """The same of windows: [W, PAST_TOKENS, M] -> [W, PAST_TOKENS, d]."""
        embedded = self.post_embedding_layernorm(self.encoder_embedding(tokens / LATENT_UNIT))
        return self.encoder_sep.encode(self.enc_position_sep(embedded))

    def join(self, before: Tensor, last: Tensor) -> Tensor:
        """The context of a frame from what was seen of the two before it: z_joint [W, 2 PAST_TOKENS, d]."""
        return self.encoder_joint.encode(self.enc_position_joint(torch.cat([before, last], 1)))

    def begin(self, joint: Tensor) -> DecoderState:
        """State before the first token of windows with this context, or of any with that of one window."""
        return DecoderState([block.context_of(joint) for block in self.decoder.decoders()])

    def start(self, windows: int, dtype: torch.dtype) -> Tensor:
        """What stands before the first tokens, [W, 1, M]."""
        return self.learned_zero.sym.to(dtype).expand(windows, 1, -1)

    def advance(self, state: DecoderState, before: Tensor) -> Tensor:
        """Features of the next n tokens, for the heads and the dequantiser.

        Parameters
        ----------
        state : is advanced
        before : [W, n, M], of each token the one before it

        Returns
        -------
        z_cur : [W, n, d]
        """
        x: Tensor = self.post_embedding_layernorm(self.decoder_embedding(before / LATENT_UNIT))
        x = self.dec_position(x, state.tokens)
        for i, block in enumerate(self.decoder.decoders()):
            x, state.seen[i] = block(x, state.seen[i], state.context[i])
        state.tokens += before.shape[1]
        return x

    def parameters_of(self, z_cur: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales (standard deviations) of tokens: [W, n, d] -> twice [W, n, M]."""
        raw = self.scale_head(z_cur)
        scales = torch.where(raw > 0, raw + 1, 1 / (1 - raw.clamp(max=0)))
        return self.mean_head(z_cur), scales

    def in_float64(self) -> PublishedPrior:
        """This prior with a decoder whose weights are float64 already; the encoders are shared.

        The decoder runs once a token. To cast its weights every time would take longer than to use them.
        """
        exact = copy.copy(self)
        exact._modules = dict(self._modules)
        for name in ("decoder", "mean_head", "scale_head"):
            exact._modules[name] = copy.deepcopy(self.get_submodule(name)).double()
        return exact


def _head(d: int, channels: int) -> nn.Sequential:
    return nn.Sequential(Linear(d, d), nn.LeakyReLU(), Linear(d, d), nn.LeakyReLU(), Linear(d, channels))
