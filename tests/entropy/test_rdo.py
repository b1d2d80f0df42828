"""Rate-distortion optimised quantisation and the training-time estimate of bits."""

import numpy as np
import pytest
import torch

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.prior import Axes
from eocodec.entropy.rdo import quantise
from eocodec.entropy.tile_laplace import geometric_bits, tile_bits
from eocodec.train.fitting import flat_prior

BANDS, CHANNELS, POSITIONS = 3, 24, 64
ONES = np.ones(CHANNELS, np.float32)


@pytest.fixture(scope="module")
def prior():
    return flat_prior(2, CHANNELS, BANDS, 2)


def latents(seed=0, spread=2.0):
    return np.random.default_rng(seed).laplace(0, spread, (CHANNELS, POSITIONS)).astype(np.float32)


def run(prior, z, weight, steps=ONES):
    """(symbols [M, n] with offsets, bits) of a tile at quality 50."""
    centred, choice = quantise(z.copy(), steps, weight, prior, 5000)
    encoder = SymbolEncoder()
    no_axes = Axes(np.zeros(2, np.int32), np.zeros((2, 3), np.int32))
    prior.axes.encode(encoder, no_axes)
    prior.encode(encoder, centred, choice, 5000)
    stream, escapes = encoder.finish()
    frame = prior.decode(SymbolDecoder(stream, escapes), z.shape[1], 5000)
    symbols = np.zeros(z.shape, np.int64)
    symbols[frame.channels] = frame.symbols
    return symbols, 8 * (len(stream) + len(escapes))


def test_where_bits_are_nothing_symbols_are_the_nearest(prior):
    z = latents()
    z[np.abs(z) > 0.4] *= 3  # no channel may be dropped by the dead zone alone
    symbols, _ = run(prior, z, 1e9 * ONES)
    assert np.array_equal(symbols, np.rint(z))


def test_steps_divide_latents(prior):
    steps = np.linspace(0.5, 4, CHANNELS, dtype=np.float32)
    symbols, _ = run(prior, latents(spread=20), 1e9 * ONES, steps)
    assert np.array_equal(symbols, np.rint(latents(spread=20) / steps[:, None]))


def test_symbols_are_nearest_or_one_step_lower(prior):
    z = latents()
    symbols, _ = run(prior, z, 2 * ONES)
    nearest = np.rint(z).astype(int)
    lowered = symbols != nearest
    assert 0.02 < lowered.mean() < 0.5
    centre = np.zeros((CHANNELS, 1), int)
    centre[:BANDS, 0] = np.rint(nearest[:BANDS].mean(1))
    assert np.abs(symbols - nearest).max() == 1
    assert (np.abs(symbols - centre) <= np.abs(nearest - centre)).all()


@pytest.mark.parametrize("weight", [0.02, 0.2, 2.0])
def test_bits_and_error_together_are_less_than_of_rounding(prior, weight):
    z = latents(3)
    symbols, bits = run(prior, z, weight * ONES)
    rounded, bits_rounded = run(prior, z, 1e9 * ONES)
    cost = bits + weight * np.square(z - symbols).sum()
    assert cost < bits_rounded + weight * np.square(z - rounded).sum()


def test_a_lone_symbol_is_not_worth_a_channel(prior):
    """Saying that a channel lives costs bits too, which no single symbol sees."""
    z = latents(5)
    z[7:] = 0
    z[12, 30] = 0.9
    dropped, bits = run(prior, z, 5 * ONES)
    kept, bits_kept = run(prior, z, 50 * ONES)
    assert not dropped[12].any()
    assert kept[12].sum() == 1
    assert bits < bits_kept


def test_offsets_make_a_mean_cheap(prior):
    z = latents(4)
    z[:BANDS] += 700
    symbols, bits = run(prior, z, 100 * ONES)
    assert symbols[:BANDS].mean() == pytest.approx(700, abs=1)
    assert bits < run(prior, latents(4), 100 * ONES)[1] + 8 * 12


@pytest.mark.parametrize("value", [1e6, 3e9, 1e30])
def test_huge_latents_stay_decodable(prior, value):
    z = latents()
    z[:, 5] = value
    z[::2, 6] = -value
    z[0] = value
    symbols, _ = run(prior, z, ONES)
    assert symbols.max() < 2**31
    if value == 1e6:
        assert np.abs(symbols - z).max() < 1.5


def test_all_zero(prior):
    symbols, bits = run(prior, np.zeros((CHANNELS, POSITIONS), np.float32), ONES)
    assert not symbols.any()
    assert bits < 300


def test_bits_of_a_geometric_distribution():
    """The closed form is the entropy of the distribution that has this mean magnitude."""
    k = np.arange(-4000, 4001)
    for theta in (0.01, 0.3, 0.9, 0.99):
        p = (1 - theta) / (1 + theta) * theta ** np.abs(k)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(p * np.log2(p))
        mean_abs = torch.tensor(float((p * np.abs(k)).sum()), dtype=torch.float64)
        assert geometric_bits(mean_abs).item() == pytest.approx(entropy, rel=1e-3)
    assert geometric_bits(torch.zeros(1)).item() < 1e-4


def test_bits_of_a_tile():
    generator = torch.Generator().manual_seed(0)
    symbols = torch.randn(2, 6, 4, 4, generator=generator).mul(3).round()
    bits = tile_bits(symbols.abs(), symbols[:, :2])
    assert bits.shape == (2,)
    moved = symbols.clone()
    moved[:, :2] += 500  # the offset takes it
    assert torch.allclose(tile_bits(moved.abs(), moved[:, :2]), bits, rtol=1e-4)
    louder = tile_bits(2 * symbols.abs(), 2 * symbols[:, :2])
    assert (louder > bits).all()
    assert not tile_bits(torch.zeros(1, 6, 4, 4), torch.zeros(1, 2, 4, 4)).gt(0.01).any()


def test_bits_have_a_gradient():
    magnitude = torch.full((1, 6, 4, 4), 2.0, requires_grad=True)
    tile_bits(magnitude, magnitude[:, :2]).sum().backward()
    assert (magnitude.grad[:, 2:] > 0).all()
