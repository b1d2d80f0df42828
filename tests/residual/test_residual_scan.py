"""Every pixel belongs to one pass, and nothing is predicted from what comes later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.residual.scan import NEIGHBOURS, passes

SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(deadline=None)
@given(SIDES)
def test_every_pixel_once(shape):
    seen = np.zeros(shape, int)
    for scan in passes(shape):
        scan.put(seen, scan.take(seen) + 1)
    assert (seen == 1).all()


@settings(deadline=None)
@given(SIDES)
def test_neighbours_are_decoded_before(shape):
    """Pixels hold the number of their pass; one that has none yet holds a large number."""
    number = np.full(shape, 10_000)
    for scan in passes(shape):
        for offset in NEIGHBOURS[scan.kind]:
            found = scan.neighbour(number, offset)
            assert found.shape == scan.size
            assert (found < 10_000).all()
        scan.put(number, np.full(scan.size, scan.number))


def test_a_pass_without_rows_gives_zero():
    (right,) = (scan for scan in passes((1, 9)) if scan.kind == "R" and scan.spacing == 16)
    ones = np.ones((1, 9), int)
    assert right.neighbour(ones, (0, 1)).tolist() == [[1]]
    below = next(scan for scan in passes((9, 8)) if scan.kind == "C" and scan.spacing == 16)
    assert below.neighbour(np.ones((9, 8), int), (-1, 1)).tolist() == [[0]]  # there is no column 8


@pytest.mark.parametrize("offset", [(0, 0), (-1, 1), (50, -50)])
def test_other_planes_end_in_their_last_pixel(offset):
    plane = np.arange(35).reshape(5, 7)
    scan = list(passes((5, 7)))[-1]
    rows = np.clip(scan.rows + offset[0], 0, 4)
    cols = np.clip(scan.cols + offset[1], 0, 6)
    assert np.array_equal(scan.take(plane, offset), plane[np.ix_(rows, cols)])
