"""Timesteps that are known better by now: maps that hold, drifts in bins, features by hand."""

import numpy as np
import pytest

from context_support import RING
from eocodec.coding.tables import from_pmfs
from eocodec.entropy.context_features import Step
from eocodec.entropy.layers import (
    DRIFTING,
    LAST_OUTCOME,
    OUTCOMES,
    PARENTS,
    ROWS,
    ZERO_DRIFTING,
    Drift,
    drifting_masses,
    drifting_means,
    drifting_tables,
    in_cells,
)
from eocodec.entropy.nested_coder import FINEST
from eocodec.entropy.partition import Partition
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.entropy.prediction import Reference, Regressors, Window
from eocodec.entropy.prediction_fit import bits_left, fit_prediction
from eocodec.entropy.refined import REFINED_ORIENTED, REFINED_PLAIN, RefinedSums, RefinedValues
from eocodec.entropy.refining import Refining
from eocodec.entropy.spectrum import layout
from eocodec.entropy.units import Blocks
from layered_support import some_layered
from temporal_support import some_series

STEP = 0.05


def references(seed=0, n=12):
    """A reference, the same with noise, and a timestep that follows from the former."""
    rng = np.random.default_rng(seed)
    bases = np.stack([np.eye(5)] * (RING.max() + 1))
    u = rng.laplace(0, 1, (256, 5, n))
    later = u @ np.eye(n) * 0.8 + rng.normal(0, 0.01, u.shape)
    return Reference(u, bases), Reference(u + rng.normal(0, 0.5, u.shape), bases), later


def test_a_map_says_what_was_stated_of_its_references():
    reference, _, later = references()
    fit = fit_prediction(later, [reference], RING, STEP)
    stated = fit.stated()
    own = Regressors([reference], RING, STEP).map_of(stated, STEP)
    assert own.back.tolist() == [1]
    assert own.predict([reference], RING) == pytest.approx(fit.regressors.predict(stated, STEP), abs=1e-9)


def test_a_map_predicts_more_from_what_is_known_better():
    exact, coarse, later = references()
    own = Regressors([exact], RING, STEP).map_of(fit_prediction(later, [exact], RING, STEP).stated(), STEP)
    better, worse = (later - own.predict([known], RING) for known in (exact, coarse))
    assert (better**2).sum() < 0.1 * (worse**2).sum()
    assert bits_left(better, exact.bases, RING, STEP, STEP / 2) < bits_left(
        worse, exact.bases, RING, STEP, STEP / 2
    )


def test_what_a_cell_says_already_is_worth_nothing():
    """Errors much larger than the cell of the layer before cost next to nothing."""
    exact, _, later = references()
    near, far = (bits_left(k * later, exact.bases, RING, STEP, STEP / 2) for k in (50.0, 100.0))
    assert far - near < 1.0


def test_drifts_fall_in_bins():
    cells = np.array([0, 2, -2, 3, -5, 39, 40, -400, 0, 45, 130, -45])
    parents = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, -2, -1], np.int32)
    found = Drift.of(cells, parents)
    first = PARENTS + ZERO_DRIFTING
    held = [first + 0, first + 2, first + 6 + 0, first + 2]
    assert found.kind.tolist() == [0, 0, 0, 5, 5, 10, 11, 11, *held]
    assert found.sign.tolist() == [1, 1, 1, 1, -1, 1, 1, -1, 1, 1, 1, 1]


def test_drifts_are_cut_off():
    assert in_cells(np.array([1e9, -0.5])).tolist() == [20 * 2.0**20, -10.0]


def test_likely_outcomes_go_along_the_drift():
    masses, means = drifting_masses(), drifting_means()
    assert masses.sum(2) == pytest.approx(1)
    assert (masses[..., 3] >= masses[..., 1] - 1e-4).all()
    row = 3 * 51 + 24  # nearly Laplace, mean magnitude 1
    ahead = masses[:, row, 3]
    assert (np.diff(ahead) > 0).all()
    zero = means[:ZERO_DRIFTING, row, LAST_OUTCOME]
    assert (np.diff(zero[:5]) > 0).all()
    assert (np.abs(means[:ZERO_DRIFTING, :, LAST_OUTCOME]) <= 1).all()


def test_tables_of_drifts_follow_plain_ones_and_are_counted():
    plain = from_pmfs(
        [np.array([1.0, 2, 5, 2, 1, 0])] * ROWS + [np.array([3.0, 2, 1, 0])] * 4 * ROWS,
        [-2] * ROWS + [0] * 4 * ROWS,
    )
    counts = np.zeros((DRIFTING, ROWS, OUTCOMES))
    counts[2, 7] = [0, 0, 100, 900, 0]
    made = drifting_tables(plain, counts)
    assert made.count == (PARENTS + DRIFTING) * ROWS
    assert np.array_equal(made.cdf[: len(plain.cdf)], plain.cdf)
    share = np.diff(made.table((PARENTS + 2) * ROWS + 7).astype(float)) / 65536
    assert share[3] == pytest.approx(0.9, abs=0.03)
    held = np.diff(made.table((PARENTS + ZERO_DRIFTING) * ROWS + 3).astype(float)) / 65536
    assert held[:3] == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=1e-3)


def test_features_by_hand():
    """Of a tile of one 32-pixel block beside four of 16, one reference."""
    part = Partition(2, 4, np.zeros((0, 1), bool), np.array([[True, False]]))
    rng = np.random.default_rng(3)

    def values():
        return {s: rng.normal(0, 1, (2, s * s, len(part.corners(s)))) for s in (16, 32, 64)}

    drift, mean, reference, known = values(), values(), values(), values()
    sums = RefinedSums(Blocks(part), RefinedValues(drift, mean, [reference], known))
    step = Step(slice(0, 1), np.array([6]), np.array([1]), np.zeros((7, 1, 3, 5)), np.zeros((11, 1, 5)))
    oriented, plain = sums.seen(step, 0)
    assert oriented.shape == (REFINED_ORIENTED, 1, 3, 5)
    assert plain.shape == (REFINED_PLAIN, 1, 5)
    shape = layout(32)
    begin, count = shape.places(6, 0).start, shape.counts[6, 0, 0]
    d, k = (v[32][1, begin : begin + count, 0] for v in (drift, known))
    assert oriented[0, 0, 0, 4] == pytest.approx(np.log2(np.abs(d).sum() + 0.1))
    assert oriented[6, 0, 0, 4] == pytest.approx(np.clip((d @ k + 1) / (d @ d + 1), -1, 2))
    assert (oriented[4] == np.log2(0.1)).all()  # no second reference
    band = slice(shape.places(6, 0).start, shape.places(6, 1).stop)
    assert plain[0, 0, 4] == pytest.approx(np.log2(np.abs(drift[32][1, band, 0]).sum() + 0.1))
    d, k = drift[32][1, :, 0], known[32][1, :, 0]
    assert plain[3, 0, 4] == pytest.approx(np.clip((d @ k + 1) / (d @ d + 1), -1, 2))
    assert plain[4, 0, 4] == pytest.approx(np.log2(np.abs(d).sum() + 0.1))


def test_a_window_forgets():
    window = Window()
    for number in range(11):
        window.add(number)
    assert len(window) == 8
    assert window.at([1, 8]) == [10, 3]
    assert window.every()[0] == 3


def test_another_map_is_stated_where_it_pays():
    """A series whose dates repeat: worth a map; the first date has nothing to refer to."""
    coder = some_layered(refined=True)
    y = some_series(1, 6, 6)[0]
    ys = np.stack([y, y, y])
    frames = list(coder.encode_series(ys, PartWriter(), 6000, 0.5))
    assert frames[0].map is None
    assert all(frame.map is not None and frame.map.weights.any() for frame in frames[1:])
    refining, window = Refining(coder.base, 6000), Window()
    family = coder.prior.base.later.family
    assert len(refining.wanted(frames[0], window, family).back) == 0
    window.add(refining.reference(frames[0]))
    frames[1].map, frames[1].tokens = None, 1 + 5 * (FINEST - 1)
    stated = refining.wanted(frames[1], window, family)
    assert stated.back.tolist() == [1]
    assert stated.weights.any()


def test_decoders_state_nothing():
    coder = some_layered(refined=True)
    ys = some_series(2, 4, 4)
    parts = PartWriter()
    list(coder.encode_series(ys, parts, 6000, 0.5))
    frames = list(coder.decode_series(PartReader(parts.parts), 2, 4, 4, 6000))
    assert frames[1].y is None
    assert Refining(coder.base, 6000).wanted(frames[1], Window(), coder.prior.base.later.family) is None
