"""Section MODEL: ids that can be looked up, and nothing else."""

import pytest

from eocodec.codestream import Header, Section, SectionType, read, validate, write
from eocodec.codestream.model_section import is_model_id, pack_model, unpack_model
from eocodec.errors import MalformedSection

IDS = ("tec-elic", "published/tec-fp@0.5", "a/b/c", "x" * 64, "mine_2+aa.b")
NO_IDS = (
    "",
    "/a",
    "a/",
    "a//b",
    "../x",
    "a/../b",
    ".hidden",
    "a/.b",
    "C:x",
    "Upper",
    "ä",
    "a b",
    "a\\b",
    "x" * 65,
)


@pytest.mark.parametrize("model", IDS)
def test_ids_come_back(model):
    assert is_model_id(model)
    assert unpack_model(pack_model(model)) == model


@pytest.mark.parametrize("model", NO_IDS)
def test_r63_what_is_no_id(model):
    assert not is_model_id(model)
    with pytest.raises(MalformedSection, match="R63"):
        pack_model(model)
    with pytest.raises(MalformedSection, match="R63"):
        unpack_model(model.encode())


@pytest.mark.parametrize("data", [b"a\0", b"\xff\xfe", b"a\n", b"tec\x80"])
def test_r63_bytes_that_are_no_text(data):
    with pytest.raises(MalformedSection, match="R63"):
        unpack_model(data)


def test_it_is_known_and_no_cause_for_warnings():
    header = Header(bytes(8), (1, 12, 16, 16), "uint16", 5000)
    data = write(header, [Section(SectionType.SYMBOLS, b"\1"), Section(SectionType.MODEL, pack_model("a"))])
    assert read(data).sections[SectionType.MODEL] == b"a"
    assert read(data).skipped == ()
    assert validate(data).warnings == ()
