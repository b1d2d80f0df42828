"""Synthesis in float64: the same image as float32's within its noise, and the same everywhere."""

import numpy as np
import pytest
import torch

from codec_support import tile
from eocodec import codec, codestream
from eocodec.entropy.exact import NOISE
from eocodec.models.exact_synthesis import ExactSynthesis, exact_image, exact_synthesis


@pytest.fixture(scope="module")
def coded(tiny_model):
    return codestream.read(codec.encode(tile(40, 32), model=tiny_model, quality=70))


def image(coded, loaded):
    (frame,) = codec.decode_frames(coded, loaded)
    latents = loaded.coder.latents(frame, coded.header.quality_steps, np.float64)
    return exact_image(loaded.network, loaded.ring, latents, 3, 2)


def test_it_is_the_decoded_image(coded, loaded, monkeypatch):
    monkeypatch.setenv("EOCODEC_PRECISION", "float32")
    exact = image(coded, loaded)
    assert exact.dtype == np.float64
    assert exact.shape == (12, 48, 32)
    sections = [codestream.Section(kind, data) for kind, data in coded.sections.items()]
    decoded = codec.decode(codestream.write(coded.header, sections))
    assert np.abs(exact[:, :40] - decoded).max() < 0.6


def test_threads_and_kernels_differ_by_less_than_the_noise(coded, loaded):
    first = image(coded, loaded)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with torch.backends.mkldnn.flags(enabled=False):
        second = image(coded, loaded)
    torch.set_num_threads(before)
    assert np.abs(first - second).max() < NOISE / 10


def test_nothing_is_rounded_to_float32_on_the_way(loaded):
    """A change far below what float32 can tell from nothing has to come through, and no more than it."""
    exact = exact_synthesis(loaded.network)
    y_hat = np.random.default_rng(0).normal(0, 1, (3072, 2, 2))
    first, second = exact.dn(y_hat), exact.dn(y_hat * (1 + 1e-12))
    assert 0 < np.abs(second - first).max() < 1e-7


def test_any_network_with_a_synthesis():
    class Doubling(torch.nn.Module):
        def synthesis(self, y_hat, quality=None):
            return 2 * y_hat

    dn = ExactSynthesis(Doubling(), [10.0, 20.0], [1.0, 3.0]).dn(np.ones((2, 1, 1)))
    assert dn[:, 0, 0].tolist() == [12.0, 26.0]
