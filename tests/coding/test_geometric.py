"""The residual's tables are made of integers: the same on every machine, and close to what they stand for."""

import numpy as np
import pytest

from eocodec.coding.crc import crc32c
from eocodec.coding.geometric import SCALES, SHAPES, geometric_tables, mean_magnitude, uniform_tables
from eocodec.coding.tables import TOTAL

GOLDEN_CDF = 0x24575A35
GOLDEN_MIDDLE = [138, 57, 24, 10, 5]  # of symbols about 0 in the table of mean magnitude 1


def frequencies(tables, index):
    return np.diff(tables.table(index).astype(np.int64))


def test_tables_never_change():
    tables = geometric_tables()
    assert (tables.count, tables.cdf.size) == (SCALES * len(SHAPES), 42192)
    assert crc32c(tables.cdf.astype("<u4").tobytes()) == GOLDEN_CDF
    assert frequencies(tables, 21)[16:21].tolist() == GOLDEN_MIDDLE


def test_mean_magnitudes():
    assert [mean_magnitude(scale) for scale in (0, 21, 24, 39)] == [512, 65536, 131072, 1 << 22]


@pytest.mark.parametrize("scale", [9, 15, 21, 30, 39])
def test_a_plain_table_has_its_mean_magnitude(scale):
    tables = geometric_tables()
    share = frequencies(tables, scale)[:-1] / TOTAL
    symbols = int(tables.first[scale]) + np.arange(share.size)
    assert (share * np.abs(symbols)).sum() == pytest.approx(2 ** (scale / 3 - 7), rel=0.05)
    assert np.array_equal(share, share[::-1])


def test_mixtures_have_more_zeros_and_longer_tails():
    tables = geometric_tables()
    plain, both, three = (frequencies(tables, shape * SCALES + 24) for shape in range(3))
    middle = [part[part.size // 2 - 1] for part in (plain, both, three)]
    assert middle[0] < middle[1] < middle[2]
    assert plain.size < both.size < three.size


def test_uniform_tables():
    tables = uniform_tables()
    for bits in range(1, 9):
        found = frequencies(tables, bits - 1)
        assert found.size == (1 << bits) + 1
        assert found[:-1].max() - found[:-1].min() == 1
        assert found[-1] == 1
