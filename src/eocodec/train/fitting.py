"""Fit the integer tables of TEC-FP's prior to what its encoder does on training crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.tables import CdfTables, from_pmfs
from eocodec.entropy import family
from eocodec.entropy.axes import bases, entry_count, turn
from eocodec.entropy.axes_tables import AxesTables
from eocodec.entropy.prior import (
    CONTEXT_WIDTH,
    CONTEXTS,
    DEAD,
    MAX_DELTA,
    MAX_SHIFT,
    Choice,
    FactorizedPrior,
    Symbols,
)
from eocodec.entropy.rdo import RDO_STRENGTH, quantise, state_axes

ENTRY_MEAN_GUESS = 8.0  # mean absolute entry of an axis before any is seen
ENTRY_SCALE_GUESS = int(np.rint(family.index_of(np.array(ENTRY_MEAN_GUESS))))
RECOUNTS = 2  # what the encoder chooses depends on what it costs, so counting is repeated
_PRIOR_COUNT = 0.2  # added to every observed count, so that nothing is impossible

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class _Crop:
    """One fitting crop: latents y [M, n]; the bases that its stated axes give at every level."""

    y: Float
    bases: Sequence[Counts]


@dataclass
class _Observed:
    """What the encoder chose on the fitting crops: lists over crops, per level."""

    scale: list[NDArray[np.int64]]
    shape: list[NDArray[np.int64]]
    offset: list[NDArray[np.int32]]


def counted_tables(counts: NDArray[np.float64], first: int) -> CdfTables:
    """One table a row of counts [rows, symbols], plus an escape that hardly weighs."""
    smooth = counts + _PRIOR_COUNT
    escape = np.full((len(smooth), 1), 1e-4) * smooth.sum(1, keepdims=True)
    return from_pmfs(list(np.concatenate([smooth, escape], 1)), np.full(len(smooth), first))


def flat_prior(levels: int, channels: int, bands: int, rings: int) -> FactorizedPrior:
    """A prior that favours nothing: where fitting starts."""
    return FactorizedPrior(
        family=family.build_family(),
        default_scale=np.full((levels, channels), family.SCALES // 2),
        default_shape=np.full((levels, channels), 2),
        offset_scale=np.full((levels, bands), 40),
        shift_table=counted_tables(np.zeros((1, 2 * MAX_SHIFT + 1)), -MAX_SHIFT),
        delta_tables=counted_tables(np.zeros((CONTEXTS, MAX_DELTA - DEAD + 1)), DEAD),
        shape_tables=counted_tables(np.zeros((len(family.SHAPES), len(family.SHAPES))), 0),
        count_tables=counted_tables(np.zeros((rings, bands)), 0),
        entry_scale=np.full((rings, entry_count(bands - 1, bands)), ENTRY_SCALE_GUESS),
    )


def fit_prior(latents: Float, steps: Float, lmbdas: Float, ring: Index) -> FactorizedPrior:
    """Defaults and side tables from latents [crops, M, n], steps [levels, M], lambdas [levels].

    Scales are chosen from the data first, without regard to side information; then shifts, differences and
    shapes are counted, and counted again as the encoder chooses them when it has to pay for them.
    """
    levels, channels = steps.shape
    prior = flat_prior(levels, channels, channels // len(ring), int(ring.max()) + 1)
    axes = fit_axes(latents, steps, prior.axes, ring)
    prior = replace(prior, count_tables=axes.count_tables, entry_scale=axes.entry_scale)
    crops = [_axes_of_levels(y, steps, prior, ring) for y in latents]
    weights = RDO_STRENGTH * lmbdas[:, None] * steps**2

    def coded(prior: FactorizedPrior, level: int) -> Iterator[tuple[Symbols, Choice, int]]:
        return _coded(crops, steps[level], weights[level], prior, level, levels, ring)

    observed = [_observe(coded(prior, i), prior) for i in range(levels)]
    scale = np.stack([np.stack(o.scale) for o in observed])  # (levels, crops, M), -1 where dead
    shape = np.stack([np.stack(o.shape) for o in observed])
    default_scale = np.rint(np.maximum(np.median(np.maximum(scale, 0), 1), 0)).astype(np.int64)
    votes = np.stack([((shape == s) & (scale >= 0)).sum(1) for s in range(len(family.SHAPES))])
    default_shape = (votes + 0.01 * votes.sum(1, keepdims=True)).argmax(0)
    offsets = np.stack([np.stack(o.offset) for o in observed])  # (levels, crops, K)
    spread = np.clip(np.rint(family.index_of(np.abs(offsets).mean(1) + 0.02)), 0, family.SCALES - 1)
    prior = replace(
        prior,
        default_scale=default_scale,
        default_shape=default_shape,
        offset_scale=spread.astype(np.int64),
    )
    prior = _with_side_tables(prior, *_side_counts(scale, shape, default_scale, default_shape))
    for _ in range(RECOUNTS):
        counted = [_recount(coded(prior, i), prior) for i in range(levels)]
        prior = _with_side_tables(prior, *(sum(counts) for counts in zip(*counted, strict=True)))
    return prior


def _axes_of_levels(y: Float, steps: Float, prior: FactorizedPrior, ring: Index) -> _Crop:
    stated = [state_axes(y, step, prior.axes, ring) for step in steps]
    return _Crop(y, [bases(axes.counts, axes.entries, prior.bands) for axes in stated])


def _with_side_tables(
    prior: FactorizedPrior, shifts: Counts, deltas: Counts, shapes: Counts
) -> FactorizedPrior:
    return replace(
        prior,
        shift_table=counted_tables(shifts[None], -MAX_SHIFT),
        delta_tables=counted_tables(deltas, DEAD),
        shape_tables=counted_tables(shapes, 0),
    )


def fit_axes(latents: Float, steps: Float, tables: AxesTables, ring: Index) -> AxesTables:
    """`tables` with what codes axes counted; latents [crops, M, n], steps [levels, M]."""
    some = steps[:: max(len(steps) // 3, 1)]
    stated = [state_axes(y, step, tables, ring) for y in latents for step in some]
    counts = np.zeros((len(tables.entry_scale), tables.bands))
    total = np.zeros_like(tables.entry_scale, np.float64)
    seen = np.zeros_like(total)
    for axes in stated:
        counts[np.arange(len(counts)), axes.counts] += 1
        sizes = np.array([entry_count(int(n), tables.bands) for n in axes.counts])
        seen += np.arange(total.shape[1])[None, :] < sizes[:, None]
        total += np.abs(axes.entries)
    mean = (total + ENTRY_MEAN_GUESS) / (seen + 1)
    scale = np.clip(np.rint(family.index_of(mean)), 0, family.SCALES - 1).astype(np.int64)
    return replace(tables, count_tables=counted_tables(counts, 0), entry_scale=scale)


def _coded(
    crops: Sequence[_Crop],
    step: Float,
    weight: Float,
    prior: FactorizedPrior,
    level: int,
    levels: int,
    ring: Index,
) -> Iterator[tuple[Symbols, Choice, int]]:
    """What the encoder makes of every crop at one level: symbols, tables, quality steps."""
    quality_steps = round(MAX_QUALITY * level / max(levels - 1, 1))
    for crop in crops:
        z = turn(crop.y, crop.bases[level], ring)
        yield *quantise(z, step, weight, prior, quality_steps), quality_steps


def _observe(coded: Iterable[tuple[Symbols, Choice, int]], prior: FactorizedPrior) -> _Observed:
    out = _Observed([], [], [])
    for centred, choice, _ in coded:
        best = prior.data_bits(centred).argmin(1)
        scale, shape = choice.scale.copy(), choice.shape.copy()  # -1 where dead
        scale[choice.live], shape[choice.live] = best % family.SCALES, best // family.SCALES
        out.scale.append(scale)
        out.shape.append(shape)
        out.offset.append(choice.offset)
    return out


def _recount(
    coded: Iterable[tuple[Symbols, Choice, int]], prior: FactorizedPrior
) -> tuple[Counts, Counts, Counts]:
    """Shifts, deltas and shapes as the encoder chooses them when it pays for them by `prior`."""
    shifts, deltas, shapes = _no_counts()
    for _, choice, quality_steps in coded:
        default, default_shape = prior.defaults(quality_steps, choice.shift)
        live = choice.live
        delta = np.full(prior.channels, DEAD)
        delta[live] = choice.scale[live] - default[live]
        shifts[choice.shift + MAX_SHIFT] += 1
        np.add.at(deltas, (default // CONTEXT_WIDTH, delta - DEAD), 1)
        np.add.at(shapes, (default_shape[live], choice.shape[live]), 1)
    return shifts, deltas, shapes


def _no_counts() -> tuple[Counts, Counts, Counts]:
    shapes = len(family.SHAPES)
    return np.zeros(2 * MAX_SHIFT + 1), np.zeros((CONTEXTS, MAX_DELTA - DEAD + 1)), np.zeros((shapes, shapes))


def _side_counts(
    scale: NDArray[np.int64],
    shape: NDArray[np.int64],
    default_scale: NDArray[np.int64],
    default_shape: NDArray[np.int64],
) -> tuple[Counts, Counts, Counts]:
    shifts, deltas, shapes = _no_counts()
    for level in range(len(scale)):
        for found, form in zip(scale[level], shape[level], strict=True):
            live = found >= 0
            lag = (found - default_scale[level])[live]
            shift = int(np.clip(np.rint(np.median(lag)), -MAX_SHIFT, MAX_SHIFT)) if lag.size else 0
            shifts[shift + MAX_SHIFT] += 1
            default = np.clip(default_scale[level] + shift, 0, family.SCALES - 1)
            delta = np.where(live, np.clip(found - default, -MAX_DELTA, MAX_DELTA), DEAD)
            np.add.at(deltas, (default // CONTEXT_WIDTH, delta - DEAD), 1)
            np.add.at(shapes, (default_shape[level][live], form[live]), 1)
    return shifts, deltas, shapes
