"""The benchmark of cloud filling: cases, simpler ways, figures, and AllClear in a miniature of its layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.bench import allclear, inpaint
from eocodec.cli.main import cli
from eocodec.errors import RasterError
from filling_support import clouds_on, disc, seasons
from interop_support import write_stack

SIZE = 256


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    """A data folder: one dev place, whose last date is all cloud, and one long series with clouds."""
    root = tmp_path_factory.mktemp("data")
    (root / "dev" / "ssl4eo").mkdir(parents=True)
    series = seasons(SIZE, SIZE)
    series[3, :, :200] = 6000
    for t, pixels in enumerate(series):
        write_stack(root / "dev" / "ssl4eo" / f"place_{t}.tif", pixels)
    (root / "train" / "series").mkdir(parents=True)
    scl = np.full((8, 32, 32), 4, np.uint8)
    for k in range(8):
        scl[k, :, : 3 * k + 2] = 9
    data = np.full((8, 1, 32, 32), 500, np.int16)
    np.savez(root / "train" / "series" / "long.npz", data=data, scl=scl, bands=np.array(["B02"]))
    return root


def test_cases_have_clouds_of_all_shares_on_clear_dates(imagery):
    cases = inpaint.make_cases(inpaint.InpaintOptions(15, data=imagery))
    assert {case.t for case in cases} == {0, 1, 2}
    assert all(case.clouds[3].all() for case in cases)  # mostly cloud by itself
    bins = np.digitize([case.hidden.mean() for case in cases], inpaint.BINS)
    np.testing.assert_array_equal(np.bincount(bins)[1:], [3] * 5)
    assert all(not case.clouds[k].any() for case in cases for k in {0, 1, 2} - {case.t})
    others = inpaint.make_cases(inpaint.InpaintOptions(3, others=True, data=imagery))
    assert all(case.clouds[k].any() for case in others for k in range(3))


def test_the_same_seed_gives_the_same_cases(imagery):
    first, again, other = (
        inpaint.make_cases(inpaint.InpaintOptions(4, data=imagery, seed=seed))[3].hidden for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_simpler_ways():
    series = np.stack([np.full((2, 3, 3), value, np.int16) for value in (10, 20, 0, 70, 40)])
    clouds = np.zeros((5, 3, 3), bool)
    clouds[2] = True
    clouds[1, 0] = clouds[3, 1] = clouds[0, 2, 2] = True
    expected = {
        "last clear": [[10] * 3, [20] * 3, [20] * 3],
        "least cloudy": [[40] * 3, [40] * 3, [40] * 3],
        "linear": [[50] * 3, [80 / 3] * 3, [45] * 3],
        "median": [[40] * 3, [20] * 3, [30, 30, 40]],
    }
    for name, values in expected.items():
        found = inpaint.METHODS[name](series, clouds, 2)
        np.testing.assert_allclose(found, np.broadcast_to(values, (2, 3, 3)), err_msg=name, atol=1e-4)
    clouds[:, 1, 1] = True  # no date has it
    for name in expected:
        found = inpaint.METHODS[name](series, clouds, 2)
        assert found.min() > 0, name


def test_scores_of_an_area():
    truth = seasons(40, 40, bands=3)[0]
    found, area = truth.astype(float), disc(40, 40, (20, 20), 12)
    found[:, area] += 100
    inside = inpaint.scores(truth, found, area)
    assert inside["mae"] == 100 and inside["psnr"] == pytest.approx(40)
    assert inpaint.scores(truth, found, None)["mae"] == pytest.approx(100 * area.mean())
    assert inpaint.scores(truth, found, disc(40, 40, (20, 20), 3))["ssim"] is None
    assert inpaint.scores(truth, truth, area)["psnr"] is None  # infinite


def test_the_command(imagery, tmp_path, monkeypatch):
    monkeypatch.setattr(inpaint, "dev_series", lambda data: {"place": seasons()})  # smaller, for speed
    monkeypatch.setattr("eocodec.bench.contact_sheet.ROWS", 2)
    arguments = ["bench", "inpaint", "--data", str(imagery), "--cases", "5", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, [*arguments, "--pictures", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "inpaint.json").read_text())
    assert len(found["cases"]) == found["meta"]["cases"] == 5
    whole = {row["method"]: row for row in found["summary"] if (row["from"], row["to"]) == (0.05, 0.8)}
    assert set(whole) == set(inpaint.METHODS)
    for name, row in whole.items():
        if name != inpaint.OURS:
            assert row["beaten"] == 5
            assert row["masked"]["mae"] > whole[inpaint.OURS]["masked"]["mae"]
    with rasterio.open(tmp_path / "inpaint.png") as sheet:
        assert sheet.count == 3 and sheet.read().std() > 20


# --- AllClear -----------------------------------------------------------------------------------------------

MOMENTS = ("2022-03-26 02:01:59", "2022-03-31 02:01:53", "2022-04-10 02:01:53")
TARGET = "2022-04-05 02:01:58"


def path_of(moment, sensor):
    year, month, day = (int(part) for part in moment[:10].split("-"))
    name = f"roi7_{sensor}_{year}_{month}_{day}_median.tif"
    return f"roi7/{year}_{month}/{sensor}/{name}"


@pytest.fixture
def miniature(tmp_path, monkeypatch):
    """One sample of three clouded dates and a clear target, in the published layout but for its size."""
    monkeypatch.setattr(allclear, "SIDE", 96)
    series = seasons(100, 100, bands=13, dtype="float32")
    series[2] = (series[1] + series[3]) / 2
    clouds = clouds_on(series, 0, disc(100, 100, (40, 40), 25))
    clouds[1] = disc(100, 100, (60, 60), 20)
    for moment, image, cloud in zip((*MOMENTS[:2], TARGET, MOMENTS[2]), series, clouds, strict=True):
        masks = np.zeros((5, 100, 100), np.float32)
        masks[1] = cloud
        masks[4, 10:12, 10:40] = cloud.any()  # a shadow
        masks[4, 0] = np.nan  # beyond the middle
        for sensor, pixels in (("s2_toa", image), ("cld_shdw", masks)):
            file = tmp_path / "data" / path_of(moment, sensor)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_stack(file, pixels, None)
    listing = tmp_path / "metadata" / "datasets" / "test.json"
    listing.parent.mkdir(parents=True)
    entry = {
        "roi": ["roi7", [-15.5, 124.5]],
        "s2_toa": [[moment, "/scratch/elsewhere/" + path_of(moment, "s2_toa")] for moment in MOMENTS],
        "target": [[TARGET, "data/" + path_of(TARGET, "s2_toa")]],
    }
    listing.write_text(json.dumps({"roi7_2022-03-26_2022-04-10": entry}))
    return listing, series[..., 2:98, 2:98], clouds[..., 2:98, 2:98]


def test_a_sample_of_allclear(miniature):
    listing, series, clouds = miniature
    (sample,) = allclear.read_samples(listing)
    np.testing.assert_array_equal(sample.series, series[[0, 1, 3]].clip(0))
    np.testing.assert_array_equal(sample.target, series[2].clip(0))
    expected = clouds[[0, 1, 3]]
    expected[:2, 8:10, 8:38] = True
    np.testing.assert_array_equal(sample.clouds, expected)
    assert not sample.hidden.any()
    assert sample.dates[0] == "2022-03-26T02:01:59" and sample.date == "2022-04-05T02:01:58"


def test_allclear_measured(miniature, tmp_path):
    arguments = ["bench", "inpaint", "--allclear", str(miniature[0]), "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "allclear.json").read_text())
    assert found["meta"]["samples"] == 1
    errors = {row["method"]: row["mae"] for row in found["summary"]}
    assert set(errors) == set(inpaint.METHODS)
    assert errors[inpaint.OURS] < 0.7 * min(errors[name] for name in errors if name != inpaint.OURS)


def test_allclear_that_is_not_there(miniature, tmp_path):
    next((tmp_path / "data").rglob("*cld_shdw_2022_4_5*")).unlink()
    with pytest.raises(RasterError, match="fetch its region"):
        list(allclear.read_samples(miniature[0]))
    other = Path(tmp_path / "other.json")
    for text in ("[1]", "{", '{"a": {"s2_toa": [], "target": []}}'):
        other.write_text(text)
        with pytest.raises(RasterError, match="no list of AllClear samples"):
            list(allclear.read_samples(other))
