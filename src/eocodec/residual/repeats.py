"""Which pixels of a band repeat their neighbours because a coarser grid, or another one, was resampled.

Bands that were brought to a finer grid, or warped, by nearest neighbour hold each source pixel several times.
Bands of one source resolution do so at the same places: they form a *class*, for which the encoder states
which pixels equal their left and their upper neighbour in all of its bands and in all timesteps. Pixels that
are joined by such statements are a *cell*; one of them is coded, the others are copies of it.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from eocodec.errors import MalformedSection
from eocodec.raster.masks import decode_mask, encode_mask
from eocodec.residual.cells import Cells
from eocodec.types import BoolArray, IntArray

_QUICK = 1  # level of the deflate that estimates what a statement takes
_SHARE = 0.5  # of the bits of a difference that a pixel takes when it is coded, with good prediction


@dataclass(frozen=True)
class Repeats:
    """What is stated.

    classes : [C], of each band, from 1 on; 0: its pixels are not said to repeat
    joined : [K, 2, H, W], pixels of a class that are those to their left (0) and above (1)
    """

    classes: tuple[int, ...]
    joined: BoolArray

    def pack(self) -> bytes:
        """A byte for the class of each band, and what is joined as a mask."""
        return bytes(self.classes) + encode_mask(~self.joined)


def unpack_repeats(data: bytes, bands: int, size: tuple[int, int]) -> Repeats:
    """Inverse of `Repeats.pack`, for tiles of so many bands, rows and columns.

    Raises
    ------
    MalformedSection : classes that cannot be (R51), no mask (R33)
    Truncated, TrailingBytes : the mask ends too early or too late (R33)
    """
    classes = tuple(data[:bands])
    count = max(classes)
    if len(classes) < bands or {*classes, 0} != set(range(count + 1)) or not count:
        raise MalformedSection(f"RESIDUAL: found classes {list(classes)} of {bands} bands (R51)")
    return Repeats(classes, ~decode_mask(data[bands:], (count, 2, *size)))


@dataclass
class Grids:
    """Cells of the bands of a tile, made once for those that are alike."""

    repeats: Repeats | None = None
    _made: dict[int, Cells] = field(default_factory=dict)  # by class

    def cells(self, band: int, coded: BoolArray) -> Cells | None:
        """Cells of a band of which `coded` [H, W] counts; None where each pixel stands for itself."""
        if self.repeats is None or not self.repeats.classes[band]:
            return None
        number = self.repeats.classes[band]
        made = self._made.get(number)
        if made is None or not np.array_equal(made.coded, coded):
            made = self._made[number] = Cells(self.repeats.joined[number - 1], coded)
        return made


# --- the encoder's choice -----------------------------------------------------------------------------------


def find_repeats(values: IntArray, coded: BoolArray, step: int) -> Repeats | None:
    """Classes of bands for which stating the repeats pays; None if there are none.

    Parameters
    ----------
    values : [T, C, H, W]; coded : same shape, which of them count; step : 2 E + 1
    """
    joined = _equal_neighbours(values, coded)
    worth = [_bits_of_a_pixel(values[:, band], coded[:, band], step) for band in range(values.shape[1])]
    classes = _merged([_Class((band,), joined[band], bits) for band, bits in enumerate(worth)])
    kept = [found for found in classes if found.gain > 0]
    numbers = {band: k + 1 for k, found in enumerate(kept) for band in found.bands}
    if not kept:
        return None
    return Repeats(tuple(numbers.get(b, 0) for b in range(len(worth))), np.stack([f.joined for f in kept]))


@dataclass(frozen=True, eq=False)
class _Class:
    """Bands that repeat at the same places; bits: of a pixel in all of them."""

    bands: tuple[int, ...]
    joined: BoolArray
    bits: float

    @cached_property
    def gain(self) -> float:
        """Bits that are saved, about, by stating `joined`."""
        rows = self.joined.copy()
        rows[:, 1:] ^= self.joined[:, :-1]
        stated = len(zlib.compress(np.packbits(rows, axis=-1).tobytes(), _QUICK))
        return self.bits * np.count_nonzero(self.joined.any(0)) - 8 * stated


class _Merger:
    """Two classes as one, and the bits that this saves."""

    def __init__(self, one: _Class, other: _Class) -> None:
        self.one, self.other = one, other
        self.both = _Class(one.bands + other.bands, one.joined & other.joined, one.bits + other.bits)
        self.saved = self.both.gain - max(one.gain, 0.0) - max(other.gain, 0.0)


def _merged(classes: list[_Class]) -> list[_Class]:
    """Classes of bands: as long as that saves bits, the two become one that save the most by it."""
    classes = list(classes)
    pairs = {pair: _Merger(*pair) for pair in combinations(classes, 2)}
    while pairs:
        best = max(pairs.values(), key=lambda merger: merger.saved)
        if best.saved <= 0:
            break
        gone = (best.one, best.other)
        classes = [found for found in classes if found not in gone]
        pairs = {pair: merger for pair, merger in pairs.items() if not {*pair} & {*gone}}
        pairs |= {(found, best.both): _Merger(found, best.both) for found in classes}
        classes.append(best.both)
    return classes


def _equal_neighbours(values: IntArray, coded: BoolArray) -> BoolArray:
    """Where a pixel equals the one to its left (0) and above (1) whenever both are coded, [C, 2, H, W]."""
    found = np.zeros((values.shape[1], 2, *values.shape[2:]), bool)
    ways = ((np.s_[..., 1:], np.s_[..., :-1]), (np.s_[..., 1:, :], np.s_[..., :-1, :]))
    for way, (here, before) in enumerate(ways):
        both = coded[here] & coded[before]
        same = values[here] == values[before]
        found[:, way][here] = (same | ~both).all(0) & both.any(0)
    return found


def _bits_of_a_pixel(values: IntArray, coded: BoolArray, step: int) -> float:
    """What a pixel of a band takes that does not repeat its neighbour, about; [T, H, W] each."""
    both = coded[..., 1:] & coded[..., :-1]
    differences = np.abs(values[..., 1:] - values[..., :-1])[both]
    changed = np.count_nonzero(differences)
    return _SHARE * math.log2(1 + float(differences.sum()) / changed / step) if changed else 0.0
