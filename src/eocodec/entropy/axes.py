"""The tile's own spectral axes: fitted, quantised to integers, and rebuilt from them on every machine alike.

For each ring of frequencies the encoder may state the leading principal axes of the tile. An axis is given,
in the coordinates that the axes before it leave over, by all its entries but the first, in steps of 1/64; the
first follows from unit length and is made positive by choice of sign. Householder reflections turn these
entries into a full orthonormal basis, so a ring with no axes stated keeps the model's fixed basis, and every
prefix works. Integers decide nothing but pixels here: a last-bit difference in the basis is a last-bit
difference in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

PART = 1024  # columns of a product of matrices: more, and BLAS would start threads
GRID = 64  # steps per unit: finer costs more bits than it saves
COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 11)  # numbers of axes that the encoder tries
_GAIN = 12.0  # bits and distortion of a Laplacian at its best are about log2(1 + 12 variance / step^2) / 2

Float = NDArray[np.float64]
Entries = NDArray[np.int32]
Rings = NDArray[np.int64]


def entry_count(axes: int, bands: int) -> int:
    """Integers that state the first `axes` axes."""
    return axes * (bands - 1) - axes * (axes - 1) // 2


def _reflect(rest: NDArray[np.integer[Any]]) -> Float:
    """Unit normal of the reflection that takes the first coordinate axis to (minus) the stated one."""
    normal = np.empty(len(rest) + 1)
    normal[1:] = rest
    normal[1:] /= GRID
    tail = float(normal[1:] @ normal[1:])
    first = math.sqrt(max(0.0, 1.0 - tail))
    normal[0] = first + math.sqrt(first * first + tail)
    normal /= math.sqrt(normal[0] ** 2 + tail)
    return normal


def basis(count: int, entries: NDArray[np.integer[Any]], bands: int) -> Float:
    """Orthonormal basis of one ring from its stated axes, [C, C], columns; entries as `entry_count` says."""
    q = np.eye(bands)
    start = 0
    for axis in range(count):
        size = bands - 1 - axis
        normal = _reflect(entries[start : start + size])
        q[:, axis:] -= (q[:, axis:] @ (2 * normal))[:, None] * normal
        start += size
    return q


def bases(counts: NDArray[np.integer[Any]], entries: Entries, bands: int) -> Float:
    """Bases of all rings, [rings, C, C]; counts [rings], entries [rings, entry_count(C - 1)]."""
    return np.stack([basis(int(n), row, bands) for n, row in zip(counts, entries, strict=True)])


def moments(y: NDArray[np.float32], bands: int) -> Float:
    """Second moments of the components of every frequency, [frequencies, C, C]; y [frequencies * C, n]."""
    per_frequency = y.reshape(-1, bands, y.shape[-1])
    total = np.zeros((len(per_frequency), bands, bands))
    for part in _parts(y.shape[-1]):
        total += per_frequency[:, :, part] @ per_frequency[:, :, part].transpose(0, 2, 1)
    return np.asarray(total / y.shape[-1])


def turn(y: NDArray[np.float32], ring_bases: Float, ring: Rings) -> NDArray[np.float32]:
    """y -> z: components along the columns of each frequency's basis; [frequencies * C, n] -> same."""
    return _multiply(ring_bases.transpose(0, 2, 1), y, ring)


def turn_back(z: NDArray[np.float32], ring_bases: Float, ring: Rings) -> NDArray[np.float32]:
    """Inverse of `turn`."""
    return _multiply(ring_bases, z, ring)


def _multiply(ring_matrices: Float, y: NDArray[np.float32], ring: Rings) -> NDArray[np.float32]:
    """A matrix a ring times the components of every frequency; [frequencies * C, n] -> same."""
    per_frequency = ring_matrices.astype(np.float32)[ring]
    source = y.reshape(len(ring), -1, y.shape[-1])
    out = np.empty_like(source)
    for part in _parts(y.shape[-1]):
        np.matmul(per_frequency, source[:, :, part], out=out[:, :, part])
    return out.reshape(y.shape)


def _parts(n: int) -> Iterator[slice]:
    """Columns in parts, see PART."""
    return (slice(start, start + PART) for start in range(0, n, PART))


def _cost(covariance: Float, q: Float, step2: Float) -> float:
    """Bits a position that coding along the columns of q takes, distortion included, up to a constant."""
    variance = ((covariance @ q) * q).sum(1)  # (frequencies, C)
    return float(0.5 * np.log2(1 + _GAIN * np.maximum(variance, 0) / step2[:, None]).sum())


def _fit_ring(
    covariance: Float, step2: Float, positions: int, side_bits: Callable[[int, Entries], float]
) -> tuple[int, Entries]:
    """How many axes pay for one ring, and their entries; covariance [frequencies of the ring, C, C]."""
    bands = covariance.shape[1]
    entries = np.zeros(entry_count(bands - 1, bands), np.int32)
    q = np.eye(bands)
    rest = np.linalg.eigh(covariance.sum(0))[1][:, ::-1].copy()  # columns in coordinates left over
    best = (positions * _cost(covariance, q, step2) + side_bits(0, entries), 0)
    start = 0
    for axis in range(bands - 1):
        size = bands - 1 - axis
        vector = rest[axis:, axis] / np.linalg.norm(rest[axis:, axis])
        vector = -vector if vector[0] < 0 else vector
        entries[start : start + size] = np.rint(vector[1:] * GRID)
        normal = _reflect(entries[start : start + size])
        q[:, axis:] -= 2 * np.outer(q[:, axis:] @ normal, normal)
        rest[axis:] -= 2 * np.outer(normal, normal @ rest[axis:])
        start += size
        if axis + 1 in COUNTS:
            cost = positions * _cost(covariance, q, step2) + side_bits(axis + 1, entries)
            best = min(best, (cost, axis + 1))
    entries[entry_count(best[1], bands) :] = 0
    return best[1], entries


def fit(
    covariance: Float,
    step2: Float,
    ring: Rings,
    positions: int,
    side_bits: Callable[[int, int, Entries], float],
) -> tuple[NDArray[np.int32], Entries]:
    """Axes to state for one tile.

    Parameters
    ----------
    covariance : [frequencies, C, C], of `moments`
    step2 : [frequencies], squared quantisation step
    ring : [frequencies], ring of each; positions : latents a channel
    side_bits : (ring, count, entries) -> bits that stating them takes

    Returns
    -------
    counts : [rings], int32; entries : [rings, entry_count(C - 1)], int32, zero where not stated
    """
    counts, entries = [], []
    for number in range(int(ring.max()) + 1):
        members = ring == number

        def side(count: int, stated: Entries, number: int = number) -> float:
            return side_bits(number, count, stated)

        count, found = _fit_ring(covariance[members], step2[members], positions, side)
        counts.append(count)
        entries.append(found)
    return np.array(counts, np.int32), np.stack(entries)
