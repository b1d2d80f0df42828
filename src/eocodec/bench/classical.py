"""Classical codecs at the settings that serve them best: the opponents, never straw men.

JPEG 2000, and the video codecs with the bands (of all dates, date by date) as the frames of one stream. What
the decoder needs is in the bytes and counted. Needs the extra `bench` (imagecodecs, PyAV).
"""

from __future__ import annotations

import importlib
import math
import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import BenchCodec, Image, PlaneCodec, flatten, pack, unflatten, unpack
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


def fixed_bytes(streams: Sequence[bytes]) -> int:
    """Headers of codestreams of JPEG 2000; of each a byte is charged, however little it has to say."""
    return sum(min(J2K_HEADER_BYTES, len(stream) - 1) for stream in streams)


class Jpeg2000(PlaneCodec):
    """JPEG 2000 irreversible (OpenJPEG), one codestream a band; the setting is PSNR [dB, peak 10 000].

    The fixed 169 bytes of header of each band, which small tiles make look heavy, and the lengths that keep
    the bands apart are free.

    Parameters
    ----------
    threads : threads inside OpenJPEG, for one band
    """

    name = "j2k"

    def __init__(self, *, threads: int = 1) -> None:
        self._lib = require("imagecodecs", "imagecodecs")
        self.threads = threads

    @property
    def settings(self) -> tuple[float, ...]:
        """PSNR targets [dB]."""
        return (30, 33, 36, 39, 42, 45, 48)

    def encode_plane(self, plane: AnyArray, setting: float) -> bytes:
        """One band [H, W] of non-negative DN (negative ones become 0: the code is unsigned)."""
        stream = self._lib.jpeg2k_encode(
            np.clip(plane, 0, None).astype(np.uint16),
            level=setting + J2K_PEAK_DB,
            reversible=False,
            codecformat="j2k",
            numthreads=self.threads,
        )
        return bytes(stream)

    def decode_samples(self, data: bytes) -> AnyArray:
        """One plane [H, W], uint16."""
        return np.asarray(self._lib.jpeg2k_decode(data, numthreads=self.threads))

    def decode_plane(self, data: bytes) -> Image:
        """One band [H, W], int16."""
        image: Image = np.minimum(self.decode_samples(data), 32767).astype(np.int16)
        return image

    def free_bytes(self, data: bytes) -> int:
        """Fixed headers and framing."""
        _, *streams = unpack(data)
        return len(data) - sum(map(len, streams)) + fixed_bytes(streams)


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
    context.open()
    _at_ordinary_priority()
    packets = []
    for index, plane in enumerate(planes):
        frame = _frame(av, plane, pixel_format)
        frame.pts = index
        packets += [bytes(packet) for packet in context.encode(frame)]
    packets += [bytes(packet) for packet in context.encode(None)]
    return b"".join(packets)


def _at_ordinary_priority() -> None:
    """Take real-time priority from this process's threads (Linux).

    SVT-AV1 gives it to its own where it may, that is as root; nothing else on the machine would then run.
    """
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return
    for task in tasks.iterdir():
        number = int(task.name)
        try:
            if os.sched_getscheduler(number) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(number, os.SCHED_OTHER, os.sched_param(0))
        except ProcessLookupError:  # it has ended meanwhile
            continue


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


class X265(BenchCodec):
    """HEVC, 12-bit grey (libx265), DN >> 2, the bands as the frames of one stream; the setting is CRF.

    The encoder's self-description (2 kB a stream) is left out, and so are wavefronts, which cost rate
    on small tiles: both in x265's favour. DN outside 0..16 383 are clipped.

    Parameters
    ----------
    preset : 'slow', the recorded opponent, or a slower one, which is stronger
    wavefronts : let rows of a frame be coded side by side: for timing, on scenes of many rows
    """

    def __init__(self, *, preset: str = "slow", wavefronts: bool = False) -> None:
        require("av", "PyAV")
        self.preset, self.wavefronts = preset, wavefronts
        self.name = "x265" if preset == "slow" else f"x265-{preset}"

    @property
    def settings(self) -> tuple[float, ...]:
        """CRF values."""
        return (4, 8, 12, 16, 20, 24, 28, 32)

    def encode(self, series: Image, setting: float) -> bytes:
        """The shape and one raw HEVC stream."""
        shape, planes = flatten(series)
        _check_video_size(planes, self.name)
        samples = np.clip(planes, 0, 16_383) >> 2
        return pack([shape, encode_hevc(samples, setting, self.preset, wavefronts=self.wavefronts)])

    def decode(self, data: bytes) -> Image:
        """DN = 4 x the decoded sample."""
        shape, stream = unpack(data)
        return unflatten(shape, decode_hevc(stream) << 2)


def encode_hevc(
    samples: AnyArray, crf: float, preset: str, *, intra: bool = False, wavefronts: bool = False
) -> bytes:
    """Samples [N, H, W] of 12 bits as the frames of one raw HEVC stream; `intra`: none predicts another."""
    words = ("log-level=none", "info=0", f"wpp={wavefronts:d}", *(("keyint=1",) if intra else ()))
    options = {"preset": preset, "tune": "psnr", "crf": f"{crf:g}", "x265-params": ":".join(words)}
    return _encode_video(samples.astype(np.uint16), "libx265", "gray12le", options)


def decode_hevc(stream: bytes) -> AnyArray:
    """Samples of all frames, uint16 [N, H, W]."""
    return _decode_video(stream, "hevc")


class SvtAv1(BenchCodec):
    """AV1, 10 bit (SVT-AV1), DN scaled so that the largest is 1023, bands as frames; the setting is CRF.

    The scale is two bytes. Chroma is neutral and costs next to nothing.

    Parameters
    ----------
    preset : 4, the recorded opponent, or a slower one (down to 0), which is stronger
    """

    continuous = False

    def __init__(self, *, preset: int = 4) -> None:
        require("av", "PyAV")
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes its settings to stderr else
        self.preset = preset
        self.name = "av1" if preset == 4 else f"av1-p{preset}"

    @property
    def settings(self) -> tuple[float, ...]:
        """CRF values."""
        return (8, 14, 20, 26, 32, 38, 44, 50, 56, 62)

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, scale and one raw AV1 stream."""
        shape, planes = flatten(series)
        _check_video_size(planes, self.name)
        largest = max(int(planes.max()), 1)
        samples = np.rint(np.clip(planes, 0, None) * (1023.0 / largest)).astype(np.uint16)
        options = {"preset": str(self.preset), "crf": f"{setting:g}"}
        stream = _encode_video(samples, "libsvtav1", "yuv420p10le", options)
        return pack([shape, struct.pack("<H", largest), stream])

    def decode(self, data: bytes) -> Image:
        """DN = sample x largest / 1023."""
        shape, scale, stream = unpack(data)
        (largest,) = struct.unpack("<H", scale)
        return unflatten(shape, np.rint(_decode_video(stream, "libdav1d") * (largest / 1023.0)))
