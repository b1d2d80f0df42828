import math

import numpy as np
import pytest

from eocodec.bench import curves
from eocodec.bench.base import RatePoint
from eocodec.errors import InputError


def line(tile, codec, bits_at_40, low=30.0, high=50.0, step=2.0):
    """A codec whose bits double every 6 dB: a straight line in log rate."""
    return [
        RatePoint(tile, codec, psnr, round(bits_at_40 * 2 ** ((psnr - 40) / 6)), psnr)
        for psnr in np.arange(low, high + step / 2, step)
    ]


def test_bits_at_interpolates_in_log_rate_and_never_extrapolates():
    points = line("a", "x", 1_000_000)
    found = curves.bits_at(points, np.array([29.9, 37.0, 43.0, 50.1]))
    assert np.isnan(found[[0, 3]]).all()
    assert found[1] == pytest.approx(1_000_000 * 2**-0.5, rel=1e-4)
    assert found[2] == pytest.approx(1_000_000 * 2**0.5, rel=1e-4)


def test_points_that_cost_more_for_less_are_dropped():
    points = [*line("a", "x", 1_000_000), RatePoint("a", "x", 0, 1_200_000, 35.0)]
    bits, psnr = curves.increasing(points)
    assert 1_200_000 not in bits
    assert (np.diff(bits) > 0).all()
    assert (np.diff(psnr) > 0).all()


def test_half_the_bits_is_minus_fifty_percent_and_the_worst_tile_is_found():
    points = [*line("a", "ours", 500_000), *line("b", "ours", 2_400_000)]
    points += [*line("a", "anchor", 1_000_000), *line("b", "anchor", 2_000_000)]
    grouped = curves.by_codec_and_tile(points)
    result = curves.compare(grouped["ours"], grouped["anchor"], "anchor")
    assert result.per_tile["a"] == pytest.approx(-50, abs=0.01)
    assert result.per_tile["b"] == pytest.approx(20, abs=0.01)
    assert result.mean == pytest.approx(-15, abs=0.01)
    assert result.of_average == pytest.approx(100 * (2.9 / 3.0 - 1), abs=0.01)
    assert result.worst[0] == "b"


def test_bd_rate_is_cut_to_the_overlap_which_is_stated():
    ours = {"a": line("a", "ours", 500_000, low=38.0), "b": line("b", "ours", 500_000, low=46.0)}
    anchor = {tile: line(tile, "anchor", 1_000_000, high=44.0) for tile in "ab"}
    result = curves.compare(ours, anchor, "anchor")
    assert result.overlap == {"a": (38.0, 44.0)}
    assert result.per_tile["a"] == pytest.approx(-50, abs=0.01)
    assert "b" not in result.per_tile


def test_average_bd_uses_only_tiles_that_both_reach():
    # Tile b is dear and only ours reaches 44 dB there: counting it would make ours look worse.
    ours = {"a": line("a", "ours", 500_000), "b": line("b", "ours", 5_000_000)}
    anchor = {"a": line("a", "anchor", 1_000_000), "b": line("b", "anchor", 10_000_000, high=40.0)}
    assert curves.bd_of_average(ours, anchor) == pytest.approx(-50, abs=0.01)


def test_nothing_in_common_is_none_in_json():
    result = curves.compare({"a": line("a", "x", 1000)}, {"b": line("b", "y", 1000)}, "y")
    assert math.isnan(result.mean)
    entry = result.to_dict()
    assert entry["mean_percent"] is None
    assert entry["worst_percent"] is None


def test_average_curve_counts_its_tiles():
    tiles = {"a": line("a", "x", 1000_000, high=44.0), "b": line("b", "x", 3_000_000)}
    curve = curves.average_curve(tiles, np.array([40.0, 46.0, 60.0]), samples=1_000_000)
    assert curve == [
        {"psnr": 40.0, "bpppc": 2.0, "n_tiles": 2},
        {"psnr": 46.0, "bpppc": 6.0, "n_tiles": 1},
    ]


def test_one_point_is_no_curve():
    with pytest.raises(InputError):
        curves.bits_at([RatePoint("a", "x", 1, 100, 40.0)], np.array([40.0]))


def test_grid_has_both_ends():
    grid = curves.psnr_grid(36.0, 46.0)
    assert grid[0] == 36.0
    assert grid[-1] == 46.0
    assert np.allclose(np.diff(grid), curves.GRID_STEP)
