"""What every benchmarked codec offers, how its parts become one byte string, and the one way to a point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.varint import read_varint, write_varint
from eocodec.errors import InputError
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray

PSNR_PEAK = 10_000.0  # DN of reflectance 1, the peak that all figures of this project state
LABELS = {"j2k": "JPEG 2000 per band", "x265": "x265, bands as frames", "av1": "SVT-AV1, bands as frames"}
Image = NDArray[np.int16]
Kind = Literal["lossy", "bounded", "lossless"]


class BenchCodec(ABC):
    """A codec under test: array in, bytes out, array back; nothing else may pass between the two.

    Attributes
    ----------
    name : short and stable, as it stands in results
    kind : 'lossy': the settings give a rate-distortion curve; 'bounded': they are bounds on the error of a
        pixel [DN], which every decoded pixel is held to; 'lossless': one setting, a bound of 0
    continuous : settings between those of the sweep mean something; else whole numbers only
    """

    name: str
    kind: Kind = "lossy"
    continuous: bool = True

    @property
    @abstractmethod
    def settings(self) -> tuple[float, ...]:
        """The sweep."""

    @abstractmethod
    def encode(self, series: Image, setting: float) -> bytes:
        """Code int16 DN, [C, H, W] or [T, C, H, W], side information included."""

    @abstractmethod
    def decode(self, data: bytes) -> AnyArray:
        """The array that the bytes hold: shape and dtype of what was coded."""

    def free_bytes(self, data: bytes) -> int:
        """Bytes of `data` that rate-distortion curves do not charge; 0 but for fixed headers."""
        return 0

    def bound(self, setting: float) -> float | None:
        """The largest error of a pixel [DN] that a setting promises, or None."""
        return {"lossy": None, "bounded": setting, "lossless": 0.0}[self.kind]


def pack(parts: Sequence[bytes]) -> bytes:
    """Several byte strings as one: their number, the lengths of all but the last, then they themselves."""
    lengths = [write_varint(len(part)) for part in parts[:-1]]
    return b"".join([write_varint(len(parts)), *lengths, *parts])


def unpack(data: bytes) -> list[bytes]:
    """Invert `pack`."""
    count, at = read_varint(data, 0)
    lengths = []
    for _ in range(count - 1):
        length, at = read_varint(data, at)
        lengths.append(length)
    parts = []
    for length in (*lengths, len(data) - at - sum(lengths)):
        parts.append(data[at : at + length])
        at += length
    return parts


def flatten(series: Image) -> tuple[bytes, Image]:
    """Two varints that say T (0: no such axis) and C, and the planes [T * C, H, W], time-major."""
    n_times = series.shape[0] if series.ndim == 4 else 0
    return write_varint(n_times) + write_varint(series.shape[-3]), series.reshape(-1, *series.shape[-2:])


def unflatten(shape: bytes, planes: AnyArray) -> Image:
    """Planes [T * C, H, W] in the shape that `flatten` noted, int16."""
    n_times, at = read_varint(shape, 0)
    n_bands, _ = read_varint(shape, at)
    full = (n_times, n_bands) if n_times else (n_bands,)
    image: Image = np.clip(planes, -32768, 32767).astype(np.int16).reshape(*full, *planes.shape[-2:])
    return image


class PlaneCodec(BenchCodec):
    """A codec that codes each band of each date by itself."""

    @abstractmethod
    def encode_plane(self, plane: Image, setting: float) -> bytes:
        """One plane [H, W]."""

    @abstractmethod
    def decode_plane(self, data: bytes) -> AnyArray:
        """The plane, [H, W] DN."""

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape and planes."""
        shape, planes = flatten(series)
        return pack([shape, *(self.encode_plane(plane, setting) for plane in planes)])

    def decode(self, data: bytes) -> Image:
        """The planes, stacked."""
        shape, *planes = unpack(data)
        return unflatten(shape, np.stack([self.decode_plane(plane) for plane in planes]))


@dataclass(frozen=True)
class RatePoint:
    """One measured point: bits charged, and PSNR [dB, peak 10 000, all bands together].

    `more` : its `distortions.figures`, where asked for
    """

    tile: str
    codec: str
    setting: float
    bits: int
    psnr: float
    more: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready row of the tidy table."""
        row = {**asdict(self), "psnr": round(self.psnr, 4)}
        if self.more is None:
            row.pop("more")
        return row


def charged_bits(codec: BenchCodec, data: bytes) -> int:
    """Bits of the data, less what the codec need not pay."""
    return 8 * (len(data) - codec.free_bytes(data))


def check_decoded(codec: BenchCodec, decoded: AnyArray, series: Image) -> None:
    """Raise InputError unless shape and dtype came back: the figures of a broken codec mean nothing."""
    if decoded.shape != series.shape or decoded.dtype != series.dtype:
        raise InputError(
            f"{codec.name} decoded {decoded.dtype} {decoded.shape}, expected {series.dtype} {series.shape}"
        )


def measure(
    codec: BenchCodec, image: Image, tile: str, setting: float, *, every_metric: bool = False
) -> RatePoint:
    """Encode, decode, check shape and dtype, and return the point; with `more` of it for `every_metric`.

    Raises
    ------
    InputError : the decoded image has another shape or dtype
    """
    from eocodec.bench.distortions import figures
    from eocodec.metrics import compare, psnr

    data = codec.encode(image, setting)
    decoded = codec.decode(data)
    check_decoded(codec, decoded, image)
    bits, reached = charged_bits(codec, data), psnr(image, decoded, peak=PSNR_PEAK)
    more = None
    if every_metric:
        more = figures(compare(image, decoded, None, S2_BAND_NAMES, peak=PSNR_PEAK))
    return RatePoint(tile, codec.name, setting, bits, reached, more)


Encode = Callable[..., bytes]
Decode = Callable[[bytes], AnyArray]


def model_name(model: str) -> str:
    """Short name of a model given by its id or by its weights file."""
    return Path(model).stem if model.endswith(".safetensors") else model


class LearnedCodec(BenchCodec):
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

    def encode(self, series: Image, setting: float) -> bytes:
        """One codestream, the whole of it."""
        return self._encode(series, model=self.model, quality=setting)

    def decode(self, data: bytes) -> AnyArray:
        """The decoded array."""
        return self._decode(data)
