"""Section PARTS: its bytes, where it may stand, and codestreams with other parts."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eocodec.codestream import (
    Header,
    Limits,
    Part,
    Section,
    SectionType,
    info,
    read,
    read_header,
    read_parts,
    validate,
    write,
    write_parts,
)
from eocodec.codestream.parts_section import pack_parts, unpack_parts
from eocodec.errors import (
    ChecksumMismatch,
    InputError,
    LimitExceeded,
    MalformedSection,
    TrailingBytes,
    Truncated,
)

PARTS = [Part(0x01020304, b"e", b"symbols", b""), Part(7, b"", b"", b""), Part(0xFFFFFFFF, b"", b"s", b"xy")]
HEADER = Header(bytes(range(8)), (3, 12, 30, 40), "uint16", 5000, PARTS[-1].crc, nodata=0)
MASK = Section(SectionType.MASK, b"mask")
EXTRA = Section(0x20, b"of a later version")
DATA = write(HEADER, [MASK, Section(SectionType.PARTS, pack_parts(PARTS)), EXTRA])


def test_golden_bytes():
    packed = bytes.fromhex("01 07 00 04030201") + b"esymbols" + bytes.fromhex("00 00 00 07000000")
    assert pack_parts(PARTS[:2]) == packed
    assert unpack_parts(packed) == PARTS[:2]


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), *[st.binary(max_size=200)] * 3), min_size=1))
def test_parts_survive(contents):
    parts = [Part(*fields) for fields in contents]
    assert unpack_parts(pack_parts(parts)) == parts


def test_parts_of_a_codestream():
    assert read_parts(DATA) == PARTS
    assert read_parts(write(dataclasses.replace(HEADER, symbols_crc=0), [MASK])) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_parts(count):
    shorter = write_parts(DATA, PARTS[:count])
    assert read_parts(shorter) == PARTS[:count]
    crc = PARTS[count - 1].crc if count else 0
    assert read_header(shorter) == dataclasses.replace(HEADER, symbols_crc=crc)
    sections = dict(read(shorter).sections)
    assert sections.pop(SectionType.PARTS, None) == (pack_parts(PARTS[:count]) or None)
    assert sections == {SectionType.MASK: b"mask"}
    assert read(shorter).skipped == (0x20,)
    assert shorter.endswith(EXTRA.data)
    assert write_parts(shorter, PARTS) == DATA


def test_other_parts_of_damaged_data():
    with pytest.raises(ChecksumMismatch):
        write_parts(DATA[:-1] + b"?", PARTS)
    with pytest.raises(TrailingBytes):
        write_parts(DATA + b"?", PARTS)


def test_a_residual_keeps_its_parts():
    header = dataclasses.replace(HEADER, max_error=3)
    parts, residual = Section(SectionType.PARTS, pack_parts(PARTS)), Section(SectionType.RESIDUAL, b"r")
    bounded = write(header, [parts, residual])
    assert read_parts(bounded) == PARTS
    with pytest.raises(InputError, match="error bound"):
        write_parts(bounded, PARTS[:2])


def test_info_and_validate_know_parts():
    assert validate(DATA).ok
    assert info(DATA)["parts"] == [15, 7, 10]
    assert info(DATA[:-1])["parts"] is None
    assert info(write(dataclasses.replace(HEADER, symbols_crc=0), [MASK]))["parts"] is None
    assert [entry["name"] for entry in info(DATA)["sections"]] == ["mask", "parts", "unknown-0x20"]
    header = dataclasses.replace(HEADER, symbols_crc=5)
    report = validate(write(header, [Section(SectionType.PARTS, pack_parts(PARTS))]))
    assert [line.split(":")[0] for line in report.errors] == ["ChecksumMismatch"]


@pytest.mark.parametrize("kinds", [{"EDGES"}, {"SYMBOLS"}, {"SYMBOLS", "ESCAPES"}])
def test_r67_what_parts_hold_does_not_stand_beside_them(kinds):
    sections = [Section(SectionType[kind], b"x") for kind in kinds]
    with pytest.raises(MalformedSection, match="R67"):
        write(HEADER, [*sections, Section(SectionType.PARTS, pack_parts(PARTS))])


def test_r68_truncated_section():
    whole = pack_parts(PARTS)
    ends = {sum(len(part.pack()) for part in PARTS[:count]) for count in (1, 2, 3)}
    for length in range(len(whole)):
        if length in ends:
            assert len(unpack_parts(whole[:length])) < 3
        else:
            with pytest.raises(Truncated):
                unpack_parts(whole[:length])
    with pytest.raises(Truncated, match="R68"):
        unpack_parts(whole[:-1])


def test_r69_limit_of_parts():
    assert len(unpack_parts(pack_parts(PARTS), Limits(max_parts=3))) == 3
    with pytest.raises(LimitExceeded, match="R69"):
        unpack_parts(pack_parts(PARTS), Limits(max_parts=2))
    with pytest.raises(LimitExceeded, match="R69"):
        read_parts(write(HEADER, [Section(SectionType.PARTS, bytes(7 << 15))]))


def test_r70_the_last_crc_is_that_of_the_header():
    data = write(HEADER, [Section(SectionType.PARTS, pack_parts(PARTS[:2]))])
    with pytest.raises(ChecksumMismatch, match="R70"):
        read_parts(data)


def test_a_length_that_is_not_shortest():
    with pytest.raises(MalformedSection):
        unpack_parts(b"\x80\x00\0\0" + bytes(4))
