"""Classical codecs at the settings that serve them best: the opponents, never straw men.

Each has `name`, `settings`, `encode(image, setting) -> streams`, `decode(streams) -> image`, `bits(streams)`.
What the decoder needs is in the streams and counted. Needs the extra `bench` (imagecodecs, PyAV).
"""

from __future__ import annotations

import importlib
import math
import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from eocodec.bench.base import Image, total_bits
from eocodec.errors import InputError, MissingDependency
from eocodec.types import AnyArray

J2K_HEADER_BYTES = 169  # SIZ, COD, QCD, COM, ... of one OpenJPEG codestream of one band
J2K_PEAK_DB = 20 * math.log10(65_535 / 10_000)  # 16.33 dB: OpenJPEG's PSNR has the peak 2^16 - 1, ours 10 000


def require(module: str, package: str) -> Any:
    """Import an optional module, or raise `MissingDependency` naming the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(f"{package} is needed: pip install 'eocodec[bench]'") from error


class Jpeg2000:
    """JPEG 2000 irreversible (OpenJPEG), one codestream a band; the setting is PSNR [dB, peak 10 000].

    Parameters
    ----------
    header_corrected : charge each band 169 bytes less, the fixed header that small tiles make look heavy
    threads : threads inside OpenJPEG, for one band
    """

    def __init__(self, *, header_corrected: bool = True, threads: int = 1) -> None:
        self._lib = require("imagecodecs", "imagecodecs")
        self.name = "j2k" if header_corrected else "j2k-with-headers"
        self.header_corrected, self.threads = header_corrected, threads

    @property
    def settings(self) -> tuple[float, ...]:
        """PSNR targets [dB]."""
        return (30, 33, 36, 39, 42, 45, 48)

    def encode_band(self, band: AnyArray, setting: float) -> bytes:
        """One band [H, W] of non-negative DN (negative ones become 0: the code is unsigned)."""
        stream = self._lib.jpeg2k_encode(
            np.clip(band, 0, None).astype(np.uint16),
            level=setting + J2K_PEAK_DB,
            reversible=False,
            codecformat="j2k",
            numthreads=self.threads,
        )
        return bytes(stream)

    def decode_band(self, stream: bytes) -> Image:
        """One band [H, W], int16."""
        band = self._lib.jpeg2k_decode(stream, numthreads=self.threads)
        image: Image = np.minimum(band, 32767).astype(np.int16)
        return image

    def encode(self, image: Image, setting: float) -> list[bytes]:
        """One codestream a band."""
        return [self.encode_band(band, setting) for band in image]

    def decode(self, streams: Sequence[bytes]) -> Image:
        """The bands, stacked."""
        return np.stack([self.decode_band(stream) for stream in streams])

    def bits(self, streams: Sequence[bytes]) -> int:
        """Bits of all codestreams, less their fixed headers where asked."""
        excess = 8 * J2K_HEADER_BYTES * len(streams) if self.header_corrected else 0
        return total_bits(streams) - excess


def _check_video_size(image: Image, codec: str) -> None:
    rows, cols = image.shape[1:]
    if rows % 2 or cols % 2 or min(rows, cols) < 64:
        raise InputError(f"{codec} takes even sides of at least 64 pixels, got {rows} x {cols}")


def _frame(av: Any, plane: AnyArray, pixel_format: str) -> Any:
    """A video frame whose luma is the plane; chroma, where the format has any, is its neutral value."""
    rows, cols = plane.shape
    frame = av.VideoFrame(cols, rows, pixel_format)
    luma = np.zeros((rows, frame.planes[0].line_size // 2), dtype="<u2")
    luma[:, :cols] = plane
    frame.planes[0].update(luma.tobytes())
    for chroma in frame.planes[1:]:
        chroma.update(np.full(chroma.buffer_size // 2, 512, dtype="<u2").tobytes())  # 2^9 of 10 bits
    return frame


def _encode_video(planes: AnyArray, codec: str, pixel_format: str, options: dict[str, str]) -> bytes:
    """Planes [T, H, W] of unsigned samples as the frames of one raw stream, no container."""
    av = require("av", "PyAV")
    av.logging.set_level(av.logging.FATAL)
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = planes.shape[1:]
    context.pix_fmt = pixel_format
    # Rate control of both encoders depends on the frame rate: at 1/s CRF means another quality.
    context.framerate, context.time_base = 25, Fraction(1, 25)
    context.options = options
    packets = []
    for index, plane in enumerate(planes):
        frame = _frame(av, plane, pixel_format)
        frame.pts = index
        packets += [bytes(packet) for packet in context.encode(frame)]
    packets += [bytes(packet) for packet in context.encode(None)]
    return b"".join(packets)


def _decode_video(stream: bytes, codec: str) -> AnyArray:
    """Luma of all frames in display order, uint16 [T, H, W]."""
    av = require("av", "PyAV")
    context = av.CodecContext.create(codec, "r")
    frames = []
    for packet in (*context.parse(stream), *context.parse(None), None):
        frames += context.decode(packet)
    planes = []
    for frame in frames:
        luma = frame.planes[0]
        samples = np.frombuffer(bytes(luma), dtype="<u2").reshape(frame.height, luma.line_size // 2)
        planes.append(samples[:, : frame.width])
    return np.stack(planes)


class X265:
    """HEVC, 12-bit grey (libx265), DN >> 2, the bands as the frames of one stream; the setting is CRF.

    The encoder's self-description (2 kB a stream) is left out, and so are wavefronts, which cost rate
    on small tiles: both in x265's favour. DN outside 0..16 383 are clipped.
    """

    name = "x265"

    def __init__(self, *, preset: str = "slow") -> None:
        require("av", "PyAV")
        self.preset = preset

    @property
    def settings(self) -> tuple[float, ...]:
        """CRF values."""
        return (4, 8, 12, 16, 20, 24, 28, 32)

    def encode(self, image: Image, setting: float) -> list[bytes]:
        """One raw HEVC stream."""
        _check_video_size(image, self.name)
        planes = np.clip(image, 0, 16_383).astype(np.uint16) >> 2
        options = {
            "preset": self.preset,
            "tune": "psnr",
            "crf": f"{setting:g}",
            "x265-params": "log-level=none:info=0:no-wpp=1",
        }
        return [_encode_video(planes, "libx265", "gray12le", options)]

    def decode(self, streams: Sequence[bytes]) -> Image:
        """DN = 4 x the decoded sample."""
        image: Image = (_decode_video(streams[0], "hevc") << 2).astype(np.int16)
        return image

    def bits(self, streams: Sequence[bytes]) -> int:
        """Bits of the stream."""
        return total_bits(streams)


class SvtAv1:
    """AV1, 10 bit (SVT-AV1), DN scaled so that the largest is 1023, bands as frames; the setting is CRF.

    The scale is the first stream (2 bytes). Chroma is neutral and costs next to nothing.
    """

    name = "av1"

    def __init__(self, *, preset: int = 4) -> None:
        require("av", "PyAV")
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes its settings to stderr else
        self.preset = preset

    @property
    def settings(self) -> tuple[float, ...]:
        """CRF values."""
        return (8, 14, 20, 26, 32, 38, 44, 50)

    def encode(self, image: Image, setting: float) -> list[bytes]:
        """The scale and one raw AV1 stream."""
        _check_video_size(image, self.name)
        largest = max(int(image.max()), 1)
        planes = np.rint(np.clip(image, 0, None) * (1023.0 / largest)).astype(np.uint16)
        options = {"preset": str(self.preset), "crf": f"{setting:g}"}
        return [struct.pack("<H", largest), _encode_video(planes, "libsvtav1", "yuv420p10le", options)]

    def decode(self, streams: Sequence[bytes]) -> Image:
        """DN = sample x largest / 1023."""
        (largest,) = struct.unpack("<H", streams[0])
        samples = _decode_video(streams[1], "libdav1d")
        image: Image = np.rint(samples * (largest / 1023.0)).astype(np.int16)
        return image

    def bits(self, streams: Sequence[bytes]) -> int:
        """Bits of scale and stream."""
        return total_bits(streams)
