import math

import numpy as np
import pytest
import torch

from eocodec.coding import SymbolDecoder, SymbolEncoder, cost_bits, estimate_bits
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.factorized import EntropyBottleneck
from eocodec.entropy.gaussian import (
    MAX_MEAN,
    MEAN_STEPS,
    SCALES,
    GaussianConditional,
    gaussian_tables,
    scale_table,
    snap,
)
from eocodec.errors import TableError, WeightsError


@pytest.fixture(scope="module")
def tables():
    return gaussian_tables()


def test_the_scales_of_the_published_models():
    scales = scale_table()
    assert (scales[0], scales[-1], scales.size) == (pytest.approx(0.11), pytest.approx(256), 64)
    assert np.allclose(np.diff(np.log(scales)), math.log(256 / 0.11) / 63)


def test_tables_are_gaussians(tables):
    assert tables.count == SCALES
    for number, scale in enumerate(scale_table()):
        frequency = np.diff(tables.table(number).astype(np.int64))[:-1]
        assert np.abs(frequency - frequency[::-1]).max() <= 1  # remainders go to the lower bin
        assert tables.first[number] == -(frequency.size // 2)
        k = np.arange(frequency.size) - frequency.size // 2
        if 0.5 < scale < 12:  # Sheppard: a bin is a unit wide; in wider tables the least frequencies weigh
            assert (frequency * k**2).sum() / 2**16 == pytest.approx(scale**2 + 1 / 12, rel=0.03)
    assert cost_bits(tables)[0][1] < 1e-3  # nearly all of the smallest scale is zero


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.3, 7.0, 60.0])
def test_cost_of_64_scales_and_16_bits(tables, scale):
    """Symbols of any scale cost at most 1 % more than under their own Gaussian."""
    rng = np.random.default_rng(0)
    symbols = np.rint(rng.normal(0, scale, 200_000)).astype(np.int64)
    _, table = snap(np.zeros(1), np.full(1, scale), EdgeWriter())
    likelihoods = GaussianConditional().likelihoods(
        torch.from_numpy(symbols).double(), torch.full(symbols.shape, scale, dtype=torch.float64)
    )
    ideal = float(-torch.log2(likelihoods).sum())
    assert estimate_bits(symbols, table, tables) <= 1.01 * ideal


def test_snapping():
    means = np.array([0.1, -3.0, 1e9, -1e9, 0.0])
    scales = np.array([-5.0, 0.11, 1e9, 256.0, scale_table()[17] * 1.05])
    edges = EdgeWriter()
    mean, table = snap(means, scales, edges)
    limit = int(MAX_MEAN) * MEAN_STEPS
    assert mean.tolist() == [26, -3 * MEAN_STEPS, limit, -limit, 0]
    assert table.tolist() == [0, 0, 63, 63, 17]
    assert edges.finish() == b""
    again = snap(means, scales, EdgeReader(b""))
    assert np.array_equal(again[0], mean)
    assert np.array_equal(again[1], table)


def test_likelihoods_are_those_of_a_density():
    k = torch.arange(-4000, 4001, dtype=torch.float64)
    for scale in (0.01, 0.11, 2.0, 300.0):
        mass = GaussianConditional().likelihoods(k, torch.full_like(k, scale))
        assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
        assert torch.equal(mass, mass.flip(0))


# --- tables as buffers --------------------------------------------------------------------------------------


@pytest.fixture
def bottleneck():
    torch.manual_seed(0)
    bottleneck = EntropyBottleneck(5)
    with torch.no_grad():
        bottleneck.quantiles[:, 0] = torch.tensor(
            [[-3.2, 0.4, 2.9], [-0.2, 0.1, 0.3], [-12, 1, 8], [2.0, 3.0, 4.0], [-9, -8.5, -2]]
        )
    bottleneck.update_tables()
    return bottleneck


def test_tables_of_the_bottleneck_are_its_density(bottleneck):
    tables = bottleneck.tables()
    assert tables.first.tolist() == [-4, -1, -13, -1, -1]
    assert (tables.sizes - 1).tolist() == [8, 3, 21, 3, 9]  # ceil below + ceil above + 1, the escape apart
    for channel in range(5):
        low, count = int(tables.first[channel]), int(tables.sizes[channel]) - 1
        values = bottleneck.medians[channel] + torch.arange(low, low + count)
        mass = bottleneck.likelihoods(values.expand(5, -1)[None, :, :, None])[0, channel, :, 0]
        frequency = np.diff(tables.table(channel).astype(np.int64)) / 2**16
        assert np.allclose(frequency[:-1], mass.detach().numpy(), atol=2e-5 * 16)


def test_buffers_load_at_any_size(bottleneck):
    other = EntropyBottleneck(5)
    with pytest.raises(WeightsError, match="no tables yet"):
        other.tables()
    other.load_state_dict(bottleneck.state_dict())
    assert np.array_equal(other.tables().cdf, bottleneck.tables().cdf)
    assert np.array_equal(other.tables().start, bottleneck.tables().start)
    assert torch.equal(other._quantized_cdf, bottleneck._quantized_cdf)


def test_coding_with_stored_tables(bottleneck):
    symbols = np.random.default_rng(0).integers(-20, 20, (5, 30))
    encoder = SymbolEncoder()
    encoder.encode_channels(symbols, np.arange(5), bottleneck.tables())
    decoder = SymbolDecoder(*encoder.finish())
    assert np.array_equal(decoder.decode_channels(np.arange(5), 30, bottleneck.tables()), symbols)


def test_malformed_buffers(bottleneck):
    good = bottleneck.state_dict()
    for name, value, error in (
        ("_cdf_length", torch.full((5,), 99, dtype=torch.int32), WeightsError),
        ("_cdf_length", torch.full((4,), 3, dtype=torch.int32), WeightsError),
        ("_cdf_length", torch.full((5,), 3, dtype=torch.int32), TableError),
        ("_quantized_cdf", torch.zeros(5, 24, dtype=torch.int32), TableError),
        ("_quantized_cdf", torch.zeros(5, dtype=torch.int32), WeightsError),
    ):
        other = EntropyBottleneck(5)
        other.load_state_dict({**good, name: value})
        with pytest.raises(error):
            other.tables()


def test_tables_for_other_scales_are_refused():
    conditional = GaussianConditional()
    conditional.update_tables()
    assert conditional.tables().count == SCALES
    assert conditional._quantized_cdf.shape == (64, 3133)  # as in the published checkpoints
    conditional.scale_table[3] *= 1.01
    with pytest.raises(WeightsError, match="scale_table"):
        conditional.tables()
