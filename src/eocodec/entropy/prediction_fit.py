"""The encoder's side of predicting timesteps: which references, and what weights to state for them.

Weights are fitted by least squares, weighted by what an error costs where it stands, and stated only where
they save more bits than they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.prediction import (
    MAX_REFERENCES,
    MAX_WEIGHT,
    MEAN_UNIT,
    WINDOW,
    Prediction,
    Reference,
    Regressors,
    cell_bands,
)
from eocodec.entropy.spectrum import BANDS

_ITERATIONS = 3  # of fitting and weighing anew
_NOISE = 1 / 6  # squared steps added to what is left over, where bits are estimated
_RIDGE = 1e-4  # of each regressor's energy
_BITS_LOST = 0.72  # 1 / (2 ln 2): bits that a relative error costs, by the slope of the logarithm
_WEIGHT_BITS = 4.0  # of a weight that is stated, beside those of its size
_REFERENCE_BITS = 100.0  # that a second reference has to save: its weights take about as many
_CELLS = 256  # about as many tell which references are best
_MAX_MEAN = 1 << 18

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over the coefficients of each band: gram [BANDS, K, K], cross [BANDS, K, C], energy [BANDS, C]."""

    gram: Float
    cross: Float
    energy: Float
    count: Float

    def errors(self, weights: Float, c: int) -> Float:
        """[BANDS], squared errors of component c under weights [K]."""
        quadratic = np.einsum("bij,i,j->b", self.gram, weights, weights)
        left = self.energy[:, c] - 2 * self.cross[:, :, c] @ weights + quadratic
        return np.asarray(np.maximum(left, 0))


def _moments(z: Float, y: Float) -> _Moments:
    bands, live = cell_bands(), np.unique(cell_bands())
    k, components = z.shape[1], y.shape[1]
    gram, cross = np.zeros((BANDS, k, k)), np.zeros((BANDS, k, components))
    energy, count = np.zeros((BANDS, components)), np.zeros(BANDS)
    for band in live:
        at = bands == band
        x = z[at].transpose(1, 0, 2).reshape(k, -1)
        target = y[at].transpose(1, 0, 2).reshape(components, -1)
        gram[band], cross[band] = x @ x.T, x @ target.T
        energy[band], count[band] = (target**2).sum(1), target.shape[1]
    return _Moments(gram, cross, energy, count)


class Fit:
    """A timestep beside what is known of some references.

    Parameters
    ----------
    u : [256, C, n], DCT coefficients of bands
    references, back : decoded timesteps, and how far back each is
    bend : with all sources, or components alone

    Attributes
    ----------
    regressors : what is known of the references
    """

    def __init__(
        self,
        u: Float,
        references: Sequence[Reference],
        back: Sequence[int],
        ring: Index,
        step: float,
        *,
        bend: bool,
    ) -> None:
        self.regressors = regressors = Regressors(references, ring, step, bend=bend)
        y = regressors.turn(u)
        unit = MEAN_UNIT * step
        means = np.rint((y[0].mean(1) - regressors.means) / unit)
        self._means = np.clip(means, -_MAX_MEAN, _MAX_MEAN).astype(np.int64)
        y[0] -= (regressors.means + self._means * unit)[:, None]
        self._moments, self._unit, self._back = _moments(regressors.z, y), regressors.unit, back
        self._noise = _NOISE * step**2 * np.maximum(self._moments.count, 1)

    def bits(self) -> float:
        """What the best weights, not stated, leave: up to what all fits of a timestep share."""
        total = 0.0
        for c in range(len(self._means)):
            gram, cross = self._normal(c)
            total += self._left(self._moments.errors(np.asarray(np.linalg.solve(gram, cross)), c))
        return total

    def stated(self) -> Prediction:
        """The prediction with weights that are worth stating."""
        components = len(self._means)
        rows = np.stack([self._row(c) for c in range(components)])
        weights = rows.reshape(components, len(self._back), -1).transpose(1, 0, 2)
        return Prediction(np.array(self._back, np.int64), self._means, weights)

    def _left(self, errors: Float) -> float:
        """Bits of errors [BANDS]."""
        m = self._moments
        return float((0.5 * m.count * np.log2((errors + self._noise) / np.maximum(m.count, 1))).sum())

    def _normal(self, c: int) -> tuple[Float, Float]:
        """Normal equations of component c, each band weighed by what is left of it: [K, K] and [K]."""
        m = self._moments
        errors: Float = m.energy[:, c]
        for _ in range(_ITERATIONS):
            share = m.count / (errors + self._noise)
            gram, cross = np.tensordot(share, m.gram, 1), np.asarray(share @ m.cross[:, :, c])
            gram[np.diag_indices_from(gram)] *= 1 + _RIDGE
            gram[np.diag_indices_from(gram)] += 1e-9
            errors = m.errors(np.asarray(np.linalg.solve(gram, cross), np.float64), c)
        return gram, cross

    def _row(self, c: int) -> Index:
        """Stated weights of component c, [K]."""
        gram, cross = self._normal(c)
        kept = _worth_stating(gram, cross, self._unit)
        stated = np.zeros(len(cross), np.int64)
        if kept.size:
            stated[kept] = _rounded(gram[np.ix_(kept, kept)], cross[kept], self._unit[kept])
        return stated


def _worth_stating(gram: Float, cross: Float, unit: Float) -> Index:
    """Regressors that save more bits than their weights take: the least useful goes, until none does."""
    kept, inverse = np.arange(len(cross)), np.linalg.inv(gram)
    while kept.size:
        weights, spread = inverse @ cross[kept], np.diag(inverse)
        saved = _BITS_LOST * weights**2 / spread
        gain = saved - 2 * np.log2(1 + np.abs(weights / unit[kept])) - _WEIGHT_BITS
        worst = int(gain.argmin())
        if gain[worst] >= 0:
            break
        column = inverse[:, worst]
        inverse = np.delete(np.delete(inverse - np.outer(column, column) / column[worst], worst, 0), worst, 1)
        kept = np.delete(kept, worst)
    return kept


def _rounded(gram: Float, cross: Float, unit: Float) -> Index:
    """Weights in units, rounded one after the other; those after make up for what each rounding loses."""
    order = np.argsort(-unit * np.sqrt(np.diag(gram)))
    stated = np.zeros(len(unit), np.int64)
    for number, i in enumerate(order):
        left, done = order[number:], order[:number]
        rest = cross[left] - gram[np.ix_(left, done)] @ (stated[done] * unit[done])
        value = np.linalg.solve(gram[np.ix_(left, left)], rest)[0] / unit[i]
        stated[i] = int(np.clip(np.rint(value), -MAX_WEIGHT, MAX_WEIGHT))
    return stated


def fit_prediction(u: Float, past: Sequence[Reference], ring: Index, step: float) -> Fit:
    """Fit to the references that leave the fewest bits of a timestep, as far as can be told without coding.

    Parameters
    ----------
    u : [256, C, n], DCT coefficients of bands; past : decoded timesteps, the latest last, at least one
    """
    stride = u.shape[2] // _CELLS | 1  # odd: rows of cells of an even number are all met

    def bits(back: tuple[int, ...]) -> float:
        some = [Reference(past[-b].u[..., ::stride], past[-b].bases) for b in back]
        return Fit(u[..., ::stride], some, back, ring, step, bend=False).bits()

    open_ = list(range(1, min(len(past), WINDOW) + 1))
    chosen: list[int] = []
    least = np.inf
    while open_ and len(chosen) < MAX_REFERENCES:
        left = {b: bits((*chosen, b)) for b in open_}
        back = min(left, key=lambda b: left[b])
        if left[back] >= least - _REFERENCE_BITS / stride:
            break
        least = left[back]
        chosen.append(back)
        open_.remove(back)
    return Fit(u, [past[-b] for b in chosen], chosen, ring, step, bend=True)
