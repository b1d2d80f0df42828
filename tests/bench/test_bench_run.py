"""A run is correct, goes on after a kill, and its summary has the figures it should."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from bench_fakes import fake_decode, fake_encode
from click.testing import CliRunner

from eocodec.bench import codecs, document, run, summary
from eocodec.bench.base import LearnedCodec, RatePoint
from eocodec.bench.codecs import Entry
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.evaluate import evaluate
from eocodec.bench.landcover import SpectralClasses
from eocodec.bench.mosaic import write_scene
from eocodec.bench.tiles import Cut, Tile
from eocodec.cli.bench import bench
from eocodec.errors import CodecError, InputError
from eocodec.sensors import S2_BAND_NAMES

QUALITIES = (0.0, 50.0, 100.0)
SIDE = 64


class Padded(LearnedCodec):
    """The fake codec with its bytes twice over: twice the bits, the same image."""

    def __init__(self):
        super().__init__("x265", QUALITIES, fake_encode, fake_decode)

    def encode(self, series, setting):
        return super().encode(series, setting) * 2

    def decode(self, data):
        return super().decode(data[: len(data) // 2])


class Failing(LearnedCodec):
    """A codec that cannot."""

    def __init__(self):
        super().__init__("failing", (1.0,), fake_encode, fake_decode)

    def encode(self, series, setting):
        raise CodecError("cannot\ncode this")


@pytest.fixture
def fakes(monkeypatch):
    found = (
        Entry("fake", "a fake", "ours", partial(LearnedCodec, "fake", QUALITIES, fake_encode, fake_decode)),
        Entry("x265", "twice the fake", "classical", Padded),
        Entry("failing", "always fails", "strong", Failing),
    )
    for module in (codecs, run):
        monkeypatch.setattr(module, "entries", lambda: found)
    for cached in (run._known, run._codec, run._tile, run._warm_up):
        cached.cache_clear()
    yield found
    for cached in (run._known, run._codec, run._tile, run._warm_up):
        cached.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    for seed in (1, 2):
        write_scene(folder / f"tile_{seed}.tif", demo_scene(SIDE, SIDE, seed, nodata=0))
    return folder


def options(folder, out, **changes):
    values = {"codecs": ("ours", "classical"), "cut": Cut(SIDE), "runs": 2, "workers": 1}
    return run.RunOptions(folder, out, **(values | changes))


def test_rows_are_measured_and_bits_are_whole(fakes, folder, tmp_path):
    rows = run.run_bench(options(folder, tmp_path))
    assert len(rows) == 2 * 2 * 3
    row = next(r for r in rows if r["tile"] == "tile_1" and r["codec"] == "fake" and r["setting"] == 50)
    image = demo_scene(SIDE, SIDE, 1, nodata=0)
    data = fake_encode(image, quality=50)
    assert row["bits"] == 8 * len(data)
    error = fake_decode(data).astype(float) - image
    assert row["psnr"] == pytest.approx(80 - 10 * np.log10(np.square(error).mean()), abs=1e-3)
    assert row["max_error"] == np.abs(error).max()
    assert len(row["bands"]["psnr"]) == 12
    assert 0.5 < row["class_agreement"] < 1
    assert row["timed_runs"] == [2, 2]
    assert row["encode_s"] > 0
    meta = run.read_meta(tmp_path)
    assert set(meta["tiles"]) == {"tile_1", "tile_2"}
    assert {"versions", "commit", "processor", "workers"} <= set(meta["sessions"][0])


def test_a_run_goes_on_after_a_kill(fakes, folder, tmp_path):
    whole = run.run_bench(options(folder, tmp_path))
    path = tmp_path / run.RESULTS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:7]) + lines[7][:40])  # killed while it wrote a row
    seen = []
    rows = run.run_bench(options(folder, tmp_path), lambda done, total, row: seen.append((done, total)))
    assert seen == [(n, 12) for n in range(8, 13)]
    plain = [{k: v for k, v in row.items() if k in ("tile", "codec", "setting", "bits")} for row in rows]
    assert all({k: row[k] for k in plain[0]} in plain for row in whole)
    assert len(run.read_rows(tmp_path)) == 12
    assert [row["session"] for row in rows] == [0] * 7 + [1] * 5
    assert run.run_bench(options(folder, tmp_path)) == run.read_rows(tmp_path)  # nothing left to do


def test_one_codec_is_measured_again_and_the_others_stay(fakes, folder, tmp_path):
    run.run_bench(options(folder, tmp_path))
    rows = run.run_bench(options(folder, tmp_path, codecs=("fake",), limit=1, again=True))
    sessions = {(row["tile"], row["codec"]): row["session"] for row in rows}
    assert len(rows) == len(run.read_rows(tmp_path)) == 12
    assert {pair for pair, session in sessions.items() if session == 1} == {("tile_1", "fake")}
    by_name = {e["name"]: e for e in summary.summarise(rows, run.read_meta(tmp_path))["codecs"]}
    assert by_name["fake"]["bd"]["x265"]["mean_percent"] == pytest.approx(-50, abs=0.01)


def test_failures_are_rows_that_are_tried_again(fakes, folder, tmp_path):
    for _ in range(2):
        rows = run.run_bench(options(folder, tmp_path, codecs=("failing",), limit=1))
        assert [row["error"] for row in rows] == ["CodecError: cannot code this"]
    result = summary.summarise(rows, run.read_meta(tmp_path))
    assert result["errors"] == [
        {"codec": "failing", "tile": "tile_1", "error": "CodecError: cannot code this"}
    ]


def test_results_of_other_pixels_are_not_mixed(fakes, folder, tmp_path):
    run.run_bench(options(folder, tmp_path, limit=1))
    with pytest.raises(InputError, match="choose another --out"):
        run.run_bench(options(folder, tmp_path, limit=1, cut=Cut(32)))
    with pytest.raises(InputError, match="no results"):
        run.read_meta(folder)


def test_summary_has_the_known_differences(fakes, folder, tmp_path):
    rows = run.run_bench(options(folder, tmp_path))
    result = summary.summarise(rows, run.read_meta(tmp_path))
    by_name = {entry["name"]: entry for entry in result["codecs"]}
    assert result["anchors"] == ["x265"]
    bd = by_name["fake"]["bd"]["x265"]
    assert bd["mean_percent"] == pytest.approx(-50, abs=0.01)
    assert bd["worst_percent"] == pytest.approx(-50, abs=0.01)
    assert bd["bd_psnr_db"] > 1
    assert bd["by_quality"]["ssim"]["percent"] == pytest.approx(-50, abs=0.1)
    assert bd["by_quality"]["sam"]["lost"] == 0
    ours, theirs = (by_name[name]["rate_at_psnr"] for name in ("fake", "x265"))
    assert ours.keys() == theirs.keys()
    assert ours
    assert all(theirs[psnr]["bpppc"] == pytest.approx(2 * ours[psnr]["bpppc"], rel=1e-3) for psnr in ours)
    header, table = summary.table_rows(result)
    assert table[0][header.index("vs x265")] == "-50.0"
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_free_bits_are_charged_in_a_curve_of_their_own():
    row = {"codec": "j2k", "bits": 1000, "free_bits": 200, "shape": [1, 10, 10]}
    free, paying = summary.measured([row])
    assert summary.rate(free) == 8
    assert summary.rate(paying) == 10
    assert summary.label_of(paying["codec"], {"j2k": "JPEG 2000"}) == "JPEG 2000, headers charged"


def made_up_tile():
    return Tile("made-up", demo_scene(64, 64, nodata=0), None, S2_BAND_NAMES)


def test_a_broken_bound_is_an_error():
    class Liar(LearnedCodec):
        kind = "bounded"

    tile = made_up_tile()
    with pytest.raises(InputError, match="promised 1 DN and is off by"):
        evaluate(Liar("liar", (1,), fake_encode, fake_decode), tile, 1, SpectralClasses(tile), 1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say what memory is used")
def test_memory_that_a_warm_up_left_counts_again():
    class Greedy(LearnedCodec):
        def encode(self, series, setting):
            small = [np.ones(4000) for _ in range(2000)]  # 64 MB in parts that the C library keeps
            return super().encode(series + np.int16(small[0].sum() * 0), setting)

    codec, tile = Greedy("greedy", (1,), fake_encode, fake_decode), made_up_tile()
    codec.encode(tile.data, 1)
    row = evaluate(codec, tile, 1, SpectralClasses(tile), 1)
    assert row["encode_peak_mb"] > 50


def test_a_wrong_dtype_is_an_error():
    codec = LearnedCodec("wide", (1,), fake_encode, lambda data: fake_decode(data).astype(np.int32))
    tile = made_up_tile()
    with pytest.raises(InputError, match="decoded int32"):
        evaluate(codec, tile, 1, SpectralClasses(tile), 1)


def test_classes_survive_no_change_and_suffer_from_noise():
    tile = made_up_tile()
    classes = SpectralClasses(tile)
    assert classes.agreement(tile.data) == 1
    noise = np.random.default_rng(0).normal(0, 1, tile.data.shape)
    little, much = (classes.agreement(tile.data + sigma * noise) for sigma in (20, 500))
    assert much < little < 1


def test_the_command_runs_real_codecs_in_processes(folder, tmp_path):
    pytest.importorskip("imagecodecs")
    words = ["run", str(folder), "--out", str(tmp_path), "--codecs", "j2k,jpegls", "--crop", "64"]
    done = CliRunner().invoke(bench, [*words, "--runs", "1", "--pictures", "1", "--limit", "1"])
    assert done.exit_code == 0, done.output
    assert "j2k+headers" in done.stdout
    rows = run.read_rows(tmp_path)
    assert {row["codec"] for row in rows} == {"j2k", "jpegls"}
    assert [row["max_error"] for row in rows if row["codec"] == "jpegls"] == [0]
    picture = json.loads((tmp_path / "pictures.json").read_text())["tiles"][0]
    assert picture["original"][0].startswith("data:image/webp;base64,")
    shots = [shot for budget in picture["budgets"] for shot in budget["codecs"]]
    assert all(abs(s["bytes"] / b["bytes"] - 1) < 0.05 for b in picture["budgets"] for s in b["codecs"])
    assert len(shots) == 2


def test_agreement_with_recorded_points_is_stated():
    shape = [12, 10, 10]
    rows = [
        {"tile": "a", "codec": c, "setting": 8, "bits": b, "free_bits": f, "psnr": 40.1, "shape": shape}
        for c, b, f in (("j2k", 1100, 100), ("av1", 8592, 0))
    ]
    recorded = [RatePoint("a", "j2k", 8.0, 1000, 40.0), RatePoint("a", "av1", 8.0, 10_000, 40.1)]
    found = summary.agreement(rows, recorded)
    assert found["j2k"] == {"points": 1, "bits_percent": [0, 0], "psnr_db": pytest.approx(0.1)}
    assert found["av1"]["bits_percent"] == [-14.08, -14.08]


def test_the_document_holds_the_figures(fakes, folder, tmp_path):
    rows = run.run_bench(options(folder, tmp_path))
    meta = run.read_meta(tmp_path)
    made = document.tables(summary.summarise(rows, meta), meta, ("fake",))
    assert tuple(made) == document.BENCHMARK_TABLES
    assert "| **a fake** | \N{MINUS SIGN}50.0 / \N{MINUS SIGN}50.0 |" in made["bench_bd"]
    assert "0 of 2 (\N{MINUS SIGN}50.0 %)" in made["bench_losses"]
    assert "2 tiles of" in made["bench_run"]
    assert "not beside the tiles" in made["bench_recorded"]
