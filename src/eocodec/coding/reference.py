"""Reference decoder of the range coder stream in plain Python: what a file needs once constriction is gone.

It follows docs/codestream.md, "Entropy coding", line by line, and is written to be read, not to be fast.
"""

from __future__ import annotations

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
        found = int(np.searchsorted(cdf, target, side="right")) - 1
        self._narrow(unit << (CODER_PRECISION - PRECISION), cdf[found], cdf[found + 1])
        return found

    def _narrow(self, unit: int, left: int, right: int) -> None:
        self._low = (self._low + unit * left) % STATE
        self._width = unit * (right - left)
        if self._width < WORD:
            self._low = (self._low << WORD_BITS) % STATE
            self._width <<= WORD_BITS
            self._point = (self._point << WORD_BITS) % STATE | next(self._words)


def decode_symbols_reference(
    stream: bytes, escapes: bytes, table_index: IntArray, tables: CdfTables
) -> NDArray[np.int32]:
    """The same as `range_coder.decode_symbols`, symbol by symbol, without constriction.

    Parameters
    ----------
    stream, escapes : contents of the sections SYMBOLS and ESCAPES
    table_index : [n], integers

    Returns
    -------
    symbols : [n], int32

    Raises
    ------
    MalformedSection, Truncated, TrailingBytes, TableError : as `decode_symbols`
    """
    if stream.endswith(b"\0"):
        raise MalformedSection("SYMBOLS: the stream ends in a zero byte (R25)")
    index = tables.checked_index(table_index).tolist()
    cdfs = [tables.table(number).tolist() for number in range(tables.count)]
    state = RangeState(stream)
    symbols = [0] * len(index)
    offset = 0
    for position in sorted(range(len(index)), key=lambda place: (index[place], place)):
        table = index[position]
        lowest = int(tables.first[table])
        found = state.decode_bin(cdfs[table])
        escape = len(cdfs[table]) - 2
        symbols[position] = lowest + found
        if found == escape:
            code, offset = read_varint(escapes, offset)
            symbols[position] = _escaped_symbol(code, lowest, lowest + escape - 1)
    if offset != len(escapes):
        raise TrailingBytes(f"ESCAPES: {len(escapes) - offset} bytes after the last value (R29)")
    return np.array(symbols, dtype=np.int32)


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
