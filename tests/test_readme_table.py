"""Figures get into the documents from the results, and nowhere else."""

import copy
import dataclasses
import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import pytest

from eocodec.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
TILES = ("ssl4eos12_val_0193833_0", "clear")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("readme_table", ROOT / "tools" / "readme_table.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tool):
    entry = {
        "anchor": "x265",
        "range_db": [36.0, 46.0],
        "mean_percent": -3.21,
        "worst_percent": 12.5,
        "worst_tile": "clear",
    }
    points = [
        {"tile": tile, "codec": "tec-fp", "setting": q, "bits": int(scale * bits), "psnr": psnr}
        for tile, scale in zip(TILES, (4, 1), strict=True)
        for q, bits, psnr in ((0, 500, 35.0), (50, 1000, 40.0), (100, 2000, 45.0))
    ]
    rd = {
        "meta": {"model": "tec-fp", "tiles": list(TILES), "samples_per_tile": 1000},
        "summary": {
            "bd_rate": [{**entry, "anchor": "j2k", "mean_percent": -71.0}, entry],
            "average_curves": {"tec-fp": [{"psnr": 36.0, "bpppc": 0.0512}, {"psnr": 40.0, "bpppc": 0.1249}]},
        },
        "points": points,
    }
    speeds = {"encode_mpixel_per_s": 1.5, "decode_mpixel_per_s": 3.25}
    speed = {
        "meta": {"rows": 2048, "cols": 1024, "threads": 2, "processor": "a processor"},
        "warm_process": {"eocodec": speeds, "openjpeg": {**speeds, "encode_mpixel_per_s": 0.5}},
    }
    exactness = {
        "meta": {"streams": 6},
        "settings": [
            {"same_symbols": 6, "errors": {}, "max_difference": 0.0},
            {"same_symbols": 5, "errors": {"a": "ChecksumMismatch"}, "max_difference": 1.0},
        ],
    }
    card = {"bands": ["B01"] * 12, "parameters": 1_234_567, "bytes": 3_210_000}
    return [tool.Results("tec-fp", card, rd, speed, exactness)]


def test_the_table_holds_card_rates_and_speeds(tool, results):
    header, _, row = tool.models_table(results).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(header.split("|")) == len(row.split("|"))
    assert cells[1:] == ["12", "1.23 M", "3.2 MB", "0.051 / 0.125 / -", "1.50 / 3.25", "Apache-2.0"]


def test_the_speed_of_a_model_of_series_is_that_of_its_dates(tool, results):
    speeds = {"encode_mpixel_per_s": 0.25, "decode_mpixel_per_s": 0.5}
    cost = {"rows": [], "speed": {**speeds, "timesteps": 4, "rows": 256, "cols": 128}}
    by_dates = dataclasses.replace(results[0], speed=None, cost=cost)
    assert "| 0.25 / 0.50 (4 dates, 256 x 128) |" in tool.models_table([by_dates])
    before = dataclasses.replace(by_dates, cost={"rows": []})  # of a run without the speed
    assert tool.MISSING in tool.models_table([before])


def test_sentences_hold_the_figures(tool, results):
    text = tool.figures(results)
    assert "\N{MINUS SIGN}71.0 % against JPEG 2000 per band" in text
    assert "\N{MINUS SIGN}3.2 % against x265" in text
    assert "worst tile against x265: +12.5 % (clear)" in text
    assert "encode 1.50 (OpenJPEG 0.50) and decode 3.25 (OpenJPEG 3.25)" in text
    assert "2048 x 1024 pixels, 2 threads of a processor" in text


def test_clouded_tiles_are_told_from_clear_ones(tool, results):
    text = tool.cloud_cost(results)
    assert "the 1 clouded development tiles take 4.00 to 4.00 bits" in text
    assert "the clear ones 1.00 to 1.00" in text


def test_a_window_has_a_row_for_each_file(tool):
    read = {
        "window": "inside",
        "open_requests": 1,
        "open_bytes": 65_536,
        "read_requests": 4,
        "read_bytes": 1e6,
    }
    found = {
        "bytes": {"tec": 600_000, "tif": 9e6},
        "reads": [{"file": "tec", **read}, {"file": "cog", **read}],
    }
    rows = tool.window_table([tool.Results("tec-fp", None, None, None, None, found)]).splitlines()
    assert rows[2] == "| `.tec`, 0.6 MB | inside | 1 request, 66 kB | 4 requests, 1,000 kB |"
    assert rows[3].startswith("| COG, 9.0 MB |")


def test_a_setting_that_decodes_otherwise_is_not_counted(tool, results):
    assert "under 1 of them, pixels at most 1 DN apart" in tool.exactness_figures(results)


def test_what_was_not_measured_is_said_so(tool):
    nothing = [tool.Results("tec-fp", None, None, None, None)]
    makers = (tool.models_table, tool.figures, tool.cloud_cost, tool.window_table)
    for text in (make(nothing) for make in makers):
        assert tool.MISSING in text


def test_filling_replaces_blocks_and_inline_text_and_nothing_else(tool):
    text = "a <!-- x:begin -->old<!-- x:end --> b\n<!-- y:begin -->\nold\n\nolder\n<!-- y:end -->\nc\n"
    text = tool.fill(tool.fill(text, "x", "(1)"), "y", "new")
    assert text == "a <!-- x:begin -->(1)<!-- x:end --> b\n<!-- y:begin -->\nnew\n<!-- y:end -->\nc\n"
    with pytest.raises(InputError):
        tool.fill(text, "z", "")


def test_series_have_a_row_for_each_opponent(tool):
    entry = {"mean_percent": -7.9, "worst_percent": 0.04}
    series = {
        "meta": {"model": "tec-tt"},
        "summary": {
            "seasonal": [{"anchor": "tec-elic", **entry}, {"anchor": "x265-by-band", **entry}],
            "dense": [{"anchor": "x265-by-band", **entry, "mean_percent": None}],
        },
    }
    header, _, *rows = tool.series_table(series).splitlines()
    assert header == "| `tec-tt` against | four seasons of a place | clear dates some days apart |"
    assert rows[0] == "| `tec-elic` | \N{MINUS SIGN}7.9 / +0.0 | - |"
    assert rows[1] == "| x265, bands as frames, band by band | \N{MINUS SIGN}7.9 / +0.0 | - |"


def test_lossless_rates_stand_beside_those_of_jpeg_xl(tool):
    rates = {"tec-elic": 3.0, "jxl-lossless": 4.0, "sz3": 8.0}
    rows = [{"tile": "a", "codec": name, "max_error": 0, "bpppc": rate} for name, rate in rates.items()]
    rows.append({"tile": "b", "codec": "tec-elic", "max_error": 5, "bpppc": 1.0})
    table = tool.lossless_table({"meta": {"model": "tec-elic"}, "rows": rows}).splitlines()
    assert table[2:] == ["| `a` | 3.000 | 4.000 | \N{MINUS SIGN}25.0 % |"]


def made_up_inpaint():
    """Ours best under all clouds but in the spectral angle, for which it is worst."""
    from eocodec.bench.inpaint import AREAS, BINS, HALF, METHODS

    figures = {"psnr": 30.0, "ssim": 0.9, "sam": 5.0, "mae": 100.0}
    best = {"psnr": 40.0, "ssim": 0.95, "sam": 6.0, "mae": 50.0}
    shares = [*pairwise(BINS), (BINS[0], HALF), (BINS[0], BINS[-1])]
    summary = [
        {"from": low, "to": high, "cases": 8, "method": name, "beaten": 7, "seconds": 0.7}
        | dict.fromkeys(AREAS, best if name == "eocodec" else figures)
        for low, high in shares
        for name in METHODS
    ]
    return {"meta": {"cases": 40, "commit": "abc"}, "summary": summary}


def test_cloud_filling_has_a_table_and_sentences(tool):
    result = made_up_inpaint()
    made = tool.inpaint_tables(result, result)
    assert tuple(made) == tool.INPAINT_TABLES
    rows = made["inpaint_under"].splitlines()
    assert len(rows) == 2 + 5 * 4
    assert rows[2] == "| 5-20 % | PSNR, dB | **40.00** | 30.00 | 30.00 | 30.00 | 30.00 |"
    assert rows[4] == "|  | SAM, degrees | 6.00 | **5.00** | **5.00** | **5.00** | **5.00** |"
    assert "40.00 dB, SSIM 0.9500; the best other way has 30.00 dB" in made["inpaint_whole"]
    assert "7 / 7 / 7 / 7 of 8 cases" in made["inpaint_whole"]
    assert "takes 0.7 s of one core" in made["inpaint_others"]
    assert "40 cases, commit abc" in made["inpaint_run"]


def test_check_notices_a_stale_document(tool, results, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "experiments" / "tec-fp"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("no figures here\n")
    (tmp_path / "README.md").write_text("<!-- models:begin -->\n<!-- models:end -->\n")
    (folder / "speed.json").write_text(json.dumps(results[0].speed))
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "documents", lambda make=tool.documents: make(tmp_path))
    assert tool.main(["--check"]) == 1
    assert "README.md: out of date" in capsys.readouterr().out
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
    changed = copy.deepcopy(results[0].speed)
    changed["warm_process"]["eocodec"]["encode_mpixel_per_s"] = 9.99
    (folder / "speed.json").write_text(json.dumps(changed))
    assert tool.main(["--check"]) == 1


def test_the_documents_are_up_to_date(tool):
    stale = [str(p.relative_to(ROOT)) for p, text in tool.documents().items() if p.read_text() != text]
    assert not stale, "run `make readme`"
