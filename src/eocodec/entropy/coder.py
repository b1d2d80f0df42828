"""What every model's coder of latents offers: one timestep into a stream and back, or all of a tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import EdgeReader, EdgeWriter

CodedFrame: TypeAlias = Any  # of a timestep, all that is coded; only its coder looks inside


@dataclass(frozen=True, eq=False)
class Latents:
    """Dequantised latents of a timestep, those that are not zero.

    channels : [L], int64, ascending; values : [L, n], float32 or float64
    bases : [RINGS, C, C], same dtype: values are components along the columns of these (nn/spectral.py)
    quality : 0 to 1, at which they were quantised, where the synthesis is told
    """

    channels: NDArray[np.int64]
    values: NDArray[Any]
    bases: NDArray[Any]
    quality: float = 0.0

    def dense(self, ring: NDArray[np.int64]) -> NDArray[Any]:
        """All latents y_hat, [256 C, n], in the model's fixed bases; ring [256]: of each frequency."""
        components = self.bases.shape[1]
        z = np.zeros((len(ring) * components, self.values.shape[1]), self.values.dtype)
        z[self.channels] = self.values
        turned = np.matmul(self.bases[ring], z.reshape(len(ring), components, -1))
        return np.asarray(turned.reshape(z.shape))


class FrameCoder(Protocol):
    """What all coders of latents have in common: frames are what is coded of timesteps."""

    @property
    def bands(self) -> int:
        """Bands of the imagery, C."""

    @property
    def channels(self) -> int:
        """Latent channels M."""

    def crc(self, frames: Sequence[CodedFrame]) -> int:
        """CRC32C of all that was decoded."""

    def latents(self, frame: CodedFrame, quality_steps: int, dtype: type[np.floating[Any]]) -> Any:
        """What a decoded frame stands for, in the form that the model's synthesis takes."""


class LatentCoder(FrameCoder, Protocol):
    """Codes the latents of one timestep at a time."""

    def encode(
        self,
        y: NDArray[np.float32],
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
    ) -> CodedFrame:
        """Quantise and append y [M, rows, cols]; lmbda: bits that a unit of squared error is worth."""

    def decode(
        self, decoder: SymbolDecoder, edges: EdgeReader, rows: int, cols: int, quality_steps: int
    ) -> CodedFrame:
        """The next timestep, of rows x cols blocks; `CodestreamError` where the stream makes no sense."""


@runtime_checkable
class SeriesCoder(FrameCoder, Protocol):
    """Codes all timesteps of a tile, each after the ones before it."""

    def encode_series(
        self,
        ys: NDArray[np.float32],
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
    ) -> list[CodedFrame]:
        """Quantise and append timesteps, ys [T, M, rows, cols]."""

    def decode_series(
        self,
        decoder: SymbolDecoder,
        edges: EdgeReader,
        timesteps: int,
        rows: int,
        cols: int,
        quality_steps: int,
    ) -> Iterator[CodedFrame]:
        """All timesteps in order; `CodestreamError` where the stream makes no sense."""


def encode_all(
    coder: LatentCoder | SeriesCoder,
    ys: NDArray[np.float32],
    encoder: SymbolEncoder,
    edges: EdgeWriter,
    quality_steps: int,
    lmbda: float,
) -> list[CodedFrame]:
    """Append all timesteps of a tile; arguments as those of `LatentCoder.encode`."""
    if isinstance(coder, SeriesCoder):
        return coder.encode_series(ys, encoder, edges, quality_steps, lmbda)
    return [coder.encode(y, encoder, edges, quality_steps, lmbda) for y in ys]


def decode_all(
    coder: LatentCoder | SeriesCoder,
    decoder: SymbolDecoder,
    edges: EdgeReader,
    timesteps: int,
    rows: int,
    cols: int,
    quality_steps: int,
) -> list[CodedFrame]:
    """All timesteps of a tile; arguments as those of `LatentCoder.decode`."""
    if isinstance(coder, SeriesCoder):
        return list(coder.decode_series(decoder, edges, timesteps, rows, cols, quality_steps))
    return [coder.decode(decoder, edges, rows, cols, quality_steps) for _ in range(timesteps)]
