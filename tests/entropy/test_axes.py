"""Axes: any integers give an orthonormal basis, and those that are fitted decorrelate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.entropy import axes

BANDS = 5
ENTRY = st.integers(-axes.GRID, axes.GRID)
ENTRIES = axes.entry_count(BANDS - 1, BANDS)


def free(ring, count, entries):
    """Side information that costs nothing."""
    return 0.0


def random_rotation(seed, bands=BANDS):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(bands, bands)))[0]


def mixed_latents(seed=0, frequencies=8, positions=500):
    """[frequencies * bands, n] whose components are mixed by one rotation in two rings each."""
    rng = np.random.default_rng(seed)
    spread = np.array([16, 8, 4, 2, 1])[:, None]
    noise = spread * rng.normal(size=(frequencies, BANDS, positions))
    y = np.concatenate([random_rotation(f % 2) @ part for f, part in enumerate(noise)])
    return y.astype(np.float32), np.arange(frequencies) % 2


def test_number_of_entries():
    assert [axes.entry_count(k, 4) for k in range(4)] == [0, 3, 5, 6]
    assert axes.entry_count(11, 12) == 66


@settings(deadline=None, max_examples=100)
@given(st.lists(ENTRY, min_size=ENTRIES, max_size=ENTRIES), st.integers(0, BANDS - 1))
def test_any_entries_give_an_orthonormal_basis(entries, count):
    q = axes.basis(count, np.array(entries, np.int32), BANDS)
    assert np.abs(q.T @ q - np.eye(BANDS)).max() < 1e-12


def test_no_axes_are_the_identity():
    assert np.array_equal(axes.basis(0, np.zeros(0, np.int32), BANDS), np.eye(BANDS))


def test_a_stated_axis_is_a_column():
    """The first column of the basis is (minus) the unit vector whose other entries are stated."""
    entries = np.array([12, -30, 5, 0] + [0] * (ENTRIES - 4), np.int32)
    column = axes.basis(1, entries, BANDS)[:, 0]
    assert np.abs(column[1:]) * axes.GRID == pytest.approx([12, 30, 5, 0])
    assert np.sign(column[0]) * column[1:] * axes.GRID == pytest.approx([12, -30, 5, 0])


def test_the_basis_of_the_specification():
    """docs/codestream.md, "From symbols to pixels", step 2, word for word."""
    entries = np.random.default_rng(2).integers(-axes.GRID, axes.GRID + 1, ENTRIES).astype(np.int32)
    q, start = np.eye(BANDS), 0
    for k in range(BANDS - 1):
        t = entries[start : start + BANDS - 1 - k] / 64
        start += BANDS - 1 - k
        w = np.array([np.sqrt(max(0, 1 - t @ t)), *t])
        w[0] += np.linalg.norm(w)
        w /= np.linalg.norm(w)
        q[:, k:] = q[:, k:] - 2 * np.outer(q[:, k:] @ w, w)
    assert axes.basis(BANDS - 1, entries, BANDS) == pytest.approx(q, abs=1e-12)


def test_more_axes_leave_the_columns_before_them():
    entries = np.random.default_rng(1).integers(-30, 31, ENTRIES).astype(np.int32)
    for count in range(BANDS - 1):
        fewer, more = axes.basis(count, entries, BANDS), axes.basis(count + 1, entries, BANDS)
        assert more[:, :count] == pytest.approx(fewer[:, :count], abs=1e-12)


def test_turning_there_and_back():
    y, ring = mixed_latents()
    bases = np.stack([random_rotation(7), random_rotation(8)])
    z = axes.turn(y, bases, ring)
    assert axes.turn_back(z, bases, ring) == pytest.approx(y, abs=1e-4)
    assert z[BANDS : 2 * BANDS] == pytest.approx(bases[1].T @ y[BANDS : 2 * BANDS], abs=1e-4)


def test_fitted_axes_decorrelate():
    y, ring = mixed_latents()
    step2 = np.full(8, 0.01)
    counts, entries = axes.fit(axes.moments(y, BANDS), step2, ring, y.shape[1], free)
    assert counts.min() >= 3
    z = axes.turn(y, axes.bases(counts, entries, BANDS), ring)
    before, after = (np.prod(v.reshape(8, BANDS, -1).var(2), 1) for v in (y, z))
    # Hadamard: the product of variances is least, that of the spreads squared, where all correlation is gone
    assert (after < 1.5 * (16 * 8 * 4 * 2 * 1) ** 2).all()
    assert (after < 0.2 * before).all()


def test_axes_are_stated_only_where_they_pay():
    y, ring = mixed_latents()

    def fit(step2, side_bits):
        return axes.fit(axes.moments(y, BANDS), np.full(8, step2), ring, y.shape[1], side_bits)

    counts, entries = fit(0.01, lambda ring, count, _: 1e9 * count)
    assert not counts.any()
    assert not entries.any()
    counts, _ = fit(1e9, lambda ring, count, _: float(count))
    assert not counts.any()
    counts, _ = fit(0.01, lambda ring, count, _: 1e9 * ring * count)
    assert counts[0] > 0
    assert counts[1] == 0


def test_fitted_entries_are_legal():
    y, ring = mixed_latents(3)
    _, entries = axes.fit(axes.moments(y, BANDS), np.full(8, 0.1), ring, y.shape[1], free)
    assert entries.shape == (2, ENTRIES)
    assert np.abs(entries).max() <= axes.GRID
    silent = axes.fit(np.zeros((8, BANDS, BANDS)), np.ones(8), ring, 10, lambda ring, count, _: float(count))
    assert not silent[0].any()
