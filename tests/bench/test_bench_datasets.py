import json
from pathlib import Path

import numpy as np
import pytest

from eocodec.bench import datasets
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.errors import RasterError


def test_the_variable_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EOCODEC_DATA", str(tmp_path))
    assert datasets.data_dir() == tmp_path
    monkeypatch.setenv("EOCODEC_DATA", str(tmp_path / "absent"))
    assert datasets.data_dir() is None
    with pytest.raises(RasterError, match="EOCODEC_DATA"):
        datasets.require_data()


def test_tiles_are_sorted_and_cropped_at_the_top_left(made_up_data):
    paths = datasets.dev_tiles(made_up_data)
    assert [path.stem for path in paths] == ["tile_1", "tile_2"]
    whole = datasets.load_tile(paths[0], crop=None)
    assert whole.shape == (12, 264, 264)
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(datasets.load_tile(paths[0], 100), whole[:, :100, :100])


def test_recorded_points_leave_the_series_out(made_up_data):
    points = datasets.recorded_points(made_up_data)
    assert {point.tile for point in points} == {"tile_1", "tile_2"}
    assert {point.codec for point in points} == {"j2k", "x265"}
    assert len(points) == 20
    (point,) = datasets.recorded_points(made_up_data, dates=4)
    assert (point.tile, point.codec, point.bits) == ("tile_1_series", "x265", 1000)
    assert len(datasets.recorded_beside(made_up_data / "dev" / "ssl4eo")) == 21


def test_recorded_streams_of_av1_count_without_their_container(tmp_path):
    folder = tmp_path / "dev"
    folder.mkdir()
    points = {"av1": [[8, 10_000, 40.0]], "x265": [[8, 10_000, 40.0]]}
    recorded = {"tile": {"shape": [12, 256, 256], **points}}
    (folder / "classical.json").write_text(json.dumps(recorded))
    bits = {point.codec: point.bits for point in datasets.recorded_points(tmp_path)}
    assert bits == {"av1": 10_000 - 8 * 176, "x265": 10_000}


def test_a_folder_without_tiles_is_named(tmp_path):
    with pytest.raises(RasterError, match="no GeoTIFF"):
        datasets.dev_tiles(tmp_path)
    with pytest.raises(RasterError, match=r"classical\.json"):
        datasets.recorded_points(tmp_path)


def test_wrong_rasters_are_refused(tmp_path):
    path = tmp_path / "small.tif"
    write_scene(path, demo_scene(64, 64))
    with pytest.raises(RasterError, match="smaller than 256"):
        datasets.load_tile(path)
    with pytest.raises(RasterError):
        datasets.load_tile(Path(tmp_path / "absent.tif"))
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(RasterError):
        datasets.load_tile(tmp_path / "text.tif")


def test_another_number_of_bands_is_refused(tmp_path):
    import rasterio

    path = tmp_path / "three.tif"
    with rasterio.open(path, "w", driver="GTiff", count=3, height=300, width=300, dtype="int16") as target:
        target.write(np.zeros((3, 300, 300), np.int16))
    with pytest.raises(RasterError, match="3 bands, expected 12"):
        datasets.load_tile(path)
