"""What tokens of small models are worth, by real codestreams; their cards say how they were trained."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from eocodec import codec
from eocodec.bench import repacking
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.cli.main import cli
from eocodec.errors import InputError
from eocodec.models.published import family_of
from eocodec.train.passes import pass_of
from eocodec.train.published_config import parse_published
from eocodec.train.published_export import export

SIZES = {"widths": [4, 4, 8, 64], "d": 16, "heads": 1, "separate": 1, "joint": 1, "decoder": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights files of two models that differ in what their cards say of masking."""
    return [trained(tmp_path_factory.mktemp("run"), masking) for masking in (True, False)]


def trained(folder, masking):
    """The weights file of a run that has taken no step."""
    torch.manual_seed(0)
    values = {"model_id": "published/flextec", "model": {**SIZES, "repacked": True}}
    values |= {"run": {"steps": 1}, "data": {"frames": 2}, "loss": {"lmbda": 3.0, "masking": masking}}
    config = parse_published(values)
    model = family_of(config.model_id).build(config.model)
    with torch.no_grad():
        model.g_a.transforms[13].weight *= 60  # latents of a few steps
    state = {"config": config.to_dict(), "average": model.state_dict(), "step": 1, "commit": "c0ffee"}
    torch.save(state, folder / "last.pt")
    export(folder / "last.pt", folder)
    return str(folder / "flextec-3.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dev split of one place with three dates."""
    root = tmp_path_factory.mktemp("data")
    (root / "dev" / "ssl4eo").mkdir(parents=True)
    for date in range(3):
        write_scene(root / "dev" / "ssl4eo" / f"place_{date}.tif", demo_scene(256, 256, date))
    return root


@pytest.fixture(scope="module")
def measured(weights, data, tmp_path_factory):
    """What the command wrote, of places cut to 48 pixels, and its folder."""
    out = tmp_path_factory.mktemp("out")
    whole = repacking.dev_series(data)
    small = {place: np.ascontiguousarray(series[..., :48, :48]) for place, series in whole.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repacking, "dev_series", lambda folder: small)
        words = ["bench", "repacking", *weights, "--out", str(out), "--data", str(data)]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads((out / "repacking.json").read_text()), small["place"], out


def test_points_are_of_real_codestreams(measured, weights):
    result, series, _ = measured
    assert [(row["masking"], row["tokens"]) for row in result["points"]] == [
        (masking, count) for masking in (True, False) for count in range(17)
    ]
    streams = [codec.encode(part, model=weights[0], quality=31.25) for part in (series[:2], series[2:])]
    error = np.concatenate([codec.decode(data) for data in streams]).astype(float) - series
    row = result["points"][5]
    assert row["bits"] == 8 * sum(map(len, streams))
    assert row["psnr"] == pytest.approx(10 * np.log10(1e8 / np.square(error).mean()), abs=0.001)


def test_the_summary_is_of_the_points(measured):
    result, _, out = measured
    for entry in result["summary"]:
        rows = [row for row in result["points"] if row["masking"] == entry["masking"]]
        gains = np.diff([row["psnr"] for row in rows])
        assert entry["bits"] == [row["bits"] for row in rows]
        assert sorted(set(entry["bits"])) == entry["bits"]
        assert entry["tokens_that_harm"] == (gains < 0).sum()
        assert entry["worst_gain_db"] == pytest.approx(gains.min(), abs=0.002)
    assert len(repacking.table_rows(result)[1]) == 17
    assert (out / "repacking.png").read_bytes()[:4] == b"\x89PNG"


def test_other_models_are_refused():
    with pytest.raises(InputError, match="flextec: expected published/flextec"):
        repacking.run_repacking(["flextec"])


def test_without_masking_all_tokens_count_and_are_shown():
    config = parse_published({"model_id": "published/tec-tt", "run": {"steps": 1}, "loss": {"lmbda": 1.0}})
    assert config.loss.masking
    torch.manual_seed(0)
    model = family_of("published/flextec").build({**SIZES, "repacked": True})
    x = torch.randn(1, 2, 12, 64, 64)
    whole = model(x)
    out = pass_of("published/flextec", masking=False).run(model.eval(), x)
    assert torch.equal(out.x_hat, whole.x_hat)
    assert out.bits.item() == pytest.approx(whole.bits.sum().item(), rel=1e-5)
    masked = [pass_of("published/flextec").run(model.train(), x) for _ in range(6)]
    assert any(not torch.equal(m.x_hat, whole.x_hat) for m in masked)
