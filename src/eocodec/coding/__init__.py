"""Entropy coding without torch: integer CDF tables, range coder, varints, CRC32C."""

from eocodec.coding.crc import SymbolsCrc, crc32c, symbols_crc
from eocodec.coding.range_coder import (
    SymbolDecoder,
    SymbolEncoder,
    decode_channels,
    decode_symbols,
    encode_channels,
    encode_symbols,
)
from eocodec.coding.tables import PRECISION, CdfTables, cost_bits, estimate_bits, from_pmfs

__all__ = [
    "PRECISION",
    "CdfTables",
    "SymbolDecoder",
    "SymbolEncoder",
    "SymbolsCrc",
    "cost_bits",
    "crc32c",
    "decode_channels",
    "decode_symbols",
    "encode_channels",
    "encode_symbols",
    "estimate_bits",
    "from_pmfs",
    "symbols_crc",
]
