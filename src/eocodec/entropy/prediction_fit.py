"""The encoder's side of predicting timesteps: which references, and what weights to state for them.

Weights are fitted by least squares, weighted by what an error costs where it stands, and stated only where
they save more bits than they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolEncoder
from eocodec.coding.tables import CdfTables
from eocodec.entropy.prediction import (
    MAX_REFERENCES,
    MAX_WEIGHT,
    MEAN_UNIT,
    WINDOW,
    Prediction,
    Reference,
    Regressors,
    cell_bands,
    encode_prediction,
)
from eocodec.entropy.sources import Sources
from eocodec.entropy.spectrum import BANDS

_ITERATIONS = 3  # of fitting and weighing anew
_NOISE = 1 / 6  # squared steps added to what is left over, where bits are estimated
_RIDGE = 1e-4  # of each regressor's energy
_BITS_LOST = 0.72  # 1 / (2 ln 2): bits that a relative error costs, by the slope of the logarithm
_WEIGHT_BITS = 4.0  # of a weight that is stated, beside those of its size
_REFERENCE_BITS = 100.0  # that a second reference has to save: its weights take about as many
_CELLS = 128  # about as many tell which references are best
_MAX_MEAN = 1 << 18

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over the coefficients of each band: gram [BANDS, K, K], cross [BANDS, K, C], energy [BANDS, C].

    count : [BANDS], how many coefficients
    """

    gram: Float
    cross: Float
    energy: Float
    count: Float

    def of(self, kept: Index) -> _Moments:
        """Those of some regressors."""
        return _Moments(self.gram[:, kept[:, None], kept], self.cross[:, kept], self.energy, self.count)

    def errors(self, weights: Float) -> Float:
        """[BANDS, C], squared errors under weights [C, K]."""
        quadratic = np.einsum("bkc,kc->bc", np.matmul(self.gram, weights.T), weights.T)
        linear = np.einsum("bkc,kc->bc", self.cross, weights.T)
        return np.asarray(np.maximum(self.energy - 2 * linear + quadratic, 0))

    def normal(self, noise: Float) -> tuple[Float, Float]:
        """Normal equations of all components, each band weighed by what is left of it: [C, K, K] and [C, K].

        noise : [BANDS], squared errors that come on top
        """
        errors, (bands, k, _) = self.energy, self.gram.shape
        for left in reversed(range(_ITERATIONS)):
            share = (self.count[:, None] / (errors + noise[:, None])).T  # (C, BANDS)
            by_torch = torch.mm(torch.from_numpy(share), torch.from_numpy(self.gram).view(bands, -1))
            gram = by_torch.numpy().reshape(-1, k, k)  # its threads are under control
            cross = np.einsum("cb,bkc->ck", share, self.cross)
            own = np.einsum("ckk->ck", gram)  # a view
            own *= 1 + _RIDGE
            own += 1e-9
            if left:
                errors = self.errors(_solved(gram, cross))
        return gram, cross

    def bits(self, errors: Float, noise: Float) -> float:
        """Bits of errors [BANDS, C], up to what all fits of a timestep share."""
        per_band = np.log2((errors + noise[:, None]) / np.maximum(self.count, 1)[:, None]).sum(1)
        return float(0.5 * self.count @ per_band)


def _solved(gram: Float, cross: Float) -> Float:
    """Weights [C, K] of normal equations."""
    return np.asarray(np.linalg.solve(gram, cross[..., None])[..., 0])


def _moments(z: Float, y: Float) -> _Moments:
    """Of regressors z [256, K, n] and targets y [256, C, n]; binary32 is enough to choose by."""
    bands, k, components, n = cell_bands(), z.shape[1], y.shape[1], z.shape[2]
    gram, cross = np.zeros((BANDS, k, k)), np.zeros((BANDS, k, components))
    count = np.bincount(bands, minlength=BANDS)
    energy = np.zeros((BANDS, components))
    room = np.empty((k + components) * int(count.max()) * n, np.float32)
    for band in np.flatnonzero(count):
        rows = room[: (k + components) * count[band] * n].reshape(k + components, count[band], n)
        for place, frequency in enumerate(np.flatnonzero(bands == band)):
            rows[:k, place], rows[k:, place] = z[frequency], y[frequency]
        flat = torch.from_numpy(rows).flatten(1)
        found = torch.mm(flat[:k], flat.t()).numpy()  # torch's threads are under control
        gram[band], cross[band] = found[:, :k], found[:, k:]
        energy[band] = flat[k:].square().sum(1).numpy()
    return _Moments(gram, cross, energy, count.astype(np.float64) * n)


def _noise(count: Float, step: float) -> Float:
    """[BANDS], what is added to squared errors where bits are estimated."""
    return np.asarray(_NOISE * step**2 * np.maximum(count, 1))


class Fit:
    """A timestep beside what is known of some references.

    Parameters
    ----------
    u : [256, C, n], DCT coefficients of bands
    references, back : decoded timesteps, and how far back each is
    sources : that references have

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
        sources: Sources = Sources.BENT,
    ) -> None:
        self.regressors = regressors = Regressors(references, ring, step, sources)
        y = regressors.turn(u)
        unit = MEAN_UNIT * step
        means = np.rint((y[0].mean(1) - regressors.means) / unit)
        self._means = np.clip(means, -_MAX_MEAN, _MAX_MEAN).astype(np.int64)
        y[0] -= (regressors.means + self._means * unit)[:, None]
        self._moments, self._unit, self._back = _moments(regressors.z, y), regressors.unit, back
        self._noise = _noise(self._moments.count, step)

    def bits(self) -> float:
        """What the best weights, not stated, leave: up to what all fits of a timestep share."""
        weights = _solved(*self._moments.normal(self._noise))
        return self._moments.bits(self._moments.errors(weights), self._noise)

    def stated(self) -> Prediction:
        """The prediction with weights that are worth stating."""
        gram, cross = self._moments.normal(self._noise)
        kept = _worth_stating(gram, cross, self._unit)
        rows = np.zeros(cross.shape, np.int64)
        for row, own, *normal in zip(rows, kept, gram, cross, strict=True):
            row[own] = _rounded(normal[0][np.ix_(own, own)], normal[1][own], self._unit[own])
        weights = rows.reshape(len(rows), len(self._back), -1).transpose(1, 0, 2)
        return Prediction(np.array(self._back, np.int64), self._means, weights)

    def saved(self, stated: Prediction) -> float:
        """Share of the bits above the noise that stated weights save, as far as is told without coding."""
        moments = self._moments
        rows = stated.weights.transpose(1, 0, 2).reshape(len(self._means), -1) * self._unit
        alone, left, floor = (
            moments.bits(errors, self._noise)
            for errors in (moments.energy, moments.errors(rows), np.zeros_like(moments.energy))
        )
        return (alone - left) / max(alone - floor, 1.0)


def _worth_stating(gram: Float, cross: Float, unit: Float) -> Bools:
    """[C, K]: regressors that save more bits than their weights take; gram [C, K, K], cross [C, K], unit [K].

    Of each component the least useful goes, until none does.
    """
    kept, inverse = np.ones(cross.shape, bool), np.linalg.inv(gram)
    open_ = np.arange(len(cross))
    while open_.size:
        weights = np.matmul(inverse, cross[open_, :, None])[..., 0]
        spread = np.where(kept[open_], np.einsum("ckk->ck", inverse), 1)
        saved = _BITS_LOST * weights**2 / spread
        gain = np.where(kept[open_], saved - 2 * np.log2(1 + np.abs(weights / unit)) - _WEIGHT_BITS, np.inf)
        worst = gain.argmin(1)
        goes = np.take_along_axis(gain, worst[:, None], 1)[:, 0] < 0
        open_, inverse, worst = open_[goes], inverse[goes], worst[goes]
        kept[open_, worst] = False
        each = np.arange(open_.size)
        column = inverse[each, :, worst]
        inverse -= column[:, :, None] * (column / column[each, worst][:, None])[:, None]
        inverse[each, worst] = inverse[each, :, worst] = 0
    return kept


def _rounded(gram: Float, cross: Float, unit: Float) -> Index:
    """Weights in units, rounded one after the other; those after make up for what each rounding loses."""
    order = np.argsort(-unit * np.sqrt(np.diag(gram)))
    # What is left is |U^T w - U^-1 cross|^2, up to a constant: a row has a weight and those before it.
    upper = np.linalg.cholesky(gram[np.ix_(order[::-1], order[::-1])])[::-1, ::-1]
    target, weights = np.linalg.solve(upper, cross[order]), np.zeros(len(unit))
    stated = np.zeros(len(unit), np.int64)
    for number, i in enumerate(order):
        value = (target[number] - upper[:number, number] @ weights[:number]) / upper[number, number]
        stated[i] = int(np.clip(np.rint(value / unit[i]), -MAX_WEIGHT, MAX_WEIGHT))
        weights[number] = stated[i] * unit[i]
    return stated


def fit_prediction(
    u: Float, past: Sequence[Reference], ring: Index, step: float, sources: Sources = Sources.BENT
) -> Fit:
    """Fit to the references that leave the fewest bits of a timestep, as far as can be told without coding.

    Parameters
    ----------
    u : [256, C, n], DCT coefficients of bands; past : decoded timesteps, the latest last, at least one
    """
    chosen = _chosen(u, past[-WINDOW:], ring, step)
    return Fit(u, [past[-b] for b in chosen], chosen, ring, step, sources)


def _chosen(u: Float, past: Sequence[Reference], ring: Index, step: float) -> list[int]:
    """How far back the best references are, by some cells and without bent sources."""
    stride = u.shape[2] // _CELLS | 1  # odd: rows of cells of an even number are all met
    turned = past[-1].bases.transpose(0, 2, 1)[ring]

    def centred(all_cells: Float) -> Float:
        z = np.matmul(turned, all_cells[..., ::stride])
        z[0] -= z[0].mean(1, keepdims=True)
        return np.asarray(z)

    regressors = np.concatenate([centred(reference.u) for reference in past[::-1]], 1)
    moments, components = _moments(regressors, centred(u)), u.shape[1]
    noise = _noise(moments.count, step)

    def bits(back: Sequence[int]) -> float:
        some = moments.of(np.concatenate([np.arange((b - 1) * components, b * components) for b in back]))
        return some.bits(some.errors(_solved(*some.normal(noise))), noise)

    open_, least = list(range(1, len(past) + 1)), np.inf
    chosen: list[int] = []
    while open_ and len(chosen) < MAX_REFERENCES:
        left = {b: bits([*chosen, b]) for b in open_}
        back = min(open_, key=lambda b: left[b])
        if left[back] >= least - _REFERENCE_BITS / stride:
            break
        least = left[back]
        chosen.append(back)
        open_.remove(back)
    return chosen


def bits_left(left: Float, bases: Float, ring: Index, known: float, step: float) -> float:
    """Bits of what a prediction leaves for finer layers, up to what all predictions of a timestep share.

    Parameters
    ----------
    left : [256, C, n], DCT coefficients of bands; bases : [RINGS, C, C], the timestep's axes
    known : step of the layer before, which has said already in which cell each coefficient is
    step : of the layer up to which bits count
    """
    turned = np.matmul(bases.transpose(0, 2, 1)[ring], left)
    turned[0] -= turned[0].mean(1, keepdims=True)
    count = np.bincount(cell_bands(), minlength=BANDS) * left.shape[2]
    energy = np.zeros((BANDS, left.shape[1]))
    np.add.at(energy, cell_bands(), np.einsum("fcn,fcn->fc", turned, turned))
    cell = known**2 / 3  # variance of what is in a cell of a step to either side of zero
    variance = energy / np.maximum(count, 1)[:, None]
    unknown = variance * cell / (variance + cell) + _NOISE * step**2
    return float(0.5 * count @ np.log2(unknown).sum(1))


def stated_bits(stated: Prediction, family: CdfTables) -> float:
    """Bits that it takes to state a prediction, about."""
    encoder = SymbolEncoder()
    encode_prediction(encoder, stated, family, 1)
    return float(sum(8 * len(data) for data in encoder.finish()))
