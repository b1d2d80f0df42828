"""What a reference date tells of another one: components, their magnitudes, products and coarse parts.

The sources are those of TEC-TT's prediction (`entropy/prediction.py`), taken from pixels: under an irregular
cloud there are no whole blocks to transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from eocodec.types import BoolArray

BENT = 4  # leading components with sources beside themselves
_CLIP = 3.0  # standard deviations at which these are cut off
_COARSE = 3.0  # pixels, sigma of the coarse part
_FLOOR = 1e-3  # of the mean variance of bands: components below it are noise, and stay small
_THIN = 1e-3  # weight of clear pixels around from which on a coarse part counts

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal axes of a date. mean : [C], DN; axes : [C, C], rows give components of unit variance."""

    mean: Float
    axes: Float

    @classmethod
    def of(cls, pixels: Float) -> Basis:
        """Of pixels [C, n], n >= 1."""
        mean = pixels.mean(1, keepdims=True)
        centred = pixels - mean
        variances, vectors = np.linalg.eigh(centred @ centred.T / pixels.shape[1])
        floor = _FLOOR * variances.mean() + 1e-9
        axes = vectors[:, ::-1].T / np.sqrt(np.maximum(variances[::-1], floor))[:, None]
        return cls(mean[:, 0], axes)

    def components(self, pixels: Float) -> Float:
        """[C, ...] -> [C, ...]."""
        shape = pixels.shape
        centred = pixels.reshape(shape[0], -1) - self.mean[:, None]
        return np.asarray(self.axes @ centred).reshape(shape)


@lru_cache(maxsize=32)
def blur_matrix(size: int, sigma: float) -> NDArray[np.float32]:
    """[n, n]: Gaussian weights between the pixels of a line."""
    offsets = np.arange(size)[:, None] - np.arange(size)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(weights / weights.sum(1).max(), np.float32)


def blur(planes: Float, sigma: float) -> Float:
    """Gaussian sums [..., h, w], in float32 for speed; weights that fall outside are lost."""
    rows, cols = planes.shape[-2:]
    single = planes.astype(np.float32)
    return np.asarray(blur_matrix(rows, sigma) @ single @ blur_matrix(cols, sigma), np.float64)


def clear_blur(planes: Float, clear: BoolArray, sigma: float, shy: float) -> Float:
    """Gaussian means of clear pixels, [c, h, w]; towards 0 where their weight is not above `shy`."""
    weight = blur(clear.astype(np.float64), sigma)
    return np.asarray(blur(planes * clear, sigma) / (weight + shy))


def sources(basis: Basis, image: Float, clear: BoolArray) -> Float:
    """All sources of a reference, [S, h, w]; of no meaning where it is not clear.

    Parameters
    ----------
    image : [C, h, w], DN; clear : [h, w], pixels that may be used
    """
    z = basis.components(image)
    lead = z[:BENT]
    cut = np.clip(lead, -_CLIP, _CLIP)
    pairs = combinations_with_replacement(range(len(lead)), 2)
    products = np.stack([cut[i] * cut[j] for i, j in pairs])
    return np.concatenate([z, np.abs(cut), products, clear_blur(lead, clear, _COARSE, _THIN)])
