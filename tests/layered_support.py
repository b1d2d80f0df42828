"""A coder in layers that nothing was fitted to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from context_support import RING, random_net, some_basis
from eocodec.entropy.context import FEATURES, ContextNet
from eocodec.entropy.context_prior import MAX_SHIFTED
from eocodec.entropy.family import SCALES
from eocodec.entropy.layer_channels import NEW_CONTEXTS, LayeredPrior, RefinedPrior
from eocodec.entropy.layered_coder import layered_coder
from eocodec.entropy.layers import (
    DRIFTING,
    OUTCOMES,
    PARENT_FEATURES,
    PARENTS,
    ROWS,
    child_tables,
    coarse_family,
    drifting_means,
    drifting_tables,
)
from eocodec.entropy.nested_coder import FINEST
from eocodec.entropy.refined import REFINED_FEATURES
from eocodec.entropy.temporal_coder import TemporalPrior
from eocodec.train.fitting import counted_tables
from temporal_support import some_temporal


@cache
def nested_family():
    """The tables of the coarsest layer."""
    return coarse_family()


def parents_net(seed=2, hidden=6):
    """A network that takes notice of the layer before."""
    net, rng = random_net(seed, hidden), np.random.default_rng(seed)
    seen = (0.02 * rng.standard_normal((hidden, PARENT_FEATURES))).astype(np.float32).astype(np.float64)
    return ContextNet((np.concatenate([net.weights[0], seen], 1), *net.weights[1:]), net.biases)


def some_layered_prior(components=5, seed=0):
    """A prior of which every part differs from place to place."""
    rng = np.random.default_rng(seed)
    series = some_temporal(components)
    shift = rng.uniform(0.3, 0.5, (ROWS, MAX_SHIFTED)).astype(np.float32)
    first, later = (
        replace(
            coder.prior,
            family=nested_family(),
            shift=shift,
            log2_step=coder.prior.log2_step + FINEST,
        )
        for coder in (series.first, series.later)
    )
    assert first.net.weights[0].shape[1] == FEATURES
    return LayeredPrior(
        TemporalPrior(first, later),
        parents_net(),
        child_tables(np.full((PARENTS, SCALES), 0.02)),
        np.pad(rng.uniform(0.3, 0.5, (ROWS, MAX_SHIFTED)).astype(np.float32), ((0, 0), (1, 0))),
        counted_tables(rng.integers(0, 9, (NEW_CONTEXTS, SCALES + 1)), -1),
    )


def some_refined_prior(components=5, seed=0):
    """That prior, with drifts that are trusted here and there."""
    prior, rng = some_layered_prior(components, seed), np.random.default_rng(seed)
    weights, biases = prior.net.weights, prior.net.biases
    seen = 0.02 * rng.standard_normal((len(biases[0]), REFINED_FEATURES))
    net = ContextNet((np.concatenate([weights[0], seen], 1), *weights[1:]), biases)
    means = drifting_means().reshape(-1, OUTCOMES) + rng.uniform(-0.05, 0.05, (DRIFTING * ROWS, OUTCOMES))
    return replace(
        prior,
        children=drifting_tables(prior.children, np.zeros((DRIFTING, ROWS, OUTCOMES))),
        refined=RefinedPrior(net, means.astype(np.float32)),
    )


def some_layered(components=5, seed=0, refined=False):
    """A coder of such a prior."""
    make = some_refined_prior if refined else some_layered_prior
    return layered_coder(make(components, seed), some_basis(components), RING)
