"""Which dates a clouded one is filled from: those that explain its clear pixels best, by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.filling.ridge import Moments, predict
from eocodec.filling.sources import Basis, sources
from eocodec.raster.tiles import Roi, Tiles
from eocodec.types import BoolArray

PATCH = 64  # side of a window of the sample
PATCHES = 16  # of a date's sample
FOLD = 16  # side of the blocks that are held out by turns
CANDIDATES = 12  # dates looked at, the nearest in time that see something under the clouds
MAX_REFERENCES = 3  # of a map
MAX_MAPS = 8  # of a date: pixels are clear in different references
MIN_CLEAR = 64  # pixels, clear in a date and in its references, to fit a map to
_GAIN = 0.99  # error left by a further reference, relative to that without, for it to be taken
_SHARE = 0.1  # of the pixels left to fill that a first reference should see

_RANGE = (1.0, 99.0)  # percentiles of sources beyond which a map does not go on
_THINNED = 4  # every so many pixels tell these

Float = NDArray[np.float64]
Reader = Callable[[int, Roi], tuple[Float, BoolArray]]  # timestep and window -> image [C, h, w], clear [h, w]


@dataclass(frozen=True, eq=False)
class Map:
    """A fitted map across the spectrum.

    references : timesteps, the best first; bases : of each
    moments : over the sample; low, high : [C], DN, range of what was seen
    least, most : [K - 1], range of sources that the map was fitted to
    """

    references: tuple[int, ...]
    bases: tuple[Basis, ...]
    moments: Moments
    low: Float
    high: Float
    least: Float
    most: Float

    def sources(self, frames: Sequence[tuple[Float, BoolArray]]) -> Float:
        """[K - 1, h, w] of images and clear pixels of the references, none beyond what was fitted to."""
        parts = [sources(basis, *frame) for basis, frame in zip(self.bases, frames, strict=True)]
        return np.clip(np.concatenate(parts), self.least[:, None, None], self.most[:, None, None])


class Sample:
    """Windows of a date and of others that it may be filled from, spread over where it is clear.

    Parameters
    ----------
    read : see `Reader`; t : the date; candidates : the others; clouds : [T, H, W]
    """

    def __init__(self, read: Reader, t: int, candidates: Sequence[int], clouds: BoolArray) -> None:
        self._t, self._patches = t, _spread(clouds[t])
        self._frames = {k: [read(k, roi) for roi in self._patches] for k in (t, *candidates)}
        self._fold = np.concatenate([_checkerboard(roi) for roi in self._patches] or [np.zeros(0, bool)])
        self._flat = {k: _flattened(frames) for k, frames in self._frames.items()}
        self._bases: dict[int, Basis] = {}

    def basis(self, k: int) -> Basis:
        """Axes of a date's clear pixels."""
        if k not in self._bases:
            pixels, clear = self._flat[k]
            self._bases[k] = Basis.of(pixels[:, clear])
        return self._bases[k]

    def clear_in_all(self, references: Sequence[int]) -> BoolArray:
        """[n]: pixels clear in the date and in references."""
        clear = self._flat[self._t][1]
        for k in references:
            clear = clear & self._flat[k][1]
        return clear

    def error(self, references: Sequence[int]) -> float:
        """Share of the date's variance that a linear map leaves on held-out blocks; infinite without any."""
        at = self.clear_in_all(references)
        if at.sum() < MIN_CLEAR or min(self._fold[at].sum(), (~self._fold[at]).sum()) < MIN_CLEAR // 4:
            return np.inf
        y = self._flat[self._t][0][:, at]
        base = self._flat[references[0]][0][:, at]
        phi = np.concatenate([self.basis(k).components(self._flat[k][0][:, at]) for k in references])
        fold, left = self._fold[at], 0.0
        for held in (fold, ~fold):
            weights = Moments.of(phi[:, ~held], (y - base)[:, ~held]).solve()
            left += float(((y - base)[:, held] - predict(weights, phi[:, held])).var(1).sum() * held.sum())
        return float(left / (y.var(1).sum() * y.shape[1] + 1e-9))

    def fit(self, references: Sequence[int]) -> Map:
        """The map from references, all sources taken."""
        bases = tuple(self.basis(k) for k in references)
        phis, changes = [], []
        for place in range(len(self._patches)):
            frames = [self._frames[k][place] for k in references]
            y, clear = self._frames[self._t][place]
            clear = np.logical_and.reduce([clear, *(seen for _, seen in frames)])
            phi = np.concatenate([sources(b, *f) for b, f in zip(bases, frames, strict=True)])
            phis.append(phi[:, clear])
            changes.append((y - frames[0][0])[:, clear])
        phi = np.concatenate(phis, 1)
        least, most = np.percentile(phi[:, ::_THINNED], _RANGE, 1)
        moments = Moments.of(np.clip(phi, least[:, None], most[:, None]), np.concatenate(changes, 1))
        seen = [self._flat[k][0][:, self._flat[k][1]] for k in (self._t, *references)]
        low, high = (
            np.min([pixels.min(1) for pixels in seen], 0),
            np.max([pixels.max(1) for pixels in seen], 0),
        )
        return Map(tuple(references), bases, moments, low, high, least, most)


def choose_maps(read: Reader, t: int, times: Sequence[float], clouds: BoolArray) -> list[Map]:
    """Maps that together see what can be seen under the clouds of a date, in the order to apply them.

    Parameters
    ----------
    times : of all timesteps; clouds : [T, H, W], True = to be filled or unusable
    """
    under = clouds[t]
    others = sorted((k for k in range(len(times)) if k != t), key=lambda k: abs(times[k] - times[t]))
    candidates = [k for k in others if (under & ~clouds[k]).any()][:CANDIDATES]
    if not candidates or (~under).sum() < MIN_CLEAR:
        return []
    sample = Sample(read, t, candidates, clouds)
    errors = {k: sample.error([k]) for k in candidates}
    usable = sorted((k for k in candidates if np.isfinite(errors[k])), key=lambda k: errors[k])
    maps: list[Map] = []
    left = under.copy()
    while len(maps) < MAX_MAPS:
        chosen, seen = _next_set(sample, usable, errors, left, clouds)
        if not chosen:
            break
        maps.append(sample.fit(chosen))
        left &= ~seen
    return maps


def _next_set(
    sample: Sample, usable: Sequence[int], errors: dict[int, float], left: BoolArray, clouds: BoolArray
) -> tuple[list[int], BoolArray]:
    """References of the next map, and the pixels left that it sees; `usable` has the best ones first."""
    counts = {k: int((left & ~clouds[k]).sum()) for k in usable}
    enough = [k for k in usable if counts[k] >= max(_SHARE * left.sum(), 1)]
    first = enough[0] if enough else max(usable, key=lambda k: counts[k], default=None)
    if first is None or counts[first] == 0:
        return [], left
    chosen, seen, error = [first], left & ~clouds[first], errors[first]
    for k in usable:
        both = seen & ~clouds[k]
        if k in chosen or len(chosen) == MAX_REFERENCES or 2 * both.sum() < seen.sum():
            continue
        joint = sample.error([*chosen, k])
        if joint < _GAIN * error:
            chosen, seen, error = [*chosen, k], both, joint
    return chosen, seen


def _spread(clouds: BoolArray) -> list[Roi]:
    """Up to PATCHES windows with clear pixels, evenly over the list of all such."""
    rows, cols = clouds.shape
    found = [roi for roi in Tiles((rows, cols), (PATCH, PATCH)) if not clouds[roi].all()]
    if len(found) <= PATCHES:
        return found
    return [found[(2 * k + 1) * len(found) // (2 * PATCHES)] for k in range(PATCHES)]


def _checkerboard(roi: Roi) -> BoolArray:
    rows, cols = (np.arange(part.start, part.stop) // FOLD for part in roi)
    return np.asarray((rows[:, None] + cols) % 2 == 1).ravel()


def _flattened(frames: Sequence[tuple[Float, BoolArray]]) -> tuple[Float, BoolArray]:
    pixels = np.concatenate([image.reshape(len(image), -1) for image, _ in frames], 1)
    return pixels, np.concatenate([clear.ravel() for _, clear in frames])
