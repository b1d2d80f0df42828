"""What every benchmarked codec offers, and the one way a rate-distortion point is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import InputError
from eocodec.types import AnyArray

PSNR_PEAK = 10_000.0  # DN of reflectance 1, the peak that all figures of this project state
LABELS = {"j2k": "JPEG 2000 per band", "x265": "x265, bands as frames", "av1": "SVT-AV1, bands as frames"}
Image = NDArray[np.int16]


class BenchCodec(Protocol):
    """A codec under test: image in, streams out, image back; nothing else may pass between the two."""

    name: str

    @property
    def settings(self) -> tuple[float, ...]:
        """The sweep that gives this codec's rate-distortion curve."""

    def encode(self, image: Image, setting: float) -> list[bytes]:
        """Code [C, H, W] int16 DN as one or more streams, side information included."""

    def decode(self, streams: Sequence[bytes]) -> AnyArray:
        """The image that the streams hold, [C, H, W], DN."""

    def bits(self, streams: Sequence[bytes]) -> int:
        """Bits to charge for the streams."""


@dataclass(frozen=True)
class RatePoint:
    """One measured point: bits of all streams together and PSNR [dB, peak 10 000, all bands together]."""

    tile: str
    codec: str
    setting: float
    bits: int
    psnr: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready row of the tidy table."""
        return {**asdict(self), "psnr": round(self.psnr, 4)}


def total_bits(streams: Sequence[bytes]) -> int:
    """Bits of all streams, headers included."""
    return 8 * sum(len(stream) for stream in streams)


def measure(codec: BenchCodec, image: Image, tile: str, setting: float) -> RatePoint:
    """Encode, decode, check the shape, and return the point.

    Raises
    ------
    InputError : the decoded image has another shape (the codec is broken; its figures would mean nothing)
    """
    from eocodec.metrics.distortion import psnr

    streams = codec.encode(image, setting)
    decoded = codec.decode(streams)
    if decoded.shape != image.shape:
        raise InputError(f"{codec.name} decoded {decoded.shape}, expected {image.shape}")
    return RatePoint(tile, codec.name, setting, codec.bits(streams), psnr(image, decoded, peak=PSNR_PEAK))


Encode = Callable[..., bytes]
Decode = Callable[[bytes], AnyArray]


def model_name(model: str) -> str:
    """Short name of a model given by its id or by its weights file."""
    return Path(model).stem if model.endswith(".safetensors") else model


class LearnedCodec:
    """One of this package's models behind the interface of the benchmark; the setting is the quality.

    Parameters
    ----------
    model : model id, such as 'tec-fp', or path of a weights file
    settings : qualities to sweep, 0 to 100
    encode, decode : replace those of `eocodec.codec` (tests)
    """

    def __init__(
        self,
        model: str,
        settings: Sequence[float],
        encode: Encode | None = None,
        decode: Decode | None = None,
    ) -> None:
        if encode is None or decode is None:
            from eocodec import codec

            encode, decode = encode or codec.encode, decode or codec.decode
        self.model, self.name = model, model_name(model)
        self._settings = tuple(settings)
        self._encode, self._decode = encode, decode

    @property
    def settings(self) -> tuple[float, ...]:
        """Qualities to sweep."""
        return self._settings

    def encode(self, image: Image, setting: float) -> list[bytes]:
        """One codestream, the whole of it."""
        return [self._encode(image, model=self.model, quality=setting)]

    def decode(self, streams: Sequence[bytes]) -> AnyArray:
        """The decoded image."""
        return self._decode(streams[0])

    def bits(self, streams: Sequence[bytes]) -> int:
        """Bits of the whole codestream."""
        return total_bits(streams)
