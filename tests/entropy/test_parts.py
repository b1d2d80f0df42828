"""Parts as a coder writes and reads them: one checksum through all, nothing left over."""

import dataclasses

import numpy as np
import pytest

from eocodec.codestream import Codestream, Header, SectionType
from eocodec.coding.crc import symbols_crc
from eocodec.coding.tables import from_pmfs
from eocodec.entropy.coder import decode_all, extend_all
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.errors import (
    ChecksumMismatch,
    InputError,
    MalformedSection,
    TrailingBytes,
    Truncated,
)
from temporal_support import some_series, some_temporal

TABLES = from_pmfs([np.array([0.2, 0.5, 0.2, 0.1])], [-1])
ROWS = np.zeros(30, np.int64)
SYMBOLS = np.random.default_rng(0).integers(-4, 5, (3, 30))
VALUES = np.array([0.2, 1.5 + 1e-9, 7.0])  # the second one is at an edge


def written(writer=None, groups=SYMBOLS):
    """Parts of one group of symbols and three values each."""
    writer = writer or PartWriter()
    for group in groups:
        with writer.part() as part:
            part.symbols.encode(group, ROWS, TABLES)
            part.crc.add(group)
            part.crc.add(part.edges.resolve(VALUES))
    return writer.parts


def read_part(reader):
    with reader.part() as part:
        group = part.symbols.decode(ROWS, TABLES)
        part.crc.add(group)
        part.crc.add(part.edges.resolve(VALUES))
    return group


def test_there_and_back():
    parts = written()
    reader = PartReader(parts)
    assert np.array_equal([read_part(reader) for _ in range(reader.left)], SYMBOLS)
    reader.finish()
    assert all(part.edges and part.escapes for part in parts)
    covered = np.concatenate([[*group, 0, 2, 7] for group in SYMBOLS])
    assert parts[-1].crc == symbols_crc(covered)


def test_more_parts_go_on_from_those_there():
    assert written(PartWriter(written(groups=SYMBOLS[:1])), SYMBOLS[1:]) == written()


def test_a_part_that_fails_is_not_kept():
    writer = PartWriter()
    with pytest.raises(InputError), writer.part() as part:
        part.edges.resolve(np.array([np.nan]))
    assert writer.parts == []


def test_r71_the_crc_of_each_part():
    parts = written()
    for number in range(3):
        damaged = [dataclasses.replace(p, crc=p.crc ^ (i == number)) for i, p in enumerate(parts)]
        reader = PartReader(damaged)
        for _ in range(number):
            read_part(reader)
        with pytest.raises(ChecksumMismatch, match="R71"):
            read_part(reader)


def test_parts_in_another_order():
    reader = PartReader(written()[::-1])
    with pytest.raises(ChecksumMismatch):
        read_part(reader)


@pytest.mark.parametrize(("field", "error"), [("edges", MalformedSection), ("escapes", TrailingBytes)])
def test_nothing_is_left_in_a_part(field, error):
    first = written()[0]
    reader = PartReader([dataclasses.replace(first, **{field: getattr(first, field) + b"\2"})])
    with pytest.raises(error):
        read_part(reader)


def test_r73_as_many_parts_as_the_model_asks_for():
    reader = PartReader(written())
    read_part(reader)
    with pytest.raises(TrailingBytes, match="R73"):
        reader.finish()
    for _ in range(2):
        read_part(reader)
    reader.finish()
    with pytest.raises(Truncated, match="R73"):
        read_part(reader)


def stream_of(*kinds):
    header = Header(bytes(8), (1, 5, 16, 16), "uint16", 5000)
    return Codestream(header, dict.fromkeys(kinds, b"x"))


@pytest.mark.parametrize("kind", [SectionType.EDGES, SectionType.SYMBOLS])
def test_r72_a_model_of_parts_finds_nothing_else(kind):
    with pytest.raises(MalformedSection, match="R72"):
        next(decode_all(some_temporal(), stream_of(kind), 1, 1))


def test_r72_other_models_find_no_parts():
    with pytest.raises(MalformedSection, match="R72"):
        next(decode_all(some_temporal().first, stream_of(SectionType.PARTS), 1, 1))


def test_other_models_cannot_go_on():
    ys = some_series(1, 1, 1)
    with pytest.raises(InputError, match="encode them anew"):
        extend_all(some_temporal().first, stream_of(), 1, 1, ys, 1.0)
