"""`eocodec models` and its subcommands, and imported models in the other commands."""

import json
import sys

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner

from codec_support import tile
from eocodec.cli.main import cli
from eocodec.models import registry
from interop_support import write_stack
from published_support import checkpoint, small_fp

ID, FILE = "published/tec-fp@40", "TerraCodec_v1_FP_S2L2A_lambda-40.pt"


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EOCODEC_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A checkpoint under its published name."""
    path = tmp_path_factory.mktemp("checkpoints") / FILE
    torch.save(checkpoint(small_fp()), path)
    return path


def rows(*words):
    return [line.split() for line in run("models", *words).output.splitlines()]


def test_import_list_info(folder, file):
    line = run("models", "import", file).output
    assert line.startswith(f"{ID}: ")
    fingerprint = registry.by_id(ID).fingerprint.hex()
    assert fingerprint in line
    assert rows() == rows("list")
    assert [ID, str(registry.by_id(ID).parameters), "12", fingerprint, "imported"] in rows()
    said = run("models", "info", ID).output
    for words in (FILE, "embed2scale/TerraCodec-1.0-FP-S2L2A", fingerprint, "one, quality 50", "L2A"):
        assert words in said
    assert json.loads(run("models", "info", ID, "--json").output)["id"] == ID
    assert ID in [card["id"] for card in json.loads(run("models", "list", "--json").output)]


def test_list_all(folder, file):
    run("models", "import", file)
    listed = rows("list", "--all")
    assert len([row for row in listed if row[0] == ID]) == 1
    assert ["published/flextec@800", "eocodec", "models", "fetch"] in listed
    assert len(listed) == len(rows()) + 21


def test_info_of_others(folder):
    said = run("models", "info", "published/tec-elic@2").output
    assert "eocodec models fetch published/tec-elic@2" in said
    assert json.loads(run("models", "info", "published/tec-elic@2", "--json").output)["file"].endswith(
        "-2.pt"
    )
    for model in ("published/tec-elic@3", "nonesuch"):
        assert run("models", "info", model, code=2).stderr.startswith("error: no ")
    installed = registry.installed()
    if installed:
        assert "any quality" in run("models", "info", installed[0].id).output


def test_own_ids(folder, file):
    assert run("models", "import", file, "--id", "mine", "--kind", "tec-fp").output.startswith("mine: ")
    assert "state its kind" in run("models", "import", file, "--id", "mine", code=2).stderr


def test_another_checkpoint_takes_a_word(folder, file, tmp_path):
    run("models", "import", file)
    torch.save(checkpoint(small_fp(seed=1)), tmp_path / FILE)
    assert "--replace" in run("models", "import", tmp_path / FILE, code=2).stderr
    run("models", "import", tmp_path / FILE, "--replace")


def test_fetch_says_what_is_missing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'eocodec[hub]'" in run("models", "fetch", ID, code=2).stderr
    assert "no published model" in run("models", "fetch", "tec-fp", code=2).stderr


def test_files(folder, file, tmp_path):
    """A scene there and back, then without the model."""
    scene = write_stack(tmp_path / "a.tif", tile(70, 90), nodata=0)
    assert f"models fetch {ID}" in run("encode", scene, tmp_path / "a.tec", "--model", ID, code=2).stderr
    run("models", "import", file)
    run("encode", scene, tmp_path / "a.tec", "--model", ID, "--tile", 64)
    for words in (("--quality", 40), ("--psnr", 40)):
        said = run("encode", scene, tmp_path / "b.tec", "--model", ID, *words, code=2).stderr
        assert "one rate" in said
    assert json.loads(run("info", tmp_path / "a.tec", "--json").output)["settings"]["model"] == ID
    assert json.loads(run("validate", tmp_path / "a.tec", "--json").output)["ok"]
    run("decode", tmp_path / "a.tec", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert dataset.read().shape == (12, 70, 90)
    from eocodec.models.weights import load_fingerprint

    registry.weights_path(ID).unlink()
    load_fingerprint.cache_clear()
    assert f"models fetch {ID}" in run("decode", tmp_path / "a.tec", tmp_path / "c.tif", code=2).stderr
    assert not (tmp_path / "c.tif").exists()


def test_bench_takes_them_as_curves_over_lambda(folder, file):
    from eocodec.bench.codecs import select

    run("models", "import", file)
    run("models", "import", file, "--id", "published/tec-fp@2")
    (entry,) = select(["published/tec-fp"])
    codec = entry.make()
    assert codec.settings == (2.0, 40.0)
    image = tile(32, 32).astype(np.int16)
    decoded = codec.decode(codec.encode(image, 40.0))
    assert decoded.shape == image.shape
    assert decoded.dtype == image.dtype
