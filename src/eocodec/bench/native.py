"""Classical codecs on planes of native size: 20 m and 60 m bands are not paid for at 10 m.

Imagery brought to one 10 m grid, as SSL4EO-S12 is, holds interpolated bands. Here they are taken back: the
coarse plane is the one whose bilinear interpolation is nearest (least squares), and the decoder interpolates
it. The phase of the coarse grid against the array's corner differs from tile to tile, so all are tried.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from eocodec.bench.base import BenchCodec, Image, pack, unpack
from eocodec.errors import BandError
from eocodec.sensors import S2_L2A
from eocodec.types import AnyArray, FloatArray

FACTORS = (1, 2, 6)  # 10, 20 and 60 m
MIN_SIDE = 64  # of video


@cache
def interpolation(size: int, factor: int, phase: int) -> FloatArray:
    """Matrix [size, n] that interpolates n coarse samples linearly; pixel 0 is `phase` pixels into a cell."""
    count = -(-(size + phase) // factor)
    centres = (np.arange(size) + phase + 0.5) / factor - 0.5
    left = np.floor(centres).astype(int)
    weight = centres - left
    matrix = np.zeros((size, count))
    rows = np.arange(size)
    np.add.at(matrix, (rows, np.clip(left, 0, count - 1)), 1 - weight)
    np.add.at(matrix, (rows, np.clip(left + 1, 0, count - 1)), weight)
    return matrix


@cache
def _inverse(size: int, factor: int, phase: int) -> FloatArray:
    inverted: FloatArray = np.linalg.pinv(interpolation(size, factor, phase))
    return inverted


def coarsen(planes: AnyArray, factor: int, phase: tuple[int, int]) -> FloatArray:
    """Least-squares coarse planes [..., n, m] of planes [..., H, W]."""
    rows, cols = (_inverse(n, factor, p) for n, p in zip(planes.shape[-2:], phase, strict=True))
    out: FloatArray = rows @ planes.astype(float) @ cols.T
    return out


def refine(planes: AnyArray, factor: int, phase: tuple[int, int], size: tuple[int, int]) -> FloatArray:
    """Bilinear interpolation of coarse planes to [..., H, W]."""
    rows, cols = (interpolation(n, factor, p) for n, p in zip(size, phase, strict=True))
    out: FloatArray = rows @ planes.astype(float) @ cols.T
    return out


def best_phase(planes: AnyArray, factor: int) -> tuple[int, int]:
    """The phase whose coarse planes interpolate back best; the two axes are tried one after the other."""
    if factor == 1:
        return 0, 0
    found = [0, 0]
    for axis in (0, 1):
        errors = []
        for phase in range(factor):
            found[axis] = phase
            at = (found[0], found[1])
            back = refine(coarsen(planes, factor, at), factor, at, planes.shape[-2:])
            errors.append(float(np.square(back - planes).sum()))
        found[axis] = int(np.argmin(errors))
    return found[0], found[1]


def pad_for_video(planes: Image) -> Image:
    """Edges repeated until both sides are even and at least 64."""
    growth = [max(MIN_SIDE, n + n % 2) - n for n in planes.shape[-2:]]
    return np.pad(planes, (*((0, 0),) * (planes.ndim - 2), (0, growth[0]), (0, growth[1])), mode="edge")


class Native(BenchCodec):
    """Another codec on the planes of each pixel size, one stream for 10 m, 20 m and 60 m each.

    Parameters
    ----------
    inner : codes them; its settings are this codec's
    """

    def __init__(self, inner: BenchCodec) -> None:
        self.inner = inner
        self.name = f"{inner.name}-native"

    @property
    def settings(self) -> tuple[float, ...]:
        """Those of the codec inside."""
        return self.inner.settings

    def encode(self, series: Image, setting: float) -> bytes:
        """For each pixel size: size and phase, and what the codec inside makes of the planes."""
        if series.shape[-3] != len(S2_L2A):
            raise BandError(f"{self.name} takes the 12 bands, got {series.shape[-3]}")
        parts = []
        for factor in FACTORS:
            planes = series[..., _bands(factor), :, :]
            phase = best_phase(planes, factor)
            coarse = np.clip(np.rint(coarsen(planes, factor, phase)), -32768, 32767).astype(np.int16)
            size = np.array([*series.shape[-2:], *phase], "<u2").tobytes()
            parts += [size, self.inner.encode(pad_for_video(coarse), setting)]
        return pack(parts)

    def decode(self, data: bytes) -> Image:
        """All bands at 10 m, in their order."""
        parts = unpack(data)
        groups = []
        for factor, size, stream in zip(FACTORS, parts[::2], parts[1::2], strict=True):
            rows, cols, *phase = (int(n) for n in np.frombuffer(size, "<u2"))
            at = (phase[0], phase[1])
            n, m = (interpolation(s, factor, p).shape[1] for s, p in zip((rows, cols), at, strict=True))
            coarse = self.inner.decode(stream)[..., :n, :m]
            groups.append(np.rint(refine(coarse, factor, at, (rows, cols))))
        order = np.argsort(np.concatenate([_bands(factor) for factor in FACTORS]))
        stacked = np.concatenate(groups, axis=-3)[..., order, :, :]
        image: Image = np.clip(stacked, -32768, 32767).astype(np.int16)
        return image

    def free_bytes(self, data: bytes) -> int:
        """What the codec inside need not pay."""
        return sum(self.inner.free_bytes(stream) for stream in unpack(data)[1::2])


def _bands(factor: int) -> list[int]:
    return [i for i, band in enumerate(S2_L2A) if band.pixel_size == 10 * factor]
