import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.coding.tables import TOTAL, CdfTables, cost_bits, estimate_bits, from_pmfs
from eocodec.errors import CodecError, TableError


def build(*cdfs, first=None):
    start = np.cumsum([0] + [len(cdf) for cdf in cdfs]).astype(np.int64)
    cdf = np.array([value for cdf in cdfs for value in cdf], dtype=np.uint32)
    return CdfTables(cdf, start, np.array(first or [0] * len(cdfs), dtype=np.int32))


@pytest.mark.parametrize(
    "cdf",
    [
        [0, TOTAL],  # only the escape
        [1, 5, TOTAL],
        [0, 5, TOTAL - 1],
        [0, 5, 5, TOTAL],
        [0, 9, 5, TOTAL],
    ],
)
def test_r22_form_of_a_table(cdf):
    good = [0, 5, TOTAL]
    with pytest.raises(TableError, match="R22"):
        build(cdf)
    with pytest.raises(TableError, match="R22"):
        build(good, cdf, good)


def test_r22_highest_symbol_fits_int32():
    build([0, 1, 2, TOTAL], first=[2**31 - 2])
    with pytest.raises(TableError, match="R22"):
        build([0, 1, 2, TOTAL], first=[2**31 - 1])


@pytest.mark.parametrize("index", [[0, 2], [-1], [5, 0]])
def test_r23_index_names_a_table(index):
    tables = build([0, 5, TOTAL], [0, 7, TOTAL])
    with pytest.raises(TableError, match="R23"):
        tables.checked_index(np.array(index))
    assert issubclass(TableError, CodecError)
    assert issubclass(TableError, ValueError)


def test_dtypes_and_offsets_are_checked():
    cdf, start, first = np.array([0, 5, TOTAL], np.uint32), np.array([0, 3]), np.zeros(1, np.int32)
    with pytest.raises(TableError, match="cdf"):
        CdfTables(cdf.astype(np.int64), start, first)
    with pytest.raises(TableError, match="start"):
        CdfTables(cdf, np.array([0, 2]), first)
    with pytest.raises(TableError, match="start"):
        CdfTables(cdf, start, np.zeros(2, np.int32))
    with pytest.raises(TableError, match="integers"):
        CdfTables(cdf, start, first).checked_index(np.array([0.0]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.floats(0, 1), min_size=2, max_size=400).filter(lambda pmf: sum(pmf) > 1e-300),
        min_size=1,
        max_size=4,
    )
)
def test_quantised_tables_have_all_bins_and_exact_totals(pmfs):
    tables = from_pmfs([np.array(pmf) for pmf in pmfs], [0] * len(pmfs))
    for number, pmf in enumerate(pmfs):
        frequencies = np.diff(tables.table(number).astype(np.int64))
        assert frequencies.size == len(pmf)
        assert frequencies.min() >= 1
        assert frequencies.sum() == TOTAL


def test_quantisation_costs_next_to_nothing():
    pmf = np.exp(-np.abs(np.arange(-300, 301)) / 3.0)
    pmf /= pmf.sum()
    (cost,) = cost_bits(from_pmfs([pmf], [-300]))
    floor = -np.log2(1 - 601 / TOTAL)  # the worst that one unit for each of 601 bins can cost, bits a symbol
    assert 0 <= np.sum(pmf * (cost + np.log2(pmf))) < floor


def test_quantisation_keeps_exact_tables_and_breaks_ties_downwards():
    exact = np.array([1, 2, TOTAL - 4, 1])
    assert np.diff(from_pmfs([exact / TOTAL], [0]).table(0)).tolist() == exact.tolist()
    assert np.diff(from_pmfs([np.ones(3)], [0]).table(0)).tolist() == [21846, 21845, 21845]


@pytest.mark.filterwarnings("error")
def test_largest_table_has_no_choice():
    for pmf in (np.ones(TOTAL), np.random.default_rng(3).random(TOTAL)):
        assert (np.diff(from_pmfs([pmf], [0]).table(0)) == 1).all()


@pytest.mark.parametrize(
    "pmf",
    [[1.0], [], [0.0, 0.0], [1.0, -0.1], [np.nan, 1.0], [np.inf, 1.0], [[0.5, 0.5]], [1.0] * (TOTAL + 1)],
)
def test_distributions_that_cannot_be_quantised(pmf):
    with pytest.raises(TableError):
        from_pmfs([np.array(pmf)], [0])


def test_as_many_firsts_as_distributions():
    with pytest.raises(TableError):
        from_pmfs([np.ones(3)], [0, 1])


def test_no_tables_at_all():
    assert from_pmfs([], []).count == 0


def test_costs_and_estimate():
    tables = build([0, 32768, 49152, TOTAL], [0, TOTAL - 1, TOTAL], first=[-1, 4])
    first, second = cost_bits(tables)
    assert first.dtype == np.float32
    assert first.tolist() == [1, 2, 2]
    assert second[1] == 16
    symbols = np.array([[-1, 0, 9], [4, 4, 5]])
    expected = 1 + 2 + 2 + 2 * float(second[0]) + 16
    assert estimate_bits(symbols, np.array([[0], [1]]), tables) == pytest.approx(expected, rel=1e-6)
