"""The linear path: invertible, orthonormal, and the same in torch as in the coder's NumPy."""

import pytest
import torch

from eocodec.entropy import axes
from eocodec.nn.quantise import round_magnitude
from eocodec.nn.spectral import (
    BLOCK,
    RINGS,
    BlockTransform,
    dct_matrix,
    principal_axes,
    ring_of_frequency,
    turn,
    turn_back,
)


def transform(bands=3):
    generator = torch.Generator().manual_seed(0)
    block = BlockTransform(bands)
    block.basis.copy_(torch.linalg.qr(torch.randn(RINGS, bands, bands, generator=generator))[0])
    block.root_weight.copy_(torch.rand(bands, generator=generator) + 0.5)
    return block


X = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def test_dct():
    matrix = dct_matrix(BLOCK)
    assert torch.allclose(matrix @ matrix.T, torch.eye(BLOCK), atol=1e-6)
    assert torch.allclose(matrix[0], torch.full((BLOCK,), BLOCK**-0.5))
    changes = (torch.diff(torch.sign(matrix), dim=1) != 0).sum(1)
    assert changes.tolist() == list(range(BLOCK))


def test_rings():
    ring = ring_of_frequency().reshape(BLOCK, BLOCK)
    assert ring[0, 0] == 0
    assert (ring == 0).sum() == 1
    assert ring.max() == RINGS - 1
    assert torch.equal(ring, ring.T)
    assert [int(ring[0, v]) for v in (1, 2, 3, 5, 8, 12)] == [1, 2, 3, 4, 5, 6]
    assert int(ring[3, 4]) == 4  # a radius of exactly 5 is in the ring that begins there


def test_analysis_and_synthesis_are_inverse():
    block = transform()
    y = block.analysis(X)
    assert y.shape == (2, 256 * 3, 2, 3)
    assert torch.allclose(block.synthesis(y), X, atol=1e-5)


def test_the_squared_error_of_latents_is_the_weighted_distortion():
    block = transform()
    weighted = (X * block.root_weight[:, None, None]).square().sum()
    assert block.analysis(X).square().sum().item() == pytest.approx(weighted.item(), rel=1e-5)


def test_channels_are_frequency_times_bands_plus_component():
    block = BlockTransform(3)
    flat = torch.zeros(1, 3, 16, 16)
    flat[:, 1] = 2.0
    y = block.analysis(flat)[0, :, 0, 0]
    assert y[1].item() == pytest.approx(2.0 * BLOCK)
    assert y.abs().sum().item() == pytest.approx(2.0 * BLOCK, rel=1e-4)


def test_principal_axes_decorrelate_every_ring():
    block = transform()
    y = block.analysis(torch.cumsum(X, 1))  # bands that resemble each other
    bases = principal_axes(y, 3, block.ring)
    z = turn(y, bases, block.ring)
    assert torch.allclose(turn_back(z, bases, block.ring), y, atol=1e-4)
    per_frequency = z.reshape(2, 256, 3, -1)
    products = per_frequency @ per_frequency.transpose(2, 3)
    moment = torch.zeros(2, RINGS, 3, 3).index_add_(1, block.ring, products)
    diagonal = torch.diagonal(moment, dim1=2, dim2=3)
    assert (moment - torch.diag_embed(diagonal)).abs().max() < 1e-4 * diagonal.max()
    assert (diagonal.diff(dim=2) <= 1e-4 * diagonal.max()).all()


def test_torch_and_numpy_turn_alike():
    block = transform()
    y = block.analysis(X)
    bases = principal_axes(y, 3, block.ring)
    stated, ring, flat = bases[0].double().numpy(), block.ring.numpy(), y[0].flatten(1).numpy()
    z = axes.turn(flat, stated, ring)
    assert turn(y, bases, block.ring)[0].flatten(1).numpy() == pytest.approx(z, abs=1e-4)
    assert axes.turn_back(z, stated, ring) == pytest.approx(flat, abs=1e-4)


def test_rounding_of_magnitudes():
    a = torch.tensor([0.0, 0.3, 0.59, 0.61, 1.59, 1.61, 7.3], requires_grad=True)
    rounded = round_magnitude(a, 0.1)
    assert rounded.tolist() == pytest.approx([0, 0, 0, 1, 1, 2, 7], abs=1e-6)
    rounded.sum().backward()
    assert a.grad.tolist() == [0, 0, 0, 1, 1, 1, 1]  # what is rounded to zero stays there
    assert round_magnitude(torch.tensor([0.49, 0.51]), 0.0).tolist() == pytest.approx([0, 1])
