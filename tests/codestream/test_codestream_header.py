import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.codestream import (
    DEFAULT_LIMITS,
    DTYPE_CODES,
    Header,
    Limits,
    Section,
    SectionType,
    parse_layout,
    read,
    read_header,
    write,
)
from eocodec.codestream.header import FIELDS, MAGIC, VERSION
from eocodec.coding.crc import crc32c
from eocodec.coding.varint import write_varint
from eocodec.errors import (
    BadMagic,
    ChecksumMismatch,
    CodestreamError,
    LimitExceeded,
    MalformedHeader,
    Truncated,
    UnsupportedVersion,
)

FINGERPRINT = bytes(range(8))
HEADER = Header(FINGERPRINT, (1, 12, 256, 256), "uint16", 5000, symbols_crc=0x12345678)


def seal(fields: bytes, length=None) -> bytes:
    """A codestream without sections from the bytes of its fields, with whatever is wrong with them."""
    total = len(MAGIC) + 2 + len(fields) + 4 if length is None else length
    start = MAGIC + bytes([VERSION]) + write_varint(total) + fields
    return start + crc32c(start).to_bytes(4, "little")


def fields(flags=0, shape=(1, 2, 3, 4), dtype=3, quality=5000, nodata=b"", end=b"\0" * 8 + b"\0") -> bytes:
    sizes = b"".join(write_varint(size) for size in shape)
    return (
        FINGERPRINT + bytes([flags]) + sizes + bytes([dtype]) + quality.to_bytes(2, "little") + nodata + end
    )


def test_golden_header():
    data = write(HEADER, [Section(SectionType.SYMBOLS, b"abc")])
    assert data == bytes.fromhex(
        "8f5445430d0a1a0a 01 2b 0001020304050607 00 01 0c 8002 8002 03 8813 78563412 b73f4b36"
        "01 8803 81236a00 616263"
    )


def test_overhead_of_a_plain_tile():
    sections = [Section(SectionType.SYMBOLS, bytes(1900)), Section(SectionType.ESCAPES, bytes(200))]
    assert len(write(HEADER, sections)) - 2100 == 47


def test_the_helper_makes_a_sound_header():
    header = read_header(seal(fields()))
    assert header == Header(FINGERPRINT, (1, 2, 3, 4), "uint16", 5000)
    assert write(header, []) == seal(fields())


def test_field_names_are_those_of_the_dataclass_and_directory():
    names = {field.name for field in FIELDS} - {"flags", "timesteps", "bands", "rows", "cols"}
    names -= {"payload_crc", "directory"}
    assert names == {field.name for field in dataclasses.fields(Header)} - {"shape", "axes"}


@pytest.mark.parametrize(
    "data", [b"GIF89a..", b"\x8fTEC\n\x1a\n", b"x", MAGIC.replace(b"\r\n", b"\n") + bytes(9)]
)
def test_r01_magic(data):
    with pytest.raises(BadMagic, match="R1"):
        read(data)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_r02_version(version):
    with pytest.raises(UnsupportedVersion, match="R2"):
        read(MAGIC + bytes([version]) + b"anything")


def test_r03_header_length_has_a_limit():
    with pytest.raises(LimitExceeded, match="R3"):
        read(MAGIC + bytes([VERSION]) + write_varint(4097))
    assert read_header(write(HEADER, []), Limits(max_header_bytes=64)) == HEADER
    with pytest.raises(LimitExceeded, match="R3"):
        read_header(write(HEADER, []), Limits(max_header_bytes=32))


def test_r04_data_end_within_the_header():
    data = write(HEADER, [])
    for length in range(len(data)):
        with pytest.raises(Truncated):
            read_header(data[:length])
    assert read_header(data) == HEADER


def test_r05_header_crc():
    data = bytearray(write(HEADER, []))
    data[12] ^= 1
    with pytest.raises(ChecksumMismatch, match="R5"):
        read_header(bytes(data))


@pytest.mark.parametrize("change", [b"\0", b"\0\0\0\0\0"])
def test_r06_bytes_after_the_last_field(change):
    with pytest.raises(MalformedHeader, match="R6"):
        read(seal(fields() + change))


def test_r06_fields_reach_beyond_the_header():
    whole = fields(end=bytes(8) + b"\1\x88\x05")
    for length in range(len(whole)):
        with pytest.raises(MalformedHeader, match="R6"):
            read(seal(whole[:length]))


@pytest.mark.parametrize("length", [0, 9, 13])
def test_r06_header_length_too_short_for_itself(length):
    with pytest.raises(MalformedHeader, match="R6"):
        read(seal(fields(), length=length))


def test_r27_header_varints_are_shortest():
    padded = fields().replace(b"\1\2\3\4", b"\x81\0\2\3\4")
    with pytest.raises(MalformedHeader, match="shortest"):
        read(seal(padded))
    with pytest.raises(MalformedHeader, match="shortest"):
        read(MAGIC + bytes([VERSION]) + b"\xaf\x80\0" + bytes(64))


@pytest.mark.parametrize("flags", [0x08, 0x80, 0xF8])
def test_r07_reserved_flags(flags):
    with pytest.raises(MalformedHeader, match="R7"):
        read(seal(fields(flags=flags)))


@pytest.mark.parametrize("axis", range(4))
def test_r08_shape_at_least_one(axis):
    shape = tuple(0 if axis == position else 5 for position in range(4))
    with pytest.raises(MalformedHeader, match="R8"):
        read(seal(fields(shape=shape)))
    with pytest.raises(MalformedHeader, match="R8"):
        write(dataclasses.replace(HEADER, shape=shape), [])


@pytest.mark.parametrize(("dtype", "flags"), [(0, 0), (9, 0), (255, 0), (0, 1), (9, 1)])
def test_r09_dtype(dtype, flags):
    with pytest.raises(MalformedHeader, match="R9"):
        read(seal(fields(dtype=dtype, flags=flags)))


def test_r09_dtype_of_the_writer():
    with pytest.raises(MalformedHeader, match="R9"):
        write(dataclasses.replace(HEADER, dtype="int64"), [])


@pytest.mark.parametrize("quality", [10_001, 65_535])
def test_r10_quality(quality):
    with pytest.raises(MalformedHeader, match="R10"):
        read(seal(fields(quality=quality)))
    with pytest.raises(MalformedHeader, match="R10"):
        write(dataclasses.replace(HEADER, quality_steps=quality), [])


@pytest.mark.parametrize("nodata", ["0100c07f", "0000c0ff", "0000a07f"])
def test_r11_only_one_nan(nodata):
    assert math.isnan(read_header(seal(fields(flags=1, dtype=7, nodata=bytes.fromhex("0000c07f")))).nodata)
    with pytest.raises(MalformedHeader, match="R11"):
        read(seal(fields(flags=1, dtype=7, nodata=bytes.fromhex(nodata))))


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 256),
        ("uint16", -1),
        ("int16", 1.5),
        ("int32", math.nan),
        ("uint32", math.inf),
        ("float32", 0.1),
        ("float32", 1e300),
        ("float64", 10**400),
    ],
)
def test_r11_nodata_is_exact(dtype, nodata):
    with pytest.raises(MalformedHeader, match="R11"):
        write(dataclasses.replace(HEADER, dtype=dtype, nodata=nodata), [])


@pytest.mark.parametrize(
    ("dtype", "nodata", "stored"),
    [
        ("uint8", 255, "ff"),
        ("int8", -1, "ff"),
        ("uint16", np.uint16(65535), "ffff"),
        ("int16", -9999, "f1d8"),
        ("uint32", 2**32 - 1, "ffffffff"),
        ("int32", -(2**31), "00000080"),
        ("float32", math.nan, "0000c07f"),
        ("float32", -0.0, "00000080"),
        ("float32", np.float32(0.1).item(), "cdcccc3d"),
        ("float32", -math.inf, "000080ff"),
        ("float64", math.nan, "000000000000f87f"),
        ("float64", 0.1, "9a9999999999b93f"),
    ],
)
def test_nodata_comes_back_bit_for_bit(dtype, nodata, stored):
    data = write(dataclasses.replace(HEADER, dtype=dtype, nodata=nodata), [])
    start = len(MAGIC) + 2 + 8 + 1 + 6 + 1 + 2
    assert data[start : start + len(stored) // 2].hex() == stored
    back = read_header(data).nodata
    assert np.array(back, dtype).tobytes() == np.array(nodata, dtype).tobytes()


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 2**13, 2**13 + 1), (1, 1025, 1, 1), (1025, 1, 1, 1), (1, 12, 2**13, 2**13), (1, 1, 1, 2**60)],
)
def test_r12_huge_shapes_are_refused_from_the_header_alone(shape):
    with pytest.raises(LimitExceeded, match="R12"):
        read(seal(fields(shape=shape)))
    with pytest.raises(LimitExceeded, match="R12"):
        write(dataclasses.replace(HEADER, shape=shape), [])


def test_r12_limits_can_be_changed():
    shape = (1, 12, 8192, 8192)
    limits = dataclasses.replace(DEFAULT_LIMITS, max_values=2**31)
    assert read_header(seal(fields(shape=shape)), limits).shape == shape


def test_r41_three_axes_are_one_timestep():
    assert read_header(seal(fields(flags=2))).axes == 3
    assert read_header(seal(fields(shape=(2, 2, 3, 4)))).axes == 4
    with pytest.raises(MalformedHeader, match="R41"):
        read(seal(fields(flags=2, shape=(2, 2, 3, 4))))
    for axes, timesteps in ((3, 2), (2, 1), (5, 1)):
        with pytest.raises(MalformedHeader, match="R41"):
            Header(FINGERPRINT, (timesteps, 12, 8, 8), "uint16", 0, axes=axes)


def test_values_that_no_field_holds():
    for change in ({"fingerprint": b"short"}, {"symbols_crc": 2**32}, {"quality_steps": -1}):
        with pytest.raises(MalformedHeader):
            write(dataclasses.replace(HEADER, **change), [])
    with pytest.raises(MalformedHeader, match="shape"):
        Header(FINGERPRINT, (12, 256, 256), "uint16", 5000)


def test_quality_in_the_units_of_the_user():
    assert HEADER.quality == 50.0


@st.composite
def headers(draw):
    name = draw(st.sampled_from(sorted(DTYPE_CODES)))
    dtype = np.dtype(name)
    if dtype.kind == "f":
        value = st.floats(width=8 * dtype.itemsize, allow_nan=False)
    else:
        value = st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)
    size = st.integers(1, 600)
    timesteps = draw(st.integers(1, 9))
    return Header(
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        shape=(timesteps, draw(st.integers(1, 150)), draw(size), draw(size)),
        dtype=name,
        quality_steps=draw(st.integers(0, 10_000)),
        symbols_crc=draw(st.integers(0, 2**32 - 1)),
        nodata=draw(st.none() | value),
        axes=draw(st.sampled_from([3, 4])) if timesteps == 1 else 4,
    )


@settings(deadline=None)
@given(headers(), st.binary(max_size=300), st.binary(max_size=20), st.binary(max_size=20))
def test_round_trip(header, symbols, escapes, mask):
    contents = {SectionType.SYMBOLS: symbols, SectionType.ESCAPES: escapes}
    if header.nodata is not None:
        contents = {SectionType.MASK: mask, **contents}
    data = write(header, [Section(kind, content) for kind, content in contents.items()])
    codestream = read(data)
    assert codestream.header == header
    assert codestream.sections == contents
    assert parse_layout(data).total_bytes == len(data)
    assert write(codestream.header, [Section(k, v) for k, v in codestream.sections.items()]) == data


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_fields_under_a_right_crc(body):
    """Noise that passes the checksum still ends in a named error (or, rarely, in a header)."""
    try:
        read(seal(body))
    except CodestreamError as error:
        assert type(error) is not CodestreamError


def test_header_length_of_two_bytes():
    limits = dataclasses.replace(DEFAULT_LIMITS, max_sections=127)
    sections = [Section(kind, b"") for kind in range(1, 100)]
    data = write(HEADER, sections, limits)
    assert len(read(data, limits).skipped) == 99
    assert data[9] >= 0x80
