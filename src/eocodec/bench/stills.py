"""Still-image codecs band by band: JPEG XL, WebP and JPEG, and the lossless ones. Needs the extra `bench`."""

from __future__ import annotations

import struct

import numpy as np

from eocodec.bench.base import BenchCodec, Image, PlaneCodec, flatten, pack, unflatten, unpack
from eocodec.bench.classical import require
from eocodec.types import AnyArray

SPAN = struct.Struct("<hh")  # smallest and largest DN of a plane: side information, counted
ZSTD_LEVEL = 19


def to_full_range(plane: AnyArray, levels: int) -> tuple[bytes, AnyArray]:
    """The plane's own range of DN stretched to 0 .. levels - 1 (float64), and that range."""
    low, high = int(plane.min()), int(plane.max())
    scaled = (plane.astype(np.float64) - low) * ((levels - 1) / max(high - low, 1))
    return SPAN.pack(low, high), scaled


def from_full_range(span: bytes, samples: AnyArray, levels: int) -> AnyArray:
    """Invert `to_full_range`; DN, float64."""
    low, high = SPAN.unpack(span)
    return np.asarray(np.rint(samples.astype(np.float64) * (max(high - low, 1) / (levels - 1)) + low))


class JpegXl(PlaneCodec):
    """JPEG XL, VarDCT (libjxl, effort 7); the setting is its distance.

    The distance is a share of the full 16-bit range, so every band is stretched to it.
    """

    name = "jxl"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    @property
    def settings(self) -> tuple[float, ...]:
        """Distances."""
        return (0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25)

    def encode_plane(self, plane: Image, setting: float) -> bytes:
        """Range and stream."""
        span, scaled = to_full_range(plane, 1 << 16)
        stream = self._lib.jpegxl_encode(
            np.rint(scaled).astype(np.uint16), lossless=False, distance=setting, effort=7, numthreads=1
        )
        return span + bytes(stream)

    def decode_plane(self, data: bytes) -> AnyArray:
        """DN from the full range."""
        samples = self._lib.jpegxl_decode(data[SPAN.size :], numthreads=1)
        return from_full_range(data[: SPAN.size], samples, 1 << 16)


class Jpeg(PlaneCodec):
    """JPEG, 8 bit, each band stretched to 0..255; the setting is libjpeg's quality."""

    name = "jpeg"
    continuous = False

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    @property
    def settings(self) -> tuple[float, ...]:
        """Qualities."""
        return (5, 15, 30, 50, 75, 92)

    def encode_plane(self, plane: Image, setting: float) -> bytes:
        """Range and stream."""
        span, scaled = to_full_range(plane, 1 << 8)
        samples = np.rint(scaled).astype(np.uint8)
        return span + bytes(self._lib.jpeg8_encode(samples, level=int(setting), optimize=True))

    def decode_plane(self, data: bytes) -> AnyArray:
        """DN from 8 bits."""
        return from_full_range(data[: SPAN.size], self._lib.jpeg8_decode(data[SPAN.size :]), 1 << 8)


class WebP(PlaneCodec):
    """WebP, lossy, 8 bit, each band stretched to 0..255 and given as grey; the setting is its quality."""

    name = "webp"
    continuous = False

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    @property
    def settings(self) -> tuple[float, ...]:
        """Qualities."""
        return (1, 10, 30, 50, 75, 90)

    def encode_plane(self, plane: Image, setting: float) -> bytes:
        """Range and stream."""
        span, scaled = to_full_range(plane, 1 << 8)
        grey = np.repeat(np.rint(scaled).astype(np.uint8)[..., None], 3, axis=2)
        return span + bytes(self._lib.webp_encode(grey, level=setting, lossless=False, method=6))

    def decode_plane(self, data: bytes) -> AnyArray:
        """DN from 8 bits; the three colours differ by rounding only, green has most of the luma."""
        return from_full_range(data[: SPAN.size], self._lib.webp_decode(data[SPAN.size :])[..., 1], 1 << 8)


class LosslessCodec(BenchCodec):
    """What lossless codecs share: one setting, which says nothing."""

    kind = "lossless"

    @property
    def settings(self) -> tuple[float, ...]:
        """One."""
        return (0,)


def to_unsigned(planes: Image) -> tuple[bytes, AnyArray]:
    """Planes as uint16 above their smallest value, and that value."""
    low = int(planes.min())
    return struct.pack("<h", low), (planes.astype(np.int32) - low).astype(np.uint16)


def from_unsigned(low: bytes, samples: AnyArray) -> AnyArray:
    """Invert `to_unsigned`."""
    return samples.astype(np.int32) + int(struct.unpack("<h", low)[0])


class JpegXlLossless(LosslessCodec):
    """JPEG XL, lossless (effort 7), the bands of a date as the extra channels of one image."""

    name = "jxl-lossless"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, offset, one stream a date."""
        shape, planes = flatten(series)
        low, samples = to_unsigned(planes)
        dates = samples.reshape(-1, series.shape[-3], *samples.shape[1:])
        streams = [
            bytes(self._lib.jpegxl_encode(d, lossless=True, effort=7, planar=True, numthreads=1))
            for d in dates
        ]
        return pack([shape, low, *streams])

    def decode(self, data: bytes) -> Image:
        """The planes of all dates."""
        shape, low, *streams = unpack(data)
        dates = [self._lib.jpegxl_decode(stream, numthreads=1) for stream in streams]
        return unflatten(shape, from_unsigned(low, np.concatenate(dates)))


class JpegLs(LosslessCodec):
    """JPEG-LS (CharLS), lossless, band by band."""

    name = "jpegls"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, offset, one stream a plane."""
        shape, planes = flatten(series)
        low, samples = to_unsigned(planes)
        return pack([shape, low, *(bytes(self._lib.jpegls_encode(plane)) for plane in samples)])

    def decode(self, data: bytes) -> Image:
        """The planes, stacked."""
        shape, low, *streams = unpack(data)
        return unflatten(shape, from_unsigned(low, np.stack([self._lib.jpegls_decode(s) for s in streams])))


class ZstdPredictor(LosslessCodec):
    """ZSTD level 19 after TIFF's predictor 2 (difference to the left neighbour) and with the bytes split.

    What `COMPRESS=ZSTD, PREDICTOR=2` gives in a GeoTIFF, and a little better for the split.
    """

    name = "zstd"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, size, one stream."""
        shape, planes = flatten(series)
        wide = planes.view(np.uint16)
        left = np.diff(wide, axis=-1, prepend=np.uint16(0))  # modulo 2^16
        split = np.stack([left >> 8, left & 0xFF]).astype(np.uint8)
        return pack([shape, struct.pack("<II", *planes.shape[1:]), self._lib.zstd_encode(split, ZSTD_LEVEL)])

    def decode(self, data: bytes) -> Image:
        """The planes."""
        shape, size, stream = unpack(data)
        rows, cols = struct.unpack("<II", size)
        split = np.frombuffer(self._lib.zstd_decode(stream), np.uint8)
        high, low = split.reshape(2, -1, rows, cols).astype(np.uint16)
        wide = np.cumsum((high << 8) | low, axis=-1, dtype=np.uint16)
        return unflatten(shape, wide.view(np.int16))
