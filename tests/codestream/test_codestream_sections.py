import dataclasses
import tracemalloc

import numpy as np
import pytest

from eocodec.codestream import (
    DEFAULT_LIMITS,
    Header,
    Limits,
    Section,
    SectionType,
    check_symbols,
    read,
    write,
)
from eocodec.codestream.header import pack_header
from eocodec.coding.crc import crc32c, symbols_crc
from eocodec.errors import (
    ChecksumMismatch,
    CodestreamError,
    LimitExceeded,
    MalformedSection,
    TrailingBytes,
    Truncated,
    UnknownSection,
)

SYMBOLS = np.array([[3, -1], [0, 70]])
HEADER = Header(bytes(range(8)), (1, 12, 300, 256), "uint16", 5025, symbols_crc(SYMBOLS), nodata=0)
SECTIONS = [
    Section(SectionType.MASK, b"\x01mask"),
    Section(SectionType.SYMBOLS, b"some symbols"),
    Section(SectionType.ESCAPES, b"\x0b\x02"),
    Section(SectionType.UNITS, b"units"),
    Section(SectionType.SATURATED, b"saturated"),
]
DATA = write(HEADER, SECTIONS)


def assemble(*sections: tuple[int, bytes]) -> bytes:
    """A codestream with these sections as they stand, where `write` would refuse or sort them."""
    payload = b"".join(content for _, content in sections)
    directory = [(kind, len(content)) for kind, content in sections]
    return pack_header(HEADER, crc32c(payload), directory) + payload


def test_sections_come_back():
    assert read(DATA).sections == {section.type: section.data for section in SECTIONS}
    assert read(DATA).skipped == ()
    assert assemble(*[(section.type, section.data) for section in SECTIONS]) == DATA


def test_writer_sorts():
    assert write(HEADER, SECTIONS[::-1]) == DATA


@pytest.mark.parametrize("kinds", [(0x88, 0x88), (0x81, 0x88, 0x88), (0x08, 0x88), (0x05, 0x05)])
def test_r13_no_id_twice(kinds):
    sections = [(kind, b"x") for kind in kinds]
    with pytest.raises(MalformedSection, match="R13"):
        read(assemble(*sections))
    with pytest.raises(MalformedSection, match="R13"):
        write(HEADER, [Section(*section) for section in sections])


@pytest.mark.parametrize("kinds", [(0x88, 0x81), (0x81, 0x89, 0x88), (0x88, 0x07)])
def test_r14_ascending_ids(kinds):
    with pytest.raises(MalformedSection, match="R14"):
        read(assemble(*[(kind, b"x") for kind in kinds]))


RESERVED = [
    SectionType.REFERENCES,
    SectionType.TABLES,
    SectionType.HYPER,
]


@pytest.mark.parametrize("kind", [0x80, 0x87, 0xFF, *RESERVED])
def test_r15_unknown_critical_section(kind):
    with pytest.raises(UnknownSection, match="R15"):
        read(write(HEADER, [Section(kind, b"x")]))


def test_r15_callers_say_what_they_can_decode():
    data = write(HEADER, [Section(SectionType.HYPER, b"x")])
    assert read(data, supported={SectionType.HYPER}).sections == {SectionType.HYPER: b"x"}
    with pytest.raises(UnknownSection):
        read(DATA, supported={SectionType.SYMBOLS})


def test_r16_unknown_ancillary_section_is_skipped():
    data = write(HEADER, [*SECTIONS, Section(0x05, b"later"), Section(0x7F, b"much later")])
    assert read(data).sections == read(DATA).sections
    assert read(data).skipped == (0x05, 0x7F)


def test_r17_escapes_need_symbols():
    with pytest.raises(MalformedSection, match="R17"):
        read(assemble((SectionType.MASK, b"x"), (SectionType.ESCAPES, b"x")))
    with pytest.raises(MalformedSection, match="R17"):
        write(HEADER, [Section(SectionType.ESCAPES, b"x")])


def test_r18_limits_of_sections():
    with pytest.raises(LimitExceeded, match="R18"):
        read(DATA, Limits(max_section_bytes=11))
    assert read(DATA, Limits(max_section_bytes=12)).header == HEADER
    with pytest.raises(LimitExceeded, match="R18"):
        read(DATA, Limits(max_sections=3))
    with pytest.raises(LimitExceeded, match="R18"):
        write(HEADER, SECTIONS, Limits(max_section_bytes=11))


def test_r18_huge_lengths_are_refused_before_allocation():
    data = pack_header(HEADER, 0, [(SectionType.SYMBOLS, 2**63)])
    tracemalloc.start()
    with pytest.raises(LimitExceeded, match="R18"):
        read(data)
    with pytest.raises(Truncated):  # the length passes the limit, and still nothing is made for it
        read(pack_header(HEADER, 0, [(SectionType.SYMBOLS, DEFAULT_LIMITS.max_section_bytes)]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_r19_truncated_at_every_length():
    for length in range(len(DATA)):
        with pytest.raises(Truncated):
            read(DATA[:length])


@pytest.mark.parametrize("extra", [b"\0", b"\n", DATA])
def test_r20_trailing_bytes(extra):
    with pytest.raises(TrailingBytes, match="R20"):
        read(DATA + extra)


def test_r21_payload_crc_covers_skipped_sections():
    data = write(HEADER, [Section(0x05, b"later")])
    with pytest.raises(ChecksumMismatch, match="R21"):
        read(data[:-1] + b"R")


def test_every_value_of_every_byte():
    """Any single byte changed to any other value is a named error."""
    for position in range(len(DATA)):
        damaged = bytearray(DATA)
        for value in set(range(256)) - {DATA[position]}:
            damaged[position] = value
            with pytest.raises(CodestreamError) as caught:
                read(bytes(damaged))
            assert type(caught.value) is not CodestreamError


def test_a_byte_lost_or_doubled_anywhere():
    for position in range(len(DATA)):
        for damaged in (DATA[:position] + DATA[position + 1 :], DATA[: position + 1] + DATA[position:]):
            with pytest.raises(CodestreamError):
                read(damaged)


def test_r30_crc_of_symbols():
    check_symbols(HEADER, SYMBOLS)
    check_symbols(HEADER, SYMBOLS.astype(np.int64).reshape(-1))
    check_symbols(dataclasses.replace(HEADER, symbols_crc=0), np.zeros((0, 5)))
    with pytest.raises(ChecksumMismatch, match="R30"):
        check_symbols(HEADER, SYMBOLS + np.array([[0, 0], [1, 0]]))


def test_r31_number_of_symbols():
    DEFAULT_LIMITS.check_symbols(DEFAULT_LIMITS.max_symbols)
    with pytest.raises(LimitExceeded, match="R31"):
        DEFAULT_LIMITS.check_symbols(DEFAULT_LIMITS.max_symbols + 1)


def with_right_crc(data: bytes) -> bytes:
    """A changed codestream whose header CRC fits again."""
    end = data[9] - 4
    return data[:end] + crc32c(data[:end]).to_bytes(4, "little") + data[end + 4 :]


def test_r34_a_mask_needs_nodata():
    without = dataclasses.replace(HEADER, nodata=None)
    with pytest.raises(MalformedSection, match="R34"):
        write(without, [Section(SectionType.MASK, b"\0")])
    stored = write(without, [Section(0x01, b"\0")]).replace(b"\1\1\1", b"\1\x81\1")
    with pytest.raises(MalformedSection, match="R34"):
        read(with_right_crc(stored))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_r35_saturated_pixels_need_a_wide_dtype(dtype):
    header = dataclasses.replace(HEADER, dtype=dtype)
    with pytest.raises(MalformedSection, match="R35"):
        write(header, [Section(SectionType.SATURATED, b"\0")])
    stored = write(header, [Section(0x0C, b"\0")]).replace(b"\1\x0c\1", b"\1\x8c\1")
    with pytest.raises(MalformedSection, match="R35"):
        read(with_right_crc(stored))


def test_section_types_are_bytes():
    for kind in (-1, 256):
        with pytest.raises(MalformedSection):
            write(HEADER, [Section(kind, b"")])
