"""Crops as a decoder sees them: what a folder of them keeps, fills and refuses."""

import numpy as np
import pytest
import torch

from codec_support import tile
from eocodec.errors import ConfigError
from eocodec.models import registry
from eocodec.models.weights import load
from eocodec.sensors import S2_BAND_NAMES
from eocodec.train.coded_crops import CodedCrops, code_crop, code_crops
from eocodec.train.config import DataConfig
from eocodec.train.crops import CropSampler
from eocodec.train.scenes import Scene

SIZES = {"count": 4, "side": 64, "bands": len(S2_BAND_NAMES), "bent": 512}


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return load(registry.by_id("tec-elic"))


@pytest.fixture(scope="module")
def sampler():
    scene = Scene("a", "a", "L2A", "stack", tile(96, 80, dtype="int16"))
    return CropSampler([scene], DataConfig(), seed=0)


def test_crops_come_back_from_their_folder_whole_and_in_parts(model, tmp_path):
    dn = tile(64, 64, dtype="float32")
    crop = code_crop(model, dn, 3456)
    assert np.array_equal(crop.dn, np.rint(dn))
    CodedCrops(tmp_path, **SIZES).put(2, crop)
    kept = CodedCrops(tmp_path, **SIZES)
    assert [kept.is_there(number) for number in range(4)] == [False, False, True, False]
    whole, part = kept.part(2), kept.part(2, 16, 32, 32)
    assert whole.quality == pytest.approx(0.3456)
    for name, unit in (("dn", 1), ("error", 1), ("lead", 16)):
        expected = getattr(crop, name)
        assert np.array_equal(getattr(whole, name), expected)
        rows, cols = slice(16 // unit, 48 // unit), slice(32 // unit, 64 // unit)
        assert np.array_equal(getattr(part, name), expected[:, rows, cols])


def test_a_folder_is_filled_the_same_at_once_or_in_two_goes(model, sampler, tmp_path):
    once, twice = (CodedCrops(tmp_path / name, **SIZES) for name in ("once", "twice"))
    code_crops(once, model, sampler, seed=5)
    code_crops(twice, model, sampler, seed=5)
    twice.dn[1:3] = 0
    twice.quality[1:3] = np.nan
    code_crops(twice, model, sampler, seed=5)
    assert np.array_equal(once.dn, twice.dn)
    assert np.array_equal(once.quality, twice.quality)
    assert len(set(once.quality.tolist())) == 4


def test_what_does_not_fit_is_refused(tmp_path):
    CodedCrops(tmp_path, **SIZES)
    with pytest.raises(ConfigError, match=r"dn\.npy: int16 \[4, 12, 64, 64\], not \[5, 12, 64, 64\]"):
        CodedCrops(tmp_path, **{**SIZES, "count": 5})
    with pytest.raises(ConfigError, match="tec-fp has no context model"):
        code_crop(load(registry.by_id("tec-fp")), tile(64, 64, dtype="float32"), 5000)
