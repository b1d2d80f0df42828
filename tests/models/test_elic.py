"""TEC-ELIC as shipped: stored and read back whole, refused by name, and tiles through the codec."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from codec_support import TINY, psnr, tile
from context_support import save_elic, tiny_elic
from eocodec import codec, codestream
from eocodec.codestream import SectionType
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.context_prior import ContextPrior
from eocodec.errors import ChecksumMismatch, CodestreamError, ConfigError, WeightsError
from eocodec.models import registry, weights
from eocodec.models.elic import ElicConfig, TecElic
from eocodec.models.registry import read_card
from eocodec.models.stored_prior import pack_prior, unpack_context

SIZES = {k: v for k, v in TINY.items() if k != "levels"}


@pytest.fixture(scope="module")
def elic():
    """(network, prior) of a tiny TEC-ELIC."""
    torch.set_num_threads(1)
    return tiny_elic()


@pytest.fixture(scope="module")
def path(elic, tmp_path_factory):
    """Its weights file."""
    return save_elic(elic, tmp_path_factory.mktemp("weights") / "elic.safetensors")


@pytest.fixture
def copy(elic, tmp_path):
    """A copy of the file to spoil."""
    return Path(save_elic(elic, tmp_path / "copy.safetensors"))


def reseal(path, arrays, **details):
    """Card of a file with other arrays or details, its SHA-256 put right."""
    save_file(arrays, path)
    card = {**json.loads(path.with_suffix(".json").read_text()), **details}
    card["sha256"] = registry.sha256_of(path)
    path.with_suffix(".json").write_text(json.dumps(card))
    return read_card(path)


# --- configuration and transforms ---------------------------------------------------------------------------


def test_configurations_go_through_json():
    for config in (ElicConfig(), ElicConfig(**SIZES)):
        assert ElicConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ConfigError, match="levels"):
        ElicConfig.from_dict(TINY)


def test_the_linear_path_alone_is_orthonormal_in_the_weighting(elic):
    network = TecElic(ElicConfig(**SIZES))
    network.load_state_dict(elic[0].state_dict())
    for head in (network.g_a.head, network.g_s.head):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    x = torch.randn(2, 12, 48, 80)
    with torch.inference_mode():
        y = network.analysis(x)
        assert y.shape == (2, 3072, 3, 5)
        assert torch.allclose(network.synthesis(y), x, atol=2e-3)
    weighted = (x * network.block_transform.root_weight[:, None, None]).square().sum()
    assert torch.isclose(y.square().sum(), weighted, rtol=1e-3)


# --- weights files ------------------------------------------------------------------------------------------


def test_weights_come_back(elic, path):
    network, prior = elic
    loaded = weights.load(read_card(Path(path)))
    assert isinstance(loaded.network, TecElic)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name
    before, after = pack_prior(prior), pack_prior(loaded.prior)
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.dtype == after[name].dtype
        assert np.array_equal(array, after[name]), name


def test_numbers_that_decide_symbols_come_back_exactly(elic):
    """The prior that was fitted codes as the one that is read: nothing of it is rounded on the way."""
    prior = elic[1]
    back = unpack_context(pack_prior(prior))
    for k in range(3):
        assert np.array_equal(back.net.weights[k], prior.net.weights[k])
        assert np.array_equal(back.net.biases[k], prior.net.biases[k])
        assert back.net.weights[k].dtype == back.net.biases[k].dtype == np.float64
    assert np.array_equal(back.log2_step, prior.log2_step)
    assert np.array_equal(back.shift, prior.shift)


def test_the_card_and_what_codes_by_it(elic, path):
    card = registry.by_id(path)
    assert (card.id, card.family) == ("tec-elic", "tec-elic")
    assert ElicConfig.from_dict(card.details["config"]) == ElicConfig(**SIZES)
    loaded = weights.load(card)
    assert isinstance(loaded.prior, ContextPrior)
    assert isinstance(loaded.coder, ContextCoder)
    assert (loaded.coder.bands, loaded.coder.channels) == (12, 3072)
    assert np.array_equal(loaded.coder.basis, elic[0].block_transform.basis.numpy())


def test_saving_twice_gives_the_same_bytes(path, copy):
    assert copy.read_bytes() == Path(path).read_bytes()


def test_a_family_that_is_not_known(copy):
    card = reseal(copy, load_file(copy), family="tec-next")
    with pytest.raises(ConfigError, match="tec-next"):
        weights.load(card)


@pytest.mark.parametrize(
    "name", ["prior.net.1.bias", "prior.shift", "prior.split_tables.bins", "net.g_s.head.weight"]
)
def test_an_array_is_missing(copy, name):
    arrays = load_file(copy)
    del arrays[name]
    with pytest.raises(WeightsError, match=name.removeprefix("net.")):
        weights.load(reseal(copy, arrays))


def test_a_prior_of_the_other_family(copy, fitted):
    arrays = {k: v for k, v in load_file(copy).items() if k.startswith("net.")}
    card = reseal(copy, {**arrays, **pack_prior(fitted.prior)})
    with pytest.raises(WeightsError):
        weights.load(card)


# --- the codec ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (17, 40), (64, 64), (70, 150)])
def test_tiles_of_any_size(path, rows, cols):
    array = tile(rows, cols)
    data = codec.encode(array, model=path, quality=60)
    back = codec.decode(data)
    assert (back.shape, back.dtype) == (array.shape, array.dtype)
    assert psnr(array, back) > 45
    assert codec.encode(array, model=path, quality=60) == data


def test_more_quality_is_nearer_and_larger(path):
    array = tile(70, 90)
    datas = [codec.encode(array, model=path, quality=q) for q in (10, 50, 90)]
    values = [psnr(array, codec.decode(data)) for data in datas]
    assert values == sorted(values)
    assert values[2] > values[0] + 6
    assert sorted(len(d) for d in datas) == [len(d) for d in datas]


def test_timesteps_and_nodata(path):
    array = tile(40, 70, timesteps=2)
    array[1, :, 5:20, 30:] = 0
    back = codec.decode(codec.encode(array, model=path, quality=50, nodata=0))
    assert np.array_equal(back == 0, array == 0)
    assert psnr(array, back) > 40


@pytest.mark.parametrize("max_error", [0, 3])
def test_a_bound_on_every_pixel(path, max_error):
    """Latents in float64 and pixels snapped: what the encoder promised is what comes back."""
    array = tile(35, 50)
    back = codec.decode(codec.encode(array, model=path, quality=60, max_error=max_error))
    assert np.abs(back.astype(int) - array).max() <= max_error


def test_damage_is_an_error_with_a_name(path):
    stream = codestream.read(codec.encode(tile(40, 40), model=path, quality=50))
    rng = np.random.default_rng(0)
    for _ in range(8):
        sections = []
        for kind, data in stream.sections.items():
            damaged = bytearray(data)
            if kind == SectionType.SYMBOLS:
                damaged[rng.integers(0, len(damaged) // 2)] ^= 1 << rng.integers(0, 8)
            sections.append(codestream.Section(kind, bytes(damaged)))
        with pytest.raises(CodestreamError):
            codec.decode(codestream.write(stream.header, sections))


def test_another_crc_of_the_symbols(path):
    stream = codestream.read(codec.encode(tile(40, 40), model=path, quality=50))
    header = replace(stream.header, symbols_crc=stream.header.symbols_crc ^ 1)
    sections = [codestream.Section(kind, data) for kind, data in stream.sections.items()]
    with pytest.raises(ChecksumMismatch, match="symbols_crc"):
        codec.decode(codestream.write(header, sections))
