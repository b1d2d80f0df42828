"""Imported temporal models as the codec works with them: checkpoint in, series to bytes and back."""

import dataclasses

import numpy as np
import pytest
import torch
from tt_published_support import config, enlarge

from eocodec import codec
from eocodec.interop.published import import_checkpoint
from eocodec.models.flextec_published import FlexTecPublished
from eocodec.models.registry import FOLDER_VARIABLE
from eocodec.models.tt_published import TtPublished


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("models")))
        yield


def imported(tmp_path_factory, kind, cls, repacked):
    """Id of a small model with random weights."""
    torch.manual_seed(0)
    sizes = dataclasses.replace(config(repacked), bands=12, heads=16)
    model = enlarge(cls(sizes))
    path = tmp_path_factory.mktemp("checkpoint") / "small.pt"
    torch.save({f"model.{name}": tensor for name, tensor in model.state_dict().items()}, path)
    import_checkpoint(path, f"small-{kind}", kind=kind)
    return f"small-{kind}"


@pytest.fixture(scope="module")
def tt(tmp_path_factory):
    return imported(tmp_path_factory, "tec-tt", TtPublished, False)


@pytest.fixture(scope="module")
def flextec(tmp_path_factory):
    return imported(tmp_path_factory, "flextec", FlexTecPublished, True)


def tile(timesteps=3, rows=70, cols=45):
    rng = np.random.default_rng(0)
    return rng.integers(0, 6000, (timesteps, 12, rows, cols)).astype(np.uint16)


def test_a_series_through_tec_tt(tt):
    dn = tile()
    data = codec.encode(dn, model=tt, nodata=0)
    decoded = codec.decode(data)
    assert decoded.shape == dn.shape
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, codec.decode(data))


def test_one_image_through_tec_tt(tt):
    dn = tile(1)[0]
    assert codec.decode(codec.encode(dn, model=tt)).shape == dn.shape


def test_qualities_of_flextec(flextec):
    dn = tile(2)
    sizes = [len(codec.encode(dn, model=flextec, quality=quality)) for quality in (0, 25, 100)]
    assert sizes == sorted(set(sizes))
    assert codec.decode(codec.encode(dn, model=flextec, quality=25)).shape == dn.shape


def test_a_bound_on_top(tt):
    dn = tile(2, 33, 20)
    quality = codec.registry.by_id(tt).quality
    decoded = codec.decode(codec.encode(dn, model=tt, quality=quality, max_error=3))
    assert np.abs(decoded.astype(int) - dn).max() <= 3
