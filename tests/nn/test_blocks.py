import pytest
import torch

from eocodec.errors import ConfigError
from eocodec.nn.blocks import Double, Halve, ResidualBlock, conv1, conv3, residual_chain, zero_init
from eocodec.nn.precision import inference_autocast
from eocodec.nn.quantise import add_uniform_noise, round_straight_through

X = torch.randn(2, 6, 8, 10, generator=torch.Generator().manual_seed(0))


def test_residual_blocks_start_as_the_identity():
    assert torch.equal(ResidualBlock(6)(X), X)
    assert torch.equal(residual_chain(6, 3)(X), X)
    assert torch.equal(residual_chain(6, 0)(X), X)


def test_a_residual_block_is_more_than_the_identity_once_trained():
    block = ResidualBlock(6)
    torch.nn.init.normal_(block.outer.weight, std=0.1)
    before = X.clone()
    assert not torch.allclose(block(X), X)
    assert torch.equal(X, before)  # its activation works in place, but not on the input


def test_shapes():
    assert conv3(6, 4)(X).shape == (2, 4, 8, 10)
    assert conv1(6, 4)(X).shape == (2, 4, 8, 10)
    assert Halve(6, 9)(X).shape == (2, 9, 4, 5)
    assert Double(6, 3)(X).shape == (2, 3, 16, 20)


def test_zero_init():
    layer = zero_init(conv1(6, 4))
    assert not layer(X).any()
    assert layer.weight.requires_grad


def test_straight_through_rounding():
    x = torch.tensor([-1.6, -0.4, 0.4, 2.7], requires_grad=True)
    rounded = round_straight_through(x)
    assert rounded.tolist() == [-2, 0, 0, 3]
    rounded.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1]


def test_uniform_noise_is_half_a_step_at_most():
    torch.manual_seed(0)
    noise = add_uniform_noise(torch.full((20_000,), 3.0)) - 3.0
    assert noise.abs().max() <= 0.5
    assert noise.std().item() == pytest.approx(12**-0.5, rel=0.02)


@pytest.mark.parametrize(("wanted", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_of_inference_can_be_chosen(monkeypatch, wanted, dtype):
    monkeypatch.setenv("EOCODEC_PRECISION", wanted)
    with torch.inference_mode(), inference_autocast(torch.device("cpu")):
        assert conv1(6, 4)(X).dtype == dtype


def test_unknown_precision(monkeypatch):
    monkeypatch.setenv("EOCODEC_PRECISION", "half")
    with pytest.raises(ConfigError, match="EOCODEC_PRECISION"):
        inference_autocast(torch.device("cpu"))
