"""CRC32C (Castagnoli), the checksum of headers, payloads and decoded symbols."""

from __future__ import annotations

import google_crc32c
import numpy as np

from eocodec.types import IntArray

CRC_BYTES = 4


def crc32c(data: bytes | memoryview) -> int:
    """CRC32C of a byte string, 0 .. 2^32 - 1 (polynomial 0x1EDC6F41; "123456789" gives 0xE3069283)."""
    return int(google_crc32c.value(bytes(data)))


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
