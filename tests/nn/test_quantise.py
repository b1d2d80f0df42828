import pytest
import torch

from eocodec.nn.quantise import lower_bound, round_straight_through


def test_rounding_is_exact_and_its_gradient_that_of_the_identity():
    x = (torch.randn(1000) * 1e5).requires_grad_()
    rounded = round_straight_through(x)
    assert torch.equal(rounded, torch.round(x))
    (3 * rounded).sum().backward()
    assert (x.grad == 3).all()


@pytest.mark.parametrize("bound", [0.5, torch.tensor([0.5])])
def test_below_the_bound_only_what_leads_up_passes(bound):
    x = torch.tensor([0.2, 0.2, 0.8, 0.8], requires_grad=True)
    bounded = lower_bound(x, bound)
    assert torch.equal(bounded, torch.tensor([0.5, 0.5, 0.8, 0.8]))
    slope = torch.tensor([-1.0, 1.0, -1.0, 1.0])  # descent moves against it
    (slope * bounded).sum().backward()
    assert x.grad.tolist() == [-1.0, 0.0, -1.0, 1.0]


def test_a_value_below_the_bound_finds_its_way_up():
    x = torch.tensor([-2.0], requires_grad=True)
    optimiser = torch.optim.SGD([x], 0.3)
    for _ in range(30):
        optimiser.zero_grad()
        (lower_bound(x, 0.1) - 1).square().sum().backward()
        optimiser.step()
    assert x.item() == pytest.approx(1, abs=1e-3)
