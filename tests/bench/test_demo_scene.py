import numpy as np
import pytest

from eocodec.bench.demo_scene import demo_scene
from eocodec.errors import InputError
from eocodec.sensors import S2_BAND_NAMES, S2_L2A

BAND = {name: i for i, name in enumerate(S2_BAND_NAMES)}


@pytest.fixture(scope="module")
def scene():
    return demo_scene(384, 420, seed=0)


def test_shape_type_and_range(scene):
    assert scene.shape == (12, 384, 420)
    assert scene.dtype == np.int16
    valid = scene[:, scene[0] != 0]
    assert valid.min() >= 1
    assert 5000 < valid.max() < 15_000


def test_seeds(scene):
    np.testing.assert_array_equal(scene, demo_scene(384, 420, seed=0))
    assert (scene != demo_scene(384, 420, seed=1)).mean() > 0.9


@pytest.mark.parametrize("nodata", [0, -32768])
def test_nodata_is_one_corner_of_all_bands(nodata):
    scene = demo_scene(200, 200, seed=2, nodata=nodata)
    outside = (scene == nodata).all(0)
    assert ((scene == nodata).any(0) == outside).all()
    assert outside[-1, -1]
    assert not outside[0, 0]
    assert 0.005 < outside.mean() < 0.2


def test_coarse_bands_are_smooth_at_ten_metres(scene):
    def roughness(name):
        plane = scene[BAND[name], :300, :300].astype(float)
        return np.abs(np.diff(plane, 2, axis=1)).mean() / np.abs(np.diff(plane, axis=1)).mean()

    by_size = {size: [roughness(b.name) for b in S2_L2A if b.pixel_size == size] for size in (10, 20, 60)}
    assert min(by_size[10]) > 1.2 * max(by_size[20])
    assert min(by_size[20]) > 1.2 * max(by_size[60])


def test_spectra_are_those_of_a_landscape(scene):
    red, near_infrared = (scene[BAND[b]].astype(float) for b in ("B04", "B08"))
    valid = scene[0] != 0
    ndvi = (near_infrared - red)[valid] / (near_infrared + red)[valid]
    assert np.quantile(ndvi, 0.5) > 0.3  # vegetation prevails
    assert (ndvi < 0).mean() > 0.003  # water
    assert 0.01 < (scene[BAND["B02"]][valid] > 4000).mean() < 0.15  # clouds


def test_bands_agree_as_real_ones_do(scene):
    valid = scene[0] != 0
    matrix = np.corrcoef(scene[:, valid].astype(float))
    assert matrix[BAND["B02"], BAND["B03"]] > 0.9
    assert matrix[BAND["B08"], BAND["B8A"]] > 0.9


@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (33, 301), (40, 35)])
def test_odd_sizes(rows, cols):
    assert demo_scene(rows, cols).shape == (12, rows, cols)


def test_bad_requests():
    with pytest.raises(InputError, match="at least 32"):
        demo_scene(16, 64)
    with pytest.raises(InputError, match="nodata"):
        demo_scene(64, 64, nodata=7)
