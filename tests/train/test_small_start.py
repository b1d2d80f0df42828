"""The scripts behind small runs of a published temporal model: its places, and where it starts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from ssl4eo_support import place

from eocodec.models.published import family_of
from eocodec.sensors import S2_L2A
from eocodec.train.published_config import load_published
from eocodec.train.ssl4eo import Place, read_dates

ROOT = Path(__file__).resolve().parents[2]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_place_is_read_as_it_was_written(tmp_path):
    dn = place(3, dates=2, side=40)
    script("write_places").write_place(tmp_path / "a.zarr.zip", dn)
    read = read_dates(Place(str(tmp_path / "a.zarr.zip")), 2, np.random.default_rng(0))
    assert read.dtype == np.int16
    assert np.array_equal(read, dn)


def test_the_start_gives_images_back_and_no_token_has_most_of_them():
    torch.manual_seed(0)
    model = family_of("published/flextec").build(
        {"widths": [24, 48, 96, 128], "d": 16, "heads": 1, "repacked": True}
    )
    mean, std = (torch.tensor([getattr(b, key) for b in S2_L2A])[:, None, None] for key in ("mean", "std"))
    dn = torch.from_numpy(np.concatenate([place(seed, side=96) for seed in range(8)])).float()
    x = (dn - mean) / std
    with torch.no_grad():
        script("pyramid_start").start(model, x)
        y = model.analysis(x)
        assert (model.synthesis(y) - x).square().mean() < 0.03 * x.var()
        assert (model.synthesis(torch.round(y)) - x).square().mean() < 0.01  # rounding alone is 0.0035
        of_tokens = y.var((0, 2, 3)).unflatten(0, (16, -1)).sum(1)
        assert of_tokens.max() < 0.25 * of_tokens.sum()
        out = model.eval()(x[None, :2], 16)
    assert (out.x_hat[0] - x[:2]).square().mean() < 0.01  # the dequantiser adds next to nothing


@pytest.mark.parametrize("masking", [True, False])
def test_the_configuration_of_small_models(masking):
    path = ROOT / "experiments" / "flextec" / "repacking.toml"
    config = load_published(path, [f"loss.masking={str(masking).lower()}"])
    assert config.loss.masking is masking
    names = [name for name, _ in family_of(config.model_id).build(config.model).named_parameters()]
    frozen = tuple(config.optim.freeze.split(","))
    still = {name.split(".")[1] + name.split(".")[3] for name in names if name.startswith(frozen)}
    assert still == {f"analysis_transform{n}" for n in range(13)} | {
        f"synthesis_transform{n}" for n in range(2, 15)
    }
