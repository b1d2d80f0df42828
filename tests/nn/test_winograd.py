"""Winograd's convolution against PyTorch's."""

import pytest
import torch
from torch import nn

from eocodec.nn import winograd
from eocodec.nn.winograd import PATCH, WinogradConv, transforms


@pytest.mark.parametrize("size", [3, 5])
def test_one_dimension_by_hand(size):
    before, kernel, after = transforms(size)
    d = torch.randn(size + PATCH - 1, dtype=torch.float64)
    g = torch.randn(size, dtype=torch.float64)
    found = after @ ((kernel @ g) * (before @ d))
    expected = torch.stack([(d[i : i + size] * g).sum() for i in range(PATCH)])
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)


def direct(layer, x):
    """PyTorch's convolution in float64, of and with channels last."""
    return layer.double()(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 3), (4, 7), (16, 16), (17, 2), (31, 20)])
def test_it_is_the_convolution(size, rows, cols, monkeypatch):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 4, size, padding=size // 2)
    x = torch.randn(rows, cols, 6, dtype=torch.float64) * 100
    with torch.inference_mode():
        expected = direct(layer, x)
        fast = WinogradConv(layer)
        whole = fast(x)
        monkeypatch.setattr(winograd, "MAX_PATCHES", 7)
        strips = fast(x)
    assert torch.allclose(whole, expected, rtol=0, atol=1e-11)
    assert torch.allclose(strips, expected, rtol=0, atol=1e-11)


def test_float32_weights_are_taken_as_they_are():
    layer = nn.Conv2d(2, 3, 5, padding=2)
    x = torch.randn(9, 9, 2, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(WinogradConv(layer)(x), direct(layer, x), rtol=0, atol=1e-13)
