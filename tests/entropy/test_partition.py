"""Blocks: a change of basis and nothing else, cells covered once, large ones where the image is smooth."""

import numpy as np
import pytest

from context_support import SIZES, block_dct, some_image, some_partition
from eocodec.entropy.partition import (
    Partition,
    choose,
    every_block,
    every_corner,
    from_blocks,
    live_rows,
    to_blocks,
    turn_blocks,
)
from eocodec.entropy.spectrum import layout
from eocodec.nn.spectral import RINGS

ODD = [(1, 1), (1, 9), (2, 3), (3, 2), (5, 7), (9, 6)]


def coefficients(rows, cols, components=2, seed=0, dtype=np.float32):
    """Of 16-pixel blocks of noise, and the noise."""
    image = np.random.default_rng(seed).standard_normal((components, 16 * rows, 16 * cols))
    return block_dct(image, 16).astype(dtype), image


def cover(part):
    """How many blocks lie on each cell."""
    covered = np.zeros((part.rows, part.cols), int)
    for size in SIZES:
        for row, col in part.corners(size):
            covered[row : row + size // 16, col : col + size // 16] += 1
            assert row % (size // 16) == col % (size // 16) == 0
            assert row + size // 16 <= part.rows
            assert col + size // 16 <= part.cols
    return covered


@pytest.mark.parametrize(("rows", "cols"), ODD)
@pytest.mark.parametrize("seed", range(3))
def test_every_cell_is_covered_once(rows, cols, seed):
    part = some_partition(rows, cols, seed)
    assert (cover(part) == 1).all()
    inside = np.kron(part.large, np.ones((2, 2), int)) if part.large.size else np.zeros((0, 0))
    assert not (part.medium[: inside.shape[0], : inside.shape[1]] & (inside > 0)).any()


@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_the_dct_of_the_larger_block(size):
    u, image = coefficients(8, 4, dtype=np.float64)
    values = to_blocks(u, size, every_corner(size, 8, 4))
    wanted = block_dct(image, size)
    wanted = wanted.reshape(size * size, 2, -1)[layout(size).order].transpose(1, 0, 2)
    assert np.allclose(values, wanted, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(size, dtype):
    u, _ = coefficients(9, 7, dtype=dtype)
    corners = every_corner(size, 9, 7)[::2]
    values = to_blocks(u, size, corners)
    assert values.shape == (2, size * size, len(corners))
    assert values.dtype == dtype
    back = np.zeros_like(u)
    from_blocks(values, size, corners, back)
    span = size // 16
    inside = np.zeros((9, 7), bool)
    for row, col in corners:
        inside[row : row + span, col : col + span] = True
    assert np.allclose(back, u * inside, atol=1e-5 if dtype == np.float32 else 1e-12)
    assert np.isclose(np.sum(values.astype(float) ** 2), np.sum((u * inside).astype(float) ** 2), rtol=1e-6)


@pytest.mark.parametrize(("rows", "cols"), ODD)
def test_a_whole_tile_in_mixed_blocks(rows, cols):
    u, _ = coefficients(rows, cols)
    part = some_partition(rows, cols, 1)
    back, energy = np.zeros_like(u), 0.0
    for size in SIZES:
        values = to_blocks(u, size, part.corners(size))
        energy += float(np.sum(values.astype(float) ** 2))
        from_blocks(values, size, part.corners(size), back)
    assert np.allclose(back, u, atol=1e-5)
    assert np.isclose(energy, np.sum(u.astype(float) ** 2), rtol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_turning_takes_each_ring_along_its_own_basis(size):
    rng = np.random.default_rng(size)
    values = rng.standard_normal((3, size * size, 2)).astype(np.float32)
    bases = np.stack([np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(RINGS)]).astype(np.float32)
    turned = turn_blocks(values, bases, size)
    for place in range(0, size * size, 17):
        basis = bases[layout(size).ring[place]]
        assert np.allclose(turned[:, place], basis.T @ values[:, place], atol=1e-5)
    assert np.allclose(turn_blocks(turned, bases, size, back=True), values, atol=1e-5)


def choice(image, step=1.0, worth=0.5):
    """The partition chosen for [C, 16 rows, 16 cols] quantised with a step."""
    rows, cols = image.shape[1] // 16, image.shape[2] // 16
    u = (block_dct(image, 16) / step).astype(np.float32)
    values = {size: to_blocks(u, size, every_corner(size, rows, cols)) for size in SIZES}
    return choose(values, rows, cols, worth)[0]


def test_smooth_images_get_large_blocks():
    y, x = np.mgrid[0:192, 0:256]
    waves = 100 * np.stack([np.sin(y / 40 + x / 50), np.cos(x / 60 - y / 45)])
    part = choice(waves)
    assert part.large.all()
    assert len(part.corners(64)) == 12
    assert not len(part.corners(32))
    assert not len(part.corners(16))


def test_lonely_details_get_small_blocks():
    """A sharp thing in every other cell: a larger block would smear it over all of its coefficients."""
    rng = np.random.default_rng(0)
    image = np.zeros((2, 128, 128))
    for row in range(0, 128, 16):
        for col in range(16 * (row // 16 % 2), 128, 32):
            image[:, row + 3 : row + 12, col + 4 : col + 13] = rng.normal(0, 60, (2, 9, 9))
    part = choice(image)
    assert not part.large.any()
    assert len(part.corners(16)) >= 48


def test_each_place_gets_the_blocks_that_suit_it():
    image = some_image(8, 16, 2)
    rng = np.random.default_rng(1)
    for row, col in np.argwhere(rng.random((8, 8)) < 0.4) * 16:
        image[:, row : row + 8, 128 + col : 136 + col] += rng.normal(0, 150, (2, 8, 8))
    part = choice(image)
    assert part.large[:, :2].all()
    assert not part.large[:, 2:].any()


@pytest.mark.parametrize(("rows", "cols"), [*ODD, (4, 4), (3, 3)])
def test_odd_grids(rows, cols):
    """Blocks that do not fit are none to choose from; every cell is still covered."""
    part = choice(some_image(rows, cols, 2, seed=rows))
    assert part.large.shape == (rows // 4, cols // 4)
    assert part.medium.shape == (rows // 2, cols // 2)
    assert (cover(part) == 1).all()


def test_open_places_of_medium_blocks():
    part = Partition(9, 6, np.array([[True], [False]]), np.zeros((4, 3), bool))
    wanted = np.ones((4, 3), bool)
    wanted[:2, :2] = False
    assert np.array_equal(part.open_medium(), wanted)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 3), (5, 4), (9, 10)])
def test_all_blocks_merged_are_those_of_their_corners(rows, cols):
    u = np.random.default_rng(rows).normal(0, 1, (16, 16, 3, rows, cols)).astype(np.float32)
    for size, found in every_block(u).items():
        wanted = to_blocks(u, size, every_corner(size, rows, cols))
        assert found.shape == wanted.shape
        assert np.allclose(found, wanted, atol=1e-5)


def test_rows_that_are_zero_once_rounded_are_told_by_their_squares():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 0.2, (5, 32 * 32, 300)).astype(np.float32)
    component, place, magnitude, rest = live_rows(values)
    live = (np.abs(values) >= 0.6).any(2)
    assert 0 < live.sum() < live.size
    assert np.array_equal(
        live, np.bincount(component * 1024 + place, minlength=live.size).reshape(live.shape)
    )
    assert np.array_equal(magnitude, np.abs(values[component, place]))
    assert np.allclose(rest, (values[~live] ** 2).sum(0), rtol=1e-4)
