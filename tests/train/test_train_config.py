import dataclasses

import pytest
import torch

from eocodec.errors import ConfigError
from eocodec.sensors import S2_L2A
from eocodec.train.config import LossConfig, OptimConfig, load_config, parse_config, read_values
from eocodec.train.losses import band_weights, lambda_at, lambda_ladder, mean_psnr, rate_distortion
from eocodec.train.optim import Muon, build, orthogonalise, parameter_groups, rate_factor, set_rates

GOOD = {"model_id": "tec-fp", "run": {"steps": 3}}


def test_defaults_and_plain_values():
    config = parse_config(GOOD)
    assert config.run.steps == 3
    assert parse_config(config.to_dict()) == config


def test_integers_where_a_number_is_meant():
    assert parse_config({**GOOD, "loss": {"lmbda_min": 2}}).loss.lmbda_min == 2.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**GOOD, "stepz": 3}, "unknown key stepz"),
        ({**GOOD, "run": {"steps": 3, "sead": 1}}, "unknown key run.sead"),
        ({**GOOD, "loss": {"lambda": 1.0}}, "unknown key loss.lambda"),
        ({"run": {"steps": 3}}, "model_id is missing"),
        ({"model_id": "tec-fp"}, "exactly one of"),
        ({"model_id": "tec-fp", "run": {"steps": 3, "minutes": 1.0}}, "exactly one of"),
        ({**GOOD, "data": {"crop": 100}}, "multiple of 16"),
        ({**GOOD, "data": {"crop": 32}}, "at least 64"),
        ({**GOOD, "run": {"steps": "3"}}, "run.steps must be int"),
        ({**GOOD, "run": {"steps": 3, "bf16": 1}}, "run.bf16 must be bool"),
    ],
)
def test_bad_configurations(values, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(values)


def test_files(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model_id = "tec-fp"\n[run]\nsteps = 3\n[model]\nlevels = 4\n')
    assert load_config(path).model == {"levels": 4}
    path.write_text("model_id = \n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "missing.toml")


def test_values_that_a_caller_replaces(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model_id = "tec-fp"\n[run]\nsteps = 3\n')
    given = [
        "run.steps=7",
        "data.root=/some/where",
        "model.blocks=[1, 2]",
        'model_id="tec-elic"',
        "run.bf16 = false",
    ]
    assert read_values(path, given) == {
        "model_id": "tec-elic",
        "run": {"steps": 7, "bf16": False},
        "data": {"root": "/some/where"},
        "model": {"blocks": [1, 2]},
    }
    assert load_config(path, ["run.steps=7"]).run.steps == 7
    for wrong, words in (("steps", "of the form"), ("=3", "of the form"), ("model_id.x=3", "no section")):
        with pytest.raises(ConfigError, match=words):
            read_values(path, [wrong])


def test_lambda_ladder_is_geometric():
    config = LossConfig(lmbda_min=2.0, lmbda_max=486.0)
    assert lambda_ladder(config, 6).tolist() == pytest.approx([2, 6, 18, 54, 162, 486], rel=1e-5)
    levels = torch.tensor([0.0, 1.0, 2.5, 5.0])
    assert lambda_at(levels, config, 6).tolist() == pytest.approx([2, 6, 18 * 3**0.5, 486], rel=1e-5)


def test_band_weights():
    weights = band_weights(LossConfig(band_weights="dn"))
    variances = torch.tensor([band.std**2 for band in S2_L2A])
    assert weights.mean().item() == pytest.approx(1)
    assert torch.allclose(weights / weights[0], variances / variances[0])
    assert band_weights(LossConfig(band_weights="flat")).tolist() == [1.0] * 12
    assert band_weights(LossConfig(band_weights=",".join(["2"] * 12))).tolist() == [2.0] * 12
    for bad in ("1,2", "x," * 12, "0," * 11 + "1"):
        with pytest.raises(ConfigError, match="band_weights"):
            band_weights(LossConfig(band_weights=bad))


def test_loss_of_known_errors():
    x = torch.zeros(2, 12, 4, 4)
    x_hat = x.clone()
    x_hat[1] += 0.5
    bits, lmbda = torch.tensor([192.0, 384.0]), torch.tensor([1.0, 4.0])
    rd = rate_distortion(x, x_hat, bits, lmbda, torch.ones(12), balance=0.5)
    assert rd.bpppc.tolist() == [1.0, 2.0]
    assert rd.distortion.tolist() == [0.0, 0.25]
    assert rd.loss.item() == pytest.approx((1.0 + 0.5 * (2.0 + 4 * 0.25)) / 2)


def test_psnr_of_a_dn_weighted_distortion():
    error = torch.randn(1, 12, 64, 64, generator=torch.Generator().manual_seed(0))
    stds = torch.tensor([band.std for band in S2_L2A])[:, None, None]
    rd = rate_distortion(
        error, 0 * error, torch.ones(1), torch.ones(1), band_weights(LossConfig(band_weights="dn")), 0.5
    )
    direct = 10 * torch.log10(1e8 / (error * stds).square().mean())
    assert mean_psnr(rd.distortion) == pytest.approx(direct.item(), abs=1e-3)


def test_schedule():
    config = OptimConfig(warmup_steps=10, flat_share=0.25)
    assert rate_factor(0.0, 0, config) == pytest.approx(0.1)
    assert rate_factor(0.2, 50, config) == 1.0
    assert rate_factor(0.625, 50, config) == pytest.approx(0.5)
    assert rate_factor(1.0, 100, config) == pytest.approx(0.0)


def test_orthogonalised_updates():
    torch.manual_seed(0)
    for shape in ((8, 20), (20, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_takes_matrices_and_adam_the_rest():
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 1))
    groups = parameter_groups(layer)
    assert {tuple(p.shape) for p in groups["muon"]} == {(4, 3, 3, 3), (4, 4, 1, 1)}
    assert {tuple(p.shape) for p in groups["adam"]} == {(4,)}
    config = OptimConfig()
    optimisers = build(layer, config)
    assert sum(len(g["params"]) for o in optimisers for g in o.param_groups) == 4
    set_rates(optimisers, 0.5)
    assert {g["lr"] for o in optimisers for g in o.param_groups} == {config.muon_lr / 2, config.adam_lr / 2}
    assert len(build(layer, dataclasses.replace(config, muon_lr=0.0))) == 1


def test_muon_goes_downhill():
    torch.manual_seed(0)
    target, weight = torch.randn(6, 9), torch.nn.Parameter(torch.zeros(6, 9))
    optimiser = Muon([weight], lr=0.05)
    losses = []
    for _ in range(40):
        loss = (weight - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
