"""Fitting the quantiles of the learned factorized density; gradients under the floor of likelihoods."""

import copy

import numpy as np
import pytest
import torch

from eocodec.coding.range_coder import SymbolEncoder
from eocodec.entropy.factorized import TAIL_MASS, EntropyBottleneck
from eocodec.entropy.gaussian import GaussianConditional


@pytest.fixture
def bottleneck():
    torch.manual_seed(0)
    return EntropyBottleneck(3)


def test_the_loss_reaches_the_quantiles_alone(bottleneck):
    bottleneck.quantile_loss().backward()
    assert [name for name, p in bottleneck.named_parameters() if p.grad is not None] == ["quantiles"]
    bottleneck.quantiles.grad = None
    bottleneck.likelihoods(torch.randn(2, 3, 4, 4)).log().sum().backward()
    assert [name for name, p in bottleneck.named_parameters() if p.grad is None] == ["quantiles"]


def test_fitted_quantiles_are_the_median_and_the_tails(bottleneck):
    optimiser = torch.optim.Adam([bottleneck.quantiles], 1.0)
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 0.985**step * 3
        optimiser.zero_grad()
        bottleneck.quantile_loss().backward()
        optimiser.step()
    exact = copy.deepcopy(bottleneck).double()
    mass = torch.sigmoid(exact.logits_cumulative(exact.quantiles, fixed=True)[:, 0]).detach().numpy()
    assert np.allclose(mass[:, 1], 0.5, atol=0.01)
    assert np.allclose(mass[:, 0], TAIL_MASS / 2, rtol=0.2)
    assert np.allclose(1 - mass[:, 2], TAIL_MASS / 2, rtol=0.2)
    bottleneck.update_tables()
    low, median, high = bottleneck.quantiles[:, 0].detach().T.numpy()
    tables = bottleneck.tables()
    assert np.array_equal(tables.first, -np.ceil(median - low))
    inside = np.stack([np.arange(-5, 6)] * 3) + np.ceil(high - median).astype(int)[:, None] - 5
    assert escapes(tables, inside) == 0
    assert escapes(tables, inside + 6) > 0


def escapes(tables, symbols):
    """Bytes that symbols [C, n] need outside of their tables."""
    encoder = SymbolEncoder()
    encoder.encode_channels(symbols, np.arange(len(symbols)), tables)
    return len(encoder.finish()[1])


def test_a_latent_under_the_floor_of_likelihoods_still_moves_mean_and_scale():
    mean = torch.zeros(1, requires_grad=True)
    scale = torch.full((1,), -0.3, requires_grad=True)
    likelihood = GaussianConditional().likelihoods(torch.tensor([1.3]) - mean, scale)
    assert likelihood.item() == pytest.approx(1e-9)
    (-likelihood.log()).sum().backward()
    assert mean.grad.item() < 0  # descent raises both
    assert scale.grad.item() < 0
