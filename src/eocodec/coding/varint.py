"""Variable-length integers: little-endian base 128 (LEB128), seven bits a byte, shortest form only.

The high bit of a byte says that another one follows. Signed values are mapped to unsigned ones by zigzag
(0, -1, 1, -2, 2 ... become 0, 1, 2, 3, 4 ...). Only the shortest form of a value is legal, so that every
sequence has exactly one byte representation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import CodecError, CodestreamError, MalformedSection, TrailingBytes, Truncated
from eocodec.types import IntArray

MAX_VARINT_BYTES = 10  # ceil(64 / 7)
_PAYLOAD_BITS = 7
_MORE = 0x80
_UINT64_MAX = (1 << 64) - 1


def zigzag(values: IntArray) -> NDArray[np.uint64]:
    """Map int64 to uint64 so that small magnitudes become small numbers.

    Parameters
    ----------
    values : any shape, signed integers

    Returns
    -------
    codes : same shape, uint64; 0, -1, 1, -2 ... -> 0, 1, 2, 3 ...
    """
    wide = np.asarray(values, dtype=np.int64)
    return ((wide << 1) ^ (wide >> 63)).view(np.uint64)


def unzigzag(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Inverse of `zigzag`: uint64 of any shape -> int64 of the same shape."""
    wide = np.asarray(codes, dtype=np.uint64)
    half = (wide >> np.uint64(1)).view(np.int64)
    return half ^ -(wide & np.uint64(1)).view(np.int64)


def encode_varints(values: IntArray) -> bytes:
    """Concatenated varints of a flat array.

    Parameters
    ----------
    values : [n], unsigned integers (or non-negative signed ones)

    Raises
    ------
    CodecError : a value is negative
    """
    flat = np.asarray(values).reshape(-1)
    if flat.size == 0:
        return b""
    if flat.dtype.kind == "i" and flat.min() < 0:
        raise CodecError(f"varint: found {flat.min()}, expected a value >= 0 (zigzag signed values first)")
    rest = flat.astype(np.uint64)
    width = max(1, -(-int(rest.max()).bit_length() // _PAYLOAD_BITS))
    groups = np.empty((rest.size, width), dtype=np.uint8)
    keep = np.zeros((rest.size, width), dtype=np.bool_)
    keep[:, 0] = True
    for column in range(width):
        groups[:, column] = rest & np.uint64(0x7F)
        rest >>= np.uint64(_PAYLOAD_BITS)
        more = rest > 0
        groups[:, column] |= np.where(more, np.uint8(_MORE), np.uint8(0))
        if column + 1 < width:
            keep[:, column + 1] = more
    return groups[keep].tobytes()


def decode_varints(data: bytes, count: int) -> NDArray[np.uint64]:
    """Inverse of `encode_varints`; the data must hold exactly `count` values.

    Returns
    -------
    values : [count], uint64

    Raises
    ------
    Truncated : fewer than `count` values
    TrailingBytes : bytes are left over
    MalformedSection : a value is not in shortest form or exceeds 64 bits
    """
    reader = VarintReader(data)
    values = reader.take(count)
    reader.finish()
    return values


class VarintReader:
    """Reads runs of varints from one byte string, array by array."""

    def __init__(self, data: bytes) -> None:
        self._bytes = np.frombuffer(data, dtype=np.uint8)
        self._ends = np.flatnonzero(self._bytes < _MORE)  # position of the last byte of every value
        self._taken = 0

    def take(self, count: int) -> NDArray[np.uint64]:
        """Next `count` values, [count] uint64. Raises `Truncated` or `MalformedSection`."""
        if count == 0:
            return np.zeros(0, dtype=np.uint64)
        ends = self._ends[self._taken : self._taken + count]
        if ends.size < count:
            raise Truncated(f"varints: found {self._ends.size} values, expected {self._taken + count}")
        starts = np.empty_like(ends)
        starts[1:] = ends[:-1] + 1
        starts[0] = self._offset()
        lengths = ends - starts + 1
        self._check(starts, ends, lengths)
        values = np.zeros(count, dtype=np.uint64)
        for column in range(int(lengths.max())):
            live = lengths > column
            group = (self._bytes[starts[live] + column] & np.uint8(0x7F)).astype(np.uint64)
            values[live] |= group << np.uint64(_PAYLOAD_BITS * column)
        self._taken += count
        return values

    def finish(self) -> None:
        """Raise `TrailingBytes` unless every byte was read."""
        if self._offset() != self._bytes.size:
            raise TrailingBytes(f"varints: {self._bytes.size - self._offset()} bytes after the last value")

    def _offset(self) -> int:
        return int(self._ends[self._taken - 1]) + 1 if self._taken else 0

    def _check(self, starts: IntArray, ends: IntArray, lengths: IntArray) -> None:
        last = self._bytes[ends]
        padded = (lengths > 1) & (last == 0)
        too_big = (lengths > MAX_VARINT_BYTES) | ((lengths == MAX_VARINT_BYTES) & (last > 1))
        bad = padded | too_big
        if bad.any():
            offset = int(starts[int(np.argmax(bad))])
            raise MalformedSection(f"varint at byte {offset}: not the shortest form of a 64-bit value (R27)")


def write_varint(value: int) -> bytes:
    """One varint of a Python integer in [0, 2^64). Raises `CodecError` outside."""
    if not 0 <= value <= _UINT64_MAX:
        raise CodecError(f"varint: found {value}, expected 0 .. 2^64 - 1")
    out = bytearray()
    while value >= _MORE:
        out.append((value & 0x7F) | _MORE)
        value >>= _PAYLOAD_BITS
    out.append(value)
    return bytes(out)


def read_varint(
    data: bytes | memoryview, offset: int, error: type[CodestreamError] = MalformedSection
) -> tuple[int, int]:
    """One varint from `data` at byte `offset`: (value, offset after it).

    Raises
    ------
    Truncated : the data end within it
    error : not in shortest form, or above 64 bits
    """
    value = 0
    for position in range(MAX_VARINT_BYTES):
        if offset + position >= len(data):
            raise Truncated(f"varint at byte {offset}: the data end after {len(data)} bytes")
        byte = data[offset + position]
        value |= (byte & 0x7F) << (_PAYLOAD_BITS * position)
        if byte < _MORE:
            if (byte == 0 and position > 0) or value > _UINT64_MAX:
                break
            return value, offset + position + 1
    raise error(f"varint at byte {offset}: not the shortest form of a 64-bit value")
