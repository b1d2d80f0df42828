"""The differentiable twin of TEC-ELIC's coder codes what the coder codes."""

import numpy as np
import pytest
import torch

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.family import SCALES
from eocodec.models import registry
from eocodec.models.weights import load
from eocodec.train.coded_crops import code_crop, load_crop, save_crop
from eocodec.train.coder_twin import CoderTwin, decide

ROWS, COLS, QUALITY = 7, 9, 5000  # blocks: large ones fit beside others


@pytest.fixture(scope="module")
def model():
    return load(registry.by_id("tec-elic"))


@pytest.fixture(scope="module")
def latents(model):
    """Of smooth noise, so that blocks of every size pay."""
    torch.manual_seed(0)
    dn = torch.randn(1, 12, 16 * ROWS, 16 * COLS).cumsum(2).cumsum(3) / 30
    dn[..., :64] += torch.randn(1, 12, 16 * ROWS, 64) * 0.3
    with torch.inference_mode():
        return model.network.block_transform.analysis(dn)[0].numpy()


@pytest.fixture(scope="module")
def twin(model):
    linear = model.network.block_transform
    return CoderTwin(model.prior, linear.basis, linear.ring)


def coded(model, y):
    encoder, edges = SymbolEncoder(), EdgeWriter()
    model.coder.encode(y, encoder, edges, QUALITY, model.lmbda(QUALITY))
    stream, escapes = encoder.finish()
    frame = model.coder.decode(
        SymbolDecoder(stream, escapes), EdgeReader(edges.finish()), ROWS, COLS, QUALITY
    )
    y_hat = model.coder.latents(frame, QUALITY, np.float32).dense(model.ring).reshape(y.shape)
    return y_hat, 8 * (len(stream) + len(escapes))


def test_symbols_and_bits_are_those_of_the_coder(model, latents, twin):
    tile = decide(model.coder, latents, QUALITY, model.lmbda(QUALITY))
    assert all(len(tile.partition.corners(size)) for size in (16, 32, 64))
    y_hat, bits = twin(torch.from_numpy(latents), tile, model.lmbda(QUALITY))
    expected, stream_bits = coded(model, latents)
    assert np.abs(y_hat.numpy() - expected).max() < 1e-3
    assert tile.bits == stream_bits
    assert 0.85 * stream_bits < float(bits) < stream_bits  # side information is not in it


def test_values_pass_their_gradient_where_they_are_not_zero(twin):
    v = (torch.randn(5000) * 2).requires_grad_(True)
    found, _ = twin.quantise(v, torch.full((5000,), 2 * SCALES + 30), 1.0)
    (slope,) = torch.autograd.grad(found.sum(), v)
    assert torch.equal(slope, (found != 0).float())
    assert 0 < float(slope.mean()) < 1


def test_bits_fall_towards_zero_as_their_gradient_says(twin):
    v = torch.linspace(-6, 6, 20_001).requires_grad_(True)
    rows = torch.full((20_001,), 2 * SCALES + 30)
    _, bits = twin.quantise(v, rows, 1.0)
    (slope,) = torch.autograd.grad(bits, v)
    assert bool((slope * v >= 0).all())
    _, fewer = twin.quantise(0.97 * v.detach(), rows, 1.0)
    predicted = float((slope * 0.03 * v.detach()).sum())
    assert float(bits.detach() - fewer) == pytest.approx(predicted, rel=0.1)


def test_a_crop_comes_back_from_its_file(model, tmp_path):
    rng = np.random.default_rng(0)
    dn = (rng.uniform(500, 3000, (12, 1, 1)) + rng.normal(0, 80, (12, 64, 96))).astype(np.float32)
    crop = code_crop(model, dn, QUALITY)
    save_crop(tmp_path / "a.npz", crop)
    found = load_crop(tmp_path / "a.npz")
    assert np.array_equal(found.dn, np.rint(dn))
    assert np.array_equal(found.tile.rows, crop.tile.rows)
    assert np.array_equal(found.tile.bases, crop.tile.bases)
    assert np.array_equal(found.tile.partition.medium, crop.tile.partition.medium)
    assert (found.tile.quality_steps, found.tile.bits) == (QUALITY, crop.tile.bits)
