"""Header and sections -> codestream bytes."""

from __future__ import annotations

from collections.abc import Sequence

from eocodec.codestream.header import Header, pack_header
from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.sections import Section, check_order
from eocodec.coding.crc import crc32c
from eocodec.errors import MalformedSection

_ID_BITS = 0x7F


def write(header: Header, sections: Sequence[Section], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Serialise one tile.

    Parameters
    ----------
    header : of the tile
    sections : in any order, written in ascending order of id; leave out empty ones that mean nothing
    limits : the tile must be readable within these

    Returns
    -------
    data : the codestream; 47 bytes + nodata + sections for a 256 x 256 tile with two sections below 16 kB

    Raises
    ------
    MalformedHeader : a header value that the specification forbids
    MalformedSection : a section type out of range or repeated, or one that needs SYMBOLS without it
    LimitExceeded : a reader with these limits would refuse it
    """
    for section in sections:
        if not 0 <= section.type <= 255:
            raise MalformedSection(f"section type: found {section.type}, expected one byte")
    ordered = sorted(sections, key=lambda section: section.type & _ID_BITS)
    check_order([section.type for section in ordered])
    limits.check_shape(header.shape)
    limits.check_sections([len(section.data) for section in ordered])
    payload = b"".join(section.data for section in ordered)
    directory = [(int(section.type), len(section.data)) for section in ordered]
    return pack_header(header, crc32c(payload), directory) + payload
