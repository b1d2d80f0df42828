"""Real coding of the published TEC-TT and FlexTEC: latents of a series <-> range coder, frame by frame.

All windows of a frame advance together, one token at a time: 16 steps a frame, each one call of the coder.
The prior runs in float64, and what it says is snapped to integers (`entropy/exact.py`). What was computed is
kept: what the prior sees of a frame, for the two frames after it; keys and values of the context, for all
tokens; those of a token, for the tokens after it. An encoder knows the tokens that it sends, and asks for all
of their parameters at once.

A token that FlexTEC does not send is the whole number nearest to the mean, for encoder and decoder alike.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import Cells, EdgeReader, EdgeWriter
from eocodec.entropy.gaussian import MAX_MEAN
from eocodec.entropy.gaussian_grid import Placed, snap, snap_whole
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.errors import InputError
from eocodec.models.elic_published_coding import HALO
from eocodec.models.published import Family
from eocodec.models.published_image import PublishedImageModel
from eocodec.models.registry import ModelCard
from eocodec.models.tt_published import TtPublished
from eocodec.models.tt_published_prior import TtPublishedConfig
from eocodec.nn.token_windows import TOKENS, merge, padded, reflect, split, split_past

WINDOWS = 64  # that advance together, for memory is to be bounded; the order of symbols depends on it
_ENCODED = 1024  # tokens encoded together: temporaries stay small enough for memory to be used again

_Past: TypeAlias = tuple[
    Tensor, Tensor
]  # what is seen of two frames, [W, PAST_TOKENS, d], or [1, ...] for all


@dataclass(frozen=True, eq=False)
class TtFrame:
    """A coded timestep.

    y_hat : [M, rows, cols], int32, padded to windows: on it depends all that follows, so the CRC is of it
    dequantised : [M, h, w], float64: what the synthesis takes
    """

    y_hat: NDArray[np.int32]
    dequantised: NDArray[np.float64]


class _Side(Protocol):
    """Encoder or decoder of one frame."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the frame's latents."""

    def known(self, windows: slice, count: int) -> Tensor | None:
        """The first `count` tokens [W, count, M], float64, if they are known before they are coded."""

    def code(self, windows: slice, token: int, placed: Placed) -> Cells:
        """y_hat of a token of some windows, [W, M]."""


@dataclass(frozen=True, eq=False)
class _Sender:
    encoder: SymbolEncoder
    size: tuple[int, int]
    tokens: Tensor  # [W, TOKENS, M], whole numbers in float64

    def known(self, windows: slice, count: int) -> Tensor | None:
        return self.tokens[windows, :count]

    def code(self, windows: slice, token: int, placed: Placed) -> Cells:
        values = self.tokens[windows, token].cpu().numpy().astype(np.int64)
        placed.encode(values, self.encoder)
        return values


@dataclass(frozen=True, eq=False)
class _Receiver:
    decoder: SymbolDecoder
    size: tuple[int, int]

    def known(self, windows: slice, count: int) -> Tensor | None:
        return None

    def code(self, windows: slice, token: int, placed: Placed) -> Cells:
        return placed.decode(self.decoder)


@dataclass(frozen=True, eq=False)
class _Coding:
    """How a frame is coded: into or out of the next of which parts, by what side, and how many tokens."""

    parts: PartWriter | PartReader
    side: Callable[[Any], _Side]  # of the part's encoder or decoder
    sent: int


class TtCoder:
    """See `SeriesCoder` in entropy/coder.py.

    Parameters
    ----------
    network : TEC-TT or FlexTEC; what runs once a token is copied to float64
    """

    def __init__(self, network: TtPublished) -> None:
        self.bands, self.channels = network.config.bands, network.config.M
        self._network = network
        self._repacked = network.config.repacked
        self._prior = network.entropy_model.in_float64()
        self._dequantise = copy.deepcopy(network.dequantiser).double()

    def encode_series(
        self, ys: Iterable[NDArray[np.float32]], parts: PartWriter, quality_steps: int, lmbda: float
    ) -> Iterator[TtFrame]:
        """Round and append timesteps [M, h, w], a part each; errors of `encode_tokens`."""
        sent = self.sent_at(quality_steps)
        return self._series(self._writing(torch.from_numpy(y), sent, parts) for y in ys)

    def decode_series(
        self, parts: PartReader, timesteps: int, rows: int, cols: int, quality_steps: int
    ) -> Iterator[TtFrame]:
        """All timesteps in order; errors of `decode_tokens`."""
        return self.decode_tokens(parts, rows, cols, [self.sent_at(quality_steps)] * timesteps)

    def extend_series(
        self,
        ys: Iterable[NDArray[np.float32]],
        read: PartReader,
        there: tuple[int, int, int],
        parts: PartWriter,
        quality_steps: int,
        lmbda: float,
    ) -> Iterator[TtFrame]:
        """`encode_series` after [timesteps, rows, cols] that are read first; errors of `decode_tokens`."""
        sent, (timesteps, rows, cols) = self.sent_at(quality_steps), there
        old = itertools.repeat(self._reading(rows, cols, sent, read), timesteps)
        new = (self._writing(torch.from_numpy(y), sent, parts) for y in ys)
        return itertools.islice(self._series(itertools.chain(old, new)), timesteps, None)

    def latents(
        self, frame: TtFrame, quality_steps: int, dtype: type[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        """Dequantised latents [M, n]."""
        return frame.dequantised.reshape(self.channels, -1).astype(dtype)

    def sent_at(self, quality_steps: int) -> int:
        """Tokens of a frame that are sent at a quality: of FlexTEC, the nearest share of them; else all."""
        return (TOKENS * quality_steps + MAX_QUALITY // 2) // MAX_QUALITY if self._repacked else TOKENS

    def encode_tokens(
        self, latents: Sequence[Tensor] | Tensor, parts: PartWriter, sent: Sequence[int]
    ) -> Iterator[TtFrame]:
        """Append a series, a part each timestep, as they are asked for.

        Parameters
        ----------
        latents : of each timestep, [M, h, w], float32, any h, w >= 1, the same throughout
        sent : of each timestep, how many tokens are sent: TOKENS, or fewer in FlexTEC

        Raises
        ------
        InputError : latents, or parameters that follow from them, are not finite; or see `sent`
        """
        self._check_sent(sent)
        return self._series(self._writing(y, count, parts) for y, count in zip(latents, sent, strict=True))

    def decode_tokens(
        self, parts: PartReader, rows: int, cols: int, sent: Sequence[int]
    ) -> Iterator[TtFrame]:
        """Inverse of `encode_tokens` for latents of rows x cols, one frame after the other.

        Left to the caller is `finish` of the parts.

        Raises
        ------
        MalformedSection, Truncated : a stream is invalid; ExactnessError : see `entropy/exact.py`
        ChecksumMismatch, TrailingBytes : see `PartReader.part`; InputError : see `sent`
        """
        self._check_sent(sent)
        return self._series(self._reading(rows, cols, count, parts) for count in sent)

    def _check_sent(self, sent: Sequence[int]) -> None:
        least = 0 if self._repacked else TOKENS
        if not all(least <= count <= TOKENS for count in sent):
            raise InputError(
                f"sent: found {list(sent)}, expected {least} to {TOKENS} tokens of each timestep"
            )

    def _writing(self, y: Tensor, sent: int, parts: PartWriter) -> _Coding:
        """How a frame is encoded."""

        def side(encoder: SymbolEncoder) -> _Side:
            if not torch.isfinite(y).all():
                raise InputError("latents: found values that are not finite")
            rows, cols = y.shape[1:]
            wide = reflect(y[None].double().clamp(-MAX_MEAN, MAX_MEAN), 0, padded(rows), padded(cols))
            return _Sender(encoder, (rows, cols), split(torch.round(wide), repacked=self._repacked))

        return _Coding(parts, side, sent)

    def _reading(self, rows: int, cols: int, sent: int, parts: PartReader) -> _Coding:
        """How a frame is decoded."""
        return _Coding(parts, lambda decoder: _Receiver(decoder, (rows, cols)), sent)

    @torch.inference_mode()
    def _series(self, frames: Iterable[_Coding]) -> Iterator[TtFrame]:
        """All frames, one after the other, a part each."""
        past = (self._network.before_first(torch.float64),) * 2
        frame: TtFrame | None = None
        for t, coding in enumerate(frames):
            past = self._after(past, frame.y_hat, t) if frame else past
            with coding.parts.part() as part:
                frame = self._frame(past, coding.side(part.symbols), part.edges, coding.sent)
                part.crc.add(frame.y_hat)
            yield frame

    def _after(self, past: _Past, y_hat: NDArray[np.int32], t: int) -> _Past:
        """What is seen of the two frames before frame t; before frame 1, of frame 0 twice.

        Parameters
        ----------
        past : the same for the frame before it; y_hat : of that frame
        """
        last = torch.from_numpy(y_hat).to(past[0])[None]
        seen = _by_windows(self._prior.see_windows, split_past(last, repacked=self._repacked))
        return (past[1] if t > 1 else seen), seen

    def _frame(
        self,
        past: _Past,
        side: _Side,
        edges: EdgeWriter | EdgeReader,
        sent: int,
    ) -> TtFrame:
        """One frame: what encoder and decoder do alike."""
        rows, cols = side.size
        wide = padded(rows), padded(cols)
        windows = wide[0] * wide[1] // TOKENS
        groups = (slice(begin, min(begin + WINDOWS, windows)) for begin in range(0, windows, WINDOWS))
        done = [self._windows(past, at, side, edges, sent) for at in groups]
        y_hat, z_cur = (
            merge(torch.cat(parts), *wide, repacked=self._repacked) for parts in zip(*done, strict=True)
        )
        dequantised = self._dequantise(*(part[..., :rows, :cols] for part in (y_hat, z_cur)))[0]
        return TtFrame(y_hat[0].cpu().numpy().astype(np.int32), dequantised.cpu().numpy())

    def _windows(
        self, past: _Past, at: slice, side: _Side, edges: EdgeWriter | EdgeReader, sent: int
    ) -> tuple[Tensor, Tensor]:
        """y_hat [W, TOKENS, M] and z_cur [W, TOKENS, d] of some windows, float64."""
        prior, windows = self._prior, at.stop - at.start
        state = prior.begin(self._joint(past, at))
        tokens = prior.start(windows, torch.float64).repeat(1, TOKENS + 1, 1)  # the first stays what it is
        known = side.known(at, sent)
        if known is not None:
            tokens[:, 1 : sent + 1] = known
        features, token = [], 0
        while token < TOKENS:
            count = sent if known is not None and not token and sent else 1
            z_cur = prior.advance(state, tokens[:, token : token + count])
            features.append(z_cur)
            for mean, scale in zip(*_token_by_token(prior.parameters_of(z_cur)), strict=True):
                if token < sent:
                    y_hat = side.code(at, token, snap(mean, scale, edges))
                else:
                    y_hat = snap_whole(mean, edges)
                token += 1
                tokens[:, token] = torch.from_numpy(y_hat).to(tokens)
        return tokens[:, 1:], torch.cat(features, 1)

    def _joint(self, past: _Past, at: slice) -> Tensor:
        """Context of some windows: [W, 2 PAST_TOKENS, d], or [1, ...] before the first frame."""
        before, last = (seen[at] if len(seen) > 1 else seen for seen in past)
        return _by_windows(self._prior.join, before, last)


def _by_windows(work: Callable[..., Tensor], *windows: Tensor) -> Tensor:
    """`work` on a few windows at a time: of each of `windows`, [W, n, C] -> [W, ...]."""
    few = max(_ENCODED // sum(w.shape[1] for w in windows), 1)
    return torch.cat([work(*parts) for parts in zip(*(w.split(few) for w in windows), strict=True)])


def _token_by_token(parameters: tuple[Tensor, Tensor]) -> Iterator[NDArray[np.float64]]:
    """Means, then scales: each [n, W, M]."""
    return (part.transpose(0, 1).cpu().numpy() for part in parameters)


def ready(card: ModelCard, network: nn.Module) -> PublishedImageModel:
    """What the codec works with. The transforms have the layout of TEC-ELIC's and see as far."""
    return PublishedImageModel(card, network, TtCoder(cast(TtPublished, network)), HALO)


FAMILY = Family(
    read=TtPublished.from_state,
    build=lambda config: TtPublished(TtPublishedConfig.from_dict(config)),
    ready=ready,
)
