"""Whole numbers under Gaussians of any mean and scale: tables, snapping, rate."""

import math

import numpy as np
import pytest
import torch

from eocodec.coding import SymbolDecoder, SymbolEncoder, estimate_bits
from eocodec.entropy import gaussian_grid
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.gaussian import MAX_MEAN
from eocodec.entropy.gaussian_grid import (
    MAX_FRACTIONS,
    SCALE_MAX,
    SCALE_MIN,
    grid_tables,
    likelihoods,
    scale_table,
    snap,
    snap_whole,
)
from eocodec.errors import MalformedSection, TableError


def drawn(scale, count=20_000, seed=0):
    """Means, and latents that are so distributed about them."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-8, 8, count)
    return means, np.rint(rng.normal(means, scale)).astype(np.int64)


def bits_of(means, values, scale):
    """(coded by the tables, ideal), a latent."""
    placed = snap(means, np.full(means.shape, scale), EdgeWriter())
    coded = estimate_bits((values - placed.whole) * placed.sign, placed.table, grid_tables())
    centred = torch.from_numpy(values - means)
    ideal = -torch.log2(likelihoods(centred, torch.full_like(centred, scale))).sum()
    return coded / means.size, float(ideal) / means.size


@pytest.mark.parametrize("scale", [0.011, 0.03, 0.1, 0.23, 0.5, 1.1, 3.0, 20.0, 200.0])
def test_cost_of_a_grid(scale):
    coded, ideal = bits_of(*drawn(scale), scale)
    assert coded <= ideal + 0.004


def test_tables_are_few():
    tables = grid_tables()
    assert tables.count < 2500
    assert tables.cdf.size < 60_000
    assert (scale_table()[0], scale_table()[-1]) == (pytest.approx(SCALE_MIN), pytest.approx(SCALE_MAX))


def test_other_tables_are_an_error(monkeypatch):
    monkeypatch.setattr(gaussian_grid, "TABLES_CRC", 1)
    grid_tables.cache_clear()
    with pytest.raises(TableError, match="every machine"):
        grid_tables()
    monkeypatch.undo()
    grid_tables()


def test_snapping():
    means = np.array([0.1, -0.1, 2.5, -2.5, 7.49, 1e9, -1e9])
    placed = snap(means, np.full(means.shape, 0.05), EdgeWriter())
    assert placed.whole.tolist() == [0, 0, 3, -2, 7, 2**20, -(2**20)]
    assert placed.sign.tolist() == [1, -1, -1, -1, 1, 1, 1]
    first = placed.table[-1]  # of fraction 0
    expected = (
        [round(0.1 * MAX_FRACTIONS)] * 2 + [MAX_FRACTIONS // 2] * 2 + [round(0.49 * MAX_FRACTIONS), 0, 0]
    )
    assert (placed.table - first).tolist() == expected


def test_scales_out_of_range_are_the_ends():
    table = snap(np.zeros(4), np.array([-1.0, 1e-9, 1e9, SCALE_MAX]), EdgeWriter()).table
    assert table[0] == table[1] == 0
    assert table[2] == table[3] == grid_tables().count - 1
    edges = EdgeWriter()
    snap(np.zeros(3), np.array([0.0, SCALE_MIN, SCALE_MAX]), edges)
    assert edges.finish() == b""


def test_wide_gaussians_have_fewer_fractions():
    scales = np.repeat([0.1, 1.1, 100.0], 1000)
    means = np.tile(np.linspace(-0.5, 0.4999, 1000), 3)
    tables = snap(means, scales, EdgeWriter()).table.reshape(3, 1000)
    assert [np.unique(row).size for row in tables] == [33, 9, 1]


@pytest.mark.parametrize("scale", [0.02, 0.7, 40.0])
def test_latents_come_back(scale):
    means, values = drawn(scale, 600)
    values[::50] += 300  # far from where they are expected
    scales = np.full(means.shape, scale)
    encoder, edges = SymbolEncoder(), EdgeWriter()
    snap(means.reshape(20, 30), scales.reshape(20, 30), edges).encode(values.reshape(20, 30), encoder)
    decoder, reader = SymbolDecoder(*encoder.finish()), EdgeReader(edges.finish())
    decoded = snap(means.reshape(20, 30), scales.reshape(20, 30), reader).decode(decoder)
    decoder.finish()
    reader.finish()
    assert np.array_equal(decoded, values.reshape(20, 30))


def test_latents_outside_32_bits():
    placed = snap(np.full(1, MAX_MEAN), np.ones(1), EdgeWriter())
    encoder = SymbolEncoder()
    placed.encode(np.array([2**31 + 5]), encoder)
    with pytest.raises(MalformedSection, match="32 bits"):
        placed.decode(SymbolDecoder(*encoder.finish()))


def test_whole_numbers_of_latents_that_are_not_sent():
    edges = EdgeWriter()
    assert snap_whole(np.array([0.4, -0.6, 2.5 - 1e-9, 1e12]), edges).tolist() == [0, -1, 2, 2**20]
    assert edges.finish() != b""  # 2.5 is an edge


def test_likelihoods_are_of_a_gaussian():
    centred = torch.arange(-40.0, 41, dtype=torch.float64) + 0.3
    for scale in (0.05, 1.0, 6.0):
        mass = likelihoods(centred, torch.tensor(scale, dtype=torch.float64))
        assert float(mass.sum()) == pytest.approx(1, abs=1e-6)
    middle = likelihoods(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert float(middle) == pytest.approx(math.erf(0.5 / math.sqrt(2)))
