"""The tiny model, made once a session. Fixtures import torch when they run, not when tests are collected."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def models_folder(tmp_path_factory):
    """An empty folder of imported models: those of whoever runs the tests are none of their business."""
    before = os.environ.get("EOCODEC_MODELS")
    os.environ["EOCODEC_MODELS"] = str(tmp_path_factory.mktemp("models"))
    yield
    os.environ.pop("EOCODEC_MODELS")
    if before is not None:
        os.environ["EOCODEC_MODELS"] = before


@pytest.fixture(scope="session")
def fitted():
    """A tiny TEC-FP in memory; see `codec_support.fit`."""
    import torch

    from codec_support import fit

    torch.set_num_threads(1)
    return fit()


@pytest.fixture(scope="session")
def tiny_model(fitted, tmp_path_factory):
    """Path of the tiny model's weights file, which stands where a model id does."""
    from codec_support import save

    return save(fitted, tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def loaded(tiny_model):
    """The tiny model as the codec loads it."""
    from eocodec.models import registry, weights

    return weights.load_fingerprint(registry.by_id(tiny_model).fingerprint)
