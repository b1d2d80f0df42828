"""A whole scene, small: what the processes take is theirs, pixels are compared, nothing is left behind."""

import tempfile

import numpy as np
import pytest
import rasterio

from eocodec.bench import whole_scene
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.bench.whole_scene import WholeSceneOptions, measured, run_whole_scene, table_rows
from eocodec.errors import CodecError


def test_an_image_is_repeated_up_to_the_side(tmp_path):
    image = np.arange(12 * 30 * 40, dtype=np.int16).reshape(12, 30, 40)
    whole_scene.write_repeated(tmp_path / "a.tif", image, 100)
    with rasterio.open(tmp_path / "a.tif") as written:
        found = written.read()
    assert found.shape == (12, 100, 100)
    rows, cols = np.arange(100) % 30, np.arange(100) % 40
    assert np.array_equal(found, image[:, rows[:, None], cols])


def test_psnr_of_a_sample(tmp_path, monkeypatch):
    scene = demo_scene(96, 80, seed=1)
    write_scene(tmp_path / "a.tif", scene)
    write_scene(tmp_path / "b.tif", scene + 10)
    monkeypatch.setattr(whole_scene, "DEFAULT_TILE", 32)
    monkeypatch.setattr(whole_scene, "SAMPLES", 4)
    psnr, tiles, megapixels = whole_scene.sampled_psnr(tmp_path / "a.tif", tmp_path / "b.tif")
    assert psnr == pytest.approx(60)
    assert tiles == 4
    assert megapixels == pytest.approx(96 * 80 / 1e6)


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(CodecError, match=r"info ended with exit code 2: .*missing"):
        measured(("info", str(tmp_path / "missing.tec")), 1)


def test_there_and_back(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    write_scene(tmp_path / "scene.tif", demo_scene(160, 128, seed=2))
    lines = []
    options = WholeSceneOptions(quality=60, input=tmp_path / "scene.tif", threads=1)
    result = run_whole_scene(options, lines.append)
    for way in ("encode", "decode"):
        assert 0 < result[way]["cpu_seconds"] < 200
        assert 50 < result[way]["peak_rss_mb"] < 5000
        assert result[way]["mpixel_per_s"] == pytest.approx(0.02048 / result[way]["seconds"], rel=0.1)
    assert result["psnr"] > 35
    assert 1000 < result["bytes"] < 160 * 128 * 24
    assert result["meta"]["input"] == "scene.tif"
    assert list(temporary.iterdir()) == []
    header, rows = table_rows(result)
    assert [row[0] for row in rows] == ["encode", "decode"]
    assert all(len(row) == len(header) for row in rows)
