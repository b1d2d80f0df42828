"""The benchmark of what series cost: the imagery, the figures of a call, the table."""

import numpy as np
import pytest
from click.testing import CliRunner

from eocodec.bench import series_cost
from eocodec.bench.series_cost import CostOptions, long_series, run_cost, table_rows
from eocodec.cli.bench import bench
from eocodec.errors import RasterError

BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Imagery of three dates, and series of 64 x 64 pixels made of it in this process."""
    (tmp_path / "train" / "series").mkdir(parents=True)
    data = np.random.default_rng(0).integers(100, 900, (3, len(BANDS), 40, 40)).astype(np.int16)
    np.savez(tmp_path / "train" / "series" / f"{series_cost.PLACE}.npz", data=data, bands=BANDS)
    monkeypatch.setattr(series_cost, "SIDE", 64)
    monkeypatch.setattr(series_cost, "ProcessPoolExecutor", Here)
    return tmp_path


class Here:
    """A pool that does its work at once."""

    def __init__(self, workers, context):
        assert workers == 1

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def submit(self, work, *arguments):
        self.found = work(*arguments)
        return self

    def result(self):
        return self.found


def test_a_series_is_mirrored(folder):
    found = long_series(2, folder)
    assert found.shape == (2, 12, 64, 64)
    assert np.array_equal(found[..., 40:, :], found[..., 16:40, :][..., ::-1, :])
    with pytest.raises(RasterError, match="3 dates, 4 are"):
        long_series(4, folder)


def test_rows_and_table(folder, monkeypatch):
    monkeypatch.setattr(series_cost, "SPEED_DATES", 2)
    said = []
    options = CostOptions(timesteps=(1, 2), data=folder, speed_threads=1, runs=2)
    result = run_cost(options, said.append)
    assert [(row["work"], row["timesteps"]) for row in result["rows"]] == [
        ("encode", 1),
        ("decode", 1),
        ("encode", 2),
        ("decode", 2),
    ]
    for row in result["rows"]:
        assert row["cpu_s"] > 0
        assert row["peak_bytes"] is None or 0 <= row["peak_bytes"] < 4e9
    assert result["rows"][2]["codestream_bytes"] > result["rows"][0]["codestream_bytes"]
    header, rows = table_rows(result)
    assert len(said) == len(rows) - 2 == 4
    assert {len(row) for row in rows} == {len(header)}
    assert rows[1][0] == "decode T = 1"
    speed = result["speed"]
    assert (speed["timesteps"], speed["rows"], speed["cols"], speed["threads"]) == (2, 64, 64, 1)
    for way in ("encode", "decode"):
        seconds = np.median(speed[f"{way}_s"])
        assert len(speed[f"{way}_s"]) == 2
        assert speed[f"{way}_mpixel_per_s"] == pytest.approx(2 * 64 * 64 / 1e6 / seconds, abs=0.001)


def test_memory_that_a_call_takes():
    found, held = series_cost._measured(lambda: np.ones(40_000_000, np.uint8), 0)
    if found["peak_bytes"] is not None:
        assert 35e6 < found["peak_bytes"] < 80e6
        assert series_cost._measured(held.copy, held.nbytes)[0]["peak_bytes"] < 35e6


def test_the_command(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(series_cost, "SPEED_DATES", 2)
    words = ["--dates", "1", "--runs", "1", "--speed-threads", "1", "--model", "tec-elic"]
    out = ["--data", str(folder), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(bench, ["series-cost", *words, *out])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "series-cost.json").is_file()
