"""The compact TEC-FP: where it starts, its steps, and a training pass."""

import pytest
import torch

from codec_support import TINY
from eocodec.errors import ConfigError
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.gain import Steps
from eocodec.models.klt import HIGH_RATE_STEP, init_linear, init_steps

CONFIG = FpConfig(**{**TINY, "bands": 3})
X = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1)).cumsum(1).cumsum(3) / 5


def started():
    torch.manual_seed(0)
    model = TecFp(CONFIG)
    patches = X.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 16, 16)
    init_linear(model, patches, torch.tensor([0.5, 1.0, 1.5]))
    init_steps(model, torch.tensor([1.0, 16.0, 256.0]))
    return model


def test_it_starts_as_an_invertible_block_transform():
    model = started()
    y = model.analysis(X)
    assert y.shape == (2, CONFIG.latents, 2, 3)
    assert torch.allclose(model.synthesis(y), X, atol=1e-4)


def test_leading_latents_are_those_of_largest_variance():
    model = started()
    power = model.analysis(X).square().mean((0, 2, 3))
    assert set(model.g_a.lead.tolist()) == set(torch.argsort(power, descending=True)[:32].tolist())
    assert torch.equal(model.g_a.lead, model.g_s.lead)
    assert torch.allclose(model.g_a.latent_std, power[model.g_a.lead].sqrt(), rtol=1e-3)


def test_convolutions_act_on_the_leading_latents_alone():
    model = started()
    before = model.analysis(X)
    torch.nn.init.normal_(model.g_a.head.weight)
    changed = (model.analysis(X) != before).any(3).any(2).any(0)
    assert set(changed.nonzero()[:, 0].tolist()) == set(model.g_a.lead.tolist())


def test_steps_follow_high_rate_theory():
    model = started()
    steps = torch.exp2(model.steps.log2_step)
    assert steps[0, 0].item() == pytest.approx(1.1 * HIGH_RATE_STEP)
    assert torch.allclose(steps[0] / steps[1], torch.tensor(4.0))


def test_steps_between_levels():
    steps = Steps(3, 2)
    with torch.no_grad():
        steps.log2_step.copy_(torch.tensor([[0.0, 1], [2, 3], [4, 7]]))
    found = steps.at(torch.tensor([0.0, 0.5, 1.0, 1.75, 2.0]))
    expected = torch.exp2(torch.tensor([[0, 1], [1, 2], [2, 3], [3.5, 6], [4, 7]]))
    assert torch.allclose(found, expected)
    assert torch.allclose(Steps(1, 2).at(torch.zeros(3)), torch.ones(3, 2))


def test_finer_levels_cost_more_and_err_less():
    model = started()
    outs = [model(X, torch.full((2,), float(level)), dead_zone=0.1) for level in range(3)]
    bits = [out.bits.sum().item() for out in outs]
    errors = [(out.x_hat - X).square().mean().item() for out in outs]
    assert bits == sorted(bits)
    assert errors == sorted(errors, reverse=True)


def test_a_training_pass_reaches_all_weights():
    model = started()
    for head in (model.g_a.head, model.g_s.head):
        torch.nn.init.normal_(head.weight, std=0.01)
    out = model(X, torch.tensor([0.3, 1.6]), dead_zone=0.1)
    (out.x_hat.sub(X).square().mean() + 1e-3 * out.bits.mean()).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    inner = {f"{n}.{p}" for n, m in model.named_modules() if n.endswith(".inner") for p in ("weight", "bias")}
    assert set(silent) <= inner  # residual branches start with a zero last layer


def test_transforms_that_do_not_exist():
    with pytest.raises(ConfigError, match="wavelet"):
        TecFp(FpConfig(transform="wavelet"))
    with pytest.raises(TypeError, match="compact"):
        init_linear(TecFp(FpConfig(transform="gdn", bands=3, N=8, M=6)), X, torch.ones(3))
    with pytest.raises(ConfigError, match="compact"):
        TecFp(FpConfig(transform="gdn", bands=3, N=8, M=6)).block_transform  # noqa: B018
