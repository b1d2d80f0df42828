"""Tiles cover a raster once; padding crops back to what it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.errors import InputError
from eocodec.raster.tiles import Tiles, crop, pad_to_multiple, padded_size

SIZES = st.integers(1, 70)


@settings(deadline=None)
@given(raster=st.tuples(SIZES, SIZES), tile=st.tuples(SIZES, SIZES))
def test_tiles_cover_each_pixel_once(raster: tuple[int, int], tile: tuple[int, int]) -> None:
    tiles = Tiles(raster, tile)
    seen = np.zeros(raster, int)
    for roi in tiles:
        seen[roi] += 1
    assert (seen == 1).all()
    assert len(list(tiles)) == len(tiles) == tiles.shape[0] * tiles.shape[1]


@settings(deadline=None)
@given(raster=st.tuples(SIZES, SIZES), tile=st.tuples(SIZES, SIZES))
def test_only_edge_tiles_are_smaller(raster: tuple[int, int], tile: tuple[int, int]) -> None:
    tiles = Tiles(raster, tile)
    array = np.zeros(raster)
    for iy, ix in tiles.indices():
        rows, cols = array[tiles[iy, ix]].shape
        assert rows == tile[0] or (iy == tiles.shape[0] - 1 and 1 <= rows < tile[0])
        assert cols == tile[1] or (ix == tiles.shape[1] - 1 and 1 <= cols < tile[1])


@pytest.mark.parametrize("index", [(2, 0), (0, 2), (-1, 0), (0, -1)])
def test_index_beyond_the_raster(index: tuple[int, int]) -> None:
    with pytest.raises(IndexError, match=r"\(2, 2\) tiles"):
        Tiles((1000, 700), (512, 512))[index]


@pytest.mark.parametrize("shapes", [((0, 5), (4, 4)), ((5, 5), (4, 0)), ((5, -1), (4, 4))])
def test_sizes_below_one_are_refused(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(InputError):
        Tiles(*shapes)


@settings(deadline=None)
@given(rows=SIZES, cols=SIZES, multiple=st.sampled_from([1, 2, 16, 64]))
def test_padding_crops_back(rows: int, cols: int, multiple: int) -> None:
    x = np.random.default_rng(rows * 100 + cols).integers(0, 9999, (2, 3, rows, cols)).astype(np.uint16)
    padded, size = pad_to_multiple(x, multiple)
    assert padded.dtype == x.dtype
    assert padded.shape[-2:] == (padded_size(rows, multiple), padded_size(cols, multiple))
    assert size == (rows, cols)
    np.testing.assert_array_equal(crop(padded, size), x)
    assert set(np.unique(padded)) == set(np.unique(x))


def test_padding_mirrors_like_numpy() -> None:
    x = np.arange(3 * 10 * 11, dtype=np.int16).reshape(3, 10, 11)
    padded, _ = pad_to_multiple(x, 16)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (0, 6), (0, 5)), mode="symmetric"))


def test_padding_repeats_the_edge_of_what_is_too_short_to_mirror() -> None:
    x = np.arange(7, dtype=np.float32).reshape(1, 7, 1)
    padded, _ = pad_to_multiple(x, 16)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (0, 9), (0, 15)), mode="edge"))


def test_padding_of_one_pixel_is_constant() -> None:
    padded, size = pad_to_multiple(np.full((1, 1, 1), 7.5), 16)
    assert padded.shape == (1, 16, 16)
    assert (padded == 7.5).all()
    assert size == (1, 1)


def test_nothing_to_pad_copies_nothing() -> None:
    x = np.zeros((3, 32, 16))
    assert pad_to_multiple(x, 16)[0] is x


def test_bad_padding_and_cropping_are_refused() -> None:
    with pytest.raises(InputError):
        pad_to_multiple(np.zeros((3, 0, 4)), 16)
    with pytest.raises(InputError):
        pad_to_multiple(np.zeros((3, 4, 4)), 0)
    with pytest.raises(InputError):
        crop(np.zeros((3, 4, 4)), (5, 4))
