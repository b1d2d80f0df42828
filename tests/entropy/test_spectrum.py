"""Where coefficients stand: each in one unit, the same bands for all sizes, the DCT of larger blocks."""

import numpy as np
import pytest

from context_support import SIZES, dct_matrix, shape_of
from eocodec.coding.crc import symbols_crc
from eocodec.entropy.spectrum import BANDS, HALVES, ORIENTATIONS, layout, merge_matrix


@pytest.mark.parametrize("size", SIZES)
def test_every_coefficient_has_one_place(size):
    shape = layout(size)
    assert np.array_equal(np.sort(shape.order), np.arange(size * size))
    assert shape.counts.shape == (BANDS, HALVES, ORIENTATIONS)
    assert shape.counts.sum() == size * size
    covered = [i for b in range(BANDS) for h in range(HALVES) for i in range(size * size)[shape.places(b, h)]]
    assert covered == list(range(size * size))
    assert shape.cells == size // 16


@pytest.mark.parametrize("size", SIZES)
def test_layouts_are_those_of_the_specification(size):
    shape, book = layout(size), shape_of(size)
    for band in range(BANDS):
        for half in range(HALVES):
            wanted = [uv for o in range(ORIENTATIONS) for uv in book.places.get((band, half, o), ())]
            at = shape.order[shape.places(band, half)]
            assert [divmod(int(place), size) for place in at] == wanted
            found = shape.counts[band, half].tolist()
            assert found == [len(book.places.get((band, half, o), ())) for o in range(ORIENTATIONS)]


@pytest.mark.parametrize(("size", "crc"), [(16, 2276346628), (32, 4265208343), (64, 3643011600)])
def test_layouts_do_not_change(size, crc):
    """They are part of the format: powers of two lie on an edge between bands."""
    shape = layout(size)
    parts = [shape.order, shape.ring, shape.counts.ravel()]
    assert symbols_crc(np.concatenate(parts).astype(np.int32)) == crc


def test_bands_mean_the_same_detail_in_blocks_of_all_sizes():
    for size in SIZES:
        shape, times = layout(size), size // 16
        band = np.empty(size * size, int)
        band[shape.order] = np.repeat(np.arange(BANDS), shape.counts.sum((1, 2)))
        ring = np.empty(size * size, int)
        ring[shape.order] = shape.ring
        small = layout(16)
        small_band, small_ring = np.empty((2, 256), int)
        small_band[small.order] = np.repeat(np.arange(BANDS), small.counts.sum((1, 2)))
        small_ring[small.order] = small.ring
        same = (slice(None, None, times), slice(None, None, times))
        assert np.array_equal(band.reshape(size, size)[same].ravel()[1:], small_band[1:])
        assert np.array_equal(ring.reshape(size, size)[same].ravel(), small_ring)


def test_rings_are_those_of_the_block_transform():
    from eocodec.nn.spectral import ring_of_frequency

    ring = np.empty(256, int)
    ring[layout(16).order] = layout(16).ring
    assert np.array_equal(ring, ring_of_frequency().numpy())


@pytest.mark.parametrize("size", SIZES)
def test_merging_is_orthonormal_and_gives_the_joint_dct(size):
    merge = merge_matrix(size)
    assert np.abs(merge @ merge.T - np.eye(size)).max() < 1e-13
    x = np.random.default_rng(size).standard_normal(size)
    parts = (dct_matrix(16) @ x.reshape(-1, 16).T).T.ravel()
    assert np.allclose(merge @ parts, dct_matrix(size) @ x, atol=1e-12)
