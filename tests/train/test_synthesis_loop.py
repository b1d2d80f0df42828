"""The synthesis trained on coded crops: what it starts from, what moves, what is kept, what comes out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch

from codec_support import tile
from eocodec.codec import decode, encode
from eocodec.errors import ConfigError
from eocodec.models import registry
from eocodec.models.weights import load
from eocodec.sensors import S2_L2A
from eocodec.train import loop
from eocodec.train.config import parse_config
from eocodec.train.synthesis_loop import SynthesisTrainer

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


def values(imagery, folder, **coded):
    return {
        "model_id": "tec-elic",
        "model": SIZES,
        "run": {"steps": 6, "bf16": False, "log_every": 2},
        "data": {"root": str(imagery), "cache": str(folder / "cache"), "crop": 64, "batch": 2},
        "optim": {"muon_lr": 1e-4, "adam_lr": 1e-3, "warmup_steps": 1},
        "coded": {"crops": 3, "side": 96, "held_out": "c", "held_crops": 2, **coded},
    }


def toml(values):
    """Nested values as TOML: what JSON writes of a number, a text or a list is that."""
    plain = [f"{key} = {json.dumps(v)}" for key, v in values.items() if not isinstance(v, dict)]
    sections = [f"[{key}]\n{toml(v)}" for key, v in values.items() if isinstance(v, dict)]
    return "\n".join([*plain, *sections])


def trainer(imagery, folder, **coded):
    return SynthesisTrainer(parse_config(values(imagery, folder, **coded)), folder)


@pytest.fixture(scope="module")
def run(imagery, tmp_path_factory):
    torch.set_num_threads(1)
    return trainer(imagery, tmp_path_factory.mktemp("run"))


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_starts_from_the_model_and_only_the_synthesis_moves_downhill(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    shipped = load(registry.by_id("tec-elic")).network.state_dict()
    assert all(torch.equal(before[name], value) for name, value in shipped.items())
    run.evaluate()
    batch = run.draw()
    assert [part.dn.shape for part in batch] == [(12, 64, 64)] * 2
    losses = []
    for _ in range(6):
        losses.append(run.train_step(batch)["loss"])
        run.step += 1
    assert losses[-1] < losses[0]
    moved = {n for n, value in run.model.state_dict().items() if not torch.equal(value, before[n])}
    assert all(name.startswith("g_s.") for name in moved)
    assert {"g_s.rates.bias", "g_s.rates.gain", "g_s.head.weight", "g_s.from_latents.weight"} <= moved
    run.evaluate()
    first, second = records(run.out)
    assert first["held_out_db"] == 0
    assert second["held_out_db"] != 0


def test_errors_are_those_of_a_crop_that_was_encoded_and_decoded(imagery, tmp_path):
    fresh = trainer(imagery, tmp_path)
    weights = fresh.weights.numpy()[:, None, None]
    for number in range(2):
        part = fresh._held.part(number)
        with torch.no_grad():
            found = float(fresh.errors([part]))
        back = decode(encode(part.dn, quality=round(100 * part.quality, 2)))
        # in DN, less what rounding to whole DN adds
        expected = np.square(back.astype(np.float64) - part.dn).mean() - 1 / 12
        assert found * np.mean([band.std**2 for band in S2_L2A]) == pytest.approx(expected, rel=0.01)
        assert found < (np.square(part.error.astype(np.float64)) * weights).mean()


def test_parts_are_cut_where_they_lie(run):
    whole, part = run._crops.part(1), run._crops.part(1, 32, 16, 64)
    assert np.array_equal(part.dn, whole.dn[:, 32:96, 16:80])
    assert np.array_equal(part.error, whole.error[:, 32:96, 16:80])
    assert np.array_equal(part.lead, whole.lead[:, 2:6, 1:5])
    assert part.quality == whole.quality


def test_crops_are_coded_once_and_held_out_places_are_not_trained_on(run, imagery):
    folders = [run.out / "coded" / name for name in ("crops", "held_out")]
    before = [np.load(folder / "dn.npy") for folder in folders]
    assert [len(dn) for dn in before] == [3, 2]
    times = {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    again = trainer(imagery, run.out)
    assert times == {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    assert len(again.draw()) == 2
    with pytest.raises(ConfigError, match="leaves no scene"):
        trainer(imagery, run.out, held_out="a,b,c")


def test_more_blocks_start_as_nothing(run, imagery, tmp_path):
    sizes = parse_config(values(imagery, tmp_path))
    more = SynthesisTrainer(replace(sizes, model={**SIZES, "synthesis_blocks": [4, 3]}), tmp_path)
    fresh = SynthesisTrainer(sizes, tmp_path)
    with torch.no_grad():
        part = [more._held.part(0)]
        expected = float(fresh.errors(part))
        assert float(more.errors(part)) == pytest.approx(expected, rel=1e-6)
        more.model.g_s.at_eighth[2].outer.weight.fill_(0.01)
        assert float(more.errors(part)) != pytest.approx(expected, rel=1e-3)


def test_a_model_of_other_sizes_is_refused(imagery, tmp_path):
    sized = parse_config(values(imagery, tmp_path))
    with pytest.raises(ConfigError, match=r"does not fit the model: g_s\.rates"):
        SynthesisTrainer(replace(sized, model={**SIZES, "rates": 4}), tmp_path)


def test_a_run_writes_weights_that_make_the_same_streams(imagery, tmp_path):
    path = tmp_path / "told.toml"
    path.write_text(toml(values(imagery, tmp_path)))
    first = loop.run(path, tmp_path / "run")
    found = load(registry.by_id(str(first / "tec-elic.safetensors")))
    shipped = load(registry.by_id("tec-elic"))
    assert np.array_equal(found.prior.net.weights[0], shipped.prior.net.weights[0])
    assert found.card.details["config"] == shipped.card.details["config"]
    assert found.card.details["training"]["before"]["sha256"] == shipped.card.details["sha256"]
    state = found.network.state_dict()
    moved = {n for n, value in shipped.network.state_dict().items() if not torch.equal(state[n], value)}
    assert "g_s.head.weight" in moved
    assert not [name for name in moved if name.startswith("g_a.")]
    assert [r["step"] for r in records(first) if "held_out_db" in r] == [0, 6]


def test_a_run_is_taken_up_where_it_was_left(imagery, tmp_path):
    once = trainer(imagery, tmp_path)
    once.train_step(once.draw())
    once.step += 1
    once.save()
    again = trainer(imagery, tmp_path)
    assert again.resume()
    assert again.step == 1
    assert np.array_equal(again._before, once._before)
    for name, value in once.average.items():
        assert torch.equal(again.average[name], value)
