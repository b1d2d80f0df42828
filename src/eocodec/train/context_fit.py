"""Fit what drives TEC-ELIC's coder: tables of spectra and partitions, context network, reconstruction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.coding.range_coder import SymbolEncoder
from eocodec.coding.tables import CdfTables
from eocodec.entropy.context import (
    FEATURES,
    MAX_GAIN,
    MIN_GAIN,
    SCALE_UNIT,
    SHAPE_UNIT,
    ContextNet,
    Request,
)
from eocodec.entropy.context_coder import ContextCoder, ContextFrame
from eocodec.entropy.context_prior import MAX_SHIFTED, ContextPrior
from eocodec.entropy.exact import EdgeWriter
from eocodec.entropy.family import LOG2_SMALLEST, SCALES, SCALES_PER_OCTAVE, SHAPES, table_costs
from eocodec.entropy.levels import nearest_level
from eocodec.entropy.spectrum import BANDS
from eocodec.entropy.tile_spectrum import CONTEXTS, DEAD, MAX_DELTA, SpectrumTables
from eocodec.train.config import OptimConfig
from eocodec.train.fitting import counted_tables
from eocodec.train.optim import rate_factor

COUNTED = 16  # magnitudes 0 .. 15 are counted, larger ones listed
SHARE_KEPT = 0.3  # of units, at random
SHAPE_START = 0.45  # of an untrained network, in SHAPE_UNIT
SCALE_FEATURE = FEATURES - 12  # log2 of the mean that the tile's spectrum states
_SCHEDULE = OptimConfig(warmup_steps=100, flat_share=0.3)
_LEAST_BITS = 0.05  # added to a unit's bits where units are compared
_ROUNDING = 1 / 6  # squared steps, at least: what rounding adds to a variance
SHIFT_PRIOR = 200.0  # symbols at no shift that every mean shift is drawn to

Float = NDArray[np.float32]
Counts = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Tile:
    """Latents to fit on, y [256 C, rows, cols], at a quality; lmbda there."""

    y: Float
    quality_steps: int
    lmbda: float


def plain_net(hidden: int, features: int = FEATURES) -> ContextNet:
    """A network that repeats the tile's spectrum: where fitting starts."""
    weights = (np.zeros((hidden, features)), np.zeros((hidden, hidden)), np.zeros((2, hidden)))
    return ContextNet(weights, (np.zeros(hidden), np.zeros(hidden), np.array([0.0, SHAPE_START])))


def flat_spectrum(levels: int, bands: int) -> SpectrumTables:
    """Tables of spectra that favour nothing."""
    tables = counted_tables(np.zeros((2 * CONTEXTS, MAX_DELTA - DEAD + 1)), DEAD)
    return SpectrumTables(np.full((levels, BANDS, bands), SCALES // 2), tables)


def fit_side_tables(frames: Sequence[tuple[ContextFrame, int]], prior: ContextPrior) -> ContextPrior:
    """The prior with tables of spectra and partitions counted over frames, each with its quality steps.

    The frames must come at the qualities of all levels.
    """
    levels = prior.levels
    at = np.array([nearest_level(levels, q) for _, q in frames])
    scale = np.stack([f.spectrum for f, _ in frames])
    default = np.stack([np.median(np.maximum(scale[at == level], 0), 0) for level in range(levels)])
    spectrum = replace(prior.spectrum, default_scale=np.rint(default).astype(np.int64))
    counts = np.zeros((2 * CONTEXTS, MAX_DELTA - DEAD + 1))
    splits = np.zeros((2 * levels, 2))
    for frame, quality_steps in frames:
        symbols, rows = spectrum.deltas(spectrum.reachable(frame.spectrum, quality_steps), quality_steps)
        np.add.at(counts, (rows, symbols - DEAD), 1)
        for kind, flags in enumerate(frame.partition.flags()):
            rows = prior.split_rows(kind, flags.size, quality_steps)
            np.add.at(splits, (rows, flags.astype(np.int64)), 1)
    spectrum = replace(spectrum, tables=counted_tables(counts, DEAD))
    return replace(prior, spectrum=spectrum, split_tables=counted_tables(splits, 0))


@dataclass(frozen=True)
class Units:
    """Units of many tiles, and their symbols.

    features : [n, FEATURES] or with PAST_FEATURES more, float16
    counts : [n, COUNTED], of magnitudes, or of as many other things as were told apart
    weight : [n], of a unit's bits in the loss
    large_unit, large : [l], unit and magnitude of symbols that are not counted
    agreed : [n, 3], sums of values times predicted ones, of predicted ones squared, of values squared; zeros
        without a prediction
    """

    features: NDArray[np.float16]
    counts: NDArray[np.uint16]
    weight: Float
    large_unit: Index
    large: Index
    agreed: Float


class Collector:
    """Keeps some units of each request of a tile."""

    def __init__(self, share: float, weight: float, rng: np.random.Generator, counted: int = COUNTED) -> None:
        self._share, self._weight, self._rng, self._counted = share, weight, rng, counted
        self.features: list[NDArray[np.float16]] = []
        self.counts: list[NDArray[np.uint16]] = []
        self.large: list[tuple[Index, Index]] = []
        self.agreed: list[Float] = []
        self.kept = 0

    def __call__(self, request: Request, values: Float, symbols: NDArray[np.int32]) -> None:
        features = request.features
        units, n = features.shape[1:]
        keep = np.flatnonzero(self._rng.random(units * n) < self._share)
        number = np.full(units * n, -1)
        number[keep] = np.arange(len(keep))
        unit = np.repeat(np.arange(units), request.counts)[:, None] * n + np.arange(n)
        magnitude, unit = np.abs(symbols).ravel().astype(np.int64), number[unit.ravel()]
        magnitude, unit = magnitude[unit >= 0], unit[unit >= 0]
        counted = self._counted
        small = magnitude < counted
        counts = np.bincount(unit[small] * counted + magnitude[small], minlength=len(keep) * counted)
        self.features.append(features.reshape(len(features), -1)[:, keep].T.astype(np.float16))
        self.counts.append(counts.reshape(-1, counted).astype(np.uint16))
        self.large.append((unit[~small] + self.kept, magnitude[~small]))
        self.agreed.append(_agreed(request, values)[keep])
        self.kept += len(keep)

    def units(self) -> Units:
        """All that was kept."""
        unit, magnitude = (np.concatenate([pair[i] for pair in self.large]) for i in (0, 1))
        weight = np.full(self.kept, self._weight / self._share, np.float32)
        features, counts = np.concatenate(self.features), np.concatenate(self.counts)
        return Units(features, counts, weight, unit, magnitude, np.concatenate(self.agreed))


def _agreed(request: Request, values: Float) -> Float:
    """`Units.agreed` of all units of a request; values [K, n], less the prediction times its gain."""
    if request.expected is None:
        return np.zeros((len(request.counts) * values.shape[1], 3), np.float32)
    mean = request.expected.mean
    whole = values + request.expected.shift + mean
    start = np.cumsum(request.counts) - request.counts
    products = np.stack([mean * whole, mean**2, whole**2])
    return np.add.reduceat(products, start, axis=1).reshape(3, -1).T.astype(np.float32)


def collect(coder: ContextCoder, tiles: Iterable[Tile], seed: int) -> Units:
    """Units of tiles as the coder makes them; weights are lambda^-1/2 a pixel."""
    rng, parts = np.random.default_rng(seed), []
    for tile in tiles:
        keep = Collector(SHARE_KEPT, tile.lmbda**-0.5 / tile.y[0].size, rng)
        _encode(coder, tile, keep)
        if keep.kept:
            parts.append(keep.units())
    return joined(parts)


def _encode(coder: ContextCoder, tile: Tile, observe: Callable[..., None]) -> ContextFrame:
    return coder.encode(tile.y, SymbolEncoder(), EdgeWriter(), tile.quality_steps, tile.lmbda, observe)


def joined(parts: Sequence[Units]) -> Units:
    start = np.concatenate([[0], np.cumsum([len(p.weight) for p in parts])[:-1]])
    return Units(
        np.concatenate([p.features for p in parts]),
        np.concatenate([p.counts for p in parts]),
        np.concatenate([p.weight for p in parts]),
        np.concatenate([p.large_unit + s for p, s in zip(parts, start, strict=True)]),
        np.concatenate([p.large for p in parts]),
        np.concatenate([p.agreed for p in parts]),
    )


class TableCosts:
    """Bits of what is counted of units, linear between neighbouring tables.

    costs : [tables, width + 1], of magnitudes 0 .. width, or of other things that are numbered so
    counted : how many of them `Units` count
    """

    def __init__(self, costs: Float, counted: int = COUNTED) -> None:
        self.width, self.counted = costs.shape[1] - 1, counted
        self.costs = torch.from_numpy(np.ascontiguousarray(costs))

    @classmethod
    def of_family(cls, family: CdfTables) -> TableCosts:
        """Of magnitudes under a family's tables."""
        costs = table_costs(family)
        return cls(costs[:, costs.shape[1] // 2 :])

    def corners(self, scale: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [4, n] of the tables around and their weights [4, n]; scale, shape [n] in indices."""
        scale = scale.clamp(0, SCALES - 1.001)
        shape = shape.clamp(0, len(SHAPES) - 1.001)
        low_scale, low_shape = scale.detach().floor(), shape.detach().floor()
        part_scale, part_shape = scale - low_scale, shape - low_shape
        row = (low_shape * SCALES + low_scale).long()
        rows = torch.stack([row, row + 1, row + SCALES, row + SCALES + 1])
        across = torch.stack([1 - part_scale, part_scale]).repeat(2, 1)
        return rows, across * torch.stack([1 - part_shape, part_shape]).repeat_interleave(2, 0)

    def bits(self, rows: Tensor, weights: Tensor, counts: Tensor) -> Tensor:
        """Bits of each unit [n] from counts [n, counted]."""
        table = self.costs[rows.reshape(-1), : self.counted].view(*rows.shape, self.counted)
        return ((table * counts).sum(2) * weights).sum(0)

    def bits_of(self, rows: Tensor, weights: Tensor, magnitude: Tensor) -> Tensor:
        """Bits of single symbols [l], with rows and weights [4, l] of theirs."""
        return (self.costs[rows, magnitude.clamp(max=self.width)] * weights).sum(0)


class _Mlp(nn.Sequential):
    def __init__(self, features: int, hidden: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(features, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, outputs),
        )
        last = self[4]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        last.bias.data = torch.tensor([0.0, SHAPE_START, 0.0][:outputs])  # type: ignore[union-attr]

    def take(self, other: ContextNet, mean: Tensor, std: Tensor) -> None:
        """Another network's weights; mean, std : that features are normalised by here."""
        layers = [layer for layer in self if isinstance(layer, nn.Linear)]
        weights = [torch.from_numpy(w).float() for w in other.weights]
        biases = [torch.from_numpy(b).float() for b in other.biases]
        biases[0] = biases[0] + weights[0] @ mean
        weights[0] = weights[0] * std
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.data, layer.bias.data = weight, bias


class _Draw:
    """Batches of units, each drawn as often as its plain bits weigh in the loss: all then matter alike."""

    def __init__(self, units: Units, costs: TableCosts) -> None:
        self._units, self._costs = units, costs
        self._begin = np.searchsorted(units.large_unit, np.arange(len(units.weight) + 1))
        self.plain = np.concatenate([self._plain(part) for part in self._parts()])
        share = units.weight * (self.plain + _LEAST_BITS)
        self._cumulated = np.cumsum(share, dtype=np.float64)

    def _parts(self) -> Iterator[Index]:
        every = np.arange(len(self._units.weight))
        yield from np.array_split(every, len(every) // 65_536 + 1)

    def _plain(self, at: Index) -> Float:
        """Bits of units without a network."""
        stated = stated_scale(torch.from_numpy(self._units.features[at, SCALE_FEATURE]).float())
        return self.bits(at, stated, torch.full_like(stated, SHAPE_UNIT * SHAPE_START)).numpy()

    def bits(self, at: Index, scale: Tensor, shape: Tensor) -> Tensor:
        """Bits of units [n] under scales and shapes [n]."""
        rows, mix = self._costs.corners(scale, shape)
        bits = self._costs.bits(rows, mix, torch.from_numpy(self._units.counts[at].astype(np.float32)))
        lengths = self._begin[at + 1] - self._begin[at]
        if not lengths.any():
            return bits
        owner = np.repeat(np.arange(len(at)), lengths)
        start = np.cumsum(lengths) - lengths
        number = np.arange(lengths.sum()) + np.repeat(self._begin[at] - start, lengths)
        magnitude = torch.from_numpy(self._units.large[number])
        listed = self._costs.bits_of(rows[:, owner], mix[:, owner], magnitude)
        return bits.index_add(0, torch.from_numpy(owner), listed)

    def batch(self, size: int, rng: np.random.Generator) -> Index:
        """Numbers of `size` units."""
        at = np.searchsorted(self._cumulated, rng.random(size) * self._cumulated[-1])
        return np.sort(np.minimum(at, len(self._cumulated) - 1))


def stated_scale(log2_mean: Tensor) -> Tensor:
    """Scale index of a tile's mean, from the feature."""
    return (log2_mean - LOG2_SMALLEST) * SCALES_PER_OCTAVE


def train_net(
    units: Units,
    costs: TableCosts,
    *,
    hidden: int,
    minutes: float,
    batch: int = 8192,
    rate: float = 4e-3,
    gain: bool = False,
    start: ContextNet | None = None,
    log: Callable[[str], None] = print,
) -> ContextNet:
    """Fit the network to units by the bits that their symbols take, for a time; the rate anneals to zero.

    gain : of a prediction is to be fitted too
    start : where to begin, of as many outputs; by default a network that repeats the tile's spectrum
    """
    draw, rng = _Draw(units, costs), np.random.default_rng(0)
    sample = torch.from_numpy(units.features[:: max(1, len(units.features) // 100_000)]).float()
    mean, std = sample.mean(0), sample.std(0) + 1e-3
    net = _Mlp(units.features.shape[1], hidden, 3 if gain else 2)
    if start is not None:
        net.take(start, mean, std)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4)
    begin, steps, window = time.perf_counter(), 0, [0.0, 0.0]
    while (progress := (time.perf_counter() - begin) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * rate_factor(progress, steps, _SCHEDULE)
        at = draw.batch(batch, rng)
        x = torch.from_numpy(units.features[at]).float()
        out = net((x - mean) / std)
        scale = stated_scale(x[:, SCALE_FEATURE]) + SCALE_UNIT * out[:, 0]
        bits, plain = draw.bits(at, scale, SHAPE_UNIT * out[:, 1]), torch.from_numpy(draw.plain[at])
        if gain:
            agreed, count = (
                torch.from_numpy(units.agreed[at]),
                torch.from_numpy(units.counts[at].sum(1) + 0.0),
            )
            bits = bits + gain_bits(1 + out[:, 2], scale, agreed, count.float())
        loss = (bits / (plain + _LEAST_BITS)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        steps += 1
        window = [window[0] + float(loss.detach()), window[1] + float((plain / (plain + _LEAST_BITS)).mean())]
        if steps % 500 == 0:
            log(
                f"step {steps} {time.perf_counter() - begin:.0f} s: bits {window[0] / window[1]:.4f} of plain"
            )
            window = [0.0, 0.0]
    return _folded(net, mean, std)


def gain_bits(gain: Tensor, scale: Tensor, agreed: Tensor, count: Tensor) -> Tensor:
    """Bits of units [n] that the gain decides, about: of what is left, by the logarithm of its variance.

    scale : [n], index that was stated, not trained by this; agreed : [n, 3]; count : [n], coefficients
    """
    mean_abs = torch.exp2(LOG2_SMALLEST + scale.detach() / SCALES_PER_OCTAVE)
    count = count.clamp(min=1)  # symbols too large to be counted are not among them
    usual = count * (2 * mean_abs**2 + _ROUNDING)
    gain = gain.clamp(MIN_GAIN, MAX_GAIN)
    left = gain**2 * agreed[:, 1] - 2 * gain * agreed[:, 0] + agreed[:, 2]
    return 0.5 * count * torch.log2(1 + left.clamp(min=0) / usual)


def _folded(net: _Mlp, mean: Tensor, std: Tensor) -> ContextNet:
    """As float32 numbers in float64, the normalisation of features folded in."""
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().double() for layer in layers]
    biases = [layer.bias.detach().double() for layer in layers]
    biases[0] = biases[0] - weights[0] @ (mean / std).double()
    weights[0] = weights[0] / std.double()
    stored = [np.asarray(t.float().double().numpy()) for t in (*weights, *biases)]
    return ContextNet((stored[0], stored[1], stored[2]), (stored[3], stored[4], stored[5]))


def fit_shift(coder: ContextCoder, tiles: Iterable[Tile], usual: float = 0.0) -> Float:
    """Mean distance of latents from their magnitudes, [tables, MAX_SHIFTED], drawn to a usual one."""
    rows = len(coder.prior.shift)
    total, count = np.zeros((rows, MAX_SHIFTED)), np.zeros((rows, MAX_SHIFTED))

    def observe(request: Request, values: Float, symbols: NDArray[np.int32]) -> None:
        flat = np.flatnonzero(symbols)
        magnitude = np.abs(symbols.ravel()[flat])
        bin_ = request.rows.ravel()[flat] * MAX_SHIFTED + np.minimum(magnitude, MAX_SHIFTED) - 1
        excess = np.abs(values.ravel()[flat]) - magnitude
        total.ravel()[:] += np.bincount(bin_, excess, total.size)
        count.ravel()[:] += np.bincount(bin_, minlength=count.size)

    for tile in tiles:
        _encode(coder, tile, observe)
    return ((total + usual * SHIFT_PRIOR) / (count + SHIFT_PRIOR)).astype(np.float32)
