"""Tiles are found and read from every layout that the benchmark takes."""

import numpy as np
import pytest

from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.bench.tiles import Cut, find_sources
from eocodec.errors import RasterError

SIDE = 64


@pytest.fixture(scope="module")
def scenes():
    return [demo_scene(SIDE + 6, SIDE + 10, seed, nodata=0) for seed in range(3)]


def test_geotiffs_are_tiles_or_the_dates_of_series(tmp_path, scenes):
    for season, scene in enumerate(scenes):
        write_scene(tmp_path / f"place_{season}.tif", scene)
    write_scene(tmp_path / "alone.tif", scenes[0])
    single = find_sources(tmp_path)
    assert [source.name for source in single] == ["alone", "place_0", "place_1", "place_2"]
    tile = single[1].load(Cut(SIDE))
    np.testing.assert_array_equal(tile.data, scenes[0][:, :SIDE, :SIDE])
    assert tile.mask is None
    by_name = {source.name: source for source in find_sources(tmp_path, series=True)}
    assert set(by_name) == {"alone", "place_series"}
    series = by_name["place_series"].load(Cut(0, dates=2))
    np.testing.assert_array_equal(series.data, np.stack(scenes[:2])[..., : SIDE + 6, : SIDE + 10])


def test_nodata_is_masked_and_filled(tmp_path, scenes):
    scene = scenes[0].copy()
    scene[:, 10:20, 10:20] = -1
    write_scene(tmp_path / "holes.tif", scene, nodata=-1)
    tile = find_sources(tmp_path)[0].load(Cut(SIDE))
    assert tile.mask is not None
    assert not tile.mask[:, 10:20, 10:20].any()
    assert tile.mask.sum() == tile.data.size - 12 * 100
    assert tile.data.min() >= scene[scene >= 0].min()
    scene[:] = -1
    write_scene(tmp_path / "holes.tif", scene, nodata=-1)
    with pytest.raises(RasterError, match="no valid pixel"):
        find_sources(tmp_path)[0].load(Cut(SIDE))


@pytest.mark.parametrize("samples", [None, 2])
def test_ssl4eo_archives_are_series(tmp_path, scenes, samples):
    zarr = pytest.importorskip("zarr")
    data = np.stack(scenes)
    data = data if samples is None else np.stack([data] * samples)
    with zarr.storage.ZipStore(tmp_path / "ssl4eo_1.zarr.zip", mode="w") as store:
        group = zarr.open_group(store, mode="w", zarr_format=2)
        group.create_array("bands", data=data)
    sources = find_sources(tmp_path)
    assert [s.name for s in sources] == (["ssl4eo_1"] if samples is None else ["ssl4eo_1_0", "ssl4eo_1_1"])
    tile = sources[-1].load(Cut(SIDE, dates=2))
    np.testing.assert_array_equal(tile.data, np.stack(scenes[:2])[..., :SIDE, :SIDE])


def test_series_with_fewer_bands_keep_their_names(tmp_path, scenes):
    data = np.stack(scenes)[:, [1, 2, 3, 7]]
    mask = np.ones((3, *data.shape[-2:]), bool)
    mask[0, :5] = False
    np.savez(tmp_path / "four.npz", data=data, bands=["B02", "B03", "B04", "B08"], mask=mask)
    tile = find_sources(tmp_path)[0].load(Cut(0))
    assert tile.bands == ("B02", "B03", "B04", "B08")
    assert tile.data.shape == data.shape
    assert not tile.mask[0, :, :5].any()
    assert tile.mask[1:].all()


def test_a_checksum_tells_pixels_apart(tmp_path, scenes):
    write_scene(tmp_path / "a.tif", scenes[0])
    first = find_sources(tmp_path)[0].load(Cut(SIDE)).checksum
    write_scene(tmp_path / "a.tif", scenes[1])
    assert find_sources(tmp_path)[0].load(Cut(SIDE)).checksum != first


def test_what_cannot_be_read_is_named(tmp_path, scenes):
    with pytest.raises(RasterError, match="no GeoTIFF"):
        find_sources(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in "ab":
        write_scene(tmp_path / folder / "same.tif", scenes[0])
    with pytest.raises(RasterError, match="several tiles have the name same"):
        find_sources(tmp_path)
    (tmp_path / "c.zarr.zip").write_bytes(b"no archive")
    with pytest.raises(RasterError):
        find_sources(tmp_path / "c.zarr.zip")
    write_scene(tmp_path / "tiny.tif", scenes[0][:, :10, :10])
    with pytest.raises(RasterError, match="too few"):
        find_sources(tmp_path / "tiny.tif")[0].load(Cut())
