"""What the encoder decides for each pass: weights of the prediction, and tables of the symbols.

Nothing here has to agree with a decoder: floats choose, integers are stated.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eocodec.residual.model import (
    GAINS,
    LEVELS,
    MAX_GAIN,
    UNIT,
    PassModel,
    TableChoice,
    energy_levels,
)
from eocodec.residual.side import MAX_SHIFT, MAX_WEIGHT, NO_PREDICTION, Prediction
from eocodec.residual.symbols import MAX_SCALE, histogram, magnitude_costs

Float = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE = 1 << 15  # pixels that weights are fitted to, at most
_PART = 64  # columns of a product of matrices: more, and BLAS would start threads
_WEIGHT_BITS = 12.0  # that one more weight costs, about
_PATIENCE = 5  # features tried after the best number of them
_ROUNDING = 0.07  # of the prediction by that of its weights, in standard deviations of the residual
_CHANGE_BITS = 2.0  # that a gain costs for each octave it moves by, about
_SLOPES = (0, 3, 5, 6, 7, 8, 9, 10, 12, 15, 20)


def fit_prediction(model: PassModel, target: Ints, coded: NDArray[np.bool_]) -> Prediction:
    """Least squares on as many features as pay for being stated.

    Parameters
    ----------
    target : [rows, cols], values of the pass less the centre; coded : [rows, cols], those that count
    """
    features = model.features()
    chosen = np.flatnonzero(coded)
    count = len(chosen)
    if not features or not count:
        return NO_PREDICTION
    chosen = chosen[:: -(-count // SAMPLE)]
    columns = np.empty((len(features) + 1, len(chosen)))
    for row, feature in enumerate(features):
        columns[row] = model.take(feature).reshape(-1)[chosen]
    columns[-1] = target.reshape(-1)[chosen]
    moments = _moments(columns) * (count / len(chosen))
    floor = model.state.step**2 / 12
    kept = _select(moments, count, floor)
    if not kept:
        return NO_PREDICTION
    return _quantised(moments, kept, count, floor)


def _moments(rows: Float) -> Float:
    """rows @ rows.T; [K, n] -> [K, K]."""
    whole = rows.shape[1] // _PART * _PART
    parts = rows[:, :whole].reshape(len(rows), -1, _PART).swapaxes(0, 1)  # (parts, K, _PART)
    rest = rows[:, whole:]
    return np.asarray(np.matmul(parts, parts.swapaxes(1, 2)).sum(0) + rest @ rest.T)


def _select(moments: Float, count: int, floor: float) -> list[int]:
    """Greedy choice of features: each time the one that leaves the least, as long as bits are saved."""
    left = moments.copy()
    scale = np.diag(moments).copy()
    alive = np.ones(len(left), bool)
    alive[-1] = False
    kept: list[int] = []
    best, best_count = 0.5 * count * math.log2(left[-1, -1] / count + floor), 0
    while alive.any() and len(kept) < best_count + _PATIENCE:
        power = np.diag(left)
        usable = alive & (power > 1e-9 * scale + 1e-6)
        gain = np.where(usable, left[-1] ** 2 / np.where(usable, power, 1.0), -1.0)
        pick = int(gain.argmax())
        if gain[pick] <= 0:
            break
        left -= np.outer(left[:, pick] / power[pick], left[pick])
        alive[pick] = False
        kept.append(pick)
        rest = max(float(left[-1, -1]), 0.0) / count
        bits = 0.5 * count * math.log2(rest + floor) + _WEIGHT_BITS * len(kept)
        if bits < best:
            best, best_count = bits, len(kept)
    return kept[:best_count]


def _quantised(moments: Float, kept: list[int], count: int, floor: float) -> Prediction:
    """Weights of the chosen features as integers, no finer than the residual deserves."""
    gram = moments[np.ix_(kept, kept)]
    ridge = np.eye(len(kept)) * (1e-9 * np.trace(gram) / len(kept) + 1e-3)
    solution = np.linalg.solve(gram + ridge, moments[kept, -1])
    rest = max(float(moments[-1, -1] - solution @ moments[kept, -1]), 0.0) / count
    noise = math.sqrt(np.trace(gram) / count / 12)  # of the prediction, for steps of 1
    shift = math.ceil(math.log2(max(noise, 1e-9) / (_ROUNDING * math.sqrt(rest + floor))))
    shift = min(max(shift, 0), MAX_SHIFT)
    weights = np.zeros(max(kept) + 1, np.int64)
    weights[kept] = np.clip(np.rint(solution * 2.0**shift), -MAX_WEIGHT, MAX_WEIGHT)
    used = np.flatnonzero(weights)
    weights = weights[: used[-1] + 1] if used.size else weights[:0]
    return Prediction(shift, _best_scale(weights), weights)


def _best_scale(weights: Ints) -> int:
    """Scale that codes the weights in the fewest bits."""
    if not weights.size:
        return 0
    mean = float(np.abs(weights).mean())
    return min(max(round(3 * (math.log2(mean + 1e-3) + 7)) - 3, 0), MAX_SCALE)


def fit_tables(
    terms: dict[int, Ints], symbols: Ints, coded: NDArray[np.bool_], before: dict[int, int]
) -> TableChoice | None:
    """Gains of the energy, and the line from levels to scales that takes the fewest bits; None if all are 0.

    before : gains of the same pass in the band before, which cost little to repeat
    """
    magnitude = np.abs(symbols[coded])
    if not magnitude.any():
        return None
    rows = [term[coded] for term in terms.values()]
    fitted = dict(zip(terms, _fit_gains(np.stack(rows).astype(np.float64), magnitude), strict=True))
    best = (math.inf, TableChoice(0, 0, 0, before))
    for gains in (before, fitted):
        level = energy_levels([int(GAINS[code]) for code in gains.values()], rows)
        bits, shape, slope, offset = _fit_line(level, magnitude)
        bits += sum(_CHANGE_BITS * math.log2(1 + abs(gains[place] - before[place])) for place in terms)
        if bits < best[0]:
            best = (bits, TableChoice(shape, slope, offset, gains))
    return best[1]


def _fit_gains(rows: Float, magnitude: Ints) -> list[int]:
    """Codes of non-negative weights with which the terms [n, pixels] explain the magnitudes [pixels]."""
    weight = 1 / (rows.mean(0) / rows.mean() + 0.05)
    found = np.zeros(len(rows))
    for _ in range(2):
        moments = _moments(np.vstack([rows, magnitude]) * weight)
        found = _nonnegative(moments[:-1, :-1], moments[:-1, -1])
        energy = np.einsum("k,kn->n", found, rows)
        weight = 1 / (energy + 0.02 * energy.mean() + 1e-9)
    units = found * UNIT * 256  # 256 stands for a weight of 1
    units[units < units.max() / 256] = 0
    if units.max() > GAINS[-1]:
        units *= GAINS[-1] / units.max()
    codes = np.where(units > 0.7, np.rint(2 * np.log2(np.maximum(units, 0.7))) + 1, 0)
    return np.clip(codes, 0, MAX_GAIN).astype(int).tolist()  # type: ignore[no-any-return]


def _nonnegative(gram: Float, moment: Float) -> Float:
    """Least squares with weights that are not negative, by leaving out the most negative one in turn."""
    active = np.flatnonzero(np.diag(gram) > 0)
    out = np.zeros(len(moment))
    while active.size:
        part = gram[np.ix_(active, active)]
        ridge = np.diag(np.diag(part)) * 1e-6
        solution = np.linalg.solve(part + ridge, moment[active])
        if solution.min() >= 0:
            out[active] = solution
            break
        active = np.delete(active, int(solution.argmin()))
    return out


def _fit_line(level: Ints, magnitude: Ints) -> tuple[float, int, int, int]:
    """(bits, shape, slope, offset) of the fewest bits."""
    counts = histogram(level, magnitude, LEVELS)
    costs = magnitude_costs()[:, :, : counts.shape[1]]
    used = np.flatnonzero(counts.any(1))
    bits = np.tensordot(counts[used], costs, (1, 2))  # (levels, shapes, scales)
    pivot = int(np.average(used, weights=counts[used].sum(1)))
    best = (math.inf, 0, 0, 0)
    place = np.arange(len(used))[:, None]
    for slope in _SLOPES:
        start = -(slope * pivot >> 3)
        offsets = start + np.arange(MAX_SCALE + 1)
        scales = np.clip(offsets + (slope * used[:, None] >> 3), 0, MAX_SCALE)  # (levels, offsets)
        total = bits.transpose(0, 2, 1)[place, scales].sum(0)  # (offsets, shapes)
        at = np.unravel_index(int(total.argmin()), total.shape)
        best = min(best, (float(total[at]), int(at[1]), slope, int(offsets[at[0]])))
    return best
