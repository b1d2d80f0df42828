"""Powers of tables: those of the specification, and what they are for."""

from math import isqrt

import numpy as np
import pytest

from eocodec.coding.tables import TOTAL, from_pmfs
from eocodec.entropy.tempered import QUARTERS, UNCHANGED, Costs, tempered


def laplace(scale, half, first=None):
    """One table of symbols -half .. half, and its escape."""
    k = np.arange(-half, half + 1)
    return np.concatenate([np.exp(-np.abs(k) / scale), [1e-6]]), -half if first is None else first


def tables_of(*pairs):
    pmfs, first = zip(*pairs, strict=True)
    return from_pmfs(pmfs, list(first))


def frequencies_by_the_book(frequency, power):
    """Plain integers after docs/codestream.md, "Published TEC-FP"."""
    largest = max(frequency)
    weights = []
    for f in frequency:
        a = (f << 24) // largest
        r = isqrt(a << 24)
        q = isqrt(r << 24)
        b = a * a >> 24
        weights.append([q, r, r * q >> 24, None, a * r >> 24, b, b * a >> 24][power])
    out = [1 + w * (TOTAL - len(weights)) // sum(weights) for w in weights]
    out[weights.index(max(weights))] += TOTAL - sum(out)
    return out


TABLES = tables_of(
    laplace(1.5, 10), laplace(0.2, 3), laplace(40, 300), laplace(2000, 3000), laplace(3, 5, -7)
)


@pytest.mark.parametrize("power", range(len(QUARTERS)))
def test_powers_are_those_of_the_specification(power):
    powers = tempered(TABLES)
    assert powers.count == len(QUARTERS) * TABLES.count
    for row in range(TABLES.count):
        frequency = np.diff(TABLES.table(row).astype(np.int64)).tolist()
        found = np.diff(powers.table(power * TABLES.count + row).astype(np.int64)).tolist()
        expected = frequency if power == UNCHANGED else frequencies_by_the_book(frequency, power)
        assert found == expected
        assert powers.first[power * TABLES.count + row] == TABLES.first[row]


def test_a_power_fits_what_varies_more_or_less():
    """Each spread of symbols is cheapest under a power that comes as near to it as there is."""
    learned = tables_of(laplace(2, 40))
    costs = Costs(learned, tempered(learned))
    rng = np.random.default_rng(0)
    for exponent, expected in ((0.25, 0), (1, UNCHANGED), (3, len(QUARTERS) - 1)):
        symbols = np.rint(rng.laplace(0, 2 / exponent, (1, 4000))).astype(np.int32)
        assert costs.of(symbols)[0].argmin() == expected


def test_costs_are_those_of_the_tables():
    powers = tempered(TABLES)
    symbols = np.random.default_rng(1).integers(-400, 400, (TABLES.count, 50)).astype(np.int32)
    found = Costs(TABLES, powers).of(symbols)
    for power in range(len(QUARTERS)):
        for channel, values in enumerate(symbols):
            row = power * TABLES.count + channel
            frequency = np.diff(powers.table(row).astype(np.int64))
            bins = values - powers.first[row]
            bins[(bins < 0) | (bins >= frequency.size)] = frequency.size - 1
            expected = (16 - np.log2(frequency[bins])).sum()
            assert found[channel, power] == pytest.approx(expected, rel=1e-5)
