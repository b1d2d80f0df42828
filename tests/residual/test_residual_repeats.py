"""Pixels that repeat their neighbours: they are found, stated and copied, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_support import image

from eocodec.codestream.residual_section import pack_residual, unpack_residual
from eocodec.errors import CodestreamError, MalformedSection, TrailingBytes, Truncated
from eocodec.raster.masks import encode_mask
from eocodec.residual import decode_residual, encode_residual
from eocodec.residual.cells import Cells, Copies
from eocodec.residual.repeats import Repeats, find_repeats, unpack_repeats
from eocodec.residual.scan import passes

SIDES = st.tuples(st.integers(1, 20), st.integers(1, 20))


def noise(rows, cols, bands=1, seed=0):
    return np.random.default_rng(seed).integers(0, 3000, (1, bands, rows, cols))


def nearest(fine, factor):
    """Every `factor`-th pixel of [1, C, H, W], each repeated over a block."""
    rows, cols = fine.shape[2:]
    return fine[..., ::factor, ::factor].repeat(factor, 2).repeat(factor, 3)[..., :rows, :cols]


def everywhere(values):
    return np.ones(values.shape, bool)


def size_of(frame):
    return len(pack_residual(frame))


def test_bands_of_one_grid_are_one_class():
    fine = noise(60, 62, bands=7)
    values = np.concatenate([fine[:, :2], nearest(fine[:, 2:5], 2), nearest(fine[:, 5:], 6)], 1)
    found = find_repeats(values, everywhere(values), 1)
    numbers = np.array(found.classes)
    assert (numbers[:2] == 0).all()
    assert len(set(numbers[2:5])) == len(set(numbers[5:])) == 1
    assert set(numbers[2:]) == {1, 2}
    (left, up) = found.joined[numbers[2] - 1]
    assert np.array_equal(left, np.broadcast_to(np.arange(62) % 2 == 1, (60, 62)))
    assert np.array_equal(up, np.broadcast_to(np.arange(60)[:, None] % 2 == 1, (60, 62)))


def test_what_seldom_repeats_is_not_stated():
    values = noise(64, 64, bands=3) // 100  # one neighbour in 30 is equal
    assert find_repeats(values, everywhere(values), 1) is None
    frame = encode_residual(values, everywhere(values), 0)
    assert frame.repeats == b""


def test_all_timesteps_must_repeat():
    one, other = noise(40, 40, seed=1), noise(40, 40, seed=2)
    both = np.concatenate([nearest(one, 2), nearest(other, 2)])
    assert find_repeats(both, everywhere(both), 1) is not None
    once = np.concatenate([nearest(one, 2), other])
    assert find_repeats(once, everywhere(once), 1) is None


def test_pixels_that_are_not_coded_say_nothing():
    values = nearest(noise(40, 40), 2)
    coded = everywhere(values)
    coded[..., 10:20, 5:30] = False
    expected = find_repeats(np.where(coded, values, 0), coded, 1)
    for seed in range(3):
        hidden = np.where(coded, values, noise(40, 40, seed=seed))
        assert np.array_equal(find_repeats(hidden, coded, 1).joined, expected.joined)


@pytest.mark.parametrize("max_error", [0, 30])
def test_repeated_pixels_cost_next_to_nothing(max_error):
    fine = noise(64, 64, bands=2)
    small = fine[..., ::2, ::2]
    values = nearest(fine, 2)
    sizes = [size_of(encode_residual(v, everywhere(v), max_error)) for v in (values, small)]
    assert sizes[0] < 1.06 * sizes[1]  # four times the pixels


def test_a_turned_grid_costs_little_more():
    """Nearest neighbour on a grid that is turned by two degrees: no row and no column repeats as a whole."""
    source = noise(40, 40, bands=3)
    y, x = np.mgrid[0:64, 0:64]
    rows, cols = 4 + (y * 0.5 + x * 0.02).astype(int), 1 + (x * 0.5 + (64 - y) * 0.02).astype(int)
    values = source[:, :, rows, cols]
    used = len(np.unique(rows * 40 + cols)) / (64 * 64)
    size = size_of(encode_residual(values, everywhere(values), 0))
    each = size_of(encode_residual(source, everywhere(source), 0)) / (40 * 40)
    assert size < 1.12 * used * each * 64 * 64


@settings(max_examples=10, deadline=None)
@given(SIDES, st.sampled_from([0, 1, 40]), st.integers(0, 999), st.booleans(), st.booleans())
def test_repeats_within_the_bound(size, max_error, seed, masked, with_base):
    rng = np.random.default_rng(seed)
    values = image((2, 3, *size), seed)
    values = values[..., np.sort(rng.integers(0, size[0], size[0])), :]
    values[:, 1:] = values[:, 1:][..., np.sort(rng.integers(0, size[1], size[1]))]
    coded = rng.random(values.shape) < (0.8 if masked else 1)
    base = values // 8 * 8 if with_base else None
    frame = encode_residual(values, coded, max_error, base=base, nodata=1)
    found = decode_residual(frame, coded, max_error, base=base, nodata=1)
    assert np.abs(found - values)[coded].max(initial=0) <= max_error


@settings(max_examples=40, deadline=None)
@given(SIDES, st.integers(0, 999), st.floats(0, 1), st.floats(0, 1))
def test_cells_are_within_what_is_joined(size, seed, joined_share, coded_share):
    """A cell's pixels hang together by joins of coded pixels; its root is its first one."""
    rng = np.random.default_rng(seed)
    joined, coded = rng.random((2, *size)) < joined_share, rng.random(size) < coded_share
    roots = Cells(joined, coded).roots
    linked = np.arange(coded.size).reshape(size)
    for _ in range(coded.size):  # smallest label of everything that hangs together
        before = linked.copy()
        for (here, there), way in (((np.s_[:, 1:], np.s_[:, :-1]), 0), ((np.s_[1:], np.s_[:-1]), 1)):
            link = joined[way][here] & coded[here] & coded[there]
            least = np.minimum(linked[here], linked[there])
            linked[here] = np.where(link, least, linked[here])
            linked[there] = np.where(link, np.minimum(linked[there], least), linked[there])
        if np.array_equal(before, linked):
            break
    assert np.array_equal(linked.reshape(-1)[roots], linked.reshape(-1))
    assert (roots <= np.arange(coded.size)).all()
    assert np.array_equal(roots[roots], roots)
    assert (roots == np.arange(coded.size))[~coded.reshape(-1)].all()


def test_blocks_have_one_root():
    joined = np.stack([np.tile(np.arange(6) % 3 > 0, (4, 1)), np.tile((np.arange(4) % 2 > 0)[:, None], 6)])
    roots = Cells(joined, np.ones((4, 6), bool)).roots.reshape(4, 6)
    assert np.array_equal(roots, np.arange(24).reshape(4, 6)[::2, ::3].repeat(2, 0).repeat(3, 1))


def test_a_pixel_joined_to_two_cells_makes_them_one():
    joined = np.zeros((2, 2, 2), bool)
    joined[:, 1, 1] = True  # the last pixel is that to its left and that above
    assert Cells(joined, np.ones((2, 2), bool)).roots.tolist() == [0, 1, 1, 1]


@settings(max_examples=40, deadline=None)
@given(SIDES, st.integers(0, 999))
def test_one_pixel_of_each_cell_is_coded(size, seed):
    rng = np.random.default_rng(seed)
    cells = Cells(rng.random((2, *size)) < 0.5, np.ones(size, bool))
    coded = np.ones(size, bool)
    copies, plane = Copies(coded, cells), np.full(size, -1)
    number = np.arange(coded.size).reshape(size)
    seen = np.zeros(coded.size, int)
    for scan in passes(size):
        part = copies.coded(scan)
        np.add.at(seen, cells.roots[scan.take(number)[part]], 1)
        copies.put(scan, part, (plane, cells.roots.reshape(size)[np.ix_(scan.rows, scan.cols)]))
    assert np.array_equal(seen, np.bincount(cells.roots, minlength=coded.size) > 0)
    assert np.array_equal(plane.reshape(-1), cells.roots)


def test_repeats_survive():
    joined = np.random.default_rng(0).random((2, 2, 5, 7)) < 0.5
    found = unpack_repeats(Repeats((0, 2, 1, 1), joined).pack(), 4, (5, 7))
    assert found.classes == (0, 2, 1, 1)
    assert np.array_equal(found.joined, joined)


def test_r51_classes():
    mask = encode_mask(np.zeros((2, 2, 5, 7), bool))
    for classes in ([0, 0, 0], [1, 3, 0], [2, 2, 0]):
        with pytest.raises(MalformedSection, match="R51"):
            unpack_repeats(bytes(classes) + mask, 3, (5, 7))
    with pytest.raises(MalformedSection, match="R51"):
        unpack_repeats(b"\1", 2, (5, 7))


def test_a_damaged_mask_of_repeats():
    data = Repeats((1,), np.arange(2 * 9 * 9).reshape(1, 2, 9, 9) % 5 == 0).pack()
    with pytest.raises((Truncated, MalformedSection)):
        unpack_repeats(data[:-1], 1, (9, 9))
    with pytest.raises(TrailingBytes):
        unpack_repeats(data + b"\0", 1, (9, 9))


def test_a_flipped_bit_in_repeats_never_gives_another_image():
    values = nearest(noise(24, 24, bands=2), 2)
    coded = everywhere(values)
    whole = bytearray(pack_residual(encode_residual(values, coded, 0)))
    frame = unpack_residual(bytes(whole))
    assert frame.repeats
    start = len(whole) - len(frame.escapes) - len(frame.repeats)
    for position in range(start, len(whole) - len(frame.escapes)):
        damaged = whole.copy()
        damaged[position] ^= 0x11
        with pytest.raises(CodestreamError):
            decode_residual(unpack_residual(bytes(damaged)), coded, 0)
