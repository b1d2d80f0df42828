"""The first step of encoding: an array checked, its nodata and saturated pixels taken out, date by date.

Whatever grows with the number of dates is left as it is given; what is made of a date is made when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import DTYPE_CODES, Header, Section, SectionType
from eocodec.codestream.model_section import pack_model
from eocodec.codestream.units_section import MAX_DN, Units, pack_units
from eocodec.errors import BandError, InputError, UnitsError
from eocodec.models.registry import ModelCard
from eocodec.options import EncodeOptions
from eocodec.raster.fill import smooth_fill
from eocodec.raster.masks import bands_once, encode_mask, valid_mask
from eocodec.raster.tiles import pad_to_multiple
from eocodec.raster.units import looks_like_reflectance
from eocodec.sensors import SATURATED_DN
from eocodec.types import AnyArray, BoolArray

Float = NDArray[np.float32]
Masks = Sequence[BoolArray | None]  # of each date [C, H, W]; None: all True


@dataclass(frozen=True, eq=False)
class Prepared:
    """One tile ready for analysis.

    tile : [T, C, H, W], as given; valid, unsaturated : which pixels are there, and which are measurements
    units : of the tile; means : [C], DN, what a date without pixels is filled with
    header : without quality and CRC
    others : sections beside those of the masks
    """

    tile: AnyArray
    valid: Masks
    unsaturated: Masks
    units: Units
    means: Sequence[float]
    header: Header
    others: tuple[Section, ...]

    def dates(self, multiple: int) -> Iterator[Float]:
        """[C, H', W'], float32, DN: filled and padded to a multiple, one date after the other."""
        for frame, valid, unsaturated in zip(self.tile, self.valid, self.unsaturated, strict=True):
            dn: NDArray[Any] = self.units.to_dn(frame)
            usable = _both(valid, unsaturated)
            if usable is not None:
                dn = smooth_fill(dn, usable, constant=self.means)
            yield np.ascontiguousarray(pad_to_multiple(dn, multiple)[0], np.float32)

    def sections(self) -> tuple[Section, ...]:
        """Masks, units and whatever else does not depend on the quality."""
        return (*mask_sections(self.valid, self.unsaturated, self.tile.shape[1:]), *self.others)


def prepare(
    array: AnyArray, options: EncodeOptions, card: ModelCard, mask: BoolArray | None = None
) -> Prepared:
    """Check one tile, and find its nodata and saturated pixels; arguments and errors of `codec.encode`."""
    array = np.asarray(array)
    shape = _checked_shape(array, card)
    tile = array.reshape(shape)
    valid = _valid(tile, options.nodata, mask)
    _check_units(tile, valid, options)
    whole = all(m is None for m in valid)
    nodata = _stated_nodata(tile.dtype, options.nodata, whole=whole)
    unsaturated = _unsaturated(tile, valid)
    units = Units(options.scale, options.offset)
    _check_range(tile, units, valid, unsaturated)
    others = [] if units.plain else [Section(SectionType.UNITS, pack_units(units))]
    if card.imported:
        others.append(Section(SectionType.MODEL, pack_model(card.id)))
    means = [band.mean for band in card.band_table]
    header = Header(card.fingerprint, shape, tile.dtype.name, 0, nodata=nodata, axes=array.ndim)
    return Prepared(tile, valid, unsaturated, units, means, header, tuple(others))


def mask_sections(valid: Masks, unsaturated: Masks, shape: tuple[int, ...]) -> list[Section]:
    """MASK and SATURATED of a tile whose dates have a shape [C, H, W], without those that say nothing."""
    kinds = ((SectionType.MASK, valid), (SectionType.SATURATED, unsaturated))
    return [
        Section(kind, encode_mask(_stacked(masks, shape)))
        for kind, masks in kinds
        if any(m is not None for m in masks)
    ]


def _stacked(masks: Masks, shape: tuple[int, ...]) -> BoolArray:
    """Masks of all dates, [T, C, H, W]; with one plane a date in memory where bands are alike."""
    whole = np.broadcast_to(np.True_, shape)
    found = [whole if mask is None else mask for mask in masks]
    if all((mask == mask[:1]).all() for mask in found):
        return np.broadcast_to(np.stack([mask[:1] for mask in found]), (len(found), *shape))
    return np.stack(found)


def _both(one: BoolArray | None, other: BoolArray | None) -> BoolArray | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _checked_shape(array: AnyArray, card: ModelCard) -> tuple[int, int, int, int]:
    if array.ndim not in (3, 4) or array.size == 0:
        raise InputError(f"an array is [C, H, W] or [T, C, H, W] and not empty, not {array.shape}")
    if array.dtype.name not in DTYPE_CODES:
        raise InputError(f"dtype {array.dtype} cannot be encoded; convert to one of {', '.join(DTYPE_CODES)}")
    t, c, h, w = array.shape if array.ndim == 4 else (1, *array.shape)
    if c != len(card.bands):
        raise BandError(
            f"{card.id} codes the {len(card.bands)} bands {', '.join(card.bands)}; the array has {c}"
        )
    return t, c, h, w


def _valid(tile: AnyArray, nodata: float | None, mask: BoolArray | None) -> Masks:
    """Pixels that are neither nodata nor NaN nor masked by the caller."""
    given = None if mask is None else _as_given(np.asarray(mask, bool), tile.shape)
    found: list[BoolArray | None] = []
    for t, frame in enumerate(tile):
        if given is None:
            valid = valid_mask(frame, nodata)
        else:
            if frame.dtype.kind == "f":  # whatever lies under the mask, infinity too, is of no interest
                frame = np.where(given[t], frame, frame.dtype.type(np.nan))
            valid = given[t] & valid_mask(frame, nodata)
        found.append(None if valid.all() else bands_once(valid))
    return found


def _as_given(mask: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """A caller's mask as [T, C, H, W]."""
    if mask.ndim == len(shape) - 1 and mask.shape[0] == shape[1]:
        mask = mask[None]
    try:
        return np.broadcast_to(mask, shape)
    except ValueError as error:
        raise InputError(f"the mask is {mask.shape}, the array {shape}") from error


def _unsaturated(tile: AnyArray, valid: Masks) -> Masks:
    """Pixels that are no mark of saturation, and those that are not valid."""
    if not np.can_cast(np.uint16, tile.dtype):
        return [None] * len(tile)
    found: list[BoolArray | None] = []
    for frame, there in zip(tile, valid, strict=True):
        measured = frame != SATURATED_DN
        if there is not None:
            measured |= ~there
        found.append(None if measured.all() else bands_once(measured))
    return found


def _check_range(tile: AnyArray, units: Units, valid: Masks, unsaturated: Masks) -> None:
    """Symbols stay far inside 32 bits up to MAX_DN; beyond, pixels would be lost without a word."""
    if tile.dtype.itemsize <= 2:
        return
    for frame, *masks in zip(tile, valid, unsaturated, strict=True):
        dn, usable = units.to_dn(frame), _both(*masks)
        where = True if usable is None else usable
        low, high = dn.min(where=where, initial=0), dn.max(where=where, initial=0)
        if max(-low, high) > MAX_DN:
            raise UnitsError(f"values of {low:g} to {high:g} DN; digital numbers are within +-{MAX_DN}")


def _check_units(tile: AnyArray, valid: Masks, options: EncodeOptions) -> None:
    is_float = tile.dtype.kind == "f"
    if options.max_error is not None and is_float:
        raise UnitsError(f"max_error is for integers; the array is {tile.dtype}: round it to integers first")
    if options.scale is not None and not is_float:
        raise UnitsError(f"scale is for float input; the array is {tile.dtype}: leave scale out")
    if options.scale is None and is_float:
        whole = np.stack([np.ones(tile.shape[1:], bool) if m is None else m for m in valid])
        if looks_like_reflectance(tile, whole):
            raise UnitsError(
                "values look like reflectance (0 to 1), digital numbers are expected; state scale=10000"
            )


def _stated_nodata(dtype: np.dtype[Any], nodata: float | None, *, whole: bool) -> float | int | None:
    """What the header says; whole: every pixel is valid."""
    if nodata is None and not whole:
        if dtype.kind != "f":
            raise InputError(
                "a mask is given for integers, but no nodata value to put under it; state nodata"
            )
        return float("nan")
    if nodata is not None and dtype.kind != "f":
        info = np.iinfo(dtype)
        if not (float(nodata).is_integer() and info.min <= nodata <= info.max):
            if whole:
                return None
            raise InputError(f"nodata {nodata} is no value of {dtype}")
        return int(nodata)
    if nodata is None:
        return None
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, there as in the array
        return float(dtype.type(nodata))
