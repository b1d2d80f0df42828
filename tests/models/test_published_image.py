"""Transforms of published models on images of any size: in blocks as in one piece."""

import copy

import numpy as np
import pytest
import torch

from eocodec.errors import WeightsError
from eocodec.models import elic_published_coding, fp_published, published_image
from eocodec.models.registry import ModelCard
from eocodec.nn import precision
from eocodec.nn.attention import Bottleneck
from eocodec.sensors import LEVELS, S2_BAND_NAMES
from published_support import small_elic, small_fp

CARD = ModelCard("published/x", "published/x", None, b"", {"bands": list(S2_BAND_NAMES)})


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    monkeypatch.setenv("EOCODEC_PRECISION", "float32")


@pytest.fixture(scope="module", params=["fp", "elic"])
def model(request):
    make = {"fp": (small_fp, fp_published), "elic": (small_elic, elic_published_coding)}
    small, module = make[request.param]
    return module.FAMILY.ready(CARD, small())


def dn(rows, cols, bands=12):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.uniform(0, 6000, (bands, 16 * rows, 16 * cols)).astype(np.float32))


def latents(model, rows, cols, dtype=np.float32):
    rng = np.random.default_rng(1)
    return rng.normal(0, 3, (model.coder.channels, rows * cols)).astype(dtype)


def image(model, y_hat, rows, cols):
    """All strips, and how many."""
    strips = list(model.synthesis(y_hat, rows, cols).strips())
    assert [top for top, _ in strips] == list(np.cumsum([0, *(s.shape[1] for _, s in strips[:-1])]))
    return torch.cat([strip for _, strip in strips], 1), len(strips)


def test_units_are_those_of_the_bands(model):
    """Network units on one side, DN on the other; float32 unless the environment says otherwise."""
    x = dn(3, 2)
    means, stds = (torch.tensor([getattr(b, k) for b in CARD.band_table]) for k in ("mean", "std"))
    means, stds = means[:, None, None], stds[:, None, None]
    with torch.inference_mode():
        expected = model.network.g_a(((x - means) / stds)[None])[0].flatten(1)
        assert torch.allclose(model.analysis(x.clone()), expected, rtol=1e-4, atol=1e-4)
        y_hat = latents(model, 3, 2)
        expected = model.network.g_s(torch.from_numpy(y_hat).view(1, -1, 3, 2))[0] * stds + means
        found, _ = image(model, y_hat, 3, 2)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=1e-4, atol=0.1)


def test_blocks_see_what_they_have_to(model, monkeypatch):
    rows, cols = 26, 23
    x, y_hat, exact = dn(rows, cols), latents(model, rows, cols), latents(model, rows, cols, np.float64)
    with torch.inference_mode():
        y, (whole, count) = model.analysis(x.clone()), image(model, y_hat, rows, cols)
        assert count == 1
        fine = model.exact_image(exact[:, : 6 * 4], 6, 4)
        monkeypatch.setattr(published_image, "BLOCK", 13)
        monkeypatch.setattr(published_image, "EXACT_BLOCK", 3)
        assert torch.allclose(model.analysis(x.clone()), y, rtol=0, atol=1e-4)
        parts, count = image(model, y_hat, rows, cols)
        assert count == 2
        assert (parts - whole).abs().max() < 0.05  # DN
        assert np.abs(model.exact_image(exact[:, : 6 * 4], 6, 4) - fine).max() < 1e-8


def reach(transform, x, unit):
    """How many places around that of a latent, on either side, its output or its input is connected to."""
    x.requires_grad_(True)
    y = transform(x[None])[0]
    rows = y.shape[1] // 2 // unit * unit
    y[:, rows : rows + unit].abs().sum().backward()
    seen = np.flatnonzero(x.grad.abs().sum((0, 2)).numpy())
    place = rows * x.shape[1] // y.shape[1]
    return max(place - seen[0], seen[-1] - place - (1 if unit > 1 else 15))


def test_the_halo_is_what_transforms_see(model):
    """Of g_a in pixels, of g_s in latents: as many as stated, and no fewer for one of them."""
    network, side = copy.deepcopy(model.network).double(), 2 * model.halo + 5
    pixels = reach(network.g_a, torch.randn(12, side * 16, 32, dtype=torch.float64), 1)
    places = reach(network.g_s, torch.randn(model.coder.channels, side, 2, dtype=torch.float64), 16)
    assert model.halo - 1 < max(pixels / 16, places) <= model.halo


def test_float64_is_near_float32(model):
    y_hat = latents(model, 2, 3)
    with torch.inference_mode():
        usual, _ = image(model, y_hat, 2, 3)
    exact = model.exact_image(y_hat.astype(np.float64), 2, 3)
    assert exact.dtype == np.float64
    assert np.abs(usual.numpy() - exact).max() < 0.05


def test_bfloat16_on_demand(model, monkeypatch):
    y_hat = latents(model, 2, 2)
    with torch.inference_mode():
        usual, _ = image(model, y_hat, 2, 2)
        monkeypatch.setenv("EOCODEC_PRECISION", "bfloat16")
        rough, _ = image(model, y_hat, 2, 2)
    difference = (rough - usual).abs()
    assert 0.05 < difference.max() < 2000
    assert difference.mean() < 100


@pytest.mark.parametrize("native", [True, False])
def test_only_branches_of_the_synthesis_are_in_bfloat16_and_only_where_it_is_native(
    model, native, monkeypatch
):
    x, y_hat = dn(2, 2), latents(model, 2, 2)
    with torch.inference_mode():
        y, (published, _) = model.analysis(x.clone()), image(model, y_hat, 2, 2)
        monkeypatch.setenv("EOCODEC_PRECISION", "bfloat16")
        rough, _ = image(model, y_hat, 2, 2)
        monkeypatch.delenv("EOCODEC_PRECISION")
        monkeypatch.setattr(precision, "bfloat16_is_native", lambda: native)
        usual, _ = image(model, y_hat, 2, 2)
        assert torch.equal(model.analysis(x.clone()), y)
    has_branches = any(isinstance(part, Bottleneck) for part in model.network.g_s.modules())
    error, largest = (float((found - published).square().mean().sqrt()) for found in (usual, rough))
    assert (0 < error < largest / 2) if native and has_branches else error == 0


def test_levels_have_their_own_statistics():
    names = [band.name for band in LEVELS["L1C"]]
    card = ModelCard("published/y", "published/y", None, b"", {"bands": names, "level": "L1C"})
    assert names[9:12] == ["B09", "B10", "B11"]
    assert card.band_table == LEVELS["L1C"]
    assert CARD.band_table == LEVELS["L2A"]
    model = fp_published.FAMILY.ready(card, small_fp(bands=13))
    with torch.inference_mode():
        x = dn(1, 1, bands=13)
        flat = torch.tensor([band.mean for band in LEVELS["L1C"]])[:, None, None].expand(13, 16, 16)
        expected = model.network.g_a(torch.zeros(1, 13, 16, 16))[0].flatten(1)
        assert torch.allclose(model.analysis(flat.clone()), expected, rtol=0, atol=1e-5)
        assert model.analysis(x).shape == (10, 1)
    with pytest.raises(WeightsError, match="B10 of level L2A"):
        ModelCard("z", "z", None, b"", {"bands": names}).band_table  # noqa: B018
