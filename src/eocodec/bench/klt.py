"""Classical codecs behind a Karhunen-Loeve transform of the bands: the spectral redundancy taken out first.

Each array gets principal axes of its own, which travel with it. Components that are below the distortion
asked for are not sent, nor are their axes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from eocodec.bench.base import PSNR_PEAK, BenchCodec, Image, flatten, pack, unflatten, unpack
from eocodec.bench.classical import Jpeg2000, decode_hevc, encode_hevc, fixed_bytes
from eocodec.types import AnyArray, FloatArray

AXIS_SCALE = 32_767.0  # axes as int16: 1.5e-5 of 10 000 DN is 0.15 DN
SAMPLES_12_BIT = 4095


@dataclass(frozen=True)
class Components:
    """Principal components of an array's bands.

    values : [T, K, H, W], float64, DN; axes : [K, C], int16 / AXIS_SCALE; means : [C], int16, DN
    """

    values: FloatArray
    axes: AnyArray
    means: AnyArray

    def side_information(self) -> bytes:
        """Means and axes as they are sent: 2 bytes a number."""
        return self.means.tobytes() + self.axes.tobytes()


def transform(series: Image, mse: float) -> Components:
    """The components of larger variance than `mse` [DN^2], at least one."""
    n_bands = series.shape[-3]
    by_band = np.moveaxis(series.reshape(-1, *series.shape[-3:]), 1, 0).reshape(n_bands, -1).astype(float)
    means = np.rint(by_band.mean(axis=1)).astype("<i2")
    centred = by_band - means[:, None]
    variances, vectors = np.linalg.eigh(centred @ centred.T / centred.shape[1])
    order = np.argsort(variances)[::-1]
    kept = order[: max(1, int((variances > mse).sum()))]
    axes = np.rint(vectors[:, kept].T * AXIS_SCALE).astype("<i2")
    values = (axes / AXIS_SCALE) @ centred
    rows, cols = series.shape[-2:]
    return Components(values.reshape(len(kept), -1, rows, cols).swapaxes(0, 1), axes, means)


def invert(side: bytes, values: FloatArray, n_bands: int) -> FloatArray:
    """Components [T, K, H, W] back to DN [T * C, H, W]."""
    numbers = np.frombuffer(side, "<i2")
    means, axes = numbers[:n_bands], numbers[n_bands:].reshape(-1, n_bands) / AXIS_SCALE
    out = np.einsum("kc,tkhw->tchw", axes, values) + means[:, None, None]
    rounded: FloatArray = np.rint(out).reshape(-1, *values.shape[-2:])
    return rounded


def _n_bands(shape: bytes) -> int:
    return shape[-1]  # fewer than 128 bands: one byte


class KltJpeg2000(BenchCodec):
    """KLT, then JPEG 2000 of each component at one common distortion; the setting is PSNR [dB, peak 10 000].

    One distortion for all is reverse water-filling. Fixed headers are free as in `Jpeg2000`.
    """

    name = "klt+j2k"

    def __init__(self) -> None:
        self._inner = Jpeg2000()

    @property
    def settings(self) -> tuple[float, ...]:
        """PSNR targets [dB]."""
        return (27, 30, 33, 36, 39, 42, 45, 48)

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, means and axes, each component's smallest value, its codestream."""
        shape, _ = flatten(series)
        found = transform(series, PSNR_PEAK**2 / 10 ** (setting / 10))
        n_times = found.values.shape[0]
        planes = found.values.reshape(-1, *series.shape[-2:])
        lows = np.floor(planes.min(axis=(1, 2))).astype("<i4")
        samples = np.clip(np.rint(planes - lows[:, None, None]), 0, 65_535)
        streams = [self._inner.encode_plane(plane, setting) for plane in samples]
        head = struct.pack("<B", n_times) + lows.tobytes()
        return pack([shape, found.side_information(), head, *streams])

    def decode(self, data: bytes) -> Image:
        """Components, then bands."""
        shape, side, head, *streams = unpack(data)
        lows = np.frombuffer(head, "<i4", offset=1)
        planes = np.stack([self._inner.decode_samples(stream) for stream in streams]).astype(float)
        planes += lows[:, None, None]
        values = planes.reshape(head[0], -1, *planes.shape[-2:])
        return unflatten(shape, invert(side, values, _n_bands(shape)))

    def free_bytes(self, data: bytes) -> int:
        """Fixed headers and framing of the codestreams."""
        parts = unpack(data)
        return len(data) - sum(map(len, parts)) + fixed_bytes(parts[3:])


class KltX265(BenchCodec):
    """KLT, then the components as intra frames of one 12-bit HEVC stream; the setting is CRF.

    All components have one scale, so that one CRF is one distortion. Components below a variance of a tenth
    of the quantiser's step squared are left out.
    """

    name = "klt+x265"

    @property
    def settings(self) -> tuple[float, ...]:
        """CRF values."""
        return (6, 12, 18, 24, 30, 36, 42)

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, means and axes, scale and smallest values, one stream."""
        shape, _ = flatten(series)
        step = 4 * 2 ** ((setting - 4) / 6)  # of HEVC at this QP, for samples of a quarter DN
        found = transform(series, step**2 / 10)
        n_times = found.values.shape[0]
        planes = found.values.reshape(-1, *series.shape[-2:])
        lows = np.floor(planes.min(axis=(1, 2))).astype("<i4")
        largest = float((planes - lows[:, None, None]).max())
        scale = np.float32(max(largest / SAMPLES_12_BIT, 1.0))
        samples = np.clip(np.rint((planes - lows[:, None, None]) / scale), 0, SAMPLES_12_BIT)
        head = struct.pack("<Bf", n_times, scale) + lows.tobytes()
        return pack(
            [shape, found.side_information(), head, encode_hevc(samples, setting, "slow", intra=True)]
        )

    def decode(self, data: bytes) -> Image:
        """Components, then bands."""
        shape, side, head, stream = unpack(data)
        n_times, scale = struct.unpack_from("<Bf", head)
        lows = np.frombuffer(head, "<i4", offset=5)
        planes = decode_hevc(stream).astype(float) * scale + lows[:, None, None]
        values = planes.reshape(n_times, -1, *planes.shape[-2:])
        return unflatten(shape, invert(side, values, _n_bands(shape)))
