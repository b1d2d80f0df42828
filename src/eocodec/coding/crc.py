"""CRC32C (Castagnoli), the checksum of headers, payloads and decoded symbols."""

from __future__ import annotations

import itertools
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from eocodec.types import IntArray

CRC_BYTES = 4
_ZEROS = bytes(1 << 15)  # stays in the first cache


def crc32c(data: bytes | memoryview) -> int:
    """CRC32C of a byte string, 0 .. 2^32 - 1 (polynomial 0x1EDC6F41; "123456789" gives 0xE3069283)."""
    return int(google_crc32c.value(data if isinstance(data, bytes) else bytes(data)))


def symbols_crc(symbols: IntArray) -> int:
    """CRC32C of symbols, whatever the machine's byte order or the array's strides.

    Parameters
    ----------
    symbols : any shape, integers that fit int32

    Returns
    -------
    crc : CRC32C of the values as little-endian int32 in C order
    """
    return crc32c(np.ascontiguousarray(symbols, dtype="<i4").tobytes())


class SymbolsCrc:
    """`symbols_crc` of several arrays, one after the other; rows of zeros need not be in memory.

    Attributes
    ----------
    value : CRC32C of what was added so far
    """

    def __init__(self) -> None:
        self.value = 0

    def add(self, symbols: IntArray) -> None:
        """Append symbols of any shape, in C order."""
        self._extend(np.ascontiguousarray(symbols, dtype="<i4").tobytes())

    def add_rows(self, symbols: IntArray, rows: NDArray[np.integer[Any]], total: int) -> None:
        """Append an array of `total` rows that are zero but for `rows` [L], ascending: symbols [L, n]."""
        row_bytes = 4 * symbols.shape[1]
        breaks = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()  # neighbours are appended together
        end = 0  # rows appended so far
        for begin, stop in itertools.pairwise([0, *breaks, len(rows)]):
            if begin < stop:
                self._zeros((int(rows[begin]) - end) * row_bytes)
                self.add(symbols[begin:stop])
                end = int(rows[stop - 1]) + 1
        self._zeros((total - end) * row_bytes)

    def _zeros(self, count: int) -> None:
        while count >= len(_ZEROS):
            self._extend(_ZEROS)
            count -= len(_ZEROS)
        if count:
            self._extend(_ZEROS[:count])

    def _extend(self, data: bytes) -> None:
        self.value = int(google_crc32c.extend(self.value, data))
