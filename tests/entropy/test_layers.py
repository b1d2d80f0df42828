"""Symbols in layers: cells within cells, tables of what a child adds to its parent."""

import numpy as np
import pytest

from eocodec.coding.tables import TOTAL
from eocodec.entropy.context_features import Step
from eocodec.entropy.family import SCALES, SHAPES, scale_of
from eocodec.entropy.layers import PARENTS, ROWS, ParentSums, child_tables, kind_of, outcome_costs
from eocodec.entropy.partition import Partition
from eocodec.entropy.spectrum import layout
from eocodec.entropy.units import Blocks
from layered_support import nested_family

BEYOND = np.full((PARENTS, SCALES), 0.01)


def probability(tables, row, symbol):
    """Of a symbol under a table."""
    table = tables.table(row).astype(np.int64)
    return np.diff(table)[symbol - int(tables.first[row])] / TOTAL


@pytest.mark.parametrize("scale", [20, 27, 33])
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_children_are_as_likely_as_the_finer_symbol(shape, scale):
    """The chain of a parent and its child costs what the finer symbol by itself would."""
    family, children = nested_family(), child_tables(np.zeros((PARENTS, SCALES)))
    fine, coarse = shape * SCALES + scale, shape * SCALES + scale - 3  # an octave in amplitude
    for magnitude in (0, 1, 2, 3):
        alone = probability(family, fine, magnitude)
        if alone < 0.003:  # tables have 1/65536 to give at least, which adds up
            continue
        parent = magnitude // 2
        if parent == 0:
            chain = probability(family, coarse, 0) * probability(children, fine, magnitude)
        else:
            row = parent * ROWS + fine
            chain = probability(family, coarse, parent) * probability(children, row, magnitude - 2 * parent)
        assert chain == pytest.approx(alone, rel=0.1)


def test_every_kind_of_parent_has_its_tables():
    children = child_tables(BEYOND)
    assert children.count == PARENTS * ROWS
    assert set(children.first[:ROWS]) == {-2}
    assert set(children.first[ROWS:]) == {0}
    for row in (5, 40, 200):
        two = probability(children, row, 2) + probability(children, row, -2)
        assert two == pytest.approx(0.01, rel=0.05)
        assert probability(children, 3 * ROWS + row, 2) == pytest.approx(0.01, rel=0.05)


def test_costs_are_those_of_the_tables():
    children = child_tables(BEYOND)
    costs = outcome_costs(children)
    assert costs.shape == (PARENTS * ROWS, 5)
    for row in (0, 100, ROWS + 7, 4 * ROWS + 300):
        expected = [-np.log2(probability(children, row, k)) for k in range(3)]
        assert costs[row, 2:] == pytest.approx(expected, abs=1e-3)
        assert costs[row, :2] == pytest.approx(expected[:0:-1] if row < ROWS else [0, 0], abs=2e-3)


def test_kinds():
    assert kind_of(np.array([-9, -4, -3, -1, 0, 1, 2, 5], np.int32)).tolist() == [4, 4, 3, 1, 0, 1, 2, 4]


def test_parent_sums_are_those_of_the_blocks():
    """Against sums written out, for a tile of one 32-pixel block beside four of 16."""
    part = Partition(2, 4, np.zeros((0, 1), bool), np.array([[True, False]]))
    rng = np.random.default_rng(3)
    symbols = {
        size: rng.integers(-3, 4, (2, size * size, len(part.corners(size)))).astype(np.int32)
        for size in (16, 32, 64)
    }
    blocks = Blocks(part)
    sums = ParentSums(blocks, symbols)
    step = Step(slice(0, 2), np.array([6, 5]), np.array([0, 1]), np.zeros((7, 2, 3, 5)), np.zeros((11, 2, 5)))
    oriented, plain = sums.seen(step, 1)
    assert oriented.shape == (3, 2, 3, 5)
    assert plain.shape == (3, 2, 5)
    shape = layout(32)
    counts = shape.counts
    for pair, (band, component) in enumerate([(6, 0), (5, 1)]):
        places = shape.places(band, 1)
        begin = places.start
        for orientation in range(3):
            end = begin + counts[band, 1, orientation]
            total = np.abs(symbols[32][component, begin:end, 0]).sum()
            assert oriented[0, pair, orientation, 4] == pytest.approx(np.log2(0.1 + total))
            begin = end
        both = np.abs(symbols[32][component, shape.places(band, 0).start : places.stop, 0]).sum()
        assert plain[0, pair, 4] == pytest.approx(np.log2(0.1 + both))
    after = np.abs(symbols[32][0, layout(32).places(7, 0).start : layout(32).places(7, 1).stop, 0])
    assert 2 ** oriented[1, 0, :, 4] - 0.1 == pytest.approx(
        [after[o].sum() for o in _orientations(shape, 7)], abs=1e-9
    )
    assert (oriented[2, 1] == np.log2(0.1)).all()  # there is no component after the last


def _orientations(shape, band):
    """Of each orientation, its places in a band, from the band's first one on; both halves."""
    found = [[], [], []]
    at = 0
    for half in range(2):
        for orientation in range(3):
            count = int(shape.counts[band, half, orientation])
            found[orientation] += range(at, at + count)
            at += count
    return found


def test_scales_shift_by_an_octave():
    assert scale_of(23.0) == pytest.approx(2 * scale_of(20.0))
