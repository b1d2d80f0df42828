"""Valid masks: from an array and its nodata value, and to bytes and back without loss.

Coded mask: nothing at all if every pixel is valid; otherwise one byte of flags and a compressed body.

| bits of the flag byte | field |
|---|---|
| 0-1 | layout: 0 all invalid (then the byte is 0 and the last one), 1 bits, 2 runs, 3 gaps |
| 2-3 | variant of the layout, see `mask_layouts` |
| 4 | 1: one plane serves all bands |
| 5 | 1: one plane serves all timesteps |
| 6 | 1: every plane but the first is XORed with the plane before it |
| 7 | compressor of the body: 0 raw deflate (RFC 1951), 1 raw LZMA2 (dictionary 1 MiB) |

Planes are those of the *invalid* pixels, timestep by timestep, band by band within it.
"""

from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Iterator

import numpy as np

from eocodec.errors import InputError, MalformedSection, TrailingBytes, Truncated
from eocodec.raster import mask_layouts as layouts
from eocodec.types import AnyArray, BoolArray

Shape4 = tuple[int, int, int, int]

_BANDS_SHARED, _TIMES_SHARED, _XORED, _LZMA = 1 << 4, 1 << 5, 1 << 6, 1 << 7
_LZMA_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 0, "pb": 0}]
# Layouts are ranked by a quick deflate (level 9 is ten times slower and ranks alike); the best ones get LZMA.
_QUICK = 6
_LZMA_TRIED = 2


def valid_mask(array: AnyArray, nodata: float | None) -> BoolArray:
    """Which pixels of an array are valid: neither nodata nor NaN.

    Parameters
    ----------
    array : [T, C, H, W] (any shape), integer or float
    nodata : sentinel value, NaN, or None for none; one that the dtype cannot hold masks nothing
    Returns
    -------
    bool, same shape, True = valid
    Raises
    ------
    InputError : a pixel that is not nodata is infinite
    """
    if array.dtype.kind != "f":
        if nodata is None or math.isnan(nodata):
            return np.ones(array.shape, dtype=bool)
        # a whole number stays an integer, so that the comparison does not convert the array to float64
        return np.asarray(array != (int(nodata) if float(nodata).is_integer() else nodata))
    mask: BoolArray = ~np.isnan(array)
    if nodata is not None and not math.isnan(nodata):
        with np.errstate(over="ignore"):  # a float64 nodata beyond float32 is infinite there too
            mask &= array != array.dtype.type(nodata)
    if np.isinf(array[mask]).any():
        raise InputError("the array has infinite values; replace them, or state them as nodata")
    return mask


def encode_mask(mask: BoolArray) -> bytes:
    """Code a valid mask without loss: no bytes if all is valid, one if nothing is, the shortest layout else.

    Parameters
    ----------
    mask : [T, C, H, W], bool, True = valid; bands and timesteps may differ
    Returns
    -------
    the bytes that `decode_mask` takes together with the shape
    Raises
    ------
    InputError : not four axes of at least 1, or not bool
    """
    if mask.ndim != 4 or mask.size == 0 or mask.dtype != bool:
        raise InputError(f"a mask is bool [T, C, H, W], not {mask.dtype} {mask.shape}")
    if mask.all():
        return b""
    if not mask.any():
        return b"\0"
    flags, planes = _shared_planes(mask)
    ranked = sorted(_candidates(flags, planes), key=lambda item: len(_deflate(item[1], _QUICK)))
    head, raw = ranked[0]
    coded = [bytes([head]) + _deflate(raw, 9)]
    coded += [bytes([head | _LZMA]) + _lzma(raw) for head, raw in ranked[:_LZMA_TRIED]]
    return min(coded, key=len)


def decode_mask(data: bytes, shape: Shape4) -> BoolArray:
    """Decode what `encode_mask` made.

    Parameters
    ----------
    data : bytes of the mask, untrusted
    shape : (T, C, H, W), already checked against the reader's limits
    Returns
    -------
    [T, C, H, W], bool, True = valid; not to be written to: what bands or timesteps share is there once
    Raises
    ------
    Truncated, TrailingBytes : the body ends too early or too late
    MalformedSection : anything else that `encode_mask` cannot have written (R33)
    Notes
    -----
    Never holds more decompressed bytes than the mask has pixels (and a few). Not checked: that the body
    is the shortest one; flipped bytes that give another mask (the codestream's CRC finds them).
    """
    if not data:
        return np.broadcast_to(np.True_, shape)
    flags = data[0]
    if flags == 0:
        if len(data) > 1:
            raise TrailingBytes(f"mask: {len(data) - 1} bytes after an all-invalid flag byte")
        return np.broadcast_to(np.False_, shape)
    n_times, n_bands, rows, cols = shape
    times = 1 if flags & _TIMES_SHARED else n_times
    bands = 1 if flags & _BANDS_SHARED else n_bands
    plane_shape = (times * bands, rows, cols)
    inflate = _unlzma if flags & _LZMA else _inflate
    raw = inflate(data[1:], layouts.max_raw_size(plane_shape))
    planes = layouts.decode_planes(raw, flags & 3, flags >> 2 & 3, plane_shape)
    if flags & _XORED:
        np.logical_xor.accumulate(planes, axis=0, out=planes)
    np.logical_not(planes, out=planes)
    return np.broadcast_to(planes.reshape(times, bands, rows, cols), shape)


def bands_once(mask: BoolArray) -> BoolArray:
    """The same mask [..., C, H, W], not to be written to, with one plane in memory if all bands are alike."""
    first = mask[..., :1, :, :]
    alike = all(np.array_equal(band, first[..., 0, :, :]) for band in np.moveaxis(mask, -3, 0))
    return np.broadcast_to(first.copy(), mask.shape) if alike else mask


def _shared_planes(mask: BoolArray) -> tuple[int, BoolArray]:
    """Sharing flags, and the planes [P, H, W] of invalid pixels that are left."""
    flags = 0
    if all((date == date[:1]).all() for date in mask):
        flags, mask = flags | _BANDS_SHARED, mask[:, :1]
    if all(np.array_equal(date, mask[0]) for date in mask):
        flags, mask = flags | _TIMES_SHARED, mask[:1]
    return flags, ~mask.reshape(-1, *mask.shape[2:])


def _candidates(flags: int, planes: BoolArray) -> Iterator[tuple[int, bytes]]:
    """Flag byte and uncompressed body of every layout worth trying."""
    choices = [(flags, planes)]
    if len(planes) > 1:
        xored = planes.copy()
        xored[1:] ^= planes[:-1]
        choices.append((flags | _XORED, xored))
    for head, chosen in choices:
        for layout, variant, raw in layouts.encode_planes(chosen):
            yield head | layout | variant << 2, raw


def _deflate(raw: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(raw) + packer.flush()


def _inflate(body: bytes, limit: int) -> bytes:
    """Raw deflate with a bound on what comes out."""
    unpacker = zlib.decompressobj(-15)
    try:
        raw = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedSection(f"mask: not a deflate stream ({error})") from error
    _check_end(len(raw), limit, unpacker.eof, len(unpacker.unused_data))
    return raw


def _lzma(raw: bytes) -> bytes:
    return lzma.compress(raw, format=lzma.FORMAT_RAW, filters=_LZMA_FILTERS)


def _unlzma(body: bytes, limit: int) -> bytes:
    """Raw LZMA2 with a bound on what comes out."""
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_LZMA_FILTERS)
    try:
        raw = unpacker.decompress(body, limit + 1)
    except lzma.LZMAError as error:
        raise MalformedSection(f"mask: not an LZMA2 stream ({error})") from error
    _check_end(len(raw), limit, unpacker.eof, len(unpacker.unused_data))
    return raw


def _check_end(size: int, limit: int, ended: bool, unused: int) -> None:
    """Raise unless the stream ended within the limit and with the last byte."""
    if size > limit:
        raise MalformedSection(f"mask: decompresses to more than {limit} bytes")
    if not ended:
        raise Truncated(f"mask: the compressed body ends after {size} decompressed bytes")
    if unused:
        raise TrailingBytes(f"mask: {unused} bytes after the compressed body")
