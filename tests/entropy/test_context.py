"""The context model: its features are those of the specification, and it knows nothing of what is to come."""

import math

import numpy as np
import pytest
import torch

from context_support import SIZES, Book, random_net, some_partition
from eocodec.entropy.context import FEATURES, ContextModel, ContextNet
from eocodec.entropy.exact import EdgeWriter
from eocodec.entropy.partition import Partition
from eocodec.entropy.spectrum import BANDS, layout

COMPONENTS = 3


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """More would wait for each other on matrices as small as these."""
    torch.set_num_threads(1)


def some_scale(seed, components=COMPONENTS, dead=0.2):
    """A spectrum with dead bands in it."""
    rng = np.random.default_rng(seed)
    scale = rng.integers(15, 32, (BANDS, components))
    return np.where(rng.random(scale.shape) < dead, -1, scale)


class Random:
    """A source of random symbols; `seen` is called with every pass, its number and its symbols."""

    def __init__(self, seed, seen=None, other_from=None):
        self.rng, self.seen, self.other_from = np.random.default_rng(seed), seen, other_from
        self.requests = []

    def symbols(self, requests):
        number = len(self.requests)
        self.requests.append(requests)
        spread = 2.0 if self.other_from is None or number < self.other_from else 50.0
        found = [np.rint(spread * self.rng.laplace(0, 1, r.rows.shape)).astype(np.int32) for r in requests]
        if self.seen is not None:
            self.seen(number, requests, found)
        return found


def run(source, part, scale, net=None, quality_steps=5000):
    ContextModel(net or random_net(), part, scale, quality_steps / 10_000).run(source, EdgeWriter())
    return source


def book_of(part, scale, quality_steps=5000):
    blocks = {size: [(int(r), int(c)) for r, c in part.corners(size)] for size in SIZES}
    return Book(part.rows, part.cols, {s: b for s, b in blocks.items() if b}, scale.tolist(), quality_steps)


TILES = [(1, 1, 0), (2, 5, 1), (5, 7, 0), (6, 4, 2), (9, 5, 3)]


@pytest.mark.parametrize(("rows", "cols", "seed"), TILES)
def test_features_are_those_of_the_specification(rows, cols, seed):
    part, scale = some_partition(rows, cols, seed), some_scale(seed)
    book = book_of(part, scale, 7321)
    passes = [
        (pairs, half) for pairs, half in book.passes() if any(book.units(s, pairs, half) for s in book.blocks)
    ]
    worst = []

    def compare(number, requests, symbols):
        pairs, half = passes[number]
        sizes = [s for s in sorted(book.blocks) if book.units(s, pairs, half)]
        assert [r.size for r in requests] == sizes
        units = [book.units(size, pairs, half) for size in sizes]
        for size, unit, request in zip(sizes, units, requests, strict=True):
            wanted = [
                [book.features((size, n), *u[:2], half, u[2]) for n in range(len(book.blocks[size]))]
                for u in unit
            ]
            worst.append(np.abs(request.features - np.array(wanted).transpose(2, 0, 1)).max())
            assert request.counts.sum() == len(request.rows)
        for size, unit, found in zip(sizes, units, symbols, strict=True):
            book.learn(size, unit, half, found)

    source = run(Random(seed, compare), part, scale, quality_steps=7321)
    assert len(source.requests) == len(passes)
    assert max(worst) < 1e-10


def test_numbers_of_features():
    source = run(Random(0), some_partition(4, 4), some_scale(0))
    assert all(r.features.shape[0] == FEATURES == 38 for requests in source.requests for r in requests)


@pytest.mark.parametrize("changed", [1, 7, 20, 33])
def test_later_symbols_change_nothing(changed):
    """Everything up to and with the first pass whose symbols differ is the same, and what follows is not."""
    part, scale = some_partition(6, 7, 4), some_scale(1)
    one, other = run(Random(3), part, scale), run(Random(3, other_from=changed), part, scale)
    assert len(one.requests) == len(other.requests)
    same = [
        all(
            np.array_equal(a.rows, b.rows) and np.array_equal(a.features, b.features)
            for a, b in zip(*pair, strict=True)
        )
        for pair in zip(one.requests, other.requests, strict=True)
    ]
    assert all(same[: changed + 1])
    assert not all(same[changed + 1 : changed + 4])


@pytest.mark.parametrize(("rows", "cols", "seed"), TILES)
def test_every_live_coefficient_is_asked_for_once(rows, cols, seed):
    part, scale = some_partition(rows, cols, seed), some_scale(seed)
    asked = {size: np.zeros((COMPONENTS, size * size, len(part.corners(size))), int) for size in SIZES}
    for requests in run(Random(0), part, scale).requests:
        for request in requests:
            np.add.at(asked[request.size], (request.component, request.place), 1)
            assert request.rows.shape == (len(request.place), len(part.corners(request.size)))
    for size in SIZES:
        live = np.repeat(scale >= 0, layout(size).counts.sum((1, 2)), axis=0)  # (N * N, C)
        assert np.array_equal(asked[size], np.broadcast_to(live.T[:, :, None], asked[size].shape))


def test_a_dead_tile_asks_for_nothing():
    assert not run(Random(0), some_partition(4, 5), np.full((BANDS, COMPONENTS), -1)).requests


def test_tables_are_the_snapped_outputs_of_the_network():
    """Recomputed from the features: cells of scale and shape, clipped to the family."""
    part, scale, net = some_partition(5, 6, 1), some_scale(5), random_net(2, spread=0.2)
    tables = set()
    for requests in run(Random(1), part, scale, net).requests:
        for r in requests:
            hidden = r.features.reshape(FEATURES, -1)
            for weight, bias in zip(net.weights[:2], net.biases[:2], strict=True):
                hidden = weight @ hidden + bias[:, None]
                hidden = np.where(hidden < 0, 0.1 * hidden, hidden)
            out = net.weights[2] @ hidden + net.biases[2][:, None]
            stated = 3 * (r.features[26].ravel() + 8)  # log2 of the mean, back to a scale
            cells = np.floor(np.stack([stated + 3 * out[0], 5 * out[1]]) + 0.5)
            rows = 51 * np.clip(cells[1], 0, 5) + np.clip(cells[0], 0, 50)
            wanted = np.repeat(rows.reshape(r.features.shape[1:]), r.counts, axis=0)
            assert np.array_equal(r.rows, wanted)
            tables |= set(r.rows.ravel().tolist())
    assert {t // 51 for t in tables} >= {0, 2, 5}  # clipped at both ends, and not
    assert len(tables) > 60


def test_the_network_by_hand():
    net = ContextNet(
        (
            np.array([[1.0, -2.0], [0.0, 1.0]]),
            np.array([[1.0, 1.0], [-1.0, 0.0]]),
            np.array([[1.0, 10.0], [0, -1]]),
        ),
        (np.array([0.0, 1.0]), np.array([0.5, 0.0]), np.array([0.25, 0.0])),
    )
    # (3, 1) -> (1, 2) -> (3.5, -1 * 0.1) -> (3.5 - 1 + 0.25, 0.1)
    assert np.allclose(net(np.array([[3.0], [1.0]])), [[2.75], [0.1]], atol=1e-15)


def test_a_part_of_the_tile_that_nothing_is_known_of():
    """One block alone: nothing lies around it, in the tile or beside it."""
    part = Partition(1, 1, np.zeros((0, 0), bool), np.zeros((0, 0), bool))
    for requests in run(Random(0), part, some_scale(2)).requests:
        for k in (6, 7, 8, 11, 12):
            assert np.allclose(requests[0].features[2 * k : 2 * k + 2], math.log2(0.1), atol=1e-12)
