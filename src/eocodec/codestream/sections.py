"""Section types, and the rules on which sections may stand beside which.

The low seven bits of a type are its id; the high bit says that a reader which does not know the id must not
decode the tile. Sections stand in ascending order of id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum

from eocodec.errors import MalformedSection, UnknownSection

CRITICAL = 0x80
_ID_BITS = 0x7F


class SectionType(IntEnum):
    """Types of version 1. Only those in `SUPPORTED` have a meaning yet, the others are reserved."""

    MASK = 0x81
    REFERENCES = 0x82
    TABLES = 0x83
    HYPER = 0x84
    EDGES = 0x85
    PARTS = 0x86
    SYMBOLS = 0x88
    ESCAPES = 0x89
    RESIDUAL = 0x8A
    UNITS = 0x8B
    SATURATED = 0x8C
    MODEL = 0x70


SUPPORTED = frozenset(
    {
        SectionType.MASK,
        SectionType.EDGES,
        SectionType.PARTS,
        SectionType.SYMBOLS,
        SectionType.ESCAPES,
        SectionType.RESIDUAL,
        SectionType.UNITS,
        SectionType.SATURATED,
        SectionType.MODEL,
    }
)
_NEEDS_SYMBOLS = frozenset({SectionType.ESCAPES})
_IN_PARTS = frozenset({SectionType.EDGES, SectionType.SYMBOLS, SectionType.ESCAPES})


@dataclass(frozen=True)
class Section:
    """One section to write: `type` is a `SectionType`, or any byte below 0x80 for an ancillary one."""

    type: int
    data: bytes


@dataclass(frozen=True)
class SectionEntry:
    """Where a section lies: its type byte, offset from the start of the codestream, length in bytes."""

    type: int
    offset: int
    length: int

    @property
    def critical(self) -> bool:
        """Whether a reader that does not know the type must refuse the tile."""
        return bool(self.type & CRITICAL)


def section_name(kind: int) -> str:
    """Lower-case name of a section type, or 'unknown-0x..'."""
    known = {member.value: member.name.lower() for member in SectionType}
    return known.get(kind, f"unknown-{kind:#04x}")


def check_order(kinds: Sequence[int]) -> None:
    """Raise `MalformedSection` on a repeated id (R13), a wrong order (R14), a missing SYMBOLS (R17) or what
    PARTS holds beside it (R67).
    """
    ids = [kind & _ID_BITS for kind in kinds]
    if len(set(ids)) != len(ids):
        twice = next(kind for kind in kinds if ids.count(kind & _ID_BITS) > 1)
        raise MalformedSection(f"section {section_name(twice)}: its id occurs twice (R13)")
    if ids != sorted(ids):
        names = ", ".join(section_name(kind) for kind in kinds)
        raise MalformedSection(f"sections: found order {names}, expected ascending ids (R14)")
    alone = [kind for kind in kinds if kind in _NEEDS_SYMBOLS]
    if alone and SectionType.SYMBOLS not in kinds:
        raise MalformedSection(f"section {section_name(alone[0])}: stands without symbols (R17)")
    beside = [kind for kind in kinds if kind in _IN_PARTS]
    if beside and SectionType.PARTS in kinds:
        raise MalformedSection(f"section {section_name(beside[0])}: stands beside parts (R67)")


def check_context(kinds: Sequence[int], *, nodata: bool, holds_saturated: bool) -> None:
    """Raise `MalformedSection` where the header rules a section out.

    Parameters
    ----------
    nodata : whether the header states a value for pixels outside the mask (R34)
    holds_saturated : whether the array's dtype has the value 65535 (R35)
    """
    if SectionType.MASK in kinds and not nodata:
        raise MalformedSection("section mask: stands without nodata in the header (R34)")
    if SectionType.SATURATED in kinds and not holds_saturated:
        raise MalformedSection("section saturated: the dtype cannot hold 65535 (R35)")


def check_bound(kinds: Collection[int], *, bounded: bool, integers: bool) -> None:
    """Raise `MalformedSection` unless RESIDUAL stands exactly where the header states a bound, of integers.

    Parameters
    ----------
    bounded : whether the header states a bound (R48); integers : whether the dtype is one (R49)
    """
    if bounded != (SectionType.RESIDUAL in kinds):
        found = "without residual" if bounded else "residual without a bound in the header"
        raise MalformedSection(f"sections: {found} (R48)")
    if bounded and not integers:
        raise MalformedSection("section residual: the dtype is not an integer (R49)")


def check_known(kinds: Sequence[int], supported: Collection[int] = SUPPORTED) -> None:
    """Raise `UnknownSection` for a critical type outside `supported` (R15)."""
    for kind in kinds:
        if kind & CRITICAL and kind not in supported:
            raise UnknownSection(f"section {section_name(kind)}: critical and not known to this reader (R15)")
