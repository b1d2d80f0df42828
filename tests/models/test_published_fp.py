"""The published configuration of TEC-FP has the parameters of the published checkpoints, name by name."""

import torch

from eocodec.models.fp import FpConfig, TecFp

# Key and shape of every tensor of the published set (N = 128, M = 192). The three tables of the entropy
# bottleneck (_offset, _quantized_cdf, _cdf_length) are buffers whose length depends on the fitted density.
PUBLISHED = """
entropy_bottleneck.quantiles 192 1 3
entropy_bottleneck._offset -
entropy_bottleneck._quantized_cdf -
entropy_bottleneck._cdf_length -
entropy_bottleneck.target 3
entropy_bottleneck.likelihood_lower_bound.bound 1
entropy_bottleneck.matrices.0 192 3 1
entropy_bottleneck.matrices.1 192 3 3
entropy_bottleneck.matrices.2 192 3 3
entropy_bottleneck.matrices.3 192 3 3
entropy_bottleneck.matrices.4 192 1 3
entropy_bottleneck.biases.0 192 3 1
entropy_bottleneck.biases.1 192 3 1
entropy_bottleneck.biases.2 192 3 1
entropy_bottleneck.biases.3 192 3 1
entropy_bottleneck.biases.4 192 1 1
entropy_bottleneck.factors.0 192 3 1
entropy_bottleneck.factors.1 192 3 1
entropy_bottleneck.factors.2 192 3 1
entropy_bottleneck.factors.3 192 3 1
g_a.0.weight 128 12 5 5
g_a.0.bias 128
g_a.1.beta 128
g_a.1.gamma 128 128
g_a.1.beta_reparam.pedestal 1
g_a.1.beta_reparam.lower_bound.bound 1
g_a.1.gamma_reparam.pedestal 1
g_a.1.gamma_reparam.lower_bound.bound 1
g_a.2.weight 128 128 5 5
g_a.2.bias 128
g_a.3.beta 128
g_a.3.gamma 128 128
g_a.3.beta_reparam.pedestal 1
g_a.3.beta_reparam.lower_bound.bound 1
g_a.3.gamma_reparam.pedestal 1
g_a.3.gamma_reparam.lower_bound.bound 1
g_a.4.weight 128 128 5 5
g_a.4.bias 128
g_a.5.beta 128
g_a.5.gamma 128 128
g_a.5.beta_reparam.pedestal 1
g_a.5.beta_reparam.lower_bound.bound 1
g_a.5.gamma_reparam.pedestal 1
g_a.5.gamma_reparam.lower_bound.bound 1
g_a.6.weight 192 128 5 5
g_a.6.bias 192
g_s.0.weight 192 128 5 5
g_s.0.bias 128
g_s.1.beta 128
g_s.1.gamma 128 128
g_s.1.beta_reparam.pedestal 1
g_s.1.beta_reparam.lower_bound.bound 1
g_s.1.gamma_reparam.pedestal 1
g_s.1.gamma_reparam.lower_bound.bound 1
g_s.2.weight 128 128 5 5
g_s.2.bias 128
g_s.3.beta 128
g_s.3.gamma 128 128
g_s.3.beta_reparam.pedestal 1
g_s.3.beta_reparam.lower_bound.bound 1
g_s.3.gamma_reparam.pedestal 1
g_s.3.gamma_reparam.lower_bound.bound 1
g_s.4.weight 128 128 5 5
g_s.4.bias 128
g_s.5.beta 128
g_s.5.gamma 128 128
g_s.5.beta_reparam.pedestal 1
g_s.5.beta_reparam.lower_bound.bound 1
g_s.5.gamma_reparam.pedestal 1
g_s.5.gamma_reparam.lower_bound.bound 1
g_s.6.weight 128 12 5 5
g_s.6.bias 12
"""
PARAMETERS = 3_055_756


def published_shapes():
    rows = (line.split() for line in PUBLISHED.strip().splitlines())
    return {key: None if shape == ["-"] else tuple(map(int, shape)) for key, *shape in rows}


def test_keys_and_shapes():
    state = TecFp(FpConfig(transform="gdn", N=128, M=192)).state_dict()
    published = published_shapes()
    assert len(published) == 72
    assert set(state) == set(published)
    shapes = {key: tuple(state[key].shape) for key, shape in published.items() if shape is not None}
    assert shapes == {key: shape for key, shape in published.items() if shape is not None}


def test_number_of_parameters():
    model = TecFp(FpConfig(transform="gdn", N=128, M=192))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS


def test_shapes_of_the_transforms():
    model = TecFp(FpConfig(transform="gdn", bands=3, N=8, M=6))
    y = model.analysis(torch.randn(2, 3, 32, 48))
    assert y.shape == (2, 6, 2, 3)
    assert model.synthesis(y).shape == (2, 3, 32, 48)


def test_the_density_is_one():
    """The bins of a channel have all the mass between them, and the median halves it."""
    torch.manual_seed(0)
    model = TecFp(FpConfig(transform="gdn", bands=3, N=8, M=6))
    grid = torch.arange(-400.0, 401.0).expand(6, -1)[None, :, :, None]
    mass = model.entropy_bottleneck.likelihoods(grid).sum((0, 2, 3))
    assert torch.allclose(mass, torch.ones(6), atol=1e-3)


def test_training_pass():
    torch.manual_seed(0)
    model = TecFp(FpConfig(transform="gdn", bands=3, N=8, M=6))
    out = model(torch.randn(2, 3, 32, 32), torch.zeros(2))
    assert out.x_hat.shape == (2, 3, 32, 32)
    assert out.bits.shape == (2,)
    assert (out.bits > 0).all()
    (out.x_hat.square().mean() + out.bits.mean()).backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "quantiles" not in n)
