"""Our models in TerraTorch's registries; a stand-in for that package has what is used of it."""

import importlib
import sys
import types

import pytest
import torch

from codec_support import MEANS, STDS, tile
from eocodec import codec
from eocodec.errors import InputError, MissingDependency, ModelNotFound
from eocodec.models import registry

MODULE = "eocodec.interop.terratorch"


class Registry(dict):
    """Constructors by their names."""

    def register(self, constructor):
        self[constructor.__name__] = constructor
        return constructor

    def build(self, name, **options):
        return self[name](**options)


@pytest.fixture
def registries(monkeypatch):
    """(full models, backbones) after the import."""
    stub = types.ModuleType("terratorch.registry")
    stub.TERRATORCH_FULL_MODEL_REGISTRY, stub.TERRATORCH_BACKBONE_REGISTRY = Registry(), Registry()
    monkeypatch.setitem(sys.modules, "terratorch", types.ModuleType("terratorch"))
    monkeypatch.setitem(sys.modules, "terratorch.registry", stub)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    importlib.import_module(MODULE)
    yield stub.TERRATORCH_FULL_MODEL_REGISTRY, stub.TERRATORCH_BACKBONE_REGISTRY
    del sys.modules[MODULE]


def images(rows, cols):
    dn = [tile(rows, cols, seed, dtype="float32") for seed in (1, 2)]
    return torch.stack([torch.from_numpy((one - MEANS) / STDS).float() for one in dn])


def test_names(registries):
    shipped = {f"eocodec_{card.id.replace('-', '_')}" for card in registry.installed()}
    assert "eocodec_tec_elic" in shipped
    for names in registries:
        assert set(names) == {"eocodec", *shipped}


def test_a_codec(registries, tiny_model):
    model = registries[0].build("eocodec", model=tiny_model, quality=80)
    x = images(40, 50)
    x_hat = model(x)
    assert x_hat.shape == x.shape
    assert 0 < (x_hat - x).square().mean() < 0.005
    streams = model.encode(x)
    assert codec.decode(streams[1]).shape == (12, 40, 50)
    rough = registries[0].build("eocodec", model=tiny_model, quality=10)
    assert sum(map(len, rough.encode(x))) < sum(map(len, streams))
    with pytest.raises(ModelNotFound):
        registries[0].build("eocodec", model="tec-nothing")


def test_a_backbone(registries, tiny_model):
    backbone = registries[1].build("eocodec", model=tiny_model)
    assert backbone.out_channels == [3072]
    assert backbone.patch_size == 16
    (y,) = backbone(images(32, 48))
    assert y.shape == (2, 3072, 2, 3)
    y.square().mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in backbone.parameters())
    with pytest.raises(InputError, match="multiples of 16"):
        backbone(images(32, 50))


def test_learning_leaves_the_model_in_use_alone(registries, tiny_model):
    before = codec.encode(tile(32, 32), model=tiny_model)
    backbone = registries[1].build("eocodec", model=tiny_model)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(1)
    assert codec.encode(tile(32, 32), model=tiny_model) == before


def test_the_models_of_the_package_by_name(registries):
    model = registries[0].build("eocodec_tec_fp", quality=60)
    x = images(32, 32)
    assert (model(x) - x).square().mean() < 0.01


def test_without_terratorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "terratorch.registry", None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(MissingDependency, match="pip install terratorch"):
        importlib.import_module(MODULE)
