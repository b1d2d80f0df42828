"""Reference decoder of the range coder stream in plain Python: what a file needs once constriction is gone.

It follows docs/codestream.md, "Entropy coding", line by line, and is written to be read, not to be fast.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import PRECISION, CdfTables
from eocodec.coding.varint import read_varint
from eocodec.errors import MalformedSection, TrailingBytes
from eocodec.types import IntArray

WORD_BITS = 32
CODER_PRECISION = 24  # bits to which the width of the interval is divided
WORD = 1 << WORD_BITS
STATE = 1 << (2 * WORD_BITS)


class RangeState:
    """Interval [low, low + width) modulo 2^64, and the 64 bits of the stream that lie in it."""

    def __init__(self, stream: bytes) -> None:
        self._words = _words(stream)
        self._low = 0
        self._width = STATE - 1
        self._point = (next(self._words) << WORD_BITS) | next(self._words)

    def decode_bin(self, cdf: list[int]) -> int:
        """Next bin under the cumulative frequencies `cdf` (from 0 to 2^16). Raises `MalformedSection`."""
        unit = self._width >> CODER_PRECISION
        quantile = (self._point - self._low) % STATE // unit
        if quantile >= 1 << CODER_PRECISION:
            raise MalformedSection("SYMBOLS: the stream leaves the coder's interval (R26)")
        target = quantile >> (CODER_PRECISION - PRECISION)
        found = bisect_right(cdf, target) - 1
        self._narrow(unit << (CODER_PRECISION - PRECISION), cdf[found], cdf[found + 1])
        return found

    def _narrow(self, unit: int, left: int, right: int) -> None:
        self._low = (self._low + unit * left) % STATE
        self._width = unit * (right - left)
        if self._width < WORD:
            self._low = (self._low << WORD_BITS) % STATE
            self._width <<= WORD_BITS
            self._point = (self._point << WORD_BITS) % STATE | next(self._words)


class ReferenceDecoder:
    """`range_coder.SymbolDecoder` symbol by symbol: reads the groups of one stream, one after the other.

    Parameters
    ----------
    stream, escapes : contents of the sections SYMBOLS and ESCAPES

    Raises
    ------
    MalformedSection, Truncated, TrailingBytes, TableError : as `SymbolDecoder`
    """

    def __init__(self, stream: bytes, escapes: bytes) -> None:
        if stream.endswith(b"\0"):
            raise MalformedSection("SYMBOLS: the stream ends in a zero byte (R25)")
        self._state = RangeState(stream)
        self._escapes = escapes
        self._offset = 0

    def decode(self, table_index: IntArray, tables: CdfTables) -> NDArray[np.int32]:
        """Next group, [n] int32, each symbol with its own table."""
        index = tables.checked_index(table_index).tolist()
        cdfs = {table: tables.table(table).tolist() for table in set(index)}
        symbols = [0] * len(index)
        for position in sorted(range(len(index)), key=lambda place: (index[place], place)):
            table = index[position]
            symbols[position] = self._decode_one(cdfs[table], int(tables.first[table]))
        return np.array(symbols, dtype=np.int32)

    def decode_channels(self, table_index: IntArray, n: int, tables: CdfTables) -> NDArray[np.int32]:
        """Next group, [channels, n] int32, a table for each channel."""
        return self.decode(np.repeat(table_index, n), tables).reshape(-1, n)

    def finish(self) -> None:
        """Raise `TrailingBytes` if escape values are left over."""
        if self._offset != len(self._escapes):
            left = len(self._escapes) - self._offset
            raise TrailingBytes(f"ESCAPES: {left} bytes after the last value (R29)")

    def _decode_one(self, cdf: list[int], lowest: int) -> int:
        found = self._state.decode_bin(cdf)
        escape = len(cdf) - 2
        if found < escape:
            return lowest + found
        code, self._offset = read_varint(self._escapes, self._offset)
        return _escaped_symbol(code, lowest, lowest + escape - 1)


def decode_symbols_reference(
    stream: bytes, escapes: bytes, table_index: IntArray, tables: CdfTables
) -> NDArray[np.int32]:
    """`range_coder.decode_symbols` without constriction: [n] int32, and its errors."""
    decoder = ReferenceDecoder(stream, escapes)
    symbols = decoder.decode(table_index, tables)
    decoder.finish()
    return symbols


def _escaped_symbol(code: int, lowest: int, highest: int) -> int:
    """Codes 0, 1, 2, 3 ... are lowest - 1, highest + 1, lowest - 2, highest + 2 ..."""
    distance = code // 2 + 1
    symbol = highest + distance if code % 2 else lowest - distance
    if not -(2**31) <= symbol < 2**31:
        raise MalformedSection(f"ESCAPES: symbol {symbol} is outside int32 (R28)")
    return symbol


def _words(stream: bytes) -> Iterator[int]:
    """Big-endian 32-bit words of the stream, then zeros for ever."""
    for start in range(0, len(stream), 4):
        yield int.from_bytes(stream[start : start + 4].ljust(4, b"\0"), "big")
    while True:
        yield 0
