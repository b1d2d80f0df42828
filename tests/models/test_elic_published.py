"""The published TEC-ELIC: its parameter set, and coding that other machines can decode."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from edges_support import edgy
from eocodec.coding import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import NOISE, EdgeReader, EdgeWriter
from eocodec.entropy.gaussian import MEAN_STEPS
from eocodec.errors import (
    ChecksumMismatch,
    CodecError,
    CodestreamError,
    ConfigError,
    ExactnessError,
    InputError,
    WeightsError,
)
from eocodec.models.elic_published import CheckerboardConv, ElicPublishedConfig, TecElicPublished, is_anchor
from eocodec.models.elic_published_coding import ElicCoder

LISTED = Path(__file__).parent / "published_elic.txt"
PARAMETERS = {(128, 192): 16_508_524, (192, 320): 33_879_180}
N, M = 16, 144
STEPS = 5000  # of the quality, to which these models pay no heed


def published_state(column):
    """Random tensors under the published names; column 0: N = 128, M = 192, column 1: 192, 320."""
    state = {}
    for line in LISTED.read_text(encoding="utf-8").splitlines()[1:]:
        name, dtype, *shapes = line.split()
        shape = [int(size) for size in shapes[column].split("x")]
        state[name] = torch.zeros(shape, dtype=getattr(torch, dtype)).random_(0, 9)
    return state


@pytest.mark.parametrize(("column", "sizes"), list(enumerate(PARAMETERS)))
def test_the_published_parameter_set_is_accepted(column, sizes):
    state = published_state(column)
    assert len(state) == 412
    model = TecElicPublished.from_state({f"model.{name}": tensor for name, tensor in state.items()})
    assert (model.config.N, model.config.M, model.config.bands) == (*sizes, 12)
    loaded = model.state_dict()
    assert set(loaded) == set(state)
    assert all(loaded[name].dtype == state[name].dtype for name in state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[sizes]


@pytest.fixture(scope="module")
def model():
    """A small model with latents and scales of a few steps, as a trained one has them."""
    torch.manual_seed(0)
    model = TecElicPublished(ElicPublishedConfig(N, M)).eval()
    codec = model.latent_codec
    with torch.no_grad():
        model.g_a[13].weight *= 10
        codec.hyper.h_a[4].weight *= 20
        for k, channels in enumerate(model.config.groups):
            last = codec.y.group(k).entropy_parameters[4]
            last.weight *= 12
            last.bias[channels:] += 2.5
        codec.y.group(2).entropy_parameters[4].bias[32:] -= 2.4  # one group of small scales
    model.update_tables()
    return model


@pytest.fixture(scope="module")
def coder(model):
    return ElicCoder(model)


def latents(model, rows, cols, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        y = model.analysis(torch.randn(batch, 12, 16 * rows, 16 * cols, generator=generator))
    return y + torch.randn(y.shape, generator=generator)


def predicted_latents(model, rows, cols):
    """[1, M, rows, cols]: latents that are distributed as the model says, as a trained model's are."""
    generator = torch.Generator().manual_seed(1)
    y, draw = latents(model, rows, cols), torch.randn(1, M, rows, cols, generator=generator)
    hyper = model.latent_codec.hyper
    medians = hyper.entropy_bottleneck.medians[:, None, None]
    anchor = is_anchor(rows, cols)
    with torch.no_grad():
        for _ in range(2):  # the hyperprior follows the latents
            given = hyper.parameters_of(torch.round(hyper.h_a(y) - medians) + medians, rows, cols)
            for part in model.latent_codec.y.slices():
                for now in (anchor, ~anchor):
                    _, means, scales = model.two_passes(y, given)
                    drawn = means + scales.clamp_min(0.11) * draw
                    y[:, part] = torch.where(now, drawn[:, part], y[:, part])
    return y


@dataclass(frozen=True)
class Coded:
    """What is coded of several tiles: z and y as in `ElicSymbols`, y_hat [tiles, M, h, w]."""

    z: np.ndarray
    y: np.ndarray
    y_hat: torch.Tensor


def gather(coder, frames, rows, cols):
    y_hat = [coder.latents(frame, STEPS, np.float32).reshape(-1, rows, cols) for frame in frames]
    together = [np.stack([getattr(frame, part) for frame in frames]) for part in "zy"]
    return Coded(*together, torch.from_numpy(np.stack(y_hat)))


def encode(coder, y, writer=EdgeWriter):
    """(coded, [(stream, escapes, edges, crc)])"""
    frames, tiles = [], []
    for latents_of_tile in y.numpy():
        encoder, edges = SymbolEncoder(), writer()
        frames.append(coder.encode(latents_of_tile, encoder, edges, STEPS, 0.0))
        tiles.append((*encoder.finish(), edges.finish(), coder.crc(frames[-1:])))
    return gather(coder, frames, *y.shape[2:]), tiles


def decode(coder, tiles, rows, cols, reader=EdgeReader):
    """As a codec would: streams and edges used up, CRC compared."""
    frames = []
    for stream, escapes, listed, crc in tiles:
        decoder, edges = SymbolDecoder(stream, escapes), reader(listed)
        frames.append(coder.decode(decoder, edges, rows, cols, STEPS))
        decoder.finish()
        edges.finish()
        if coder.crc(frames[-1:]) != crc:
            raise ChecksumMismatch("symbols")
    return gather(coder, frames, rows, cols)


def test_shapes_of_the_transforms(model):
    x = torch.randn(2, 12, 48, 80)
    with torch.no_grad():
        y = model.analysis(x)
        assert y.shape == (2, M, 3, 5)
        assert model.synthesis(y).shape == x.shape
        assert model.analysis(torch.randn(1, 12, 33, 17)).shape == (1, M, 3, 2)
        out = model(x)
    assert out.x_hat.shape == x.shape
    assert out.means.shape == out.scales.shape == out.symbols.shape == out.y_hat.shape == y.shape
    assert torch.allclose(out.symbols + out.means, out.y_hat, atol=1e-4)
    assert (out.y_hat - y).abs().max() <= 0.5 + 1e-4


def test_a_group_sees_what_is_decoded_before_it_and_nothing_else(model):
    """Changing a latent changes no parameter of it or of anything coded earlier, and some that come later."""
    y = latents(model, 6, 6)
    hyper = torch.zeros(1, 2 * M, 6, 6)
    parts, anchor = model.latent_codec.y.slices(), is_anchor(6, 6)
    with torch.no_grad():
        _, means, _ = model.two_passes(y, hyper)
        for k, part in enumerate(parts):
            changed = y.clone()
            changed[:, part.start, 2, 3] += 9  # not an anchor
            changed[:, part.start, 3, 3] += 9  # an anchor
            moved = model.two_passes(changed, hyper)[1] != means
            assert not moved[:, : part.start].any()
            assert not moved[:, part][..., anchor].any()
            assert moved[:, part][..., ~anchor].any()
            if k + 1 < len(parts):
                assert moved[:, parts[k + 1]].any()


def test_the_checkerboard_masks_its_own_colour():
    conv = CheckerboardConv(2, 4)
    assert conv.mask[0, 0].tolist() == [[(r + c) % 2 for c in range(5)] for r in range(5)]
    board = is_anchor(7, 6).float()
    with torch.no_grad():
        seen = conv(board.expand(1, 2, 7, 6)) - conv.bias[:, None, None]
    assert (seen[..., is_anchor(7, 6)] == 0).all()


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (1, 1), (1, 6), (5, 7), (9, 3)])
def test_any_size_decodes(model, coder, rows, cols):
    y = latents(model, rows, cols, batch=2)
    symbols, tiles = encode(coder, y)
    assert np.unique(symbols.y // MEAN_STEPS).size > 5
    assert symbols.z.shape == (2, N, -(-rows // 4), -(-cols // 4))
    decoded = decode(coder, tiles, rows, cols)
    assert np.array_equal(decoded.y, symbols.y)
    assert np.array_equal(decoded.z, symbols.z)
    assert (decoded.y_hat - y).abs().max() <= 0.5 + 1e-5


def test_coded_bits_are_the_estimated_ones(model, coder, monkeypatch):
    y = predicted_latents(model, 10, 9)
    monkeypatch.setattr(model, "analysis", lambda x: x)
    monkeypatch.setattr(model, "synthesis", lambda y_hat: y_hat)
    with torch.no_grad():
        out = model(y)
    symbols, ((stream, escapes, edges, _),) = encode(coder, y)
    coded, estimated = 8 * (len(stream) + len(escapes) + len(edges)), float(out.bits)
    assert 0.99 * estimated - 64 <= coded <= 1.01 * estimated + 64
    assert coded > 10_000
    same = np.abs(symbols.y / MEAN_STEPS - out.y_hat.numpy()) < 1 / MEAN_STEPS
    assert same[0, :16, is_anchor(10, 9)].mean() > 0.98  # all but symbols at a half, which later means follow


def test_decoding_does_not_depend_on_threads_and_kernels(model, coder):
    y = latents(model, 6, 5, batch=3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        symbols, tiles = encode(coder, y)
        torch.set_num_threads(1)
        alone = decode(coder, tiles, 6, 5)
        torch.backends.mkldnn.enabled = False
        plain = decode(ElicCoder(model), tiles, 6, 5)
    finally:
        torch.backends.mkldnn.enabled = True
        torch.set_num_threads(threads)
    assert np.array_equal(plain.y, symbols.y)
    assert np.array_equal(alone.y, symbols.y)


# --- noise --------------------------------------------------------------------------------------------------


EdgyWriter, edgy_reader = edgy(-200, 62)  # no edge beyond table 63


def test_noise_on_every_parameter(model, coder):
    y = latents(model, 6, 7)
    symbols, tiles = encode(coder, y, EdgyWriter)
    assert len(tiles[0][2]) > 500
    for amplitude in (0.0, 0.5 * NOISE, 0.99 * NOISE):
        assert np.array_equal(decode(coder, tiles, 6, 7, edgy_reader(amplitude)).y, symbols.y)
    for amplitude in (8 * NOISE, 100 * NOISE):
        with pytest.raises(ExactnessError, match="R46"):
            decode(coder, tiles, 6, 7, edgy_reader(amplitude))


def test_noise_on_parameters_that_are_not_at_edges(model, coder):
    """Without values at edges the list cannot tell; what noise changes ends in a named error all the same."""

    def noisy(amplitude):
        class NoisyReader(EdgeReader):
            rng = np.random.default_rng(2)

            def resolve(self, values):
                return super().resolve(values + self.rng.uniform(-amplitude, amplitude, values.shape))

        return NoisyReader

    _, tiles = encode(coder, latents(model, 6, 7))
    decode(coder, tiles, 6, 7, noisy(NOISE))
    for amplitude in (1e-2, 0.5, 40.0):
        with pytest.raises(CodecError):
            decode(coder, tiles, 6, 7, noisy(amplitude))


def test_damage_is_an_error(model, coder):
    _, (tile,) = encode(coder, latents(model, 4, 5))
    stream, *rest = tile
    for position in range(0, len(stream), 97):
        damaged = stream[:position] + bytes([stream[position] ^ 0x55]) + stream[position + 1 :]
        with pytest.raises(CodestreamError):
            decode(coder, [(damaged, *rest)], 4, 5)


# --- what cannot be coded -----------------------------------------------------------------------------------


def test_latents_beyond_everything(model, coder):
    y = latents(model, 3, 3)
    y[0, 5, 1, 1] = 1e30
    symbols, tiles = encode(coder, y)
    assert np.array_equal(decode(coder, tiles, 3, 3).y, symbols.y)
    y[0, 5, 1, 1] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        encode(coder, y)


def test_states_that_are_not_a_published_elic(model):
    state = dict(model.state_dict())
    assert TecElicPublished.from_state(state).config == ElicPublishedConfig(N, M)
    with pytest.raises(WeightsError, match=r"g_s\.1\.bias"):
        TecElicPublished.from_state({name: value for name, value in state.items() if name != "g_s.1.bias"})
    with pytest.raises(WeightsError, match="extra"):
        TecElicPublished.from_state({**state, "extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"g_s\.1\.bias"):
        TecElicPublished.from_state({**state, "g_s.1.bias": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"g_a\.0\.weight"):
        TecElicPublished.from_state({})
    with pytest.raises(ConfigError):
        TecElicPublished(ElicPublishedConfig(N, 128))


def test_a_model_without_tables_cannot_code():
    with pytest.raises(WeightsError, match="no tables yet"):
        ElicCoder(TecElicPublished(ElicPublishedConfig(8, 132)))
