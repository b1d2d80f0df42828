"""The training loop on made-up scenes: killed, resumed, exported, and going downhill."""

import json

import numpy as np
import pytest
import rasterio
import torch

from codec_support import TINY, psnr, tile
from eocodec import codec
from eocodec.errors import ConfigError
from eocodec.train import export as exporting
from eocodec.train import loop, losses
from eocodec.train import trainer as trainer_module
from eocodec.train.config import parse_config
from eocodec.train.scenes import NODATA, data_root, load_cached, read_split
from eocodec.train.trainer import Trainer

TOML = """
model_id = "tec-fp"
[model]
{model}
[run]
steps = {steps}
bf16 = false
log_every = 1
checkpoint_minutes = 0.0
[data]
root = "{root}"
cache = "{cache}"
crop = 64
batch = 4
[optim]
warmup_steps = 1
"""


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    """A folder laid out as the training imagery is: two scenes to train on, one to evaluate with."""
    root = tmp_path_factory.mktemp("imagery")
    rows = ["id,split,place,level,layout,path"]
    scenes = (
        ("one", "train", "L2A", 96, 80),
        ("two", "train", "L1C", 70, 90),
        ("3", "dev", "L2A", 64, 64),
        ("4", "dev", "L2A", 80, 300),
    )
    for seed, (name, split, level, height, width) in enumerate(scenes):
        dn = tile(height, width, seed, dtype="int16")
        if name == "two":
            dn[:, :5, :7] = NODATA
        path = root / f"{name}.tif"
        size = {"count": 12, "height": height, "width": width}
        with rasterio.open(path, "w", driver="GTiff", dtype="int16", **size) as dataset:
            dataset.write(dn)
        rows.append(f"{name},{split},{name},{level},stack,{path.name}")
    (root / "catalog.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def small(monkeypatch):
    """Less to draw, to fit and to ask of git than a real run wants."""
    for module in (loop, trainer_module):
        monkeypatch.setattr(module, "git_commit", lambda: "c0ffee")
    monkeypatch.setattr(trainer_module, "KLT_PATCHES", 200)
    monkeypatch.setattr(exporting, "FIT_CROPS", 3)
    monkeypatch.setattr(exporting, "FIT_SIDE", 64)


def written(folder, imagery, steps=3):
    """A configuration file of the tiny model."""
    folder.mkdir(exist_ok=True)
    model = "\n".join(f"{k} = {list(v) if isinstance(v, tuple) else v}" for k, v in TINY.items())
    path = folder / "tiny.toml"
    path.write_text(TOML.format(model=model, steps=steps, root=imagery, cache=folder / "cache"))
    return path


def trainer(folder, imagery, steps=3):
    out = folder / "run"
    out.mkdir(parents=True, exist_ok=True)
    return Trainer(loop.load_config(written(folder, imagery, steps)), out)


def step(run, batch):
    figures = run.train_step(batch)
    run.step += 1
    return figures


def test_resuming_equals_continuing(tmp_path, imagery, small):
    first = trainer(tmp_path, imagery)
    batches = [first.sampler.batch() for _ in range(3)]
    for batch in batches[:2]:
        step(first, batch)
    first.save()
    continued = step(first, batches[2])
    second = trainer(tmp_path, imagery)
    assert second.resume()
    assert second.step == 2
    assert step(second, batches[2]) == continued
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], tensor), name
        assert torch.equal(second.average[name], first.average[name]), name


def test_there_is_nothing_to_resume_at_first(tmp_path, imagery, small):
    assert not trainer(tmp_path, imagery).resume()


def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path, imagery, small, monkeypatch):
    run = trainer(tmp_path, imagery)
    run.save()

    def killed(state, path):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    run.step = 7
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(torch, "save", killed)
        run.save()
    again = trainer(tmp_path, imagery)
    assert again.resume()
    assert again.step == 0


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_killed_resumed_exported_and_used(tmp_path, imagery, small, monkeypatch, capsys):
    config, out = written(tmp_path, imagery), tmp_path / "run"
    whole_step, done = Trainer.train_step, []

    def killed_in_the_third(self, batch):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(batch)
        return whole_step(self, batch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "train_step", killed_in_the_third)
        loop.run(config, out)
    assert not list(out.glob("*.safetensors"))
    assert loop.run(config, out) == out
    records = log_of(out)
    assert [r["start"] for r in records if "start" in r] == [0, 2]
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3]
    assert all(np.isfinite(r["dev_loss"]) for r in records if "dev_loss" in r)
    assert "resumed at step 2" in capsys.readouterr().out

    (path,) = out.glob("*.safetensors")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["training"]["steps"] == 3
    assert card["training"]["commit"] == "c0ffee"
    assert card["training"]["config"]["run"]["seed"] == 0
    array = tile(40, 50, seed=9)
    decoded = codec.decode(codec.encode(array, model=str(path), quality=80))
    assert psnr(array, decoded) > 42


def test_a_folder_belongs_to_one_configuration(tmp_path, imagery, small):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="another configuration"):
        loop.run(written(tmp_path, imagery), out)


def test_models_that_cannot_be_trained(tmp_path, imagery):
    config = parse_config({"model_id": "tec-nothing", "run": {"steps": 1}})
    with pytest.raises(ConfigError, match="tec-nothing"):
        Trainer(config, tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint"):
        exporting.export(tmp_path / "missing.pt", tmp_path)


def test_the_loss_goes_down_where_that_is_easy(tmp_path, imagery, small):
    """Steps far too fine for their lambdas: training them towards the optimum must pay."""
    run = trainer(tmp_path, imagery, steps=20)
    for group in run.optimisers[0].param_groups:
        group["peak"] *= 50
    with torch.no_grad():
        run.model.steps.log2_step -= 3
    batch = run.sampler.batch()

    def measured():
        torch.manual_seed(5)
        with torch.no_grad():
            x, level = torch.from_numpy(batch), torch.linspace(0, 2, 4)
            out = run.model(x, level, dead_zone=0.1)
            lmbda = losses.lambda_at(level, run.config.loss, run.levels)
            return losses.rate_distortion(x, out.x_hat, out.bits, lmbda, run.weights, 0.5).loss.item()

    before = measured()
    for _ in range(20):
        step(run, batch)
    assert measured() < 0.9 * before


def test_scenes_are_read_filled_and_cached(imagery, tmp_path):
    scenes = read_split(imagery, "train")
    assert [(s.name, s.level, s.dn.shape) for s in scenes] == [
        ("one", "L2A", (12, 96, 80)),
        ("two", "L1C", (12, 70, 90)),
    ]
    assert scenes[1].dn.min() > -1000  # nodata is filled
    assert [s.name for s in read_split(imagery, "train", min_side=75)] == ["one"]
    for _ in range(2):
        cached = load_cached(imagery, tmp_path / "cache")
        assert [s.name for s in cached] == ["one", "two"]
        assert all(np.array_equal(a.dn, b.dn) for a, b in zip(cached, scenes, strict=True))
    assert isinstance(cached[0].dn, np.memmap)


def test_where_imagery_is_looked_for(imagery, tmp_path, monkeypatch):
    monkeypatch.setenv("EOCODEC_DATA", str(imagery))
    assert data_root() == imagery
    with pytest.raises(ConfigError, match=r"catalog\.csv"):
        data_root(str(tmp_path))


def test_what_is_frozen_stays(tmp_path, imagery, small):
    out = tmp_path / "run"
    out.mkdir(parents=True)
    path = written(tmp_path, imagery)
    path.write_text(path.read_text() + 'freeze = "g_a,steps"\n')
    run = Trainer(loop.load_config(path), out)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    step(run, run.sampler.batch())
    changed = {name for name, t in run.model.state_dict().items() if not torch.equal(t, before[name])}
    assert "g_s.head.weight" in changed
    assert not [name for name in changed if name.startswith(("g_a", "steps"))]
