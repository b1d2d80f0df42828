"""Training under the coder's own decisions: goes downhill, leaves what is frozen, and keeps its crops."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch

from codec_support import tile
from eocodec.errors import ConfigError
from eocodec.models import registry
from eocodec.models.weights import load
from eocodec.train import coded_loop
from eocodec.train import export as exporting
from eocodec.train.config import parse_config

SIZES = {"analysis_blocks": [2, 2], "synthesis_blocks": [3, 2], "rates": 8}


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    """Two places to train on, one that is held out, one to evaluate with."""
    root = tmp_path_factory.mktemp("imagery")
    rows = ["id,split,place,level,layout,path"]
    for seed, (name, split) in enumerate((("a", "train"), ("b", "train"), ("c", "train"), ("d", "dev"))):
        dn = tile(96, 96, seed, dtype="int16")
        with rasterio.open(
            root / f"{name}.tif", "w", driver="GTiff", dtype="int16", count=12, height=96, width=96
        ) as dataset:
            dataset.write(dn)
        rows.append(f"{name},{split},{name},L2A,stack,{name}.tif")
    (root / "catalog.csv").write_text("\n".join(rows) + "\n")
    return root


def config(imagery, folder, **coded):
    values = {
        "model_id": "tec-elic",
        "model": SIZES,
        "run": {"steps": 6, "bf16": False},
        "data": {"root": str(imagery), "cache": str(folder / "cache"), "crop": 64, "batch": 2},
        "optim": {"muon_lr": 1e-4, "adam_lr": 1e-3, "warmup_steps": 1, "freeze": "g_a,steps"},
        "coded": {"crops": 3, "side": 64, "held_out": "c", "held_crops": 2, **coded},
    }
    return parse_config(values)


@pytest.fixture(scope="module")
def run(imagery, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    return coded_loop.CodedTrainer(config(imagery, folder), folder)


def test_it_starts_from_the_model_and_goes_downhill_with_the_analysis_as_it_was(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    shipped = load(registry.by_id("tec-elic")).network.state_dict()
    assert all(torch.equal(before[name], value) for name, value in shipped.items())
    run.evaluate()
    batch = run.draw()
    losses = []
    for _ in range(6):
        losses.append(run.train_step(batch)["loss"])
        run.step += 1
    assert losses[-1] < losses[0]
    moved = {n for n, value in run.model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved
    assert not any(name.startswith(("g_a.", "steps.")) for name in moved)
    assert {"g_s.rates.bias", "g_s.rates.gain"} <= moved
    run.evaluate()
    found = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert found[0]["held_out_percent"] == 0
    assert found[1]["held_out_percent"] != 0


def test_crops_are_coded_once_and_held_out_places_are_not_trained_on(run, imagery):
    folders = [run.out / "coded" / name for name in ("crops", "held_out")]
    assert [len(list(folder.glob("*.npz"))) for folder in folders] == [3, 2]
    times = {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    again = coded_loop.CodedTrainer(config(imagery, run.out), run.out)
    assert times == {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    assert len(again.draw()) == 2
    with pytest.raises(ConfigError, match="leaves no scene"):
        coded_loop.CodedTrainer(config(imagery, run.out, held_out="a,b,c"), run.out)


def test_a_model_of_other_sizes_is_refused(imagery, tmp_path):
    sized = config(imagery, tmp_path)
    with pytest.raises(ConfigError, match=r"does not fit the model: g_s\.rates"):
        coded_loop.CodedTrainer(replace(sized, model={**SIZES, "rates": 4}), tmp_path)


def test_the_prior_stays_with_the_latents(run, imagery, tmp_path, monkeypatch):
    run.save()
    path = exporting.export(run.out / "last.pt", tmp_path)
    found, shipped = load(registry.by_id(str(path))), load(registry.by_id("tec-elic"))
    assert np.array_equal(found.prior.net.weights[0], shipped.prior.net.weights[0])
    assert found.card.details["config"]["rates"] == 8
    for side in ("g_a.stem.weight", "g_a.head.weight"):
        assert torch.equal(found.network.state_dict()[side], shipped.network.state_dict()[side])
