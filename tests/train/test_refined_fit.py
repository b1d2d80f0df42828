"""What is counted of drifts, how it becomes tables, and where a fit begins."""

from types import SimpleNamespace

import numpy as np
import pytest

from eocodec.entropy.layers import (
    DRIFTING,
    OUTCOMES,
    PARENTS,
    ROWS,
    ZERO_DRIFTING,
    Drift,
    outcome_costs,
)
from eocodec.entropy.refined import REFINED_FEATURES
from eocodec.train import refined_fit
from layered_support import some_layered_prior, some_refined_prior

ROW = 3 * 51 + 24


def test_statistics_go_along_drifts():
    """A parent 0 whose latents follow the drift, either way; another one by where they are in its cell."""
    found = refined_fit.DriftStatistics()
    parents = np.repeat(np.array([0, 0, -2], np.int32), 400)
    cells = np.repeat(np.array([30, -30, -90]), 400)
    drift = Drift.of(cells, parents)
    latents = np.repeat(np.array([1.4, -1.4, -4.6], np.float32), 400)
    outcomes = np.repeat(np.array([1, -1, 0], np.int32), 400)
    found.outcomes(np.full(1200, ROW), parents, latents, outcomes, drift)
    found.outcomes(np.full(3, ROW), parents[:3], latents[:3], outcomes[:3], None)  # without drifts: left out
    assert found.count.sum() == 1200
    assert found.count[5, ROW].tolist() == [0, 0, 0, 800, 0]
    settled = found.settled().reshape(DRIFTING, ROWS, OUTCOMES)
    assert settled[5, ROW, 3] == pytest.approx(1.4, abs=0.02)
    held = ZERO_DRIFTING + 6 + 2  # beyond the start of its cell by half a step
    assert found.count[held, ROW].tolist() == [0, 0, 400, 0, 0]
    assert settled[held, ROW, 2] == pytest.approx(0.6, abs=0.03)
    costs = outcome_costs(found.tables(some_layered_prior().children))
    assert 2 ** -costs[(PARENTS + 5) * ROWS + ROW, 3] > 0.9


def test_units_are_counted_by_bin_and_kind():
    units = refined_fit.RefinedUnits(1.0, np.random.default_rng(0))
    seen = []
    units.keep = lambda request, v, numbers: seen.append(numbers)
    parents = np.array([[0, 0, 0, 1, -3]], np.int32)
    v = np.array([[0.5, -1.5, 1.5, 2.5, -7.5]], np.float32)
    cells = np.array([[1, -30, -30, 50, -150]])
    units.units(SimpleNamespace(), parents, v, cells)
    first = (ZERO_DRIFTING + 1) * OUTCOMES
    expected = [0 * 5 + 2, 6 * 5 + 3, 6 * 5 + 1, first + (0 + 2) * 3 + 0, first + (2 * 6 + 3) * 3 + 1]
    assert seen[0].tolist() == [expected]
    units.units(SimpleNamespace(), parents, v, None)
    assert len(seen) == 1


def test_costs_are_those_of_the_tables():
    prior = some_refined_prior()
    costs = refined_fit.drift_costs(prior.children).costs.numpy()
    assert costs.shape == (ROWS, refined_fit.COUNTED_DRIFTING)
    tables = outcome_costs(prior.children)
    assert np.array_equal(costs[ROW, :OUTCOMES], tables[ROW])
    assert np.array_equal(costs[ROW, 4 * OUTCOMES : 5 * OUTCOMES], tables[(PARENTS + 3) * ROWS + ROW])
    assert np.array_equal(costs[ROW, -3:], tables[(PARENTS + DRIFTING - 1) * ROWS + ROW, 2:])


def test_a_fit_begins_with_the_network_of_the_layers():
    prior = some_layered_prior()
    net = refined_fit.start_net(prior.net)
    start = refined_fit.with_drifts(prior, net, refined_fit.DriftStatistics())
    x = np.random.default_rng(0).normal(size=(start.refined.net.weights[0].shape[1], 7))
    assert start.refined.net(x) == pytest.approx(prior.net(x[:-REFINED_FEATURES]))
    assert start.net is prior.net
    assert start.children.count == (PARENTS + DRIFTING) * ROWS
