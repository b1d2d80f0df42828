"""Made-up latents and priors for TEC-ELIC's coder, and the specification's features one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np

from eocodec.entropy.axes import entry_count
from eocodec.entropy.axes_tables import AxesTables
from eocodec.entropy.context import ContextNet
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.context_prior import MAX_SHIFTED, ContextPrior
from eocodec.entropy.family import build_family
from eocodec.entropy.partition import Partition
from eocodec.entropy.spectrum import BANDS
from eocodec.entropy.tile_spectrum import SpectrumTables
from eocodec.nn.spectral import RINGS
from eocodec.train.context_fit import plain_net
from eocodec.train.fitting import counted_tables

SIZES = (16, 32, 64)
RING = np.array(
    [sum(math.hypot(*divmod(f, 16)) >= e for e in (0.5, 1.5, 3, 5, 8, 12)) for f in range(256)], np.int64
)


@cache
def family():
    """The family of tables."""
    return build_family()


def random_net(seed=0, hidden=6, spread=0.05):
    """A network whose scales and shapes differ from unit to unit."""
    rng, net = np.random.default_rng(seed), plain_net(hidden)
    weights = tuple(spread * rng.standard_normal(w.shape).astype(np.float32) for w in net.weights)
    weights = (weights[0], weights[1] + 0.7 * np.eye(hidden, dtype=np.float32), 3 * weights[2])
    biases = tuple(
        b.astype(np.float32) + 0.1 * rng.standard_normal(b.shape).astype(np.float32) for b in net.biases
    )
    return ContextNet(
        tuple(w.astype(np.float64) for w in weights), tuple(b.astype(np.float64) for b in biases)
    )


def some_prior(components, levels=3, seed=0, net=None):
    """A prior whose every part differs by level and place, and which nothing was fitted to."""
    rng = np.random.default_rng(seed)
    scale = rng.integers(18, 30, (1, BANDS, components)) - np.arange(BANDS)[None, :, None] // 2
    default = np.clip(scale + 8 * np.arange(levels)[:, None, None], 0, 50)
    entries = rng.integers(18, 32, (RINGS, entry_count(components - 1, components)))
    counts = rng.integers(0, 9, (RINGS, components))
    return ContextPrior(
        net=random_net(seed) if net is None else net,
        family=family(),
        axes=AxesTables(family(), counted_tables(counts, 0), entries),
        spectrum=SpectrumTables(default, counted_tables(rng.integers(0, 9, (18, 28)), -14)),
        split_tables=counted_tables(rng.integers(1, 9, (2 * levels, 2)), 0),
        log2_step=np.linspace(1.5, -2.0, levels),
        shift=rng.uniform(-0.3, 0.1, (family().count, MAX_SHIFTED)).astype(np.float32),
    )


def some_basis(components, seed=0):
    """[RINGS, C, C], orthonormal."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [np.linalg.qr(rng.standard_normal((components, components)))[0] for _ in range(RINGS)]
    ).astype(np.float32)


def some_coder(components, **options):
    """A coder with `some_prior` and `some_basis`."""
    return ContextCoder(some_prior(components, **options), some_basis(components), RING)


def dct_matrix(n):
    """[n, n], row = frequency, from the definition."""
    rows = [[math.cos(math.pi / n * (x + 0.5) * k) for x in range(n)] for k in range(n)]
    scale = np.full((n, 1), math.sqrt(2 / n))
    scale[0] = math.sqrt(1 / n)
    return scale * np.array(rows)


def block_dct(image, n):
    """[C, rows, cols] -> DCT coefficients of its n x n blocks, [n, n, C, rows / n, cols / n]."""
    components, rows, cols = image.shape
    blocks = image.reshape(components, rows // n, n, cols // n, n)
    return np.einsum("ux,vy,cixjy->uvcij", dct_matrix(n), dct_matrix(n), blocks)


def some_image(rows, cols, components, seed=0):
    """[C, 16 rows, 16 cols]: smooth hills on the left, noise of many strengths on the right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 16 * rows, 0 : 16 * cols]
    hills = 20 * np.sin(y / 21 + rng.uniform(0, 6)) + 20 * np.cos(x / 26 + rng.uniform(0, 6))
    strength = np.where(x > 8 * cols, 4 * (1 + np.sin(y / 9)), 0.1)
    noise = rng.laplace(0, 1, (components, *y.shape)) * strength
    return rng.uniform(-1, 2, (components, 1, 1)) * hills + noise / (1 + np.arange(components))[:, None, None]


def some_latents(rows, cols, components, seed=0):
    """y [256 C, rows, cols], float32, in the bases of `some_basis`."""
    u = block_dct(some_image(rows, cols, components, seed), 16).reshape(256, components, -1)
    y = np.matmul(some_basis(components).transpose(0, 2, 1)[RING], u)
    return y.reshape(256 * components, rows, cols).astype(np.float32)


def some_partition(rows, cols, seed=0):
    """Blocks of all sizes that fit, at random."""
    rng = np.random.default_rng(seed)
    large = rng.random((rows // 4, cols // 4)) < 0.5
    medium = rng.random((rows // 2, cols // 2)) < 0.5
    part = Partition(rows, cols, large, medium)
    return Partition(rows, cols, large, medium & part.open_medium())


# --- the specification, word for word -------------------------------------------------------------------


def band_of(size, u, v):
    """Band of a frequency."""
    radius = 0.35 * 16 / size if u == v == 0 else 16 * math.sqrt(u * u + v * v) / size
    place = 3 * (math.log2(radius) + 3.5)
    whole = math.floor(place)
    if abs(place - whole - 0.5) < 1e-9:
        return whole + whole % 2
    return round(place)


class Shape:
    """The coefficients of blocks of one size, by unit."""

    def __init__(self, size):
        self.size, self.cells = size, size // 16
        self.places = {}  # (band, half, orientation) -> [(u, v)]
        for u in range(size):
            for v in range(size):
                orientation = 0 if u > 2 * v else 1 if v > 2 * u else 2
                unit = band_of(size, u, v), (u + v) % 2, orientation
                self.places.setdefault(unit, []).append((u, v))

    @cache  # noqa: B019
    def count(self, band, halves=(0, 1), orientations=(0, 1, 2)):
        """Coefficients of a band, or of parts of it."""
        return sum(len(self.places.get((band, h, o), ())) for h in halves for o in orientations)


@cache
def shape_of(size):
    """The `Shape` of a size."""
    return Shape(size)


class Book:
    """The context of one timestep as the specification words it: slow, and without any shared code.

    blocks : by size, [(row, col)]; scale : [25][C], -1 where dead
    """

    def __init__(self, rows, cols, blocks, scale, quality_steps):
        self.rows, self.cols, self.quality = rows, cols, quality_steps / 10000
        self.blocks, self.scale = blocks, scale
        self.components = len(scale[0])
        self.sums = {}  # (size, number, component, band, half, orientation) -> sum of magnitudes
        self.known = {}  # pairs, until more is learnt
        self.owner = {}
        for size, corners in blocks.items():
            for number, (row, col) in enumerate(corners):
                for i in range(size // 16):
                    for j in range(size // 16):
                        self.owner[row + i, col + j] = size, number

    def mean(self, band, component):
        """m[b][c]."""
        if band < 0 or component < 0 or self.scale[band][component] < 0:
            return 0.0
        return 2.0 ** (-8 + self.scale[band][component] / 3)

    def pair(self, block, bands, components, halves=(0, 1), orientations=(0, 1, 2)):
        """S and E of a block, summed."""
        key = block, tuple(bands), tuple(components), halves, orientations
        if key not in self.known:
            self.known[key] = self.summed(*key)
        return self.known[key]

    def summed(self, block, bands, components, halves, orientations):
        """`pair`, from the sums of units."""
        shape, found, expected = shape_of(block[0]), 0, 0.0
        for band in bands:
            for component in components:
                for h in halves:
                    for o in orientations:
                        found += self.sums.get((*block, component, band, h, o), 0)
                expected += shape.count(band, halves, orientations) * self.mean(band, component)
        return found, expected

    def around(self, block, *what):
        """A[S] and A[E] of a block."""
        size, number = block
        (row, col), cells = self.blocks[size][number], size // 16
        found, expected = 0.0, 0.0
        for i in range(row - 1, row + cells + 1):
            for j in range(col - 1, col + cells + 1):
                owner = self.owner.get((i, j))
                if owner is not None and owner != block:
                    s, e = self.pair(owner, *what)
                    found += s / (owner[0] // 16) ** 2
                    expected += e / (owner[0] // 16) ** 2
        return found, expected

    def features(self, block, band, component, half, orientation):
        """All features of one unit."""
        b, c, o = band, component, (orientation,)
        pairs = [
            self.pair(block, [b - 1], [c], (0, 1), o),
            self.pair(block, [b - 3, b - 2], [c], (0, 1), o),
            self.pair(block, [b], [c - 1], (0, 1), o),
            self.pair(block, [b], range(c), (0, 1), o),
            self.pair(block, [b - 1], [c]),
            self.pair(block, range(b), [c]),
            self.around(block, [b - 1], [c]),
            self.around(block, range(b), [c]),
            self.around(block, [b], range(c)),
        ]
        if half == 1:
            pairs += [
                self.pair(block, [b], [c], (0,), o),
                self.pair(block, [b], [c], (0,)),
                self.around(block, [b], [c], (0,), o),
                self.around(block, [b], [c], (0,)),
            ]
        else:
            pairs += [(0, 0)] * 4
        shape, mean = shape_of(block[0]), self.mean(b, c)
        return [math.log2(0.1 + value) for pair in pairs for value in pair] + [
            math.log2(mean),
            b / 8,
            float(orientation == 0),
            float(orientation == 1),
            c / 4,
            float(c == 0),
            math.log2(shape.count(b, (half,), o)),
            math.log2(shape.count(b) * mean),
            float(half),
            float(block[0] == 32),
            float(block[0] == 64),
            self.quality,
        ]

    def passes(self):
        """(pairs, half) of each pass: pairs [(band, component)]."""
        for step in range(25 + self.components - 1):
            live = [
                (step - c, c)
                for c in range(self.components)
                if 0 <= step - c < 25 and self.scale[step - c][c] >= 0
            ]
            for half in (0, 1):
                yield live, half

    def units(self, size, pairs, half):
        """(band, component, orientation) of the units of a pass in blocks of a size."""
        places = shape_of(size).places
        return [(b, c, o) for b, c in pairs for o in range(3) if (b, half, o) in places]

    def learn(self, size, units, half, symbols):
        """Take in the symbols of a pass in blocks of a size, [K][n]."""
        self.known.clear()
        begin = 0
        for b, c, o in units:
            end = begin + len(shape_of(size).places[b, half, o])
            for number in range(len(self.blocks[size])):
                total = sum(abs(int(row[number])) for row in symbols[begin:end])
                self.sums[size, number, c, b, half, o] = total
            begin = end


# --- a whole model --------------------------------------------------------------------------------------


def tiny_elic(seed=0):
    """(network, prior): a tiny TEC-ELIC, its linear path at the optimum, its convolutions random."""
    import torch

    from codec_support import MEANS, STDS, TINY, tile
    from eocodec.models.elic import ElicConfig, TecElic
    from eocodec.models.klt import init_linear
    from eocodec.train.config import LossConfig
    from eocodec.train.export import _shipped
    from eocodec.train.losses import band_weights

    torch.manual_seed(seed)
    network = TecElic(ElicConfig(**{k: v for k, v in TINY.items() if k != "levels"}))
    crops = np.stack([(tile(64, 64, s) - MEANS) / STDS for s in range(100, 104)]).astype(np.float32)
    patches = torch.from_numpy(crops).unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5)
    init_linear(network, patches.reshape(-1, 12, 16, 16), band_weights(LossConfig()))
    for head in (network.g_a.head, network.g_s.head):
        torch.nn.init.normal_(head.weight, std=1e-3)
    _shipped(network)
    return network, replace(some_prior(12), log2_step=np.array([1.0, -1.0, -4.0]))


def save_elic(model, path, **details):
    """Write a model as the package's own are written."""
    from eocodec.models import weights
    from eocodec.sensors import S2_BAND_NAMES

    card = {"id": "tec-elic", "family": "tec-elic", "bands": list(S2_BAND_NAMES), "lmbda": [2.0, 2000.0]}
    weights.save(path, *model, {**card, **details})
    return str(path)
