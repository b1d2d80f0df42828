"""Section PARTS: what is coded of a tile in parts, each with a range coder stream and a checksum of its own.

What the first parts decode to does not depend on those after them: `write_parts` keeps them without a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eocodec.codestream.header import Header, Layout, parse_layout
from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.reader import Codestream, check_symbols_crc, read
from eocodec.codestream.sections import Section, SectionType
from eocodec.codestream.writer import write
from eocodec.coding.crc import CRC_BYTES
from eocodec.coding.varint import read_varint, write_varint
from eocodec.errors import InputError, LimitExceeded, Truncated


@dataclass(frozen=True)
class Part:
    """One part.

    crc : CRC32C of all that the tile's parts decode to, up to the end of this one
    edges, symbols, escapes : contents as of the sections EDGES, SYMBOLS and ESCAPES, any of them may be empty
    """

    crc: int
    edges: bytes
    symbols: bytes
    escapes: bytes

    def pack(self) -> bytes:
        """As it stands in the section."""
        contents = self.edges, self.symbols, self.escapes
        lengths = b"".join(write_varint(len(content)) for content in contents)
        return lengths + self.crc.to_bytes(CRC_BYTES, "little") + b"".join(contents)


def pack_parts(parts: Sequence[Part]) -> bytes:
    """Content of the section; without a part there is no section."""
    return b"".join(part.pack() for part in parts)


def unpack_parts(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """Inverse of `pack_parts`.

    Raises
    ------
    Truncated : the section ends within a part, or holds none
    LimitExceeded : more parts than `limits.max_parts`
    MalformedSection : a length is not in shortest form
    """
    if not data:
        raise Truncated("PARTS: found 0 bytes, expected at least one part (R68)")
    parts: list[Part] = []
    at = 0
    while at < len(data):
        if len(parts) == limits.max_parts:
            raise LimitExceeded(f"parts: found more than the limit {limits.max_parts} (R69)")
        part, at = _unpack_part(data, at)
        parts.append(part)
    return parts


def _unpack_part(data: bytes, start: int) -> tuple[Part, int]:
    """The part at byte `start`, and where the next one begins."""
    at, lengths = start, []
    for _ in range(3):
        length, at = read_varint(data, at)
        lengths.append(length)
    contents, end = at + CRC_BYTES, at + CRC_BYTES + sum(lengths)
    if end > len(data):
        raise Truncated(
            f"PARTS: the part at byte {start} takes {end - start} bytes, {len(data) - start} are there (R68)"
        )
    middle, last = contents + lengths[0], contents + lengths[0] + lengths[1]
    crc = int.from_bytes(data[at:contents], "little")
    return Part(crc, data[contents:middle], data[middle:last], data[last:end]), end


def parts_of(stream: Codestream, limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """Parts of a codestream, none where it has no such section; errors of `unpack_parts`.

    Raises
    ------
    ChecksumMismatch : the last part's checksum is not that of the header
    """
    section = stream.sections.get(SectionType.PARTS)
    return [] if section is None else _checked(section, stream.header, limits)


def parts_in(data: bytes, layout: Layout, limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """`parts_of` for whole data of which the header alone was read."""
    for entry in layout.entries:
        if entry.type == SectionType.PARTS:
            return _checked(data[entry.offset : entry.offset + entry.length], layout.header, limits)
    return []


def _checked(section: bytes, header: Header, limits: Limits) -> list[Part]:
    parts = unpack_parts(section, limits)
    check_symbols_crc(header, parts[-1].crc, "R70")
    return parts


def read_parts(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """Parts of a codestream as bytes; errors of `read` and of `parts_of`."""
    return parts_of(read(data, limits), limits)


def write_parts(data: bytes, parts: Sequence[Part], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A codestream with other parts; all other sections, and the rest of the header, stay as they are.

    Parameters
    ----------
    data : a codestream, which is checked
    parts : the last one's checksum becomes that of the header

    Raises
    ------
    InputError : the codestream has an error bound: its residual belongs to the parts that are there
    CodestreamError : as `read`
    """
    read(data, limits)
    layout = parse_layout(data, limits)
    if layout.header.max_error is not None:
        raise InputError("a codestream with an error bound keeps its parts: its residual needs all of them")
    sections = [
        Section(entry.type, data[entry.offset : entry.offset + entry.length])
        for entry in layout.entries
        if entry.type != SectionType.PARTS
    ]
    if parts:
        sections.append(Section(SectionType.PARTS, pack_parts(parts)))
    header = replace(layout.header, symbols_crc=parts[-1].crc if parts else 0)
    return write(header, sections, limits)
