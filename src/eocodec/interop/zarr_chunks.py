"""Chunks of Zarr as tiles and back, and their dates: which a selection wants, which follow those there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from eocodec.codestream import QUALITY_STEPS, read, read_header
from eocodec.errors import MalformedHeader
from eocodec.models import registry
from eocodec.options import EncodeOptions
from eocodec.restoring import units_of
from eocodec.types import AnyArray, BoolArray

if TYPE_CHECKING:
    from zarr.abc.store import ByteSetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

Selection: TypeAlias = Any  # of one chunk; an entry for each axis (a slice, an integer, integers), as a rule
DATES = -4  # axis of a chunk


def dates_wanted(selection: Selection, shape: tuple[int, ...]) -> tuple[list[int], Selection] | None:
    """Dates that a selection of a chunk touches, ascending, and the selection among these alone.

    Returns
    -------
    None where that is all of them, or the chunk has no axis of dates
    """
    if not _by_axes(selection, shape):
        return None
    axis, count = len(shape) + DATES, shape[DATES]
    at = selection[axis]
    numbers = np.arange(count)[at]  # an integer gives no axis, as it is to be
    dates = np.unique(numbers)
    if len(dates) == count:
        return None
    among: Any = np.searchsorted(dates, numbers)
    if isinstance(at, slice):  # stays one: an array of integers would be taken together with others
        among = slice(None, None, -1) if at.step is not None and at.step < 0 else slice(None)
    return dates.tolist(), (*selection[:axis], among, *selection[axis + 1 :])


def covers(selection: Selection, shape: tuple[int, ...]) -> bool:
    """Whether a selection holds all of an array's first `shape` values along every axis."""
    return (
        isinstance(selection, tuple)
        and len(selection) == len(shape)
        and all(
            isinstance(at, slice)
            and not at.start
            and at.step in (None, 1)
            and (at.stop is None or at.stop >= size)
            for at, size in zip(selection, shape, strict=True)
        )
    )


def is_later(selection: Selection, shape: tuple[int, ...], there: int) -> bool:
    """Whether a selection of a chunk touches none of its first `there` dates."""
    return _by_axes(selection, shape) and bool((np.arange(shape[DATES])[selection[DATES]] >= there).all())


def _by_axes(selection: Selection, shape: tuple[int, ...]) -> bool:
    """Whether a chunk has an axis of dates, and its selection an entry for it."""
    return len(shape) >= -DATES and isinstance(selection, tuple) and len(selection) == len(shape)


def stored_shape(data: bytes) -> tuple[int, int, int, int]:
    """[T, C, H, W] of a codestream, which may be smaller than its chunk."""
    return read_header(data).shape


def dates_held(some: BoolArray) -> int:
    """Dates of [T, C, h, w] up to the last one that has anything, at least 1; some: as `differs`."""
    dates = np.flatnonzero(some.any((1, 2, 3)))
    return int(dates[-1]) + 1 if dates.size else 1


async def fetched(setter: ByteSetter, selection: Selection, spec: ArraySpec) -> Buffer | None:
    """What a chunk holds, None where nothing of it will be left."""
    if covers(selection, spec.shape):
        return None
    data: Buffer | None = await setter.get(prototype=spec.prototype)
    if data is None:
        return None
    shape = stored_shape(data.to_bytes())[-len(spec.shape) :]
    return None if covers(selection[-len(shape) :], shape) else data


def can_go_on(data: bytes, options: EncodeOptions, added: AnyArray) -> bool:
    """Whether dates [T, C, h, w] can follow those of a codestream, coded as these options want it."""
    stream = read(data)
    header, units = stream.header, units_of(stream)
    card = registry.by_fingerprint(header.fingerprint)  # maybe of weights that the id stood for earlier
    if options.quality is None or options.max_error is not None or options.tokens is not None:
        return False
    return (
        card.extensible
        and card.id == registry.by_id(options.model).id
        and header.max_error is None
        and header.quality_steps == round(options.quality * QUALITY_STEPS)
        and (units.scale, units.offset) == (options.scale, options.offset)
        and _same_nodata(header.nodata, options.nodata)
        and not (header.nodata is None and added.dtype.kind == "f" and np.isnan(added).any())
    )


def _same_nodata(stated: float | None, wanted: float | None) -> bool:
    """NaN is nodata of floats without being asked for."""
    return stated == wanted or (stated != stated and (wanted is None or wanted != wanted)) or stated is None


def filled(spec: ArraySpec) -> AnyArray:
    return np.full(spec.shape, spec.fill_value, dtype=spec.dtype.to_native_dtype())


def put(chunk: AnyArray, value: NDBuffer, selection: Selection) -> None:
    """Values into a chunk; axes that the selection drops, or Zarr has dropped, may be missing."""
    values = np.asarray(value.as_numpy_array())
    shape = chunk[selection].shape
    chunk[selection] = values if values.ndim == 0 else values.reshape(shape)


def differs(array: AnyArray, fill_value: Any) -> BoolArray:
    """Where an array is anything but the fill value."""
    return ~np.isnan(array) if fill_value != fill_value else np.asarray(array != fill_value)


def as_tile(array: AnyArray, fill_value: Any, model: str) -> AnyArray:
    """A chunk for the codec: [C, h, w] or [T, C, h, w], in the machine's byte order.

    Dates at the end, rows at the bottom and columns at the right that hold nothing but the fill value, such
    as those that Zarr adds at the edge of an array, are left out; reading puts them back. Where dates can
    follow later, no rows and columns are: they may hold something then.
    """
    if array.ndim > 4:
        array = array.reshape(array.shape[DATES:])
    some = differs(array, fill_value)
    if array.ndim == 4:
        held = dates_held(some)
        if held < len(array) and registry.by_id(model).extensible:
            return np.ascontiguousarray(array[:held], dtype=array.dtype.newbyteorder("="))
        array, some = array[:held], some[:held]
    axes = tuple(range(array.ndim - 2))
    rows = np.flatnonzero(some.any((*axes, -1)))
    cols = np.flatnonzero(some.any((*axes, -2)))
    array = array[..., : rows[-1] + 1 if rows.size else 1, : cols[-1] + 1 if cols.size else 1]
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def as_chunk(tile: Any, spec: ArraySpec) -> NDBuffer:
    """Give a decoded tile the chunk's shape; it may be smaller at the right and at the bottom."""
    wanted = spec.dtype.to_native_dtype()
    depth, (height, width) = math.prod(spec.shape[:-2]), spec.shape[-2:]
    planes = math.prod(tile.shape[:-2])
    few = planes < depth and tile.ndim >= -DATES  # dates at the end are not there
    fits = (few or planes == depth) and tile.shape[-2] <= height and tile.shape[-1] <= width
    if not fits or tile.shape[-3] != spec.shape[-3] or tile.dtype != wanted.newbyteorder("="):
        raise MalformedHeader(
            f"a chunk holds a tile of shape {tile.shape} {tile.dtype}, "
            f"the array's chunks are {spec.shape} {wanted}; metadata and chunks do not belong together"
        )
    chunk = filled(spec)
    flat = chunk.reshape(depth, height, width)
    flat[:planes, : tile.shape[-2], : tile.shape[-1]] = tile.reshape(planes, *tile.shape[-2:])
    return spec.prototype.nd_buffer.from_numpy_array(chunk)
