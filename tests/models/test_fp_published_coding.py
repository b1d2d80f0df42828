"""Real coding of the published TEC-FP."""

import numpy as np
import pytest
import torch

from eocodec.coding import SymbolDecoder, SymbolEncoder
from eocodec.coding.geometric import geometric_tables, uniform_tables
from eocodec.coding.tables import from_pmfs
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.tempered import QUARTERS
from eocodec.errors import CodecError, InputError, MalformedSection, WeightsError
from eocodec.models.fp_published import FpPublishedCoder, from_state
from published_support import FP_SIZES, checkpoint, small_fp

STEPS = 5000


@pytest.fixture(scope="module")
def model():
    return small_fp()


@pytest.fixture(scope="module")
def coder(model):
    return FpPublishedCoder(model)


def latents(model, rows, cols, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return (
            model.analysis(torch.randn(1, 12, 16 * rows, 16 * cols, generator=generator))[0].numpy() * scale
        )


def encode(coder, y):
    encoder, edges = SymbolEncoder(), EdgeWriter()
    frame = coder.encode(y, encoder, edges, STEPS, 0.0)
    assert edges.finish() == b""
    return frame, encoder.finish()


def decode(coder, stream, rows, cols):
    decoder = SymbolDecoder(*stream)
    frame = coder.decode(decoder, EdgeReader(b""), rows, cols, STEPS)
    decoder.finish()
    return frame


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 5), (8, 8)])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_there_and_back(model, coder, rows, cols, scale):
    y = latents(model, rows, cols, np.float32(scale))
    frame, stream = encode(coder, y)
    back = decode(coder, stream, rows, cols)
    assert np.array_equal(back.symbols, frame.symbols)
    assert np.array_equal(back.powers, frame.powers)
    assert coder.crc([back]) == coder.crc([frame])
    for dtype in (np.float32, np.float64):
        y_hat = coder.latents(back, STEPS, dtype)
        assert y_hat.dtype == dtype
        assert np.abs(y_hat - y.reshape(len(y), -1)).max() <= 0.5 + 1e-4


def test_y_hat_is_that_of_the_network(model, coder):
    y = latents(model, 4, 4)
    frame, _ = encode(coder, y)
    with torch.no_grad():
        expected = model.entropy_bottleneck.round(torch.from_numpy(y)[None])[0].flatten(1).numpy()
    assert np.array_equal(coder.latents(frame, STEPS, np.float32), expected)


def test_powers_save_bits_and_cost_little():
    """Beside the tables as they are: far less where latents are not as large as usual, never much more."""
    model = small_fp()
    k = np.abs(np.arange(-20, 21))
    pmf = np.concatenate([np.exp(-k / 1.5), [1e-6]])
    tables = from_pmfs([pmf] * FP_SIZES["M"], np.full(FP_SIZES["M"], -20))
    model.entropy_bottleneck.store_tables(tables)
    coder, rng = FpPublishedCoder(model), np.random.default_rng(0)
    for scale, most in ((0.2, 0.6), (1.5, 1.005), (5, 0.95)):
        y = rng.laplace(0, scale, (FP_SIZES["M"], 16, 16)).astype(np.float32)
        frame, (stream, escapes) = encode(coder, y)
        plain = SymbolEncoder()
        plain.encode_channels(frame.symbols, np.arange(coder.channels), tables)
        assert len(stream) + len(escapes) < most * sum(map(len, plain.finish()))


def test_damage_is_noticed(model, coder):
    frame, (stream, escapes) = encode(coder, latents(model, 4, 5))
    expected = coder.crc([frame])
    for position in range(0, len(stream), 31):
        damaged = stream[:position] + bytes([stream[position] ^ 0x41]) + stream[position + 1 :]
        try:
            found = coder.crc([decode(coder, (damaged, escapes), 4, 5)])
        except CodecError:
            continue
        assert found != expected


@pytest.mark.parametrize(
    ("centre", "number", "difference"), [(7, 0, 0), (0, 0, -1), (6, 0, 1), (3, 7, 9), (8, 0, 0)]
)
def test_r64_powers_out_of_range(coder, centre, number, difference):
    assert len(QUARTERS) == 7
    encoder = SymbolEncoder()
    encoder.encode(np.array([centre, number]), np.full(2, 2), uniform_tables())
    differences = np.zeros(coder.channels, np.int32)
    differences[3] = difference
    encoder.encode(differences, np.full(coder.channels, 3 * number), geometric_tables())
    with pytest.raises(MalformedSection, match="R64"):
        decode(coder, encoder.finish(), 2, 2)


def test_latents_beyond_everything(model, coder):
    y = latents(model, 2, 2).copy()
    y[1, 0, 1] = 1e30
    frame, stream = encode(coder, y)
    assert np.array_equal(decode(coder, stream, 2, 2).symbols, frame.symbols)
    y[1, 0, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        encode(coder, y)


def test_states_that_are_not_a_published_fp(model):
    state = checkpoint(model)
    found = from_state(state)
    assert (found.config.N, found.config.M, found.config.bands) == (*FP_SIZES.values(), 12)
    assert all(torch.equal(found.state_dict()[name[6:]], value) for name, value in state.items())
    name, value = "model.g_s.4.bias", state["model.g_s.4.bias"]
    for spoilt, message in (
        ({k: v for k, v in state.items() if k != name}, r"g_s\.4\.bias is missing"),
        ({**state, "model.g_s.9.bias": value}, r"g_s\.9\.bias is unknown"),
        ({**state, name: value[:-1]}, r"g_s\.4\.bias is 11, expected 12"),
        ({**state, name: value.double()}, r"g_s\.4\.bias is float64, expected float32"),
        ({**state, name: value * torch.nan}, r"g_s\.4\.bias is not finite"),
        ({**state, "model.g_a.6.weight": torch.zeros(3)}, r"g_a\.6\.weight"),
        ({}, r"g_a\.0\.weight"),
    ):
        with pytest.raises(WeightsError, match=message):
            from_state(spoilt)


def test_a_model_without_tables_cannot_code():
    with pytest.raises(WeightsError, match="no tables yet"):
        FpPublishedCoder(small_fp(tables=False))
