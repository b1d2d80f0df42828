"""Fitting what drives TEC-ELIC's coder, on made-up tiles: cheaper tables, a network that pays, shifts."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from context_support import RING, family, some_basis, some_latents, some_prior
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import estimate_bits
from eocodec.entropy.context import FEATURES
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.context_prior import MAX_SHIFTED
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.family import SCALES, table_costs
from eocodec.entropy.spectrum import BANDS
from eocodec.train import context_fit
from eocodec.train.context_fit import (
    COUNTED,
    TableCosts,
    Tile,
    collect,
    fit_shift,
    fit_side_tables,
    flat_spectrum,
    plain_net,
    train_net,
)
from eocodec.train.fitting import counted_tables

COMPONENTS, LEVELS = 2, 2
QUALITIES = (0, 10_000)
LMBDA = {0: 0.5, 10_000: 20.0}


def start():
    """A coder that knows nothing yet."""
    plain = replace(
        some_prior(COMPONENTS, LEVELS, net=plain_net(8)),
        spectrum=flat_spectrum(LEVELS, COMPONENTS),
        split_tables=counted_tables(np.zeros((2 * LEVELS, 2)), 0),
        log2_step=np.array([1.5, -1.0]),
        shift=np.zeros((family().count, MAX_SHIFTED), np.float32),
    )
    return ContextCoder(plain, some_basis(COMPONENTS), RING)


def tiles(seeds):
    """Tiles of 8 x 8 blocks at both qualities."""
    return [Tile(some_latents(8, 8, COMPONENTS, seed), q, LMBDA[q]) for seed in seeds for q in QUALITIES]


def coded(coder, tile):
    """Contents of SYMBOLS, ESCAPES and EDGES of a tile."""
    encoder, edges = SymbolEncoder(), EdgeWriter()
    frame = coder.encode(tile.y, encoder, edges, tile.quality_steps, tile.lmbda)
    stream = (*encoder.finish(), edges.finish())
    assert coder.crc([decoded(coder, stream, tile)]) == coder.crc([frame])
    return stream


def decoded(coder, stream, tile):
    """The frame of contents."""
    reader, edges = SymbolDecoder(*stream[:2]), EdgeReader(stream[2])
    return coder.decode(reader, edges, *tile.y.shape[1:], tile.quality_steps)


def size(coder, tile):
    """Bytes that a tile takes."""
    return sum(len(part) for part in coded(coder, tile))


@pytest.fixture(scope="module")
def counted():
    """A coder with tables of spectra and partitions counted over tiles."""
    torch.set_num_threads(1)
    coder = start()
    frames = [(coder.plan(t.y, t.quality_steps, t.lmbda), t.quality_steps) for t in tiles(range(4))]
    return replace(coder, prior=fit_side_tables(frames, coder.prior))


@pytest.fixture(scope="module")
def units(counted):
    """Units of the tiles under the plain network."""
    return collect(counted, tiles(range(6)), seed=0)


def test_counted_tables_cost_less(counted):
    """On tiles that were not counted: the spectrum and the blocks together."""

    def side(coder):
        bits, prior = 0.0, coder.prior
        for t in tiles([10, 11]):
            plan, q = coder.plan(t.y, t.quality_steps, t.lmbda), t.quality_steps
            bits += estimate_bits(*prior.spectrum.deltas(plan.spectrum, q), prior.spectrum.tables)
            for kind, flags in enumerate(
                (plan.partition.large.ravel(), plan.partition.medium[plan.partition.open_medium()])
            ):
                bits += estimate_bits(
                    flags.astype(int), prior.split_rows(kind, flags.size, q), prior.split_tables
                )
        return bits

    assert side(counted) < 0.8 * side(start())


def test_side_tables_follow_the_level(counted):
    default = counted.prior.spectrum.default_scale
    assert default.shape == (LEVELS, BANDS, COMPONENTS)
    assert ((default >= 0) & (default < SCALES)).all()
    assert default[1].sum() > default[0].sum() + 50  # finer steps, larger symbols
    assert counted.prior.split_tables.count == 2 * LEVELS


def test_units_are_counted_and_listed(units):
    n = len(units.weight)
    assert units.features.shape == (n, FEATURES)
    assert units.counts.shape == (n, COUNTED)
    assert (units.weight > 0).all()
    assert len(np.unique(units.weight)) == len(QUALITIES)
    assert units.large.min() >= COUNTED
    assert ((units.large_unit >= 0) & (units.large_unit < n)).all()
    listed = np.bincount(units.large_unit, minlength=n)
    per_unit = units.counts.sum(1) + listed
    stated = np.exp2(units.features[:, 32].astype(float))  # log2 of the unit's coefficients, as float16
    assert np.allclose(per_unit, stated, rtol=5e-3)


def test_a_trained_network_beats_the_plain_one(counted, units, monkeypatch):
    """On tiles that it was not trained on, in coded bytes, and the streams decode."""
    seconds = itertools.count()  # a second a look: as many steps on a busy machine as on an idle one
    monkeypatch.setattr(context_fit, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    net = train_net(
        units, TableCosts.of_family(family()), hidden=8, minutes=250 / 60, batch=2048, log=lambda text: None
    )
    for weight in (*net.weights, *net.biases):
        assert np.array_equal(weight, weight.astype(np.float32))  # what is stored is what was trained
    trained = replace(counted, prior=replace(counted.prior, net=net))
    plain_bytes, trained_bytes = (sum(size(c, t) for t in tiles([20, 21])) for c in (counted, trained))
    assert trained_bytes < 0.9 * plain_bytes


def test_shifts_bring_the_reconstruction_nearer(counted):
    shift = fit_shift(counted, tiles(range(4)))
    assert shift.shape == (family().count, MAX_SHIFTED)
    assert shift.dtype == np.float32
    assert np.abs(shift).max() < 1
    assert shift.any()
    shifted = replace(counted, prior=replace(counted.prior, shift=shift))
    for t in tiles([30, 31]):
        stream = coded(counted, t)
        errors = []
        for coder in (counted, shifted):
            found = coder.latents(decoded(coder, stream, t), t.quality_steps, np.float64).dense(RING)
            errors.append(np.mean((found - t.y.reshape(found.shape)) ** 2))
        assert errors[1] < errors[0]


def test_costs_between_tables_are_between_theirs():
    costs, exact = TableCosts.of_family(family()), torch.from_numpy(table_costs(family()))
    width = exact.shape[1] // 2
    scale, shape = torch.tensor([3.0, 3.5, 3.0, 60.0, -5.0]), torch.tensor([1.0, 1.0, 1.25, 9.0, -2.0])
    rows, mix = costs.corners(scale, shape)
    assert torch.allclose(mix.sum(0), torch.ones(5))
    counts = torch.zeros(5, COUNTED)
    counts[:, 2] = 3
    bits = costs.bits(rows, mix, counts)
    at = [exact[row, width + 2] for row in (51 + 3, 51 + 4, 2 * 51 + 3, 5 * 51 + 50, 0)]
    wanted = [at[0], (at[0] + at[1]) / 2, 0.75 * at[0] + 0.25 * at[2], at[3], at[4]]
    assert torch.allclose(bits, 3 * torch.stack(wanted), rtol=3e-3)
    single = costs.bits_of(rows, mix, torch.full((5,), 2))
    assert torch.allclose(3 * single, bits, rtol=1e-5)
