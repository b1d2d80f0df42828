import pytest
import torch

from eocodec.nn.gdn import GDN, NonNegative


def direct(x, beta, gamma, inverse):
    """The definition, element by element."""
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        norm = beta[i] + sum(gamma[i, j] * x[:, j] ** 2 for j in range(x.shape[1]))
        out[:, i] = x[:, i] * norm.sqrt() if inverse else x[:, i] / norm.sqrt()
    return out


@pytest.mark.parametrize("inverse", [False, True])
def test_the_definition(inverse):
    torch.manual_seed(0)
    layer = GDN(5, inverse=inverse).double()
    beta, gamma = 0.1 + torch.rand(5).double(), torch.rand(5, 5).double()
    with torch.no_grad():
        layer.beta.copy_(layer.beta_reparam.stored(beta))
        layer.gamma.copy_(layer.gamma_reparam.stored(gamma))
    x = torch.randn(2, 5, 3, 4).double()
    assert torch.allclose(layer(x), direct(x, beta, gamma, inverse), rtol=1e-6)


def test_it_starts_with_beta_one_and_a_tenth_of_the_identity():
    layer = GDN(4)
    assert torch.allclose(layer.beta_reparam(layer.beta), torch.ones(4), atol=1e-6)
    assert torch.allclose(layer.gamma_reparam(layer.gamma), 0.1 * torch.eye(4), atol=1e-6)


def test_parameters_below_the_bound_stand_for_the_minimum():
    low = torch.full((3,), -1.0)
    assert torch.allclose(NonNegative(1e-6)(low), torch.full((3,), 1e-6), rtol=1e-3)
    assert NonNegative(0.0)(low).abs().max() < 1e-9


def test_gradients_reach_both_parameters():
    layer = GDN(3)
    layer(torch.randn(1, 3, 4, 4)).square().sum().backward()
    assert layer.beta.grad.abs().min() > 0
    assert layer.gamma.grad.abs().max() > 0
