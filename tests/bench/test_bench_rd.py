import json

import pytest
from bench_fakes import fake_decode, fake_encode
from click.testing import CliRunner

from eocodec.bench import rd
from eocodec.bench.base import LearnedCodec, RatePoint, measure
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.distortions import FIGURES, at_rates
from eocodec.bench.provenance import write_json
from eocodec.errors import InputError
from eocodec.metrics import sam, ssim


@pytest.fixture(scope="module")
def result(made_up_data):
    codec = LearnedCodec("fake", (0.0, 25.0, 50.0, 75.0, 100.0), fake_encode, fake_decode)
    lines = []
    found = rd.run_rd(rd.RdOptions(model="fake", data=made_up_data), codec, lines.append)
    assert len(lines) == 2
    return found


def test_summary_has_the_known_bd_rates(result):
    by_anchor = {entry["anchor"]: entry for entry in result["summary"]["bd_rate"]}
    assert by_anchor["j2k"]["mean_percent"] == pytest.approx(-50, abs=0.01)
    assert by_anchor["j2k"]["of_average_curve_percent"] == pytest.approx(-50, abs=0.01)
    assert by_anchor["x265"]["mean_percent"] == pytest.approx(100, abs=0.02)
    assert by_anchor["x265"]["worst_percent"] == pytest.approx(100, abs=0.02)
    ratios = result["summary"]["bits_ratio_at_psnr"]["j2k"]["40"]
    assert ratios == {"ratio": pytest.approx(2.0, abs=1e-3), "n_tiles": 2}


def test_points_are_tidy_and_bits_are_whole_streams(result, made_up_data):
    rows = [row for row in result["points"] if row["codec"] == "fake"]
    assert len(rows) == 10
    tile = rd.load_tile(rd.dev_tiles(made_up_data)[0])
    expected = 8 * len(fake_encode(tile, quality=50.0))
    assert [r["bits"] for r in rows if r["tile"] == "tile_1" and r["setting"] == 50.0] == [expected]


def test_files_and_plot(result, tmp_path):
    pytest.importorskip("matplotlib")
    paths = rd.save_rd(result, tmp_path / "out")
    assert [path.name for path in paths] == ["rd.json", "rd.png", "rd.svg"]
    stored = json.loads(paths[0].read_text())
    assert stored == json.loads(json.dumps(result))
    assert stored["meta"]["psnr_peak"] == 10_000
    assert {"date", "commit", "method", "versions"} <= set(stored["meta"])
    svg = paths[2].read_text()
    assert "JPEG 2000 per band" in svg
    assert stored["meta"]["date"] in svg


def test_tables_hold_the_figures(result):
    header, rows = rd.table_rows(result)
    assert header[1:] == ["vs j2k", "vs x265"]
    assert [row[0] for row in rows[-3:]] == ["mean of tiles", "of the average curve", "worst tile"]
    assert rows[-3][1] == "-50.0"
    header, rows = rd.curve_rows(result)
    assert len(header) == len(rows[0]) == len(rd.TABLE_PSNR) + 1
    at_40 = header.index("40 dB")
    assert [row[at_40] for row in rows[1:]] == ["2.000", "0.500"]


def test_every_metric_of_every_point_and_at_equal_rates(made_up_data):
    codec = LearnedCodec("fake", (10.0, 50.0, 100.0), fake_encode, fake_decode)
    found = rd.run_rd(rd.RdOptions(model="fake", data=made_up_data, every_metric=True), codec)
    rows = [row for row in found["points"] if row["codec"] == "fake"]
    image = rd.load_tile(rd.dev_tiles(made_up_data)[0])
    decoded = fake_decode(fake_encode(image, quality=50.0))
    row = next(row for row in rows if row["tile"] == "tile_1" and row["setting"] == 50.0)
    assert row["more"]["sam"] == pytest.approx(sam(image, decoded), abs=1e-5)
    assert row["more"]["ssim"] == pytest.approx(ssim(image, decoded), abs=1e-6)
    assert row["more"]["ndvi_error"] is not None
    assert len(row["more"]["bands"]) == 12
    assert all("more" not in row for row in found["points"] if row["codec"] == "j2k")  # recorded: PSNR alone
    header, lines = rd.rate_rows(found)
    assert all(len(line) == len(header) for line in lines)
    assert list(found["summary"]["at_rate"]) == ["fake"]
    json.dumps(found, allow_nan=False)


def test_figures_at_a_rate_lie_between_those_of_the_points():
    bands = [40.0, 41.0]
    low = {**dict.fromkeys(FIGURES, 1.0), "bands": bands, "bpppc": 0.1}
    high = {**dict.fromkeys(FIGURES, 3.0), "bands": bands, "bpppc": 0.4}
    short = [high, {**low, "bpppc": 0.3}]
    found = at_rates(
        {"x": {"a": [high, low], "b": short}, "y": {"a": [high, low], "b": [high, low]}}, (0.05, 0.2)
    )
    assert list(found["x"]) == list(found["y"]) == ["0.2"]
    assert found["x"]["0.2"]["ssim"] == pytest.approx(2.0)
    assert found["y"]["0.2"]["n_tiles"] == 1  # x does not reach the rate in b
    assert found["x"]["0.2"]["bands"] == [40.0, 41.0]


def test_a_codec_that_returns_another_shape_is_refused():
    codec = LearnedCodec("broken", (50.0,), fake_encode, lambda data: fake_decode(data)[:, 1:])
    with pytest.raises(InputError, match="expected"):
        measure(codec, demo_scene(32, 32), "scene", 50.0)


def test_summary_needs_points_of_ours():
    with pytest.raises(InputError, match="no point of ours"):
        rd.summarise([RatePoint("a", "other", 1, 100, 40.0)], "ours")


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a" / "x.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text()) == {"x": 1}


def test_command(made_up_data, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from eocodec.cli.bench import bench

    monkeypatch.setattr(
        rd, "LearnedCodec", lambda model, qualities: LearnedCodec(model, qualities, fake_encode, fake_decode)
    )
    words = ["rd", "--model", "fake", "--data", str(made_up_data), "--out", str(tmp_path)]
    done = CliRunner().invoke(bench, [*words, "--qualities", "10,40,90"])
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "rd.json").read_text())
    assert stored["meta"]["settings"] == [10.0, 40.0, 90.0]
    assert "worst tile" in done.output
    wrong = CliRunner().invoke(bench, [*words, "--qualities", "10;40"])
    assert wrong.exit_code == 2
    assert "not a list of numbers" in wrong.output
