"""Least squares with a penalty, from moments that add up over windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RIDGE = 0.03  # of each source's variance, of a weight's square; sources have variances of about 1
_FEW = 300.0  # pixels whose worth the penalty is besides: it counts where few pixels are clear

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over pixels: gram [K, K] of sources, the first of them 1; cross [K, C] with bands; count."""

    gram: Float
    cross: Float
    count: float

    @classmethod
    def of(cls, phi: Float, y: Float) -> Moments:
        """Of sources [K - 1, n] and bands [C, n]."""
        full = np.concatenate([np.ones((1, phi.shape[1])), phi])
        return cls(full @ full.T, full @ y.T, float(phi.shape[1]))

    def __add__(self, other: Moments) -> Moments:
        """Of both sets of pixels."""
        return Moments(self.gram + other.gram, self.cross + other.cross, self.count + other.count)

    def worth(self, count: float) -> Moments:
        """The same as if so many pixels had given them, at most those that did."""
        share = min(count / max(self.count, 1.0), 1.0)
        return Moments(self.gram * share, self.cross * share, self.count * share)

    def solve(self) -> Float:
        """Weights [K, C]; the constant alone goes unpenalised."""
        penalty = np.full(len(self.gram), RIDGE * self.count + _FEW)
        penalty[0] = 1e-6
        return np.asarray(np.linalg.solve(self.gram + np.diag(penalty), self.cross))


def predict(weights: Float, phi: Float) -> Float:
    """Bands [C, n] of sources [K - 1, n]."""
    return np.asarray(weights[1:].T @ phi + weights[0][:, None])
