"""Codestream bytes -> header and sections, every check before the bytes are believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from eocodec.codestream.header import Header, Layout, parse_layout
from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.sections import SUPPORTED, SectionType, check_known
from eocodec.coding.crc import crc32c, symbols_crc
from eocodec.errors import ChecksumMismatch, TrailingBytes, Truncated
from eocodec.types import IntArray


@dataclass(frozen=True)
class Codestream:
    """A checked codestream: header, contents of the known sections, types of the skipped ancillary ones."""

    header: Header
    sections: Mapping[SectionType, bytes]
    skipped: tuple[int, ...] = ()


def read(
    data: bytes, limits: Limits = DEFAULT_LIMITS, supported: Collection[SectionType] = SUPPORTED
) -> Codestream:
    """Read and check one tile; the symbols are checked later, with `check_symbols`.

    Parameters
    ----------
    data : exactly one codestream
    limits : ceilings, checked before anything of that size is made
    supported : critical section types that the caller can decode

    Raises
    ------
    CodestreamError : one of its subclasses, for anything that is not a faithful codestream
    """
    layout = parse_layout(data, limits)
    check_known([entry.type for entry in layout.entries], supported)
    check_length(data, layout)
    check_payload(data, layout)
    known = {
        SectionType(entry.type): bytes(data[entry.offset : entry.offset + entry.length])
        for entry in layout.entries
        if entry.type in supported
    }
    skipped = tuple(entry.type for entry in layout.entries if entry.type not in supported)
    return Codestream(layout.header, known, skipped)


def read_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Header alone; `data` may end anywhere after it. Raises like `read`, sections unread."""
    return parse_layout(data, limits).header


def check_length(data: bytes, layout: Layout) -> None:
    """Raise `Truncated` (R19) or `TrailingBytes` (R20) unless the sections end where the data end."""
    if len(data) < layout.total_bytes:
        raise Truncated(f"found {len(data)} bytes, expected {layout.total_bytes} (R19)")
    if len(data) > layout.total_bytes:
        raise TrailingBytes(f"found {len(data)} bytes, expected {layout.total_bytes} (R20)")


def check_payload(data: bytes, layout: Layout) -> None:
    """Raise `ChecksumMismatch` unless the section bytes have the header's CRC (R21)."""
    found = crc32c(data[layout.header_bytes : layout.total_bytes])
    if found != layout.payload_crc:
        raise ChecksumMismatch(f"payload_crc: found {found:08x}, expected {layout.payload_crc:08x} (R21)")


def check_symbols(header: Header, symbols: IntArray) -> None:
    """Raise `ChecksumMismatch` unless decoded symbols have the header's CRC (R30).

    Parameters
    ----------
    symbols : any shape, the decoded integers in the order that the model defines
    """
    check_symbols_crc(header, symbols_crc(symbols))


def check_symbols_crc(header: Header, found: int, rule: str = "R30") -> None:
    """Raise `ChecksumMismatch` unless the CRC `found` of decoded symbols, or of parts, is the header's."""
    if found != header.symbols_crc:
        expected = f"{header.symbols_crc:08x}"
        raise ChecksumMismatch(f"symbols_crc: found {found:08x}, expected {expected} ({rule})")
