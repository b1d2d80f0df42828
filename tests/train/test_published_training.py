"""Training of the published models on a miniature SSL4EO-S12: many processes, resumed, exported."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ssl4eo_support import dataset

from codec_support import tile
from eocodec import codec
from eocodec.errors import ConfigError, WeightsError
from eocodec.interop.published import import_checkpoint
from eocodec.models.published import FAMILIES, family_of
from eocodec.models.registry import by_id
from eocodec.train import checkpoint, published
from eocodec.train.csv_log import read_log
from eocodec.train.distributed import joined
from eocodec.train.passes import PASSES, Objective, pass_of
from eocodec.train.published_config import load_published, parse_published
from eocodec.train.published_export import export

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "experiments" / "published").glob("*.toml"))
SERIES = (
    "model.d=32",
    "model.heads=2",
    "model.separate=1",
    "model.joint=1",
    "model.decoder=1",
    "data.frames=2",
)
SHRUNK = {
    "tec-fp": ("model.N=8", "model.M=6"),
    "tec-elic": ("model.N=4", "model.M=132"),
    "tec-tt": ("model.widths=[8, 8, 8, 16]", *SERIES),
    "flextec": ("model.widths=[8, 8, 8, 64]", *SERIES),
}
SMALL = ("run.device=cpu", "run.bf16=false", "data.crop=64", "data.workers=0", "data.val_samples=2")
STEPS, PROCESSES = 20, 2


def config_named(name):
    return next(path for path in CONFIGS if path.stem == name)


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("ssl4eo"), tmp_path_factory.mktemp("work"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Nothing is asked of git, and one thread is enough for so little."""
    monkeypatch.setattr(published, "git_commit", lambda: "c0ffee")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def overrides(places, name="tec-fp", **values):
    """What makes a published configuration small; `run_steps=3` stands for run.steps=3."""
    stated = [f"{key.replace('_', '.', 1)}={value}" for key, value in values.items()]
    return [f"data.root={places}", *SHRUNK[name], *SMALL, *stated]


# --- the published configurations, on two processes ---------------------------------------------------------


@pytest.fixture(scope="module")
def dry_runs(places, tmp_path_factory):
    """Folder with a run of every configuration: 20 steps on two processes over gloo."""
    out = tmp_path_factory.mktemp("dry")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(PROCESSES)]
    words += ["--standalone", str(Path(__file__).parent / "dry_run.py"), str(out)]
    for path in CONFIGS:
        given = overrides(
            places, path.stem, run_steps=STEPS, run_log_every=10, run_eval_every=20, data_batch=1
        )
        words += [str(path), "\n".join(given)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_there_is_a_configuration_for_each_family():
    assert {load_published(path).model_id for path in CONFIGS} == set(PASSES) == set(FAMILIES)
    assert set(SHRUNK) == {path.stem for path in CONFIGS}


@pytest.mark.parametrize("name", SHRUNK)
def test_a_dry_run_of_a_published_configuration(dry_runs, name):
    folder = dry_runs / name
    rows = read_log(folder)
    assert [int(row["step"]) for row in rows if row["split"] == "train"] == [10, 20]
    assert [int(row["step"]) for row in rows if row["split"] == "val"] == [20]
    assert all(np.isfinite(float(row[key])) for row in rows for key in ("loss", "bpp", "mse", "psnr"))
    ranks = [torch.load(folder / f"rank{n}.pt", weights_only=True) for n in range(PROCESSES)]
    assert all(torch.equal(ranks[0][key], ranks[1][key]) for key in ranks[0])
    state = torch.load(folder / checkpoint.CHECKPOINT, weights_only=True)
    assert (state["step"], state["processes"]) == (STEPS, PROCESSES)
    (path,) = folder.glob(f"{name}_lambda-*.pt")
    tensors = torch.load(path, weights_only=True)
    assert all(key.startswith("model.") for key in tensors)
    read = family_of(f"published/{name}").read(tensors)
    for key, value in read.named_parameters():
        assert torch.equal(value, state["average"][key]), key


# --- one process --------------------------------------------------------------------------------------------


def started(config, out):
    """A trainer of this process alone, and its batches."""
    out.mkdir(parents=True, exist_ok=True)
    with joined(config.run.device) as group:
        trainer = published.Trainer(config, out, group)
    return trainer, trainer.batches()


def trained(places, out, steps, name="tec-fp", **values):
    """A trainer after some steps of a run of 20."""
    given = overrides(places, name, **{"run_steps": 20, "data_batch": 2, **values})
    trainer, batches = started(load_published(config_named(name), given), out)
    figures = []
    for _ in range(steps):
        figures.append(trainer.train_step(batches))
        trainer.step += 1
    return trainer, figures


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(places, tmp_path, monkeypatch):
    config = config_named("tec-fp")
    given = overrides(places, run_steps=5, run_checkpoint_every=2, run_log_every=1, data_batch=2)
    whole = published.run(config, tmp_path / "whole", given)
    step = published.Trainer.train_step

    def killed(self, batches):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self, batches)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(published.Trainer, "train_step", killed)
        published.run(config, tmp_path / "killed", given)
    published.run(config, tmp_path / "killed", given)
    a, b = (torch.load(path / "last.pt", weights_only=True) for path in (whole, tmp_path / "killed"))
    assert a["step"] == b["step"] == 5
    for part in ("model", "average"):
        assert all(torch.equal(a[part][key], b[part][key]) for key in a[part])
    rows = read_log(tmp_path / "killed")
    assert [int(row["step"]) for row in rows if row["split"] == "train"] == [1, 2, 3, 4, 5]
    assert [row["loss"] for row in rows] == [row["loss"] for row in read_log(whole)]
    with pytest.raises(ConfigError, match="another configuration"):
        published.run(config, tmp_path / "killed", [*given, "loss.lmbda=3"])


def test_accumulated_batches_are_a_larger_one(places, tmp_path):
    large, (a,) = trained(places, tmp_path, 1, data_batch=4)
    small, (b,) = trained(places, tmp_path, 1, data_batch=2, run_accumulate=2)
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert a["norm"] == pytest.approx(b["norm"], rel=1e-4)
    for (name, p), q in zip(large.model.named_parameters(), small.model.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, rtol=1e-3, atol=1e-5), name


def test_the_average_follows_the_weights(places, tmp_path):
    trainer, _ = trained(places, tmp_path, 0, optim_ema=0.3, optim_adam_lr=0.01)
    batches = trainer.batches()
    expected = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    for step in range(3):
        trainer.train_step(batches)
        decay = min(0.3, (1 + step) / (10 + step))
        for key, value in trainer.model.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value
        trainer.step += 1
    now = trainer.model.state_dict()
    assert not torch.equal(now["g_a.0.weight"], expected["g_a.0.weight"])
    for key, value in trainer.average.items():
        assert torch.allclose(value.float(), expected[key].float(), atol=1e-6), key
    trainer.evaluate()
    assert all(torch.equal(value, now[key]) for key, value in trainer.model.state_dict().items())


WIDE = {name: {"model_N": 16} for name in ("tec-fp", "tec-elic")}
WIDE |= {name: {"model_widths": [16, 16, 16, 64]} for name in ("tec-tt", "flextec")}


def last_layers(model, name):
    """What makes the latents, and the hyper-latents."""
    if name in ("tec-tt", "flextec"):
        return [model.transform.analysis_transform.transforms[13]]
    hyper = [model.latent_codec.hyper.h_a[-1]] if name == "tec-elic" else []
    return [[layer for layer in model.g_a if isinstance(layer, torch.nn.Conv2d)][-1], *hyper]


@pytest.mark.parametrize("name", SHRUNK)
def test_every_weight_learns(places, tmp_path, name):
    trainer, _ = trained(places, tmp_path, 0, name, **WIDE[name])  # no layer is dead by chance
    with torch.no_grad():
        for layer in last_layers(trainer.model, name):
            layer.weight *= 30  # latents of a few steps
    trainer.train_step(trainer.batches())
    still = [key for key, p in trainer.model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_what_is_frozen_stays(places, tmp_path):
    trainer, _ = trained(places, tmp_path, 0, optim_freeze="g_a")
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.train_step(trainer.batches())
    changed = [key for key, value in trainer.model.named_parameters() if not torch.equal(value, before[key])]
    assert changed
    assert not [key for key in changed if key.startswith("g_a.")]


def test_the_loss_goes_down(places, tmp_path):
    _, figures = trained(places, tmp_path, 20, optim_adam_lr=0.01, optim_warmup_steps=1, run_steps=40)
    first, last = (np.mean([f["loss"] for f in part]) for part in (figures[:3], figures[-3:]))
    assert last < 0.7 * first


@pytest.mark.parametrize("name", SHRUNK)
def test_bfloat16_keeps_rate_and_distortion(places, tmp_path, name):
    trainer, _ = trained(places, tmp_path, 0, name)
    dn = next(trainer.batches())

    def figures(enabled):
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            return trainer.objective(dn)

    exact, rough = figures(False), figures(True)
    assert rough.bpp.dtype == rough.mse.dtype == torch.float32
    assert rough.bpp.item() == pytest.approx(exact.bpp.item(), rel=0.01)
    assert rough.mse.item() == pytest.approx(exact.mse.item(), rel=0.01)


def test_evaluation_is_not_random(places, tmp_path):
    trainer, _ = trained(places, tmp_path, 1)
    torch.manual_seed(1)
    first = trainer.evaluate()
    torch.manual_seed(2)
    assert trainer.evaluate() == first
    assert first["bpp"] > 0


def test_the_objective_counts_bits_per_pixel_of_all_bands(places):
    config = load_published(config_named("tec-fp"), overrides(places, run_steps=1))
    model = family_of(config.model_id).build(config.model).eval()
    dn = torch.full((2, 12, 64, 64), 1000, dtype=torch.int16)
    objective = Objective(pass_of(config.model_id).run, model, 10.0, published.LEVELS["L2A"])
    with torch.no_grad():
        figures = objective.eval()(dn)
        x = (dn.float() - objective.mean) / objective.std
        out = model(x, torch.zeros(2))
    assert figures.bpp.item() == pytest.approx(out.bits.sum().item() / (2 * 64 * 64), rel=1e-5)
    assert figures.mse.item() == pytest.approx((x - out.x_hat).square().mean().item(), rel=1e-4)
    assert figures.loss.item() == pytest.approx(figures.bpp.item() + 10 * figures.mse.item(), rel=1e-5)


def test_an_export_codes_is_imported_and_can_be_started_from(places, tmp_path, monkeypatch):
    name = "tec-fp"
    monkeypatch.setenv("EOCODEC_MODELS", str(tmp_path / "models"))
    trainer, _ = trained(places, tmp_path, 2, name)
    trainer.save()
    path = export(tmp_path / checkpoint.CHECKPOINT, tmp_path / "out")
    assert path.name == f"{name}_lambda-40.pt"
    weights = tmp_path / "out" / f"{name}-40.safetensors"
    card = import_checkpoint(path, f"mine-{name}", kind=name)
    assert card.fingerprint == by_id(str(weights)).fingerprint
    assert by_id(str(weights)).details["training"]["config"]["loss"]["lmbda"] == 40
    array = tile(64, 64)
    data = codec.encode(array, model=str(weights))
    assert np.array_equal(codec.decode(data), codec.decode(codec.encode(array, model=card.id)))

    again, _ = trained(places, tmp_path / "again", 0, name, run_init_from=path)
    for key, value in again.model.named_parameters():
        assert torch.equal(value, trainer.average[key]), key
        assert value.requires_grad
    assert np.isfinite(again.train_step(again.batches())["loss"])


def test_there_is_nothing_to_export(tmp_path):
    with pytest.raises(ConfigError, match="no checkpoint"):
        export(tmp_path / "missing.pt", tmp_path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("model.bands=13", "bands must be 12"),
        ("model_id=tec-fp", "must begin with published/"),
        ("model_id=published/tec-x", "no training for"),
        ("run.minutes=3", "unknown key run.minutes"),
        ("run.steps=0", "run.steps must be stated"),
        ("loss.lmbda=0.0", "loss.lmbda must be stated"),
        ("loss.masking=false", "tec-fp has no masking"),
        ("data.crop=96", "multiple of 64"),
        ("data.level=L1B", "one of L2A, L1C"),
        ("data.frames=4", "frames must be 1"),
        ("data.root=nowhere", "set data.root"),
        ("run.device=tpu", "cuda or cpu"),
        ("model.K=3", "unknown keys"),
    ],
)
def test_bad_configurations(places, tmp_path, wrong, words):
    with pytest.raises(ConfigError, match=words):
        published.run(config_named("tec-fp"), tmp_path / "run", [*overrides(places), wrong])


def test_a_checkpoint_to_start_from_that_is_none(places, tmp_path):
    given = [*overrides(places), "run.steps=3", f"run.init_from={tmp_path / 'nothing.pt'}"]
    with pytest.raises(WeightsError, match=r"nothing\.pt is no checkpoint"):
        published.run(config_named("tec-fp"), tmp_path / "run", given)


def test_no_more_processes_than_gpus(places, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there are GPUs here")
    with pytest.raises(ConfigError, match="0 GPUs here"):
        published.run(config_named("tec-fp"), tmp_path / "run", [*overrides(places), "run.device=cuda"])


def test_plain_values_make_the_same_configuration():
    config = load_published(CONFIGS[0])
    assert parse_published(config.to_dict()) == config
