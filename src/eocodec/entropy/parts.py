"""A tile coded in parts: what a coder asks for the next one of, on either side.

What a part is, a timestep or something else, is for the coder to say. Each one has a range coder stream and a
list of edges of its own; one checksum runs through all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from eocodec.codestream import Part
from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.errors import ChecksumMismatch, TrailingBytes, Truncated

Symbols = TypeVar("Symbols", SymbolEncoder, SymbolDecoder)
Edges = TypeVar("Edges", EdgeWriter, EdgeReader)


@dataclass(frozen=True, eq=False)
class OpenPart(Generic[Symbols, Edges]):
    """A part that is being written or read.

    symbols : its encoder or decoder; edges : its list of edges
    crc : to be extended by all that the part decodes to, before the part is closed
    """

    symbols: Symbols
    edges: Edges
    crc: SymbolsCrc


class PartWriter:
    """Parts of a tile as its coder makes them.

    Parameters
    ----------
    parts : those that are there already
    edges : makes the list of a part

    Attributes
    ----------
    parts : all that are closed
    """

    def __init__(self, parts: Sequence[Part] = (), edges: Callable[[], EdgeWriter] = EdgeWriter) -> None:
        self.parts = list(parts)
        self._edges, self._crc = edges, _crc_after(self.parts)

    @contextmanager
    def part(self) -> Iterator[OpenPart[SymbolEncoder, EdgeWriter]]:
        """The next part; it is closed where the block ends."""
        symbols, edges = SymbolEncoder(), self._edges()
        yield OpenPart(symbols, edges, self._crc)
        stream, escapes = symbols.finish()
        self.parts.append(Part(self._crc.value, edges.finish(), stream, escapes))


class PartReader:
    """Reads the parts of a tile in order.

    Parameters
    ----------
    parts : of the tile; edges : reads the list of a part
    """

    def __init__(self, parts: Sequence[Part], edges: Callable[[bytes], EdgeReader] = EdgeReader) -> None:
        self._parts, self._edges = parts, edges
        self._read, self._crc = 0, SymbolsCrc()

    @property
    def left(self) -> int:
        """How many parts are still to be read."""
        return len(self._parts) - self._read

    @contextmanager
    def part(self) -> Iterator[OpenPart[SymbolDecoder, EdgeReader]]:
        """The next part; where the block ends it is checked that nothing of it is left, and its checksum.

        Raises
        ------
        Truncated : there is none; ChecksumMismatch : it decodes to other values than those written
        MalformedSection, TrailingBytes : edges or escapes are left over, or are none
        """
        if not self.left:
            raise Truncated(f"PARTS: found {self._read} parts, expected more (R73)")
        number, part = self._read, self._parts[self._read]
        opened = OpenPart(SymbolDecoder(part.symbols, part.escapes), self._edges(part.edges), self._crc)
        yield opened
        opened.edges.finish()
        opened.symbols.finish()
        if self._crc.value != part.crc:
            raise ChecksumMismatch(
                f"PARTS: crc of part {number}: found {self._crc.value:08x}, expected {part.crc:08x} (R71)"
            )
        self._read += 1

    def finish(self) -> None:
        """Raise `TrailingBytes` if parts are left over (R73)."""
        if self.left:
            raise TrailingBytes(f"PARTS: found {len(self._parts)} parts, expected {self._read} (R73)")


def _crc_after(parts: Sequence[Part]) -> SymbolsCrc:
    crc = SymbolsCrc()
    crc.value = parts[-1].crc if parts else 0
    return crc
