"""The tiny model, made once a session. Fixtures import torch when they run, not when tests are collected."""

import pytest


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
