"""Where RESIDUAL may stand, what its frame holds, and the bound in the header."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eocodec.codestream import Header, Section, SectionType, info, read, validate, write
from eocodec.codestream.header import MAX_ERROR
from eocodec.codestream.residual_section import ResidualFrame, pack_residual, unpack_residual
from eocodec.errors import MalformedHeader, MalformedSection, Truncated

HEADER = Header(bytes(range(8)), (1, 12, 30, 40), "uint16", 0, max_error=300)
FRAME = ResidualFrame(True, 0x01020304, b"ab", b"stream", b"esc")
SECTION = Section(SectionType.RESIDUAL, pack_residual(FRAME))


def test_golden_bytes():
    assert pack_residual(FRAME) == bytes.fromhex("01 04030201 02 06") + b"abstreamesc"
    with_repeats = dataclasses.replace(FRAME, repeats=b"rep")
    assert pack_residual(with_repeats) == bytes.fromhex("03 04030201 02 06 03") + b"abstreamrepesc"
    data = write(HEADER, [SECTION])
    assert data[18] == 0x04  # flags
    assert data[26:28] == b"\xac\x02"  # max_error after quality_steps


BYTES = st.binary(max_size=200)


@given(st.booleans(), st.integers(0, 2**32 - 1), BYTES, BYTES, BYTES, BYTES)
def test_frames_survive(has_base, crc, edges, stream, escapes, repeats):
    frame = ResidualFrame(has_base, crc, edges if has_base else b"", stream, escapes, repeats)
    assert unpack_residual(pack_residual(frame)) == frame


def test_info_and_validate_know_the_bound():
    data = write(HEADER, [SECTION])
    assert info(data)["max_error"] == 300
    assert validate(data).ok
    assert read(data).header == dataclasses.replace(HEADER)
    plain = write(dataclasses.replace(HEADER, max_error=None), [])
    assert info(plain)["max_error"] is None


def test_r47_largest_bound():
    assert (
        read(write(dataclasses.replace(HEADER, max_error=MAX_ERROR), [SECTION])).header.max_error == 1 << 24
    )
    for wrong in (MAX_ERROR + 1, -1):
        with pytest.raises(MalformedHeader, match="R47"):
            write(dataclasses.replace(HEADER, max_error=wrong), [SECTION])


def test_r48_bound_and_section_stand_together():
    with pytest.raises(MalformedSection, match="R48"):
        write(HEADER, [])
    with pytest.raises(MalformedSection, match="R48"):
        write(dataclasses.replace(HEADER, max_error=None), [SECTION])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_r49_no_floats(dtype):
    with pytest.raises(MalformedSection, match="R49"):
        write(dataclasses.replace(HEADER, dtype=dtype), [SECTION])


def test_r50_truncated_section():
    whole = pack_residual(dataclasses.replace(FRAME, escapes=b"", repeats=b"rep"))
    for length in range(len(whole)):
        with pytest.raises(Truncated):
            unpack_residual(whole[:length])


def test_r51_flags():
    packed = pack_residual(dataclasses.replace(FRAME, edges=b""))
    for flags in (0x04, 0x80, 0xFF):
        with pytest.raises(MalformedSection, match="R51"):
            unpack_residual(bytes([flags]) + packed[1:])
    with pytest.raises(MalformedSection, match="R51"):
        unpack_residual(b"\0" + pack_residual(FRAME)[1:])
    repeats = pack_residual(dataclasses.replace(FRAME, repeats=b"r", escapes=b""))
    with pytest.raises(MalformedSection, match="R51"):
        unpack_residual(repeats[:7] + b"\0" + repeats[8:-1])
