"""What a decoded timestep offers to predict later ones from: the sources of one reference.

All start with its components. Beside them, of the leading components, are

    bent : coarse parts, magnitudes and products of pixels, which tell fields from woods
    slopes : coarse parts and products; slopes and curvatures along rows and columns, which follow a scene
        that lies a part of a pixel elsewhere, or is more or less sharp; details of one component times the
        coarse part of another, which tell how much of them each place keeps

A model has one of the two sets for good, since weights are stated of all sources in turn.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.entropy.partition import along_both
from eocodec.entropy.spectrum import CELL
from eocodec.nn.spectral import dct_matrix

BENT = 4  # leading components with sources beside themselves
SLOPED = 2  # of them with slopes, curvatures and details
_COARSE = 1  # ring up to which a coarse part goes (nn/spectral.py)
_CLIP = 3.0  # standard deviations at which factors of a product are cut off

Float = NDArray[np.float64]
Index = NDArray[np.int64]


class Sources(IntEnum):
    """Which sources there are; the number is what weights files have."""

    COMPONENTS = 0
    BENT = 1
    SLOPES = 2

    def count(self, components: int) -> int:
        """Sources of a reference."""
        bent, sloped = min(BENT, components), min(SLOPED, components)
        products = bent * (bent + 1) // 2
        beside = (0, 2 * bent + products, bent + products + 4 * sloped + sloped**2)
        return components + beside[self]

    def fill(self, components: int, ring: Index, out: Float) -> None:
        """Make all others from components; out : [256, sources, n], components first, without tile means."""
        z, beside = out[:, : min(BENT, components)], out[:, components:]
        if self is Sources.BENT:
            _bend(z, ring, beside)
        elif self is Sources.SLOPES:
            _slope(z, ring, beside)


def _bend(z: Float, ring: Index, out: Float) -> None:
    """Coarse parts, magnitudes and products; z : [256, c, n]; out : [256, 2 c + c (c + 1) / 2, n]."""
    count = z.shape[1]
    _coarse(z, ring, out[:, :count])
    pixels = _pixels(z)
    by_pixel = np.empty((len(z), out.shape[1] - count, z.shape[2]))
    np.abs(pixels, out=by_pixel[:, :count])
    _products(pixels, _spread(pixels), by_pixel[:, count:])
    _of_pixels(by_pixel, out[:, count:])


def _slope(z: Float, ring: Index, out: Float) -> None:
    """Coarse parts and products; of the first components slopes, curvatures and details."""
    count, few = z.shape[1], min(SLOPED, z.shape[1])
    ends = np.cumsum([count, count * (count + 1) // 2, 2 * few, 2 * few]).tolist()
    coarse, products, slopes, curvatures, details = np.split(out, ends, axis=1)
    _coarse(z, ring, coarse)
    first = z[:, :few]
    _slopes(first, slopes)
    np.multiply(first, _curving()[:, None, None], out=curvatures[:, :few])
    np.multiply(first, _curving().reshape(CELL, CELL).T.reshape(-1, 1, 1), out=curvatures[:, few:])
    pixels = _pixels(z)
    spread = _spread(pixels)
    blurred = _pixels(coarse[:, :few])
    fine = pixels[:, :few] - blurred
    np.clip(blurred / spread[:few], -_CLIP, _CLIP, out=blurred)
    by_pixel = np.empty((len(z), products.shape[1] + details.shape[1], z.shape[2]))
    _products(pixels, spread, by_pixel[:, : products.shape[1]])
    detail = blurred[:, :, None] * fine[:, None]  # (256, few, few, n)
    by_pixel[:, products.shape[1] :] = detail.reshape(len(z), few * few, -1)
    for part, own in zip(np.split(by_pixel, [products.shape[1]], axis=1), (products, details), strict=True):
        _of_pixels(part, own)


def _coarse(z: Float, ring: Index, out: Float) -> None:
    out[...] = 0
    np.copyto(out, z, where=(ring <= _COARSE)[:, None, None])


def _spread(pixels: Float) -> Float:
    """[c, 1], root of the mean square."""
    squares = np.einsum("pcn,pcn->c", pixels, pixels)
    return np.asarray(np.sqrt(squares / (len(pixels) * pixels.shape[2]))[:, None] + 1e-9)


def _products(pixels: Float, spread: Float, out: Float) -> None:
    """Of all pairs of components, cut off, as large as the first component is."""
    cut = np.clip(pixels / spread, -_CLIP, _CLIP)
    for number, (i, j) in enumerate(combinations_with_replacement(range(pixels.shape[1]), 2)):
        np.multiply(cut[:, i], cut[:, j], out=out[:, number])
    out *= spread[0]


def _slopes(z: Float, out: Float) -> None:
    """Half of what lies between the pixels before and after, down and then across; z [256, c, n]."""
    few = z.shape[1]
    blocks = torch.from_numpy(z.reshape(CELL, CELL, -1))  # torch's threads are under control
    sloping = torch.from_numpy(_sloping())
    out[:, :few] = torch.mm(sloping, blocks.flatten(1)).numpy().reshape(z.shape)
    out[:, few:] = torch.matmul(sloping, blocks).numpy().reshape(z.shape)
    out[0] -= out[0].mean(1, keepdims=True)


@lru_cache(maxsize=1)
def _dct() -> Float:
    return np.asarray(dct_matrix(CELL, torch.float64).numpy())


@lru_cache(maxsize=1)
def _sloping() -> Float:
    """[16, 16]: of DCT coefficients; a block goes on beyond its edge with the pixel there."""
    after = np.eye(CELL)[np.minimum(np.arange(CELL) + 1, CELL - 1)]
    return np.asarray(_dct() @ (after - after[::-1, ::-1]) @ _dct().T / 2)


@lru_cache(maxsize=1)
def _curving() -> Float:
    """[256]: what pixels before and after have more than one between them, down, of each frequency."""
    return np.repeat(2 * np.cos(np.pi * np.arange(CELL) / CELL) - 2, CELL)


def _pixels(z: Float) -> Float:
    """Inverse DCT of [256, c, n]."""
    return _both(_dct().T, z)


def _of_pixels(pixels: Float, out: Float) -> None:
    """DCT of [256, c, n], without tile means."""
    out[...] = _both(_dct(), pixels)
    out[0] -= out[0].mean(1, keepdims=True)


def _both(matrix: Float, blocks: Float) -> Float:
    """A matrix [16, 16] along rows and columns of blocks [256, c, n]."""
    by_row = np.ascontiguousarray(blocks).reshape(CELL, CELL, *blocks.shape[1:])
    return along_both(matrix, by_row).reshape(blocks.shape)
