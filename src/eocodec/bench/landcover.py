"""What compression does to a map that people derive: spectral classes before and after.

K-means on the spectra of the original tile stands in for a land-cover map, which needs no labels. The decoded
tile is classified with the same centres; the figure is the share of pixels that keep their class.
"""

from __future__ import annotations

import numpy as np

from eocodec.bench.tiles import Tile
from eocodec.types import AnyArray, BoolArray, FloatArray, IntArray

N_CLASSES = 8
N_SAMPLES = 20_000  # pixels that the centres are fitted to
N_STEPS = 30
SEED = 0


class SpectralClasses:
    """K-means classes of a tile's pixels, fitted to the original.

    Parameters
    ----------
    tile : original; pixels with an invalid band belong to no class
    """

    def __init__(self, tile: Tile) -> None:
        self._valid = _pixel_mask(tile)
        spectra = _spectra(tile.data, self._valid)
        self._mean, self._std = spectra.mean(axis=0), np.maximum(spectra.std(axis=0), 1.0)
        scaled = (spectra - self._mean) / self._std
        self._centres = _k_means(scaled)
        self._classes = _nearest(scaled, self._centres)

    def agreement(self, decoded: AnyArray) -> float:
        """Share of valid pixels, 0 to 1, whose class in the decoded array is that of the original."""
        scaled = (_spectra(decoded, self._valid) - self._mean) / self._std
        return float((_nearest(scaled, self._centres) == self._classes).mean())


def _pixel_mask(tile: Tile) -> BoolArray:
    valid = np.ones(tile.data.shape, bool) if tile.mask is None else tile.mask
    return np.asarray(valid.all(axis=-3))


def _spectra(data: AnyArray, valid: BoolArray) -> FloatArray:
    """Valid pixels [n, C], float32."""
    return np.moveaxis(data, -3, -1)[valid].astype(np.float32)


def _k_means(spectra: FloatArray) -> FloatArray:
    """Centres [k, C], after k-means++ seeding and Lloyd's steps."""
    rng = np.random.default_rng(SEED)
    sample = spectra[rng.permutation(len(spectra))[:N_SAMPLES]]
    centres = sample[:1]
    for _ in range(min(N_CLASSES, len(sample)) - 1):
        weights = np.maximum(_distances(sample, centres).min(axis=1).astype(np.float64), 0) + 1e-12
        centres = np.vstack([centres, sample[rng.choice(len(sample), p=weights / weights.sum())]])
    for _ in range(N_STEPS):
        classes = _nearest(sample, centres)
        moved = [
            sample[classes == k].mean(axis=0) if (classes == k).any() else centre
            for k, centre in enumerate(centres)
        ]
        centres = np.stack(moved)
    return centres


def _distances(spectra: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared distances [n, k]."""
    squares: FloatArray = (
        (spectra**2).sum(axis=1)[:, None] - 2 * spectra @ centres.T + (centres**2).sum(axis=1)
    )
    return squares


def _nearest(spectra: FloatArray, centres: FloatArray) -> IntArray:
    classes: IntArray = _distances(spectra, centres).argmin(axis=1)
    return classes
