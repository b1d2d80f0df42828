"""What every model's coder of latents offers: one timestep into a stream and back, or a series in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import Codestream, Part, Section, SectionType, check_symbols_crc, parts_of
from eocodec.codestream.parts_section import pack_parts
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.errors import InputError, MalformedSection

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

    def latents(self, frame: CodedFrame, quality_steps: int, dtype: type[np.floating[Any]]) -> Any:
        """What a decoded frame stands for, in the form that the model's synthesis takes."""


class LatentCoder(FrameCoder, Protocol):
    """Codes the latents of one timestep at a time."""

    def crc(self, frames: Sequence[CodedFrame]) -> int:
        """CRC32C of all that was decoded."""

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
    """Codes the timesteps of a tile in parts; what a part is, the coder says.

    Each part is written within `with parts.part() as part:`, and `part.crc` extended there by all that it
    decodes to.
    """

    def encode_series(
        self, ys: Iterable[NDArray[np.float32]], parts: PartWriter, quality_steps: int, lmbda: float
    ) -> Iterator[CodedFrame]:
        """Quantise and append timesteps [M, rows, cols], as they are asked for."""

    def decode_series(
        self, parts: PartReader, timesteps: int, rows: int, cols: int, quality_steps: int
    ) -> Iterator[CodedFrame]:
        """All timesteps in order; `CodestreamError` where a part makes no sense."""


@runtime_checkable
class ExtensibleCoder(SeriesCoder, Protocol):
    """A coder of series to which timesteps can be added, the parts of those before them as they are."""

    def extend_series(
        self,
        ys: Iterable[NDArray[np.float32]],
        read: PartReader,
        there: tuple[int, int, int],
        parts: PartWriter,
        quality_steps: int,
        lmbda: float,
    ) -> Iterator[CodedFrame]:
        """`encode_series` after [timesteps, rows, cols] that are read first."""


def encode_all(
    coder: LatentCoder | SeriesCoder, ys: Iterable[NDArray[np.float32]], quality_steps: int, lmbda: float
) -> tuple[list[Section], int]:
    """All timesteps [M, rows, cols] of a tile as sections, and the CRC of what they decode to.

    Timesteps are asked for one after the other; a coder of series lets each one go.
    """
    if isinstance(coder, SeriesCoder):
        parts = PartWriter()
        _run(coder.encode_series(ys, parts, quality_steps, lmbda))
        return sections_of(parts.parts)
    encoder, edges = SymbolEncoder(), EdgeWriter()
    crc = coder.crc([coder.encode(y, encoder, edges, quality_steps, lmbda) for y in ys])
    stream, escapes = encoder.finish()
    coded = [
        Section(SectionType.EDGES, edges.finish()),
        Section(SectionType.SYMBOLS, stream),
        Section(SectionType.ESCAPES, escapes),
    ]
    return [section for section in coded if section.data], crc


def extend_all(
    coder: LatentCoder | SeriesCoder,
    stream: Codestream,
    rows: int,
    cols: int,
    ys: Iterable[NDArray[np.float32]],
    lmbda: float,
) -> tuple[list[Section], int]:
    """`encode_all` for timesteps after those of a codestream, whose parts come first as they are.

    Raises
    ------
    InputError : the coder cannot
    CodestreamError : the parts that are there make no sense
    """
    if not isinstance(coder, ExtensibleCoder):
        raise InputError("this model codes all timesteps of a tile together; encode them anew")
    header, there = stream.header, _parts(stream)
    read, parts = PartReader(there), PartWriter(there)
    _run(coder.extend_series(ys, read, (header.shape[0], rows, cols), parts, header.quality_steps, lmbda))
    read.finish()
    return sections_of(parts.parts)


def decode_all(
    coder: LatentCoder | SeriesCoder, stream: Codestream, rows: int, cols: int
) -> Iterator[CodedFrame]:
    """All timesteps of a codestream, of rows x cols blocks, in order; each one is checked before it is given.

    Raises
    ------
    CodestreamError : one of its subclasses; what follows the timesteps is checked after the last one
    """
    timesteps, quality_steps = stream.header.shape[0], stream.header.quality_steps
    if isinstance(coder, SeriesCoder):
        parts = PartReader(_parts(stream))
        yield from coder.decode_series(parts, timesteps, rows, cols, quality_steps)
        parts.finish()
        return
    sections = stream.sections
    if SectionType.PARTS in sections:
        raise MalformedSection("section parts: the model does not code in parts (R72)")
    edges = EdgeReader(sections.get(SectionType.EDGES, b""))
    decoder = SymbolDecoder(sections.get(SectionType.SYMBOLS, b""), sections.get(SectionType.ESCAPES, b""))
    frames = [coder.decode(decoder, edges, rows, cols, quality_steps) for _ in range(timesteps)]
    edges.finish()
    decoder.finish()
    check_symbols_crc(stream.header, coder.crc(frames))
    yield from frames


def sections_of(parts: Sequence[Part]) -> tuple[list[Section], int]:
    """Parts as the section that holds them, none for none, and the CRC of the last."""
    if not parts:
        return [], 0
    return [Section(SectionType.PARTS, pack_parts(parts))], parts[-1].crc


def _parts(stream: Codestream) -> list[Part]:
    """Parts of a codestream of a model that codes in parts."""
    if {SectionType.EDGES, SectionType.SYMBOLS, SectionType.ESCAPES} & stream.sections.keys():
        raise MalformedSection("section symbols: the model codes in parts (R72)")
    return parts_of(stream)


def _run(frames: Iterator[CodedFrame]) -> None:
    """Have all timesteps coded."""
    for _ in frames:
        pass
