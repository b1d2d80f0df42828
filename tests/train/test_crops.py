import numpy as np
import pytest

from eocodec.train.config import DataConfig
from eocodec.train.crops import CropSampler, standardise
from eocodec.train.scenes import Scene, blur_to_60m, coarsen, upsample


def scene(name, level, rows, cols, value):
    rng = np.random.default_rng(len(name))
    dn = rng.integers(value - 200, value + 200, (12, rows, cols)).astype(np.int16)
    return Scene(name, name, level, "stack", dn)


SCENES = [scene("a", "L2A", 100, 130, 1000), scene("bb", "L1C", 90, 80, 3000)]
PLAIN = DataConfig().without_augmentation()


def test_the_same_seed_draws_the_same_crops():
    first, second = (CropSampler(SCENES, DataConfig(), 7).batch(5, 64) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, CropSampler(SCENES, DataConfig(), 8).batch(5, 64))


def test_shape_and_range():
    config = DataConfig(crop=64, batch=6, cloud=1.0, bright=1.0, drift=1.0)
    batch = CropSampler(SCENES, config, 0).batch()
    assert batch.shape == (6, 12, 64, 64)
    assert batch.dtype == np.float32
    assert np.isfinite(batch).all()
    low, high = (standardise(np.full((12, 1, 1), dn, np.float32)) for dn in (0, 20_000))
    assert (batch >= low - 1e-4).all()
    assert (batch <= high + 1e-3).all()


def test_without_augmentation_a_crop_is_a_turned_piece_of_a_scene():
    crop = CropSampler(SCENES[:1], PLAIN, 3).crop(64)
    dn = SCENES[0].dn
    windows = np.lib.stride_tricks.sliding_window_view(dn[0], (64, 64)).reshape(-1, 64, 64)
    views = [np.rot90(m, k) for m in (crop[0], crop[0][:, ::-1]) for k in range(4)]
    assert any((windows == view).all((1, 2)).any() for view in views)


def test_scenes_are_drawn_by_area_and_level():
    sampler = CropSampler(SCENES, DataConfig(l2a_weight=4.0), 0)
    area = np.array([4 * 100 * 130, 90 * 80])
    assert sampler.shares == pytest.approx(area / area.sum())


def test_scenes_smaller_than_a_crop_are_mirrored():
    crop = CropSampler([scene("small", "L2A", 64, 50, 900)], PLAIN, 0).crop(64)
    assert crop.shape == (12, 64, 64)
    assert crop.min() >= 700


def test_clouds_are_bright():
    config = DataConfig(drift=0.0, l1c_to_l2a=0.0, bright=0.0, cloud=1.0)
    sampler = CropSampler(SCENES[:1], config, 0)
    assert np.mean([sampler.crop(64)[1].mean() for _ in range(20)]) > 1500


def test_planes_of_other_resolutions():
    plane = np.arange(48, dtype=np.float32).reshape(6, 8)
    assert coarsen(plane, 2)[0, 0] == np.mean([0, 1, 8, 9])
    flat = np.full((12, 18), 5.0, np.float32)
    assert np.array_equal(upsample(flat, 3), np.full((36, 54), 5.0))
    assert np.array_equal(blur_to_60m(flat), flat)
    ramp = np.repeat(np.arange(60, dtype=np.float32)[None], 60, 0)
    inner = slice(6, -6)
    assert blur_to_60m(ramp)[inner, inner] == pytest.approx(ramp[inner, inner], abs=1e-3)
    assert blur_to_60m(np.ones((13, 7), np.float32)).shape == (13, 7)
