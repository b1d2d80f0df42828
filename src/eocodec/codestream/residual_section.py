"""Section RESIDUAL: the frame around the residual's streams."""

from __future__ import annotations

from dataclasses import dataclass

from eocodec.coding.crc import CRC_BYTES
from eocodec.coding.varint import read_varint, write_varint
from eocodec.errors import MalformedSection, Truncated

_FLAG_BASE, _FLAG_REPEATS = 0x01, 0x02


@dataclass(frozen=True)
class ResidualFrame:
    """What RESIDUAL holds.

    has_base : pixels are predicted from the image that the other sections decode to, too
    pixels_crc : CRC32C of the reconstructed values, [T, C, H, W] int32
    edges : values of that image which are too near the edge of a cell, as in EDGES
    stream, escapes : range coder stream and its escapes
    repeats : which pixels repeat their neighbours, see `residual.repeats`; empty: nothing is known of that
    """

    has_base: bool
    pixels_crc: int
    edges: bytes
    stream: bytes
    escapes: bytes
    repeats: bytes = b""


def pack_residual(frame: ResidualFrame) -> bytes:
    """Content of the section."""
    flags = _FLAG_BASE * frame.has_base | _FLAG_REPEATS * bool(frame.repeats)
    head = bytes([flags]) + frame.pixels_crc.to_bytes(CRC_BYTES, "little")
    parts = [frame.edges, frame.stream, *([frame.repeats] if frame.repeats else [])]
    return b"".join([head, *(write_varint(len(part)) for part in parts), *parts, frame.escapes])


def unpack_residual(data: bytes) -> ResidualFrame:
    """Inverse of `pack_residual`.

    Raises
    ------
    Truncated : the section ends within its fields, its edges, its stream or its repeats
    MalformedSection : reserved flags, edges without a base layer, or repeats of no bytes
    """
    if len(data) <= 1 + CRC_BYTES:
        raise Truncated(f"RESIDUAL: found {len(data)} bytes, which end within its fields (R50)")
    flags, crc = data[0], int.from_bytes(data[1 : 1 + CRC_BYTES], "little")
    if flags & ~(_FLAG_BASE | _FLAG_REPEATS):
        raise MalformedSection(f"RESIDUAL: flags {flags:#04x} (R51)")
    lengths, start = [], 1 + CRC_BYTES
    for _ in range(3 if flags & _FLAG_REPEATS else 2):
        length, start = read_varint(data, start)
        lengths.append(length)
    if start + sum(lengths) > len(data):
        raise Truncated(f"RESIDUAL: {sum(lengths)} bytes stated, {len(data) - start} are there (R50)")
    if (lengths[0] and not flags & _FLAG_BASE) or not all(lengths[2:]):
        raise MalformedSection(f"RESIDUAL: flags {flags:#04x}, with {lengths[0]} bytes of edges (R51)")
    parts = []
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    edges, stream, *repeats = parts
    return ResidualFrame(bool(flags & _FLAG_BASE), crc, edges, stream, data[start:], *repeats)
