"""A clouded series, filled where it is asked for: windows that overlap, so that there are no seams."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import InputError
from eocodec.filling.fallback import Frame, interpolated
from eocodec.filling.references import Map, choose_maps
from eocodec.filling.ridge import Moments, predict
from eocodec.filling.sources import clear_blur
from eocodec.raster.fill import smooth_fill
from eocodec.raster.masks import valid_mask
from eocodec.raster.tiles import Roi
from eocodec.types import AnyArray, BoolArray

STRIDE = 256  # pixels between windows
OVERLAP = 64  # pixels that neighbouring windows share, and over which one passes into the other
_GLOBAL = 2000.0  # pixels that the sample of the whole date is worth in the fit of a window
_SCALES = (16.0, 8.0, 4.0, 2.0, 1.0, 0.7)  # pixels, sigmas of the field of what a map leaves at clear pixels
_OUTLIER = 9.0  # median absolute residuals of a band, beyond which the field does not follow
_STRAY = 3.0  # the same, mean over bands, beyond which a pixel is left out of the fit
_SHY = 0.05  # weight of clear pixels that the field has to exceed

Float = NDArray[np.float64]
Read = Callable[[int, slice, slice], AnyArray]


@dataclass(eq=False)
class Filler:
    """Fills any window of any date of a series.

    Parameters
    ----------
    read : timestep, rows, columns -> pixels [C, h, w], of one dtype
    clouds : [T, H, W], True = to be filled
    times : of the timesteps, ascending, in any unit
    nodata : value of pixels that hold no measurement, in any band; they stay as they are, clouded or not
    bands : positions of the bands that are there; None: all

    Raises
    ------
    InputError : shapes do not fit, fewer than two timesteps, or no pixel of any date is clear
    """

    read: Read
    clouds: BoolArray
    times: Sequence[float]
    nodata: float | int | None = None
    bands: Sequence[int] | None = None
    _maps: dict[int, list[Map]] = field(default_factory=dict, init=False)
    _done: OrderedDict[tuple[int, int, int], NDArray[np.float32]] = field(
        default_factory=OrderedDict, init=False
    )

    def __post_init__(self) -> None:
        """Check what is given."""
        if self.clouds.ndim != 3 or self.clouds.dtype != bool:
            raise InputError(f"clouds are bool [T, H, W], not {self.clouds.dtype} {self.clouds.shape}")
        count = len(self.clouds)
        if count < 2:
            raise InputError("a single date has nothing to be filled from; give at least two")
        if len(self.times) != count or any(a >= b for a, b in pairwise(self.times)):
            raise InputError(f"the {count} dates need as many times, each later than the one before")
        if self.clouds.all():
            raise InputError("every pixel of every date is clouded; there is nothing to fill from")

    def windows(self, t: int) -> int:
        """Number of windows of a date that have clouds."""
        shape = self.clouds.shape[1:]
        return sum(bool(self.clouds[t][roi].any()) for _, roi in _windows(shape))

    def maps(self, t: int) -> list[Map]:
        """Maps of a date from others, in the order in which they are applied; fitted when first asked for."""
        if t not in self._maps:
            self._maps[t] = choose_maps(self._frame, t, self.times, self.clouds)
        return self._maps[t]

    def fill(self, t: int, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window, those under clouds predicted, all others as they are read."""
        pixels = self.read(t, rows, cols)
        under = self.clouds[t, rows, cols] & self._valid(pixels)
        if not under.any():
            return pixels
        total = np.zeros((len(self._bands(pixels)), *under.shape))
        for index, roi in _windows(self.clouds.shape[1:]):
            inside, outside = _common((rows, cols), roi)
            if inside is None or not under[inside].any():
                continue
            weight = np.outer(*map(_ramp, roi, self.clouds.shape[1:]))
            total[(slice(None), *inside)] += (self._window(t, index, roi) * weight)[(slice(None), *outside)]
        out = pixels.copy()
        for band, plane in zip(self._bands(pixels), total, strict=True):
            out[band][under] = _as_dtype(plane[under], out.dtype, self.nodata)
        return out

    def _bands(self, pixels: AnyArray) -> Sequence[int]:
        return range(len(pixels)) if self.bands is None else self.bands

    def _valid(self, pixels: AnyArray) -> BoolArray:
        """[h, w]: pixels with a value in every band that is there."""
        return np.asarray(valid_mask(pixels[list(self._bands(pixels))], self.nodata).all(0))

    def _frame(self, t: int, roi: Roi) -> Frame:
        """A date's window as floats, 0 where it is not clear, and where it is."""
        pixels = self.read(t, *roi)
        clear = self._valid(pixels) & ~self.clouds[(t, *roi)]
        return np.where(clear, pixels[list(self._bands(pixels))], 0).astype(np.float64), clear

    def _window(self, t: int, index: tuple[int, int], roi: Roi) -> NDArray[np.float32]:
        """Prediction [C, h, w] of a window, kept until the windows of a few rows are done."""
        key = (t, *index)
        if key not in self._done:
            self._done[key] = self._predict(t, roi).astype(np.float32)
        self._done.move_to_end(key)
        while len(self._done) > 3 * _count(self.clouds.shape[2]) + 3:
            self._done.popitem(last=False)
        return self._done[key]

    def _predict(self, t: int, roi: Roi) -> Float:
        frames: dict[int, Frame] = {}

        def frame(k: int) -> Frame:
            if k not in frames:
                frames[k] = self._frame(k, roi)
            return frames[k]

        image, clear = frame(t)
        out, known = image.copy(), clear.copy()
        for fitted in self.maps(t):
            if known.all():
                break
            seen = [frame(k) for k in fitted.references]
            both = np.logical_and.reduce([part for _, part in seen])
            if (both & ~known).any():
                new = _apply(fitted, image, clear, seen, both)
                np.copyto(out, new, where=both & ~known)
                known |= both
        if not known.all():
            self._fall_back(t, roi, out, known)
        return out

    def _fall_back(self, t: int, roi: Roi, out: Float, known: BoolArray) -> None:
        """Into pixels that no map reaches: other dates at their places, else what is around."""
        image, clear = self._frame(t, roi)
        guess, has = interpolated(lambda k: self._frame(k, roi), self.times, t, ~known)
        guess = guess + _field(image - guess, clear & has)
        np.copyto(out, guess, where=has & ~known)
        known |= has
        if not known.all():
            np.copyto(out, smooth_fill(out, known, constant=self._level()), where=~known)

    def _level(self) -> Float:
        """[C], mean of the clear pixels of some windows, for windows that are clouded in all dates."""
        for t in range(len(self.clouds)):
            for _, roi in _windows(self.clouds.shape[1:]):
                if not self.clouds[t][roi].all():
                    image, clear = self._frame(t, roi)
                    if clear.any():
                        return np.asarray(image[:, clear].mean(1))
        raise InputError("no date has a clear pixel with data; there is nothing to fill from")


def _apply(fitted: Map, image: Float, clear: BoolArray, seen: Sequence[Frame], both: BoolArray) -> Float:
    """A map on a window, fitted to its clear pixels and to those of the whole date; [C, h, w]."""
    phi, base = fitted.sources(seen), seen[0][0]
    target, prior, flat = image - base, fitted.moments.worth(_GLOBAL), phi.reshape(len(phi), -1)
    fit = clear & both
    found = base
    for _ in range(2):  # anew without the pixels that stray
        weights = (prior + Moments.of(phi[:, fit], target[:, fit])).solve()
        found = base + predict(weights, flat).reshape(base.shape)
        fit = clear & both & ~_astray(image - found, clear & both)
    found = np.clip(found, fitted.low[:, None, None], fitted.high[:, None, None])
    return np.asarray(found + _field(image - found, clear & both))


def _astray(left: Float, clear: BoolArray) -> BoolArray:
    """[h, w]: clear pixels that a map explains much worse than most, such as hazy rims and new roofs."""
    if not clear.any():
        return clear
    size = np.abs(left)
    typical = np.median(size[:, clear], 1)[:, None, None] + 1e-9
    return np.asarray(clear & ((size / typical).mean(0) > _STRAY))


def _field(left: Float, clear: BoolArray) -> Float:
    """A smooth field through what is left at clear pixels, from coarse to fine; 0 far from any.

    What is far beyond the rest is cut off: haze at a cloud's rim and small clouds that nobody marked.
    """
    total = np.zeros_like(left)
    if clear.any():
        most = _OUTLIER * np.median(np.abs(left[:, clear]), 1)[:, None, None]
        left = np.clip(left, -most, most)
        for sigma in _SCALES:
            total += clear_blur(left - total, clear, sigma, _SHY)
    return total


def _count(size: int) -> int:
    """Windows along an axis."""
    return max(1, -(-(size - OVERLAP) // STRIDE))


def _windows(shape: Sequence[int]) -> Iterator[tuple[tuple[int, int], Roi]]:
    """Index and extent of all windows, row by row; they cover the raster and overlap."""
    for i in range(_count(shape[0])):
        for j in range(_count(shape[1])):
            rows, cols = (
                slice(STRIDE * k, min(STRIDE * k + STRIDE + OVERLAP, size))
                for k, size in zip((i, j), shape, strict=True)
            )
            yield (i, j), (rows, cols)


def _ramp(part: slice, size: int) -> Float:
    """Weights along an axis of a window, which rise and fall where it overlaps others; they add up to 1."""
    weight = np.ones(part.stop - part.start)
    rise = (np.arange(OVERLAP) + 0.5) / OVERLAP
    if part.start > 0:
        weight[:OVERLAP] = rise
    if part.stop < size:
        weight[-OVERLAP:] = rise[::-1]
    return weight


def _common(a: Roi, b: Roi) -> tuple[Roi | None, Roi]:
    """What two extents share, counted in the first and in the second; None if nothing."""
    low = [max(p.start, q.start) for p, q in zip(a, b, strict=True)]
    high = [min(p.stop, q.stop) for p, q in zip(a, b, strict=True)]
    inside, outside = (
        (
            slice(low[0] - roi[0].start, high[0] - roi[0].start),
            slice(low[1] - roi[1].start, high[1] - roi[1].start),
        )
        for roi in (a, b)
    )
    return (inside if low[0] < high[0] and low[1] < high[1] else None), outside


def _as_dtype(values: Float, dtype: np.dtype[Any], nodata: float | int | None) -> AnyArray:
    """Values in a dtype, rounded and within its range, none of them nodata."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    whole = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    if nodata is not None and limits.min <= nodata <= limits.max:
        beside = int(nodata) + (1 if nodata < limits.max else -1)
        whole[whole == nodata] = beside
    return np.asarray(whole)
