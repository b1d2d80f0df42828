"""Three ways to write binary planes [P, H, W] as bytes that a general compressor then shrinks well.

| layout | content | variants |
|---|---|---|
| 1 bits | 8 pixels a byte, first in the top bit; rows padded with 0 to whole bytes | see below |
| 2 runs | integers: number of changes in each row, then their columns | 0: first, 1: second differences |
| 3 gaps | integers: pixels between one set pixel and the next, planes in a row | 0: set, 1: all but the set |

Bits suit ragged outlines, runs straight edges (differences of 0 and +-1), gaps scattered pixels. Variants
of bits: 0 the pixels, 1 their XOR with the pixel above, 2 their XOR with those above, left and above-left;
pixels outside the plane are 0. *Integers* are uint32 in four byte planes, most significant bytes first:
nearly all of the first three planes are zero.

In runs, the planes are one stack of P * H rows; a row's columns are those where a pixel differs from its
left neighbour (from 0 for the first). Successive rows with the same number n of changes form a block
[k, n]; each column of the block is differenced downwards (once or twice, 0 before the first row) and
zigzag mapped (0, -1, 1, -2, ... to 0, 1, 2, 3, ...).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import MalformedSection
from eocodec.types import BoolArray

BITS, RUNS, GAPS = 1, 2, 3
_N_VARIANTS = {BITS: 3, RUNS: 2, GAPS: 2}

PlaneShape = tuple[int, int, int]
_Ints = NDArray[np.int64]


def max_raw_size(shape: PlaneShape) -> int:
    """Most bytes that a layout of planes of this shape may have: about one a pixel, 8 times the bits."""
    planes, rows, cols = shape
    return planes * rows * (cols + 7)


def encode_planes(planes: BoolArray) -> Iterator[tuple[int, int, bytes]]:
    """(layout, variant, bytes) for all layouts of `planes` [P, H, W] within `max_raw_size`."""
    for variant in range(_N_VARIANTS[BITS]):
        yield BITS, variant, _encode_bits(planes, variant)
    counts, columns = _changes(planes)
    limit = max_raw_size(planes.shape)
    if 4 * (counts.size + columns.size) <= limit:
        for variant in range(_N_VARIANTS[RUNS]):
            yield RUNS, variant, _encode_runs(counts, columns, variant)
    inverted = 2 * np.count_nonzero(planes) > planes.size
    positions = np.flatnonzero(planes != inverted)
    if 4 * positions.size <= limit:
        yield GAPS, int(inverted), _encode_gaps(positions)


def decode_planes(raw: bytes, layout: int, variant: int, shape: PlaneShape) -> BoolArray:
    """Planes [P, H, W] from the bytes of a layout.

    Raises
    ------
    MalformedSection : no such layout or variant, wrong size, or a position outside the plane
    """
    if layout not in _N_VARIANTS or variant >= _N_VARIANTS[layout]:
        raise MalformedSection(f"mask: no layout {layout} with variant {variant}")
    if layout == BITS:
        return _decode_bits(raw, variant, shape)
    if layout == RUNS:
        return _decode_runs(_join_bytes(raw), variant, shape)
    return _decode_gaps(_join_bytes(raw), bool(variant), shape)


def _encode_bits(planes: BoolArray, variant: int) -> bytes:
    residual = planes.copy()
    if variant >= 1:
        residual[:, 1:] ^= planes[:, :-1]
    if variant == 2:
        residual[:, :, 1:] ^= residual[:, :, :-1].copy()
    return np.packbits(residual, axis=-1).tobytes()


def _decode_bits(raw: bytes, variant: int, shape: PlaneShape) -> BoolArray:
    planes, rows, cols = shape
    row_bytes = -(-cols // 8)
    if len(raw) != planes * rows * row_bytes:
        raise MalformedSection(f"mask: {len(raw)} bytes of bits for {shape} pixels")
    packed = np.frombuffer(raw, np.uint8).reshape(planes, rows, row_bytes)
    if cols % 8 and (packed[..., -1] & (0xFF >> cols % 8)).any():
        raise MalformedSection("mask: a padding bit is set")
    bits = np.unpackbits(packed, axis=-1, count=cols).view(bool)
    if variant == 2:
        np.logical_xor.accumulate(bits, axis=2, out=bits)
    if variant >= 1:
        np.logical_xor.accumulate(bits, axis=1, out=bits)
    return bits


def _changes(planes: BoolArray) -> tuple[_Ints, _Ints]:
    """Number of changes in each of the P * H rows, and the columns of all, row by row."""
    stack = planes.reshape(-1, planes.shape[2])
    changed = stack.copy()
    changed[:, 1:] ^= stack[:, :-1]
    return np.count_nonzero(changed, axis=1).astype(np.int64), np.nonzero(changed)[1].astype(np.int64)


def _blocks(counts: _Ints) -> Iterator[tuple[slice, int]]:
    """For successive rows with the same number n > 0 of changes: the slice of their columns, and n."""
    starts = np.flatnonzero(np.diff(counts, prepend=-1))
    lengths = np.diff(starts, append=counts.size)
    offset = 0
    for n, length in zip(counts[starts].tolist(), lengths.tolist(), strict=True):
        if n:
            yield slice(offset, offset + n * length), n
        offset += n * length


def _encode_runs(counts: _Ints, columns: _Ints, variant: int) -> bytes:
    values = np.empty_like(columns)
    for part, n in _blocks(counts):
        block = columns[part].reshape(-1, n)
        for _ in range(variant + 1):
            block = np.diff(block, axis=0, prepend=0)
        values[part] = block.ravel()
    return _split_bytes(np.concatenate([counts, np.where(values < 0, -2 * values - 1, 2 * values)]))


def _decode_runs(numbers: _Ints, variant: int, shape: PlaneShape) -> BoolArray:
    planes, rows, cols = shape
    counts, codes = numbers[: planes * rows], numbers[planes * rows :]
    if counts.size != planes * rows or counts.max() > cols or counts.sum() != codes.size:
        raise MalformedSection(f"mask: {numbers.size} numbers do not describe the runs of {shape} pixels")
    columns = np.where(codes & 1, -(codes + 1) // 2, codes // 2)
    for part, n in _blocks(counts):
        block = columns[part].reshape(-1, n)
        for _ in range(variant + 1):
            block = np.cumsum(block, axis=0)
        columns[part] = block.ravel()
    positions = columns + cols * np.repeat(np.arange(counts.size), counts)
    if ((columns < 0) | (columns >= cols)).any() or (np.diff(positions) <= 0).any():
        raise MalformedSection("mask: a run ends outside its row or before the run to its left")
    changed = np.zeros((planes, rows, cols), dtype=bool)
    changed.reshape(-1)[positions] = True
    np.logical_xor.accumulate(changed, axis=2, out=changed)
    return changed


def _encode_gaps(positions: NDArray[np.intp]) -> bytes:
    gaps = positions.astype(np.int64)
    gaps[1:] -= positions[:-1] + 1
    return _split_bytes(gaps)


def _decode_gaps(gaps: _Ints, inverted: bool, shape: PlaneShape) -> BoolArray:
    positions = np.cumsum(gaps + 1) - 1
    out = np.full(shape, inverted)
    if positions.size and positions[-1] >= out.size:
        raise MalformedSection(f"mask: pixel {positions[-1]} is outside {shape}")
    out.reshape(-1)[positions] = not inverted
    return out


def _split_bytes(numbers: _Ints) -> bytes:
    """uint32 in four byte planes, most significant first."""
    octets = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    return octets.T.tobytes()


def _join_bytes(raw: bytes) -> _Ints:
    """The numbers that `_split_bytes` wrote."""
    if len(raw) % 4:
        raise MalformedSection(f"mask: {len(raw)} bytes are no whole number of integers")
    octets = np.frombuffer(raw, np.uint8).reshape(4, -1).T
    return np.ascontiguousarray(octets).view(">u4").reshape(-1).astype(np.int64)
