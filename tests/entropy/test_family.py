"""The family of tables covers what latents look like."""

import math

import numpy as np
import pytest

from eocodec.coding.tables import TOTAL, cost_bits
from eocodec.entropy.family import (
    DEAD_ZONE,
    MAX_HALF_WIDTH,
    SCALES,
    SHAPES,
    build_family,
    index_of,
    scale_of,
)

FAMILY = build_family()
LAPLACE = SHAPES.index(0.95)


def masses(shape, scale):
    """(symbols, masses without the escape, mass of the escape) of a table."""
    row = shape * SCALES + scale
    mass = np.diff(FAMILY.table(row).astype(np.float64)) / TOTAL
    return FAMILY.first[row] + np.arange(mass.size - 1), mass[:-1], mass[-1]


def test_one_table_for_every_shape_and_scale():
    assert FAMILY.count == len(SHAPES) * SCALES
    assert FAMILY.sizes.max() <= 2 * MAX_HALF_WIDTH + 2
    assert build_family().cdf.tolist() == FAMILY.cdf.tolist()


def test_scale_and_index_are_inverse():
    assert index_of(scale_of(np.arange(SCALES))) == pytest.approx(np.arange(SCALES))
    assert scale_of(24) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_tables_are_symmetric_and_fall_off(shape):
    for scale in range(0, SCALES, 5):
        symbols, mass, _ = masses(shape, scale)
        assert symbols[0] == -symbols[-1]
        assert mass == pytest.approx(mass[::-1], abs=2.1 / TOTAL)  # largest remainders are one or two units
        outwards = mass[len(mass) // 2 :]
        assert (np.diff(outwards) < 1.1 / TOTAL).all()


def test_the_tables_of_shape_two_are_gaussian():
    sigma = float(scale_of(36)) * math.sqrt(math.pi / 2)  # E|x| = sigma * sqrt(2 / pi)

    def below(edge):
        return 0.5 + 0.5 * math.erf(edge / sigma / math.sqrt(2))

    symbols, mass, _ = masses(SHAPES.index(2.0), 36)
    for k, found in zip(symbols.tolist(), mass.tolist(), strict=True):
        lower = k - 0.5 + (DEAD_ZONE if k > 0 else -DEAD_ZONE)
        upper = k + 0.5 + (DEAD_ZONE if k >= 0 else -DEAD_ZONE)
        assert found == pytest.approx(below(upper) - below(lower), abs=2e-4)


@pytest.mark.parametrize("scale", [24, 33, 42])
def test_laplacian_symbols_cost_their_entropy(scale):
    """Symbols of a Laplacian, rounded with the dead zone: within 1 % of their entropy by the best table."""
    rng = np.random.default_rng(scale)
    values = rng.laplace(0, float(scale_of(scale)), 40_000)
    symbols = (np.sign(values) * np.floor(np.abs(values) + 0.5 - DEAD_ZONE)).astype(int)
    _, counts = np.unique(symbols, return_counts=True)
    entropy = -(counts * np.log2(counts / counts.sum())).sum()
    costs = []
    for row, bits in enumerate(cost_bits(FAMILY)):
        bins = symbols - FAMILY.first[row]
        costs.append(bits[np.where((bins < 0) | (bins >= len(bits) - 1), len(bits) - 1, bins)].sum())
    best = int(np.argmin(costs))
    assert costs[best] < 1.01 * entropy + 100
    assert best // SCALES == LAPLACE
    assert abs(best % SCALES - scale) <= 1


def test_escapes_are_rare():
    for row in range(FAMILY.count):
        _, _, escape = masses(row // SCALES, row % SCALES)
        narrow = FAMILY.sizes[row] < 2 * MAX_HALF_WIDTH
        assert escape <= (1e-4 if narrow else 0.1)
