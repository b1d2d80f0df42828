"""FlexTEC as published: TEC-TT with repacked tokens, of which any number may be sent.

Token i of a window is slice i of the channels of all its pixels. Those that are not sent are, in real coding,
what the prior predicts (`tt_published_coding.py`); in training, and so in `forward`, learned values stand in
for them, in the synthesis only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eocodec.errors import ConfigError, InputError
from eocodec.models.published import Family
from eocodec.models.tt_published import TtOutput, TtPublished
from eocodec.models.tt_published_coding import ready
from eocodec.models.tt_published_prior import PublishedPrior, TtPublishedConfig
from eocodec.nn.token_windows import TOKENS


class MaskedPrior(PublishedPrior):
    """The prior, with what stands in for tokens that are not sent."""

    def __init__(self, config: TtPublishedConfig) -> None:
        super().__init__(config)
        self.mask_token = nn.Parameter(torch.empty(config.M).uniform_(-1, 1))
        self.z_cur_mask_token = nn.Parameter(torch.empty(config.d).uniform_(-1, 1))


class FlexTecPublished(TtPublished):
    """The published FlexTEC at any size.

    Raises
    ------
    ConfigError : the configuration is not one with repacked tokens
    """

    entropy_model: MaskedPrior

    def _prior(self, config: TtPublishedConfig) -> PublishedPrior:
        if not config.repacked:
            raise ConfigError("repacked: FlexTEC has repacked tokens")
        return MaskedPrior(config)

    def forward(self, x: Tensor, quality: int | Sequence[int] = TOKENS) -> TtOutput:
        """All frames, as in training: later frames are predicted from all tokens, whatever is sent.

        Parameters
        ----------
        x : [B, T, C, H, W], network units; any T, H, W >= 1
        quality : tokens sent of each frame, see `tokens_sent`
        """
        return self._series(x, tokens_sent(quality, x.shape[1]))

    def _shown(self, tokens: Tensor, z_cur: Tensor, shown: int) -> tuple[Tensor, Tensor]:
        hidden = (torch.arange(TOKENS, device=tokens.device) >= shown)[:, None]
        tokens = torch.where(hidden, self.entropy_model.mask_token, tokens)
        return tokens, torch.where(hidden, self.entropy_model.z_cur_mask_token, z_cur)


def tokens_sent(quality: int | Sequence[int], timesteps: int) -> list[int]:
    """Tokens sent of each of `timesteps` frames.

    Parameters
    ----------
    quality : 0 to TOKENS; of all frames, or of each of the first, the last one serving those after it

    Raises
    ------
    InputError : a number is out of range, or there are none, or more than frames
    """
    given = [quality] if isinstance(quality, int) else list(quality)
    if not 1 <= len(given) <= timesteps or not all(0 <= q <= TOKENS for q in given):
        raise InputError(f"quality: found {quality}, expected 0 to {TOKENS} for up to {timesteps} frames")
    return given + given[-1:] * (timesteps - len(given))


FAMILY = Family(
    read=FlexTecPublished.from_state,
    build=lambda config: FlexTecPublished(TtPublishedConfig.from_dict(config)),
    ready=ready,
)
