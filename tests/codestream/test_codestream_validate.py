import json
import math
import subprocess
import sys

import pytest

from eocodec.codestream import Header, Section, SectionType, info, validate, write
from eocodec.errors import Truncated

HEADER = Header(bytes(range(8)), (2, 12, 64, 32), "int16", 7550, symbols_crc=1, nodata=-9999)
SECTIONS = [Section(SectionType.MASK, b"mask"), Section(SectionType.SYMBOLS, b"symbols")]
DATA = write(HEADER, SECTIONS)


def test_sound():
    report = validate(DATA)
    assert report.ok
    assert report.errors == report.warnings == ()


def test_warnings_do_not_make_it_unsound():
    report = validate(write(HEADER, [*SECTIONS, Section(0x20, b""), Section(SectionType.ESCAPES, b"")]))
    assert report.ok
    assert len(report.warnings) == 2
    assert "R16" in report.warnings[1]


def test_header_errors_come_alone():
    report = validate(b"GIF89a" + DATA)
    assert not report.ok
    assert [line.split(":")[0] for line in report.errors] == ["BadMagic"]


def test_errors_after_the_header_are_all_listed():
    data = write(HEADER, [*SECTIONS, Section(SectionType.HYPER, b"r")])
    report = validate(data[:-3] + b"xyz" + b"tail")
    names = [line.split(":")[0] for line in report.errors]
    assert names == ["UnknownSection", "TrailingBytes", "ChecksumMismatch"]


def test_never_raises_for_damaged_bytes():
    for position in range(len(DATA)):
        assert not validate(DATA[:position]).ok
        assert not validate(DATA[:position] + bytes([DATA[position] ^ 0x41]) + DATA[position + 1 :]).ok


def test_info_is_json():
    found = json.loads(json.dumps(info(DATA), allow_nan=False))
    assert found["fingerprint"] == "0001020304050607"
    assert found["shape"] == {"timesteps": 2, "bands": 12, "rows": 64, "cols": 32}
    assert (found["dtype"], found["nodata"], found["quality"]) == ("int16", -9999, 75.5)
    assert found["version"] == 1
    assert found["bytes"] == len(DATA)
    assert found["bpppc"] == pytest.approx(8 * len(DATA) / (2 * 12 * 64 * 32))
    for entry, section in zip(found["sections"], SECTIONS, strict=True):
        assert DATA[entry["offset"] : entry["offset"] + entry["bytes"]] == section.data
    assert [entry["name"] for entry in found["sections"]] == ["mask", "symbols"]


def test_info_needs_the_header_only():
    header_bytes = info(DATA)["header_bytes"]
    assert info(DATA[:header_bytes]) == info(DATA)
    with pytest.raises(Truncated):
        info(DATA[: header_bytes - 1])


@pytest.mark.parametrize(
    ("nodata", "shown"), [(math.nan, "nan"), (-math.inf, "-inf"), (0.5, 0.5), (None, None)]
)
def test_info_of_nodata(nodata, shown):
    header = Header(bytes(8), (1, 1, 1, 1), "float32", 0, nodata=nodata)
    assert info(write(header, []))["nodata"] == shown


def test_unknown_sections_have_a_name():
    sections = info(write(HEADER, [Section(0xC3, b"x")]))["sections"]
    assert sections[0]["name"] == "unknown-0xc3"
    assert sections[0]["critical"]


def test_no_torch_is_imported():
    code = "import sys, eocodec.codestream, eocodec.coding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
