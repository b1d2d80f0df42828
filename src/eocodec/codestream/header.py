"""Header of a codestream: one declarative list of fields drives both writing and reading.

`magic, version, header_length, FIELDS ..., header_crc`. The CRC stands at a place that `header_length` alone
gives, so it is checked before any other field is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.sections import SectionEntry, check_bound, check_context, check_order
from eocodec.coding.crc import CRC_BYTES, crc32c
from eocodec.coding.varint import read_varint, write_varint
from eocodec.errors import BadMagic, ChecksumMismatch, MalformedHeader, Truncated, UnsupportedVersion

MAGIC = b"\x8fTEC\r\n\x1a\n"  # as in PNG: a byte that is not ASCII, both line endings, end-of-file of old DOS
VERSION = 1
FINGERPRINT_BYTES = 8
QUALITY_STEPS = 100  # per unit of quality
MAX_QUALITY = 100 * QUALITY_STEPS
FLAG_NODATA = 0x01
FLAG_THREE_AXES = 0x02
FLAG_BOUNDED = 0x04
MAX_ERROR = 1 << 24  # no larger than the values themselves may be
DTYPES: Mapping[int, str] = {
    1: "uint8",
    2: "int8",
    3: "uint16",
    4: "int16",
    5: "uint32",
    6: "int32",
    7: "float32",
    8: "float64",
}
DTYPE_CODES: Mapping[str, int] = {name: code for code, name in DTYPES.items()}


@dataclass(frozen=True)
class Header:
    """What a decoder must know of one tile before it reads a section.

    Parameters
    ----------
    fingerprint : the first 8 bytes of the SHA-256 of the model's weights file
    shape : (T, C, H, W) of the tile, each >= 1
    dtype : of the original array: 'uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64'
    quality_steps : quality in steps of 1/100, 0 .. 10 000 (an integer, so that no float decides a symbol)
    symbols_crc : `coding.symbols_crc` of all symbols that the sections decode to; 0 if there are none
    nodata : value of pixels outside the valid mask, exact in `dtype`; None if the array has none
    axes : of the original array: 4, or 3 for one timestep given as [C, H, W]
    max_error : every valid pixel is that near to the original, in units of the array; None if not promised
    """

    fingerprint: bytes
    shape: tuple[int, int, int, int]
    dtype: str
    quality_steps: int
    symbols_crc: int = 0
    nodata: int | float | None = None
    axes: int = 4
    max_error: int | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 4:
            raise MalformedHeader(f"shape: found {self.shape}, expected (T, C, H, W)")
        if self.axes not in (3, 4) or (self.axes == 3 and self.shape[0] != 1):
            raise MalformedHeader(f"axes: found {self.axes} for shape {self.shape} (R41)")

    @property
    def quality(self) -> float:
        """Quality on the user's scale, 0 .. 100."""
        return self.quality_steps / QUALITY_STEPS


@dataclass(frozen=True)
class Layout:
    """A parsed header and where everything lies. Nothing after the header has been looked at."""

    header: Header
    payload_crc: int
    header_bytes: int
    entries: tuple[SectionEntry, ...]

    @property
    def total_bytes(self) -> int:
        """Length of the whole codestream as the header states it."""
        return self.header_bytes + sum(entry.length for entry in self.entries)


class _Cursor:
    """Position in the body of the header. To run over its end is a malformed header, not a truncated file."""

    def __init__(self, body: bytes, offset: int) -> None:
        self.body = body
        self.offset = offset

    def take(self, count: int, name: str) -> bytes:
        if self.offset + count > len(self.body):
            raise MalformedHeader(f"{name} at byte {self.offset}: the header ends within it (R6)")
        self.offset += count
        return self.body[self.offset - count : self.offset]

    def varint(self, name: str) -> int:
        try:
            value, self.offset = read_varint(self.body, self.offset, MalformedHeader)
        except Truncated as error:
            raise MalformedHeader(f"{name} at byte {self.offset}: the header ends within it (R6)") from error
        return value


@dataclass(frozen=True)
class Field:
    """One header field: its name and the two directions. Both see the values of the fields before it."""

    name: str
    pack: Callable[[Mapping[str, Any]], bytes]
    unpack: Callable[[_Cursor, Mapping[str, Any]], Any]


def _raw(name: str, size: int) -> Field:
    def pack(values: Mapping[str, Any]) -> bytes:
        value = values[name]
        if not isinstance(value, bytes) or len(value) != size:
            raise MalformedHeader(f"{name}: expected {size} bytes, found {value!r}")
        return value

    return Field(name, pack, lambda cursor, _: cursor.take(size, name))


def _uint(name: str, size: int) -> Field:
    def pack(values: Mapping[str, Any]) -> bytes:
        value = int(values[name])
        if not 0 <= value < 1 << (8 * size):
            raise MalformedHeader(f"{name}: found {value}, expected an unsigned {8 * size}-bit integer")
        return value.to_bytes(size, "little")

    return Field(name, pack, lambda cursor, _: int.from_bytes(cursor.take(size, name), "little"))


def _varint(name: str) -> Field:
    return Field(name, lambda values: write_varint(int(values[name])), lambda cursor, _: cursor.varint(name))


def _pack_nodata(values: Mapping[str, Any]) -> bytes:
    return nodata_bytes(values["nodata"], values["dtype"]) if values["flags"] & FLAG_NODATA else b""


def _unpack_nodata(cursor: _Cursor, values: Mapping[str, Any]) -> int | float | None:
    if not values["flags"] & FLAG_NODATA:
        return None
    dtype = np.dtype(_dtype_name(values["dtype"])).newbyteorder("<")
    start = cursor.offset
    stored = cursor.take(dtype.itemsize, "nodata")
    value: int | float = np.frombuffer(stored, dtype=dtype)[0].item()
    if nodata_bytes(value, values["dtype"]) != stored:
        raise MalformedHeader(f"nodata at byte {start}: found {stored.hex()}, expected the quiet NaN (R11)")
    return value


def _pack_max_error(values: Mapping[str, Any]) -> bytes:
    return write_varint(values["max_error"]) if values["flags"] & FLAG_BOUNDED else b""


def _unpack_max_error(cursor: _Cursor, values: Mapping[str, Any]) -> int | None:
    return cursor.varint("max_error") if values["flags"] & FLAG_BOUNDED else None


def _pack_directory(values: Mapping[str, Any]) -> bytes:
    sections: list[tuple[int, int]] = values["directory"]
    if len(sections) > 255:
        raise MalformedHeader(f"section_count: found {len(sections)}, expected at most 255")
    return bytes([len(sections)]) + b"".join(bytes([kind]) + write_varint(size) for kind, size in sections)


def _unpack_directory(cursor: _Cursor, _: Mapping[str, Any]) -> list[tuple[int, int]]:
    count = cursor.take(1, "section_count")[0]
    return [(cursor.take(1, "section_type")[0], cursor.varint("section_length")) for _ in range(count)]


FIELDS: tuple[Field, ...] = (
    _raw("fingerprint", FINGERPRINT_BYTES),
    _uint("flags", 1),
    _varint("timesteps"),
    _varint("bands"),
    _varint("rows"),
    _varint("cols"),
    _uint("dtype", 1),
    _uint("quality_steps", 2),
    Field("nodata", _pack_nodata, _unpack_nodata),
    Field("max_error", _pack_max_error, _unpack_max_error),
    _uint("symbols_crc", 4),
    _uint("payload_crc", 4),
    Field("directory", _pack_directory, _unpack_directory),
)


def nodata_bytes(value: int | float, dtype_code: int) -> bytes:
    """Little-endian bytes of a nodata value; raises `MalformedHeader` where the dtype cannot hold it."""
    dtype = np.dtype(_dtype_name(dtype_code)).newbyteorder("<")
    if value != value and dtype.kind == "f":
        return b"\0\0\xc0\x7f" if dtype.itemsize == 4 else b"\0\0\0\0\0\0\xf8\x7f"
    if not _fits(value, dtype):
        raise MalformedHeader(f"nodata: found {value!r}, which {dtype.name} cannot hold exactly (R11)")
    return np.array(value, dtype=dtype).tobytes()


def pack_header(header: Header, payload_crc: int, directory: list[tuple[int, int]]) -> bytes:
    """Header bytes, CRC included; `directory` holds (type, length) of the sections in order.

    Raises
    ------
    MalformedHeader : a value that the specification forbids
    """
    values: dict[str, Any] = dict(zip(("timesteps", "bands", "rows", "cols"), header.shape, strict=True))
    values |= {"fingerprint": header.fingerprint, "flags": _flags(header)}
    values |= {"dtype": _dtype_code(header.dtype), "quality_steps": header.quality_steps}
    values |= {"nodata": header.nodata, "symbols_crc": header.symbols_crc, "payload_crc": payload_crc}
    values |= {"max_error": header.max_error, "directory": directory}
    _check_values(values)
    _check_context(values)
    body = b"".join(field.pack(values) for field in FIELDS)
    fixed = len(MAGIC) + 1 + len(body) + CRC_BYTES
    length = next(fixed + size for size in range(1, 4) if len(write_varint(fixed + size)) == size)
    start = MAGIC + bytes([VERSION]) + write_varint(length) + body
    return start + crc32c(start).to_bytes(CRC_BYTES, "little")


def _flags(header: Header) -> int:
    nodata = 0 if header.nodata is None else FLAG_NODATA
    bounded = 0 if header.max_error is None else FLAG_BOUNDED
    return nodata | bounded | (FLAG_THREE_AXES if header.axes == 3 else 0)


def parse_layout(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Layout:
    """Parse and check everything up to the end of the header (R1 - R14, R17, R18, R34, R35).

    Parameters
    ----------
    data : a codestream, or its first bytes as long as they hold the whole header

    Raises
    ------
    BadMagic, UnsupportedVersion, Truncated, ChecksumMismatch, MalformedHeader, MalformedSection,
    LimitExceeded : what is wrong with it
    """
    length, offset = _parse_start(data, limits)
    body = data[: length - CRC_BYTES]
    stored = int.from_bytes(data[length - CRC_BYTES : length], "little")
    if crc32c(body) != stored:
        raise ChecksumMismatch(f"header_crc: found {stored:08x}, expected {crc32c(body):08x} (R5)")
    cursor = _Cursor(body, offset)
    values: dict[str, Any] = {}
    for field in FIELDS:
        values[field.name] = field.unpack(cursor, values)
    if cursor.offset != len(body):
        raise MalformedHeader(f"header: {len(body) - cursor.offset} bytes after the last field (R6)")
    _check_values(values)
    return _make_layout(values, length, limits)


def _make_layout(values: Mapping[str, Any], length: int, limits: Limits) -> Layout:
    shape = (values["timesteps"], values["bands"], values["rows"], values["cols"])
    limits.check_shape(shape)
    limits.check_sections([size for _, size in values["directory"]])
    check_order([kind for kind, _ in values["directory"]])
    _check_context(values)
    entries = []
    offset = length
    for kind, size in values["directory"]:
        entries.append(SectionEntry(kind, offset, size))
        offset += size
    header = Header(
        fingerprint=values["fingerprint"],
        shape=shape,
        dtype=_dtype_name(values["dtype"]),
        quality_steps=values["quality_steps"],
        symbols_crc=values["symbols_crc"],
        nodata=values["nodata"],
        axes=3 if values["flags"] & FLAG_THREE_AXES else 4,
        max_error=values["max_error"],
    )
    return Layout(header, values["payload_crc"], length, tuple(entries))


def _parse_start(data: bytes, limits: Limits) -> tuple[int, int]:
    """(header_length, offset of the first field) after the checks R1 - R4."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise BadMagic(f"magic: found {data[: len(MAGIC)].hex(' ')}, expected {MAGIC.hex(' ')} (R1)")
    if len(data) <= len(MAGIC):
        raise Truncated(f"found {len(data)} bytes, expected a whole header (R4)")
    if data[len(MAGIC)] != VERSION:
        found = data[len(MAGIC)]
        hint = "experimental: encode the original anew" if found < VERSION else "update eocodec"
        raise UnsupportedVersion(f"version: found {found}, this reader knows {VERSION} (R2); {hint}")
    length, offset = read_varint(data, len(MAGIC) + 1, MalformedHeader)
    limits.check_header_length(length)
    if length < offset + CRC_BYTES:
        raise MalformedHeader(f"header_length: found {length}, too short for its own fields (R6)")
    if len(data) < length:
        raise Truncated(f"found {len(data)} bytes, expected a header of {length} (R4)")
    return length, offset


def _check_values(values: Mapping[str, Any]) -> None:
    if values["flags"] & ~(FLAG_NODATA | FLAG_THREE_AXES | FLAG_BOUNDED):
        raise MalformedHeader(f"flags: found {values['flags']:#04x}, reserved bits must be zero (R7)")
    for name in ("timesteps", "bands", "rows", "cols"):
        if values[name] < 1:
            raise MalformedHeader(f"{name}: found {values[name]}, expected >= 1 (R8)")
    _dtype_name(values["dtype"])
    if not 0 <= values["quality_steps"] <= MAX_QUALITY:
        raise MalformedHeader(
            f"quality_steps: found {values['quality_steps']}, expected <= {MAX_QUALITY} (R10)"
        )
    if values["max_error"] is not None and not 0 <= values["max_error"] <= MAX_ERROR:
        raise MalformedHeader(f"max_error: found {values['max_error']}, expected <= {MAX_ERROR} (R47)")


def _check_context(values: Mapping[str, Any]) -> None:
    kinds = [kind for kind, _ in values["directory"]]
    dtype = np.dtype(_dtype_name(values["dtype"]))
    holds_saturated = np.can_cast(np.uint16, dtype)
    check_context(kinds, nodata=values["nodata"] is not None, holds_saturated=holds_saturated)
    check_bound(kinds, bounded=values["max_error"] is not None, integers=dtype.kind != "f")


def _dtype_name(code: int) -> str:
    if code not in DTYPES:
        raise MalformedHeader(f"dtype: found code {code}, expected one of {sorted(DTYPES)} (R9)")
    return DTYPES[code]


def _dtype_code(name: str) -> int:
    if name not in DTYPE_CODES:
        raise MalformedHeader(f"dtype: found {name!r}, expected one of {sorted(DTYPE_CODES)} (R9)")
    return DTYPE_CODES[name]


def _fits(value: int | float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        try:
            with np.errstate(over="ignore"):
                return bool(float(np.array(value, dtype=dtype)) == value)
        except OverflowError:  # an integer beyond every float
            return False
    limits = np.iinfo(dtype)
    return value == value and limits.min <= value <= limits.max and int(value) == value
