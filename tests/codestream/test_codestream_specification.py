"""The specification, the code and the tests name the same rules, and the worked example is real."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from eocodec import errors
from eocodec.codestream import (
    DEFAULT_LIMITS,
    MAX_QUALITY,
    SUPPORTED,
    Header,
    Section,
    SectionType,
    check_symbols,
    read,
    write,
)
from eocodec.codestream.header import DTYPES, FIELDS
from eocodec.coding import CdfTables, decode_channels, encode_channels, geometric, symbols_crc
from eocodec.entropy import (
    axes_tables,
    context,
    context_features,
    context_prior,
    exact,
    layered_frame,
    layers,
    nested_coder,
    prior,
    refined,
    spectrum,
    temporal_coder,
    tile_spectrum,
)
from eocodec.entropy.axes import GRID
from eocodec.entropy.family import LOG2_SMALLEST, SCALES, SCALES_PER_OCTAVE, SHAPES
from eocodec.nn.spectral import RING_EDGES, RINGS
from eocodec.residual import model as residual_model
from eocodec.residual import scan, side
from eocodec.residual import symbols as residual_symbols

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "codestream.md").read_text(encoding="utf-8")
RULES = [int(number) for number in re.findall(r"^- \*\*R(\d+)\*\*", TEXT, flags=re.MULTILINE)]
TESTS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
CODE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))


def test_rules_are_numbered_without_holes():
    assert sorted(RULES) == list(range(1, len(RULES) + 1))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_test_and_a_place_in_the_code(rule):
    assert f"def test_r{rule:02d}_" in TESTS
    assert re.search(rf"\bR{rule}\b", CODE)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_names_an_error_that_exists(rule):
    bullet = re.search(
        rf"^- \*\*R{rule}\*\*.*?(?=\n\n|\n- \*\*|\n#)", TEXT, flags=re.MULTILINE | re.DOTALL
    ).group()
    names = re.findall(r"`([A-Z][A-Za-z]+)`", bullet)
    assert rule == 16 or any(hasattr(errors, name) for name in names)
    assert re.search(r"\bMUST\b", bullet)


def section_of(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_table_of_fields_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \|", section_of("Header fields"), flags=re.MULTILINE)
    assert rows == [field.name for field in FIELDS]


def test_dtype_codes():
    line = section_of("Header fields").split("`dtype`: ")[1].split(" (IEEE")[0]
    assert {int(code): name for code, name in re.findall(r"(\d) (\w+)", line)} == DTYPES


def test_section_types():
    rows = re.findall(r"^\| (0x\w\w) \| (\w+) \| (reserved)?", section_of("Sections"), flags=re.MULTILINE)
    assert {int(code, 16): name for code, name, _ in rows} == {kind.value: kind.name for kind in SectionType}
    assert {int(code, 16) for code, _, reserved in rows if not reserved} == set(SUPPORTED)


def test_numbers_of_the_factorized_prior():
    text = " ".join(section_of("Factorized prior").split())
    radii = ", ".join(f"{edge:g}" for edge in RING_EDGES).rsplit(", ", 1)
    for stated in (
        f"in {RINGS} *rings*",
        f"among {radii[0]} and {radii[1]} that",
        f"| `count_tables` | {RINGS} tables",
        f"| `entry_scale` | `[{RINGS}, E]` |",
        f"table `{SCALES} * {axes_tables.ENTRY_SHAPE} + entry_scale[r][e]`",
        f"within +-{GRID}.",
        f"entries divided by {GRID}",
        f"| `family` | {len(SHAPES) * SCALES} tables; number = {SCALES} * shape + scale, "
        f"shapes 0 to {len(SHAPES) - 1}, scales 0 to {SCALES - 1} |",
        f"| `delta_tables` | {prior.CONTEXTS} tables |",
        f"| `shape_tables` | {len(SHAPES)} tables |",
        f"min(max(at(default_scale) + s, 0), {SCALES - 1})",
        f"table `d[c] // {prior.CONTEXT_WIDTH}` of `delta_tables`",
        f"{prior.DEAD} says that the channel is *dead*",
        f"table `{SCALES} * {prior.OFFSET_SHAPE} + at(offset_scale)[c]`",
        f"table `{SCALES} * shape[c] + scale[c]` of `family`",
        f"within +-{prior.MAX_SHIFT}.",
        f"MUST be from 0 to {SCALES - 1}.",
        f"MUST be from 0 to {len(SHAPES) - 1}.",
    ):
        assert stated in text
    assert MAX_QUALITY == 10_000


def test_numbers_of_the_context_prior():
    text = " ".join(section_of("Context prior").split())
    radii = ", ".join(f"{edge:g}" for edge in RING_EDGES).rsplit(", ", 1)
    bands, delta_tables, wide = spectrum.BANDS, 2 * tile_spectrum.CONTEXTS, tile_spectrum.CONTEXT_WIDTH
    for stated in (
        "N being {}, {} or {}:".format(*spectrum.SIZES),
        f"a *band* b from 0 to {bands - 1}, the integer nearest to "
        f"`{spectrum.BANDS_PER_OCTAVE} * (log2(radius) + {-spectrum.LOG2_LOWEST})`",
        f"is taken as `{spectrum.MEAN_FREQUENCY * spectrum.CELL:g} / N` here",
        f"among {radii[0]} and {radii[1]} that",
        f"| `delta_tables` | {delta_tables} tables |",
        f"| `default_scale` | `[L, {bands}, C]` |",
        f"| `net.0.weight`, `net.0.bias` | `[K, {context.FEATURES}]`",
        f"| `shift` | `[{len(SHAPES) * SCALES}, {context_prior.MAX_SHIFTED}]`, binary32 |",
        f"*Spectrum*: {bands} groups",
        f"table `{tile_spectrum.CONTEXTS} * live[c] + e[c] // {wide}` of `delta_tables`",
        f"+ carry[c], 0), {SCALES - 1})`",
        f"symbol {tile_spectrum.DEAD} says that the band is *dead*",
        f"for the steps 0, 1, ..., C + {bands - 2},",
        f"the table `{SCALES} * shape + scale` of `family`",
        f"the {bands} C scales s",
        f"not dead MUST be from 0 to {SCALES - 1}.",
        f"2^(s[b][c] / {SCALES_PER_OCTAVE} - {-LOG2_SMALLEST:g})`",
        f"There are {context_features.PAIRS} pairs.",
        f"`s[b][c] + {context.SCALE_UNIT:g} * p`, whose cell, clipped to 0 to {SCALES - 1}, is the scale",
        f"`{context.SHAPE_UNIT:g} * q`, whose cell, clipped to 0 to {len(SHAPES) - 1}, is the shape",
        f"min(|k|, {context_prior.MAX_SHIFTED}) - 1]",
    ):
        assert stated in text
    pairs, others = text.split("| pair | sum |")[1].split("| feature | value | feature | value |")
    assert [int(k) for k in re.findall(r"\| (\d+) \| [SA]", pairs)] == list(range(context_features.PAIRS))
    stated = sorted(int(k) for k in re.findall(r"\| (\d\d) \| ", others.split("###")[0]))
    assert stated == list(range(2 * context_features.PAIRS, context.FEATURES))


def test_numbers_of_edges():
    text = " ".join(section_of("Sections").split("### EDGES")[1].split())
    assert f"`epsilon = {exact.EPSILON:g}`".replace("e-0", "e-") in text
    assert f"`noise = epsilon / {exact.EPSILON / exact.NOISE:g}`" in text
    assert exact.MAX_MAGNITUDE == 2**31 - 1
    assert "exceeds 2^31 - 1." in text


def test_numbers_of_the_residual():
    text = " ".join(section_of("Sections").split("### RESIDUAL")[1].split())
    for stated in (
        f"There are {len(geometric.SHAPES) * geometric.SCALES} tables;",
        f"table `{geometric.SCALES} * shape + scale` belongs",
        f"at scales* s from 0 to {residual_symbols.MAX_SCALE} with a shape",
        f"multiples of {scan.START}.",
        f"`min(n, {residual_model.MAX_REFERENCES})` *references*",
        f"shift from 0 to {side.MAX_SHIFT}, scale from 0 to {residual_symbols.MAX_SCALE},",
        f"shape from 0 to {side.SILENT}, slope from 0 to {residual_model.MAX_SLOPE}",
        f"offset within +-{side.MAX_OFFSET}, a gain from 0 to {residual_model.MAX_GAIN}.",
        f"the largest number l up to {residual_model.LEVELS - 1} with",
    ):
        assert stated in text
    assert "a weight within +-2^20" in text
    assert side.MAX_WEIGHT == 1 << 20
    for kind in "RCD":
        listed = re.search(rf" - {kind}: ((?:[-(),; 0-9]+))", text).group(1)
        pairs = re.findall(r"\((-?\d), (-?\d)\)", listed)
        assert tuple((int(row), int(col)) for row, col in pairs) == scan.NEIGHBOURS[kind]


def test_limits():
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (\d+) \|", section_of("Limits"), flags=re.MULTILINE)
    assert {name: int(value) for name, value in rows} == dataclasses.asdict(DEFAULT_LIMITS)


def test_worked_example():
    block = section_of("Worked example").split("```")[3]
    stated = bytes.fromhex(
        "".join(line.split("    ")[0].split("  ")[0] for line in block.strip().splitlines())
    )
    tables = CdfTables(
        np.array([0, 8192, 57344, 65535, 65536, 0, 65000, 65536], dtype=np.uint32),
        np.array([0, 5, 8]),
        np.array([-1, 0], dtype=np.int32),
    )
    symbols, index = np.array([[0, 0, 1, -1], [0, 0, 0, 0], [7, 0, 0, -3]]), np.array([0, 1, 0])
    stream, escapes = encode_channels(symbols, index, tables)
    header = Header(bytes(range(8)), (1, 12, 300, 256), "uint16", 5025, symbols_crc(symbols), nodata=0)
    sections = [Section(SectionType.SYMBOLS, stream), Section(SectionType.ESCAPES, escapes)]
    assert write(header, sections) == stated

    codestream = read(stated)
    contents = codestream.sections[SectionType.SYMBOLS], codestream.sections[SectionType.ESCAPES]
    decoded = decode_channels(*contents, index, 4, tables)
    check_symbols(codestream.header, decoded)
    assert np.array_equal(decoded, symbols)


def test_numbers_of_the_layered_prior():
    assert layered_frame.TOKENS == 16
    assert f"The step is {2**nested_coder.FINEST} times that of the header's quality" in TEXT
    assert f"`log2_step` of the arrays being {nested_coder.FINEST} higher" in TEXT
    assert f"snapped to `g = step / {temporal_coder.GRID << nested_coder.FINEST}`" in TEXT
    assert f"magnitude of layer 0 MUST be at most 2^{nested_coder.MAX_COARSE.bit_length() - 1}." in TEXT
    for number, cuts in enumerate(layered_frame.CUTS):
        assert f"| {number + 1} | {', '.join(map(str, cuts))} |" in TEXT
    assert f"with table `{layers.ROWS} min(m, {layers.PARENTS - 1}) + t` of `children`" in TEXT
    assert f"has the scale of there plus {SCALES_PER_OCTAVE}, at most {SCALES - 1}." in TEXT
    assert layers.PARENT_FEATURES == 6
    assert "The network sees six features after the 38." in TEXT


def test_numbers_of_layers_that_refer_to_others():
    bins = [", ".join(map(str, b[:-1])) + f" and {b[-1]}" for b in (layers.DRIFT_BINS, layers.HELD_BINS)]
    assert f"how many of {bins[0]} do not exceed |q|" in TEXT
    assert f"how many of {bins[1]} do not exceed `q * sign(p) - {2 * layers.DRIFT_CELLS} |p|`" in TEXT
    assert f"`{layers.DRIFT_CELLS} * v`, with v clipped to +-2^{int(np.log2(layers.MAX_DRIFT))}" in TEXT
    first, held = layers.PARENTS + layers.ZERO_DRIFTING, len(layers.HELD_BINS) + 1
    assert f"its table is `{layers.ROWS} * ({layers.PARENTS - 1} + i) + t` of `children`" in TEXT
    assert f"Its table is `{layers.ROWS} * ({first} + {held} * (n - 1) + i) + t` of `children`" in TEXT
    assert f"settled[{layers.ROWS} * ({layers.ZERO_DRIFTING} + {held} * (n - 1) + i) + t][r + 2])" in TEXT
    assert context_features.FEATURES + layers.PARENT_FEATURES == 44
    assert refined.REFINED_FEATURES == 12
