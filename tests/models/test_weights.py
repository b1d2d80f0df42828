"""Weights files: what is written comes back, and anything else is refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from codec_support import TINY, save
from eocodec.coding.tables import from_pmfs
from eocodec.entropy.family import build_family
from eocodec.errors import ConfigError, ModelNotFound, WeightsError
from eocodec.models import registry, weights
from eocodec.models.fp import FpConfig
from eocodec.models.registry import read_card
from eocodec.models.stored_prior import pack_tables, unpack_tables


@pytest.fixture
def copy(tiny_model, tmp_path):
    """A copy of the tiny model to spoil."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(Path(tiny_model).with_suffix(suffix), tmp_path / f"copy{suffix}")
    return tmp_path / "copy.safetensors"


def reseal(path, arrays):
    """Write other arrays, with the SHA-256 in the card that they have."""
    save_file(arrays, path)
    card = json.loads(path.with_suffix(".json").read_text())
    card["sha256"] = registry.sha256_of(path)
    path.with_suffix(".json").write_text(json.dumps(card))
    return read_card(path)


def test_networks_come_back_as_they_were_rounded(fitted, loaded):
    before, after = fitted.network.state_dict(), loaded.network.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
        assert after[name].dtype == tensor.dtype


def test_priors_come_back(fitted, loaded):
    for name in ("family", "shift_table", "delta_tables", "shape_tables", "count_tables"):
        before, after = getattr(fitted.prior, name), getattr(loaded.prior, name)
        for part in ("cdf", "start", "first"):
            assert np.array_equal(getattr(before, part), getattr(after, part))
    for name in ("default_scale", "default_shape", "offset_scale", "entry_scale"):
        assert np.array_equal(getattr(fitted.prior, name), getattr(loaded.prior, name))
        assert getattr(loaded.prior, name).dtype == np.int64


def test_indices_are_not_rounded(fitted, tiny_model):
    """float16 holds integers up to 2048; channels go further."""
    stored = load_file(tiny_model)
    integers = {n: t for n, t in fitted.network.state_dict().items() if not t.dtype.is_floating_point}
    assert integers
    for name, tensor in integers.items():
        assert np.array_equal(stored[f"net.{name}"], tensor.numpy())


def test_tables_pack_and_unpack():
    for tables in (from_pmfs([np.ones(3), np.array([0.0, 1.0, 0, 0])], [-1, 5]), build_family()):
        back = unpack_tables(pack_tables(tables))
        assert np.array_equal(back.cdf, tables.cdf)
        assert np.array_equal(back.start, tables.start)
        assert np.array_equal(back.first, tables.first)


def test_the_card(tiny_model, fitted):
    card = read_card(Path(tiny_model))
    assert (card.id, card.family, len(card.bands)) == ("tec-fp", "tec-fp", 12)
    assert card.fingerprint.hex() == registry.sha256_of(Path(tiny_model))[:16]
    assert card.parameters == sum(p.numel() for p in fitted.network.parameters())
    assert card.details["bytes"] == Path(tiny_model).stat().st_size
    assert FpConfig.from_dict(card.details["config"]) == FpConfig(**TINY)


def test_a_model_is_found_by_fingerprint_once_it_was_used(fitted, copy):
    arrays = load_file(copy)
    arrays["net.steps.log2_step"] = arrays["net.steps.log2_step"] + 1
    card = reseal(copy, arrays)
    with pytest.raises(ModelNotFound, match=card.fingerprint.hex()):
        registry.by_fingerprint(card.fingerprint)
    assert registry.by_id(str(copy)) == card
    assert registry.by_fingerprint(card.fingerprint) == card


def test_former_weights_decode_but_write_no_files():
    former = registry.former()
    assert former
    for card in former:
        current = registry.by_id(card.id)
        assert current.fingerprint != card.fingerprint
        assert registry.by_fingerprint(card.fingerprint) == card
        assert card not in registry.installed()


def test_a_file_that_is_not_that_of_its_card(copy):
    copy.write_bytes(copy.read_bytes() + b" ")
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.load(read_card(copy))


def test_files_that_are_not_there(copy):
    card = read_card(copy)
    copy.unlink()
    with pytest.raises(WeightsError, match="cannot read"):
        weights.load(card)
    copy.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="card"):
        read_card(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": "x", "family": "x", "sha256": "zz"}'])
def test_cards_that_cannot_be_read(copy, text):
    copy.with_suffix(".json").write_text(text)
    with pytest.raises(WeightsError, match="card"):
        read_card(copy)


@pytest.mark.parametrize("name", ["net.steps.log2_step", "prior.family.first"])
def test_a_tensor_is_missing(copy, name):
    arrays = load_file(copy)
    del arrays[name]
    with pytest.raises(WeightsError):
        weights.load(reseal(copy, arrays))


def test_a_tensor_too_many_or_of_another_shape(copy):
    arrays = load_file(copy)
    with pytest.raises(WeightsError, match=r"steps\.extra"):
        weights.load(reseal(copy, {**arrays, "net.steps.extra": np.zeros(3, np.float16)}))
    arrays["net.steps.log2_step"] = arrays["net.steps.log2_step"][:, :-1].copy()
    with pytest.raises(WeightsError, match="log2_step"):
        weights.load(reseal(copy, arrays))


def test_unknown_keys_of_the_configuration():
    with pytest.raises(ConfigError, match="depth"):
        FpConfig.from_dict({"depth": 3})
    assert FpConfig.from_dict(json.loads(json.dumps(FpConfig().to_dict()))) == FpConfig()


def test_saving_twice_gives_the_same_bytes(fitted, tmp_path):
    first, second = (Path(save(fitted, tmp_path / f"{name}.safetensors")) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
