"""Filling by the prior of a published TEC-TT, of miniature size and with random weights."""

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner

import eocodec
from eocodec.cli.main import cli
from eocodec.errors import InputError, ModelNotFound
from eocodec.filling.by_prior import expected
from eocodec.interop.published import import_checkpoint
from eocodec.sensors import S2_L2A
from filling_support import clouds_on, disc, seasons
from interop_support import write_stack
from published_support import checkpoint, small_fp, small_tt

MODEL = "published/tec-tt@20"
SIZE = (72, 60)
CLOUD = disc(*SIZE, (40, 30), 14)


@pytest.fixture(scope="module")
def network():
    return small_tt().requires_grad_(False)


@pytest.fixture(autouse=True)
def model(network, tmp_path, monkeypatch):
    monkeypatch.setenv("EOCODEC_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    torch.save(network.state_dict(), "model.pt")
    return import_checkpoint("model.pt", MODEL)


@pytest.fixture(scope="module")
def series():
    return seasons(*SIZE, seed=2)


def frames(count, rows, cols):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 12, 16 * rows, 16 * cols, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_without_clouds_it_is_the_model(network, count):
    x, clear = frames(count, 5, 6), torch.zeros(5, 6, dtype=torch.bool)
    with torch.inference_mode():
        out = network(torch.stack(x, 1))
        assert torch.allclose(expected(network, x, [clear] * count), out.x_hat[:, -1], atol=1e-5)


def test_unknown_latents_are_the_means_of_the_prior_and_known_ones_are_kept(network, monkeypatch):
    x, hidden = frames(2, 4, 4), torch.zeros(4, 4, dtype=torch.bool)
    hidden[0, 0] = hidden[2, 1] = True  # the first token of the window, and the tenth
    seen = []
    monkeypatch.setattr(network.dequantiser, "forward", lambda y_hat, z_cur: seen.append(y_hat) or y_hat)
    with torch.inference_mode():
        expected(network, x, [torch.zeros_like(hidden), hidden])
        out = network(torch.stack(x, 1))
    (y_hat,) = seen[:1]
    known = torch.round(out.y[:, 1])
    assert torch.equal(y_hat[..., ~hidden], known[..., ~hidden])
    assert torch.allclose(y_hat[0, :, 0, 0], out.means[0, 1, :, 0, 0], atol=1e-5)  # sees the past alone
    assert not torch.allclose(y_hat[0, :, 2, 1], out.means[0, 1, :, 2, 1], atol=1e-3)  # and what came before


def test_only_clouds_change_and_nothing_under_them_is_looked_at(series):
    clouds = clouds_on(series, 1, CLOUD)
    clouds[2] = disc(*SIZE, (20, 20), 10)
    filled = eocodec.inpaint(series, clouds, model=MODEL)
    assert filled.dtype == series.dtype
    clear = np.broadcast_to(~clouds[:, None], series.shape)
    assert np.array_equal(filled[clear], series[clear])
    hidden = np.where(clouds[:, None], 9999, series).astype(series.dtype)
    assert np.array_equal(eocodec.inpaint(hidden, clouds, model=MODEL), filled)
    assert (filled != eocodec.inpaint(series, clouds)).any()


def test_later_dates_count_as_earlier_ones_do(series):
    clouds = clouds_on(series, 1, CLOUD)
    found = eocodec.inpaint(series, clouds, timestep=1, model=MODEL)
    mirrored = eocodec.inpaint(series[::-1], clouds[::-1], timestep=-2, model=MODEL)
    assert np.abs(found.astype(int) - mirrored).max() <= 1
    for other in (0, 2):  # one of either side
        changed = series.copy()
        changed[other] += 500
        assert (eocodec.inpaint(changed, clouds, timestep=1, model=MODEL)[:, CLOUD] != found[:, CLOUD]).any()


def test_an_offset_is_taken_off(series):
    clouds = clouds_on(series, 1, CLOUD)
    found = eocodec.inpaint(series, clouds, timestep=1, model=MODEL)
    shifted = eocodec.inpaint(series + 1000, clouds, timestep=1, model=MODEL, offset=-1000)
    assert np.abs(shifted.astype(int) - 1000 - found).max() <= 1


@pytest.mark.parametrize("t", [0, 3])
def test_a_date_that_is_clouded_throughout(series, t):
    clouds = clouds_on(series, t, np.ones(SIZE, bool))
    filled = eocodec.inpaint(series, clouds, timestep=t, model=MODEL)
    assert filled.shape == series[t].shape
    assert (filled != series[t]).any()


def test_pixels_that_no_date_sees_and_nodata(series):
    clouds = np.broadcast_to(CLOUD, (len(series), *SIZE)).copy()
    series = series.copy()
    series[1, :, 40, 30] = 0
    filled = eocodec.inpaint(series, clouds, timestep=1, nodata=0, model=MODEL)
    assert (filled[:, 40, 30] == 0).all()
    assert np.count_nonzero(filled == 0) == 12


def test_what_does_not_fit_is_named(series, tmp_path):
    clouds = clouds_on(series, 1, CLOUD)
    with pytest.raises(InputError, match=f"fills the bands {S2_L2A[0].name}.*; 3 have data"):
        eocodec.inpaint(series[:, :3], clouds, model=MODEL)
    with pytest.raises(ModelNotFound):
        eocodec.inpaint(series, clouds, model="published/tec-tt@5")
    torch.save(checkpoint(small_fp()), "fp.pt")
    import_checkpoint("fp.pt", "published/tec-fp@40")
    for other in ("published/tec-fp@40", "tec-elic"):
        with pytest.raises(InputError, match=f"{other} cannot fill clouds; take a published TEC-TT"):
            eocodec.inpaint(series, clouds, model=other)


def test_the_command(series):
    names = [f"s_2023010{k}.tif" for k in range(1, 5)]
    for name, pixels in zip(names, series, strict=True):
        write_stack(name, pixels, nodata=0)
    clouds = clouds_on(series, 1, CLOUD)
    write_stack("clouds.tif", clouds.astype("uint8"), None)
    arguments = ["inpaint", *names, "out.tif", "--mask", "clouds.tif", "--time", "1", "--model", MODEL]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with rasterio.open("out.tif") as dataset:
        expected_pixels = eocodec.inpaint(series, clouds, timestep=1, nodata=0, model=MODEL)
        assert np.array_equal(dataset.read(), expected_pixels)
