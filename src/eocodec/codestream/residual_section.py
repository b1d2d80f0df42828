"""Section RESIDUAL: the frame around the residual's streams."""

from __future__ import annotations

from dataclasses import dataclass

from eocodec.coding.crc import CRC_BYTES
from eocodec.coding.varint import read_varint, write_varint
from eocodec.errors import MalformedSection, Truncated

_FLAG_BASE = 0x01


@dataclass(frozen=True)
class ResidualFrame:
    """What RESIDUAL holds.

    has_base : pixels are predicted from the image that the other sections decode to, too
    pixels_crc : CRC32C of the reconstructed values, [T, C, H, W] int32
    edges : values of that image which are too near the edge of a cell, as in EDGES
    stream, escapes : range coder stream and its escapes
    """

    has_base: bool
    pixels_crc: int
    edges: bytes
    stream: bytes
    escapes: bytes


def pack_residual(frame: ResidualFrame) -> bytes:
    """Content of the section."""
    head = bytes([_FLAG_BASE if frame.has_base else 0]) + frame.pixels_crc.to_bytes(CRC_BYTES, "little")
    lengths = write_varint(len(frame.edges)) + write_varint(len(frame.stream))
    return head + lengths + frame.edges + frame.stream + frame.escapes


def unpack_residual(data: bytes) -> ResidualFrame:
    """Inverse of `pack_residual`.

    Raises
    ------
    Truncated : the section ends within its fields, its edges or its stream
    MalformedSection : reserved flags, or edges without a base layer
    """
    if len(data) <= 1 + CRC_BYTES:
        raise Truncated(f"RESIDUAL: found {len(data)} bytes, which end within its fields (R50)")
    flags, crc = data[0], int.from_bytes(data[1 : 1 + CRC_BYTES], "little")
    edges, start = read_varint(data, 1 + CRC_BYTES)
    stream, start = read_varint(data, start)
    if start + edges + stream > len(data):
        found = len(data) - start
        raise Truncated(f"RESIDUAL: {edges} and {stream} bytes stated, {found} are there (R50)")
    if flags & ~_FLAG_BASE or (edges and not flags):
        raise MalformedSection(f"RESIDUAL: flags {flags:#04x}, with {edges} bytes of edges (R51)")
    middle = start + edges
    parts = data[start:middle], data[middle : middle + stream], data[middle + stream :]
    return ResidualFrame(bool(flags), crc, *parts)
