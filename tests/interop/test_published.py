"""Published checkpoints: imported once, found ever after, and nothing taken on trust."""

import json
import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch

import eocodec
from codec_support import psnr, tile
from eocodec.codestream import SectionType, read
from eocodec.errors import (
    CodestreamError,
    ConfigError,
    InputError,
    MissingDependency,
    ModelNotFound,
    OutputError,
    TableError,
    WeightsError,
)
from eocodec.interop import published
from eocodec.interop.published import fetch, find, import_checkpoint, published_models, read_checkpoint
from eocodec.models import registry, weights
from eocodec.search import search_quality
from published_support import checkpoint, small_elic, small_fp

FP, ELIC = "published/tec-fp@0.5", "published/tec-elic@2"
FP_FILE = "TerraCodec_v1_FP_S2L2A_lambda-0.5.pt"
FINGERPRINT = "15d5419c3d4290b6"  # of `by_rule`; whoever changes it makes files that others cannot decode


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of the user's models."""
    monkeypatch.setenv("EOCODEC_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def states():
    return {FP: checkpoint(small_fp()), ELIC: checkpoint(small_elic())}


def saved(state, path):
    torch.save(state, path)
    return path


@pytest.fixture(params=[FP, ELIC])
def imported(request, states, folder, tmp_path):
    """Card of an imported model."""
    return import_checkpoint(saved(states[request.param], tmp_path / "checkpoint.pt"), request.param)


# --- imported models everywhere that a model id does ------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 64), (37, 70), (5, 3)])
def test_there_and_back(imported, shape):
    array = tile(*shape)
    data = eocodec.encode(array, model=imported.id)
    stream = read(data)
    assert stream.header.fingerprint == imported.fingerprint
    assert stream.sections[SectionType.MODEL].decode() == imported.id
    decoded = eocodec.decode(data)
    assert decoded.shape == array.shape
    assert decoded.dtype == array.dtype
    assert np.array_equal(decoded, eocodec.decode(data))


def test_pixels_are_those_of_the_network(imported):
    """Random weights reconstruct nothing, but what is decoded is what the network makes of y_hat."""
    array = tile(48, 64)
    data = eocodec.encode(array, model=imported.id)
    network = weights.load_fingerprint(imported.fingerprint).network
    means, stds = (
        np.array([getattr(b, k) for b in imported.band_table])[:, None, None] for k in ("mean", "std")
    )
    x = torch.from_numpy(((array - means) / stds).astype(np.float32))[None]
    with torch.inference_mode():
        y = network.analysis(x)
        y_hat = network.entropy_bottleneck.round(y) if imported.id == FP else network(x).y_hat
        expected = network.synthesis(y_hat)[0].numpy() * stds + means
    found = eocodec.decode(data).astype(np.float64)
    assert np.abs(found - np.clip(np.rint(expected), 0, 65535)).mean() < 5  # means are 1/256 apart at most


def test_series_and_nodata(imported):
    array = tile(32, 20, timesteps=2)
    array[0, :, :5] = 0
    decoded = eocodec.decode(eocodec.encode(array, model=imported.id, nodata=0))
    assert np.array_equal(decoded == 0, array == 0)
    array[0, :, :5] = array[0, :, 5:6]
    alone = eocodec.decode(eocodec.encode(array[1], model=imported.id))
    assert np.array_equal(decoded[1], alone)


def test_a_bound(imported):
    array = tile(16, 16)
    data = eocodec.encode(array, model=imported.id, quality=50, max_error=30)
    assert np.abs(eocodec.decode(data).astype(int) - array).max() <= 30
    assert read(data).sections[SectionType.SYMBOLS]


def test_damage(imported):
    data = eocodec.encode(tile(32, 32), model=imported.id)
    for position in range(0, len(data), 23):
        with pytest.raises(CodestreamError):
            eocodec.decode(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        with pytest.raises(CodestreamError):
            eocodec.decode(data[:position])


def test_one_rate(imported):
    array = tile(16, 16)
    assert eocodec.encode(array, model=imported.id, quality=50) == eocodec.encode(array, model=imported.id)
    with pytest.raises(InputError, match="one rate"):
        eocodec.encode(array, model=imported.id, quality=60)
    with pytest.raises(InputError, match="one rate"):
        search_quality([array], eocodec.options.EncodeOptions(imported.id), psnr=40)


def test_zarr(imported, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    from eocodec.errors import BandError
    from eocodec.interop.zarr import TecCodec

    def create(bands):
        return zarr.create_array(
            str(tmp_path / f"{bands}.zarr"),
            shape=(bands, 48, 48),
            chunks=(bands, 32, 32),
            dtype="uint16",
            serializer=TecCodec(model=imported.id),
            filters=None,
            compressors=None,
        )

    array, pixels = create(12), tile(48, 48)
    array[:] = pixels
    expected = eocodec.decode(
        eocodec.encode(np.ascontiguousarray(pixels[:, :32, :32]), model=imported.id, nodata=0)
    )
    assert np.array_equal(zarr.open_array(str(tmp_path / "12.zarr"))[:, :32, :32], expected)
    with pytest.raises(BandError, match="takes 12"):
        create(13)


# --- what is imported -------------------------------------------------------------------------------------


def test_import_keeps_every_bit(imported, states):
    found = weights.load_fingerprint(imported.fingerprint).network.state_dict()
    expected = {name.removeprefix("model."): value for name, value in states[imported.id].items()}
    assert found.keys() == expected.keys()
    assert all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype
        for name, value in expected.items()
    )


def test_the_card(imported, states):
    details = imported.details
    assert details["family"] == imported.id.partition("@")[0]
    assert details["checkpoint"]["file"] == "checkpoint.pt"
    assert details["checkpoint"]["repository"].startswith("embed2scale/")
    assert (imported.quality, imported.imported, len(imported.bands)) == (50.0, True, 12)
    assert imported.parameters == sum(
        states[imported.id][f"model.{name}"].numel()
        for name, _ in weights.load_fingerprint(imported.fingerprint).network.named_parameters()
    )
    assert registry.by_id(imported.id) == imported
    assert registry.by_fingerprint(imported.fingerprint) == imported
    assert list(registry.imported()) == [imported]


def by_rule(model):
    """The same numbers on every machine: no random ones, no rounding."""
    state = checkpoint(model)
    for name, value in state.items():
        if value.dtype.is_floating_point and "bound" not in name and "pedestal" not in name:
            value.copy_((torch.arange(value.numel()) % 17 - 8).view(value.shape) / 64)
    return state


def test_the_fingerprint_follows_from_the_checkpoint_alone(folder, tmp_path):
    state = by_rule(small_fp(tables=False))
    state["model.entropy_bottleneck._offset"] = torch.full((10,), -1, dtype=torch.int32)
    state["model.entropy_bottleneck._cdf_length"] = torch.full((10,), 5, dtype=torch.int32)
    rows = torch.tensor([[0, 1000, 60000, 65000, 65536]], dtype=torch.int32)
    state["model.entropy_bottleneck._quantized_cdf"] = rows.repeat(10, 1)
    first = import_checkpoint(saved(state, tmp_path / "a.pt"), FP)
    assert first.fingerprint.hex() == FINGERPRINT
    content = first.path.read_bytes()
    again = import_checkpoint(saved(dict(reversed(state.items())), tmp_path / "b.pt"), FP, replace=True)
    assert again.path.read_bytes() == content


def test_tables_are_computed_where_there_are_none(folder, tmp_path, states):
    bare = {
        name: value if not name.endswith(("_offset", "_cdf_length", "_quantized_cdf")) else value.new_zeros(0)
        for name, value in states[FP].items()
    }
    card = import_checkpoint(saved(bare, tmp_path / FP_FILE))
    network = weights.load_fingerprint(card.fingerprint).network
    expected = small_fp().entropy_bottleneck.tables()
    assert np.array_equal(network.entropy_bottleneck.tables().cdf, expected.cdf)


def test_ids_from_names_of_files(folder, tmp_path, states):
    assert import_checkpoint(saved(states[FP], tmp_path / FP_FILE)).id == FP
    with pytest.raises(InputError, match="state an id"):
        import_checkpoint(saved(states[FP], tmp_path / "mine.pt"))


def test_own_models_of_a_published_kind(folder, tmp_path, states):
    path = saved(states[FP], tmp_path / "mine.pt")
    card = import_checkpoint(path, "mine", kind="tec-fp")
    assert "repository" not in card.details["checkpoint"]
    assert psnr(tile(16, 16), eocodec.decode(eocodec.encode(tile(16, 16), model="mine"))) > 0
    for model, kind, message in (
        ("other", None, "state its kind"),
        ("other", "tec-xx", "state its kind"),
        ("tec-elic", "tec-fp", "one of the package"),
        ("../up", "tec-fp", "lower-case"),
        (FP, "tec-elic", "is a tec-fp"),
    ):
        with pytest.raises(InputError, match=message):
            import_checkpoint(path, model, kind=kind)


# --- what is refused --------------------------------------------------------------------------------------


def changed(states, **changes):
    return {**states[FP], **{f"model.{name}": value for name, value in changes.items()}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"g_a.0.bias": torch.zeros(13)}, "g_a.0.bias is 13, expected 12"),
        ({"g_a.0.bias": torch.zeros(12, dtype=torch.float16)}, "g_a.0.bias is float16, expected float32"),
        ({"g_a.1.bias": torch.zeros(1)}, "g_a.1.bias is unknown"),
        ({"entropy_bottleneck._offset": torch.zeros(10)}, "_offset is float32, expected int32"),
    ],
)
def test_wrong_tensors(folder, tmp_path, states, changes, message):
    with pytest.raises(WeightsError, match=message):
        import_checkpoint(saved(changed(states, **changes), tmp_path / "a.pt"), FP)
    assert not folder.exists()


def test_missing_tensors_another_kind_and_other_bands(folder, tmp_path, states):
    state = {name: value for name, value in states[FP].items() if "quantiles" not in name}
    with pytest.raises(WeightsError, match=r"quantiles is missing"):
        import_checkpoint(saved(state, tmp_path / "a.pt"), FP)
    with pytest.raises(WeightsError, match=r"published TEC-ELIC"):
        import_checkpoint(saved(states[FP], tmp_path / "b.pt"), ELIC)
    with pytest.raises(WeightsError, match=r"13 bands, .* the 12 of L2A"):
        import_checkpoint(saved(checkpoint(small_fp(bands=13)), tmp_path / "c.pt"), FP)


def test_malformed_tables(folder, tmp_path, states):
    rows = states[FP]["model.entropy_bottleneck._quantized_cdf"].clone()
    rows[3, 1:5] = 7
    with pytest.raises(TableError, match="R22"):
        import_checkpoint(
            saved(changed(states, **{"entropy_bottleneck._quantized_cdf": rows}), tmp_path / "a.pt"), FP
        )


class Malicious:
    """A pickle that runs a command when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_with_code_is_not_run(folder, tmp_path, states):
    trace = tmp_path / "was-run"
    path = saved({**states[FP], "x": Malicious(trace)}, tmp_path / FP_FILE)
    with pytest.raises(WeightsError, match="not run"):
        import_checkpoint(path)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(WeightsError, match="no checkpoint"):
        import_checkpoint(tmp_path / "plain.pkl", FP)
    assert not trace.exists()
    pickle.loads((tmp_path / "plain.pkl").read_bytes())
    assert trace.exists()  # so it would have


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({}, "holds a dict"),
        ({"state_dict": {"a": torch.zeros(1)}}, "'state_dict' is a dict"),
        ({1: torch.zeros(1)}, "1 is a Tensor"),
        ({"a": 1.0}, "'a' is a float"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "'a' is a Tensor"),
    ],
)
def test_files_that_hold_something_else(tmp_path, content, message):
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(saved(content, tmp_path / "a.pt"))


def test_files_that_are_no_checkpoint(tmp_path, states):
    path = tmp_path / "a.pt"
    for content in (b"", b"hello", pickle.dumps({"a": 1}), b"PK\x03\x04 and nothing else"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="no checkpoint"):
            read_checkpoint(path)
    with pytest.raises(WeightsError, match=r"no checkpoint|cannot read"):
        read_checkpoint(tmp_path / "missing.pt")
    whole = saved(states[FP], path).read_bytes()
    for length in range(0, len(whole), len(whole) // 9):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_checkpoint(path)


def test_noise_in_a_checkpoint(tmp_path, states):
    """Any byte changed: tensors, or the named error."""
    whole = bytearray(saved({"a": torch.zeros(3), "b": torch.ones(2)}, tmp_path / "a.pt").read_bytes())
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] = int(rng.integers(256))
        (tmp_path / "b.pt").write_bytes(damaged)
        try:
            read_checkpoint(tmp_path / "b.pt")
        except WeightsError:
            errors += 1
    assert errors > 50


# --- the lock ---------------------------------------------------------------------------------------------


def test_another_checkpoint_under_the_same_name(folder, tmp_path, states):
    card = import_checkpoint(saved(states[FP], tmp_path / "a.pt"), FP)
    lock = json.loads((folder / "lock.json").read_text())
    assert lock == {FP: registry.sha256_of(tmp_path / "a.pt")}
    data = eocodec.encode(tile(16, 16), model=FP)
    expected = eocodec.decode(data)
    assert import_checkpoint(tmp_path / "a.pt", FP) == card
    saved(checkpoint(small_fp(seed=1)), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=rf"{lock[FP]} when it was first imported"):
        import_checkpoint(tmp_path / "a.pt", FP)
    assert registry.by_id(FP) == card
    other = import_checkpoint(tmp_path / "a.pt", FP, replace=True)
    assert registry.by_id(FP) == other != card
    assert json.loads((folder / "lock.json").read_text()) != lock
    weights.load_fingerprint.cache_clear()
    assert np.array_equal(eocodec.decode(data), expected)  # the old one is still there for its files


def test_a_lock_that_cannot_be_read(folder, tmp_path, states):
    folder.mkdir()
    path = saved(states[FP], tmp_path / "a.pt")
    for text in ("{", "[]", '{"a": 1}'):
        (folder / "lock.json").write_text(text)
        with pytest.raises(WeightsError, match=r"lock\.json"):
            import_checkpoint(path, FP)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, states):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EOCODEC_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(OutputError, match="cannot write"):
        import_checkpoint(saved(states[FP], tmp_path / "a.pt"), FP)


# --- models that are not here -----------------------------------------------------------------------------


def test_a_decoder_says_what_to_fetch(imported, folder):
    data = eocodec.encode(tile(16, 16), model=imported.id)
    for path in folder.rglob("tec-*"):
        path.unlink()
    weights.load_fingerprint.cache_clear()
    with pytest.raises(ModelNotFound, match=f"models fetch {imported.id}"):
        eocodec.decode(data)
    with pytest.raises(ModelNotFound, match=f"models fetch {imported.id}"):
        eocodec.encode(tile(16, 16), model=imported.id)


def test_a_damaged_model_is_named_and_hides_no_other(folder, tmp_path, states):
    card = import_checkpoint(saved(states[FP], tmp_path / "a.pt"), FP)
    other = import_checkpoint(saved(states[FP], tmp_path / "a.pt"), "zz", kind="tec-fp")
    card.path.with_suffix(".json").write_text("{")
    assert list(registry.imported()) == [other]
    with pytest.raises(WeightsError, match="card"):
        registry.by_id(FP)
    other.path.write_bytes(other.path.read_bytes()[:-1])
    weights.load_fingerprint.cache_clear()
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.load_fingerprint(other.fingerprint)


def test_ids():
    ids = [one.id for one in published_models()]
    assert len(ids) == len(set(ids)) == 22
    assert find("published/tec-tt-l1c@20").filename == "TerraCodec_v1_TT_S2L1C_lambda-20.pt"
    assert find("published/flextec-lronly@800").filename == "FlexTEC_LRonly_v1_S2L2A_lambda-800.pt"
    with pytest.raises(ModelNotFound, match=r"tec-fp@0\.5\|2\|10\|40\|200"):
        find("published/tec-fp@41")


def test_a_kind_that_this_version_cannot_use(folder, tmp_path, states, monkeypatch):
    monkeypatch.setattr("eocodec.models.published.FAMILIES", {})
    with pytest.raises(ConfigError, match="published/tec-fp"):
        import_checkpoint(saved(states[FP], tmp_path / "a.pt"), FP)


# --- the hub ----------------------------------------------------------------------------------------------


class Hub(types.ModuleType):
    """Stands in for huggingface_hub: knows one file."""

    def __init__(self, path):
        super().__init__("huggingface_hub")
        self.path, self.asked = path, []

    def hf_hub_download(self, **words):
        self.asked.append(words)
        if words["filename"] != self.path.name:
            raise LookupError("404")
        return str(self.path)


@pytest.fixture
def hub(tmp_path, monkeypatch, states):
    module = Hub(saved(states[FP], tmp_path / FP_FILE))
    errors = types.ModuleType("huggingface_hub.errors")
    errors.EntryNotFoundError = LookupError
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return module


def test_fetch_downloads_once(folder, hub):
    card = fetch(FP)
    assert card.id == FP
    assert fetch(FP) == card
    assert hub.asked == [
        {"repo_id": "embed2scale/TerraCodec-1.0-FP-S2L2A", "filename": FP_FILE, "local_files_only": False}
    ]
    assert fetch(FP, offline=True, replace=True) == card
    assert hub.asked[1]["local_files_only"] is True


def test_fetch_what_is_not_there(folder, hub):
    with pytest.raises(ModelNotFound, match="models import FILE"):
        fetch("published/tec-fp@2", offline=True)
    with pytest.raises(ModelNotFound, match="no published model"):
        fetch("published/tec-fp@3")


def test_fetch_notices_another_file(folder, hub):
    fetch(FP)
    saved(checkpoint(small_fp(seed=1)), hub.path)
    for path in folder.rglob("tec-fp*"):
        path.unlink()
    with pytest.raises(WeightsError, match="first imported"):
        fetch(FP)


def test_fetch_without_the_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match=r"eocodec\[hub\]"):
        fetch(FP)
    assert "huggingface_hub" not in vars(published)


def test_the_cache_of_the_true_package(folder, tmp_path, monkeypatch, states):
    """Offline from the cache of huggingface_hub, laid out as it does it."""
    reason = "huggingface_hub is not installed (extra hub)"
    constants = pytest.importorskip("huggingface_hub.constants", reason=reason)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "models--embed2scale--TerraCodec-1.0-FP-S2L2A"
    commit = "0" * 40
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    with pytest.raises(ModelNotFound, match="in the cache"):
        fetch(FP, offline=True)
    saved(states[FP], place / "snapshots" / commit / FP_FILE)
    assert fetch(FP, offline=True).id == FP
