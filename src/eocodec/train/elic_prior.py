"""From trained transforms to TEC-ELIC's prior: everything that drives its coder, fitted on training crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.entropy.axes import entry_count
from eocodec.entropy.axes_tables import AxesTables
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.context_prior import MAX_SHIFTED, ContextPrior
from eocodec.entropy.family import build_family
from eocodec.entropy.levels import lmbda_at
from eocodec.models.klt import HIGH_RATE_STEP
from eocodec.nn.spectral import RINGS
from eocodec.train.config import ContextConfig
from eocodec.train.context_fit import (
    TableCosts,
    Tile,
    collect,
    fit_shift,
    fit_side_tables,
    flat_spectrum,
    plain_net,
    train_net,
)
from eocodec.train.fitting import ENTRY_SCALE_GUESS, counted_tables, fit_axes

SIDE_CROPS = 24  # that spectra and partitions are counted on, at every level
SIDE_ROUNDS = 2  # what the encoder chooses depends on what it costs
SHIFT_TILES = 40

Float = NDArray[np.float32]
Draw = Callable[[int], Float]  # seed -> latents of one training crop, [256 C, rows, cols]


def fit_context_prior(
    draw: Draw,
    basis: Float,
    ring: NDArray[np.int64],
    config: ContextConfig,
    log: Callable[[str], None] = print,
) -> ContextPrior:
    """The prior of transforms that make these latents.

    Parameters
    ----------
    draw : gives the latents of a crop; basis : [RINGS, C, C]; ring : [256]
    """
    levels = [round(MAX_QUALITY * k / (config.levels - 1)) for k in range(config.levels)]
    crops = [draw(seed) for seed in range(SIDE_CROPS)]
    coder = ContextCoder(_start(crops, ring, levels, config), basis, ring)
    for _ in range(SIDE_ROUNDS):
        frames = [(coder.plan(y, q, lmbda_at(*_ends(config), q)), q) for y in crops for q in levels]
        coder = replace(coder, prior=fit_side_tables(frames, coder.prior))
    log("spectra and partitions counted")
    for number in range(config.rounds):
        units = collect(coder, _tiles(draw, config, 1000 * (number + 1), config.crops), number)
        log(f"round {number + 1}: {len(units.weight)} units of {config.crops} crops")
        minutes = config.minutes / config.rounds
        net = train_net(
            units, TableCosts.of_family(coder.prior.family), hidden=config.hidden, minutes=minutes, log=log
        )
        coder = replace(coder, prior=replace(coder.prior, net=net))
    shift = fit_shift(coder, _tiles(draw, config, 1_000_000, SHIFT_TILES))
    return replace(coder.prior, shift=shift)


def _start(
    crops: list[Float], ring: NDArray[np.int64], levels: list[int], config: ContextConfig
) -> ContextPrior:
    """A prior that knows steps and axes, and nothing of spectra."""
    bands = len(crops[0]) // len(ring)
    lmbdas = np.array([lmbda_at(*_ends(config), q) for q in levels])
    steps = config.step_factor * HIGH_RATE_STEP / np.sqrt(lmbdas)
    family = build_family()
    entries = np.full((RINGS, entry_count(bands - 1, bands)), ENTRY_SCALE_GUESS)
    axes = AxesTables(family, counted_tables(np.zeros((RINGS, bands)), 0), entries)
    every = np.repeat(steps[:, None], len(crops[0]), 1).astype(np.float32)
    axes = fit_axes(np.stack([y.reshape(len(y), -1) for y in crops]), every, axes, ring)
    return ContextPrior(
        net=plain_net(config.hidden),
        family=family,
        axes=axes,
        spectrum=flat_spectrum(config.levels, bands),
        split_tables=counted_tables(np.zeros((2 * config.levels, 2)), 0),
        log2_step=np.log2(steps),
        shift=np.zeros((family.count, MAX_SHIFTED), np.float32),
    )


def _ends(config: ContextConfig) -> tuple[float, float]:
    return config.lmbda_min, config.lmbda_max


def _tiles(draw: Draw, config: ContextConfig, seed: int, count: int) -> Iterator[Tile]:
    """Crops at random qualities."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        quality_steps = int(rng.integers(0, MAX_QUALITY + 1))
        yield Tile(draw(seed + number), quality_steps, lmbda_at(*_ends(config), quality_steps))
