"""Array -> bytes -> array: the one place where rasters, models, entropy coding and the codestream meet.

array --prepare--> DN --g_a--> y --turn, quantise--> symbols --range coder--> codestream
codestream --range coder--> symbols --CRC--> y_hat --g_s--> DN --restore--> array
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec import codestream
from eocodec.codestream import DTYPE_CODES, QUALITY_STEPS, Header, Section, SectionType
from eocodec.codestream.model_section import pack_model, unpack_model
from eocodec.codestream.units_section import MAX_DN, Units, pack_units
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.coder import CodedFrame, decode_all, encode_all
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.errors import BandError, BoundError, InputError, MalformedHeader, UnitsError
from eocodec.models import registry
from eocodec.models.fp import STRIDE
from eocodec.models.model import Model, Strips
from eocodec.models.weights import load_fingerprint, load_stated
from eocodec.nn.threads import map_tiles
from eocodec.options import DEFAULT_MODEL, EncodeOptions
from eocodec.raster.fill import smooth_fill
from eocodec.raster.masks import encode_mask, valid_mask
from eocodec.raster.tiles import pad_to_multiple, padded_size
from eocodec.raster.units import looks_like_reflectance
from eocodec.residual.stream import add_residual, decode_bounded, has_base
from eocodec.restoring import Restorer, units_of
from eocodec.sensors import SATURATED_DN
from eocodec.types import AnyArray, BoolArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """One tile ready for analysis.

    dn : [T, C, H', W'], float32, filled and padded; sections: masks and units; header: without CRC
    """

    dn: Float
    header: Header
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Analysed:
    """One tile's latents: what is quantised and coded at any quality. y [T, M, h, w], float32."""

    y: Float
    header: Header
    sections: tuple[Section, ...]


def encode(
    array: AnyArray,
    *,
    model: str = DEFAULT_MODEL,
    quality: float | None = None,
    nodata: float | None = None,
    mask: BoolArray | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    max_error: int | None = None,
) -> bytes:
    """Compress one tile.

    Parameters
    ----------
    array : [C, H, W] or [T, C, H, W], any H, W >= 1; integers in DN (10 000 x reflectance), or float with
        `scale`. Bands in the model's order: B01 .. B08, B8A, B09, B11, B12
    model : id of an installed model
    quality : 0 to 100, continuous, larger is better; 50 if neither it nor `max_error` is stated
    nodata : value of pixels that are not there; comes back exactly. NaN in float input always is nodata
    mask : same shape, True = valid: masks more than `nodata` does; needs `nodata` for integers
    scale, offset : DN = value * scale + offset (see `EncodeOptions`)
    max_error : integers only: every valid pixel comes back within so many units of the array; 0 is lossless.
        With a `quality` on top of an image of that quality, else without the model, which takes fewer bits

    Returns
    -------
    codestream, see docs/codestream.md

    Raises
    ------
    InputError (BandError, UnitsError) : the array does not fit; ModelNotFound : no such model
    BoundError : the codestream was decoded and broke its bound; it is not released
    """
    options = EncodeOptions(model, quality, nodata, scale, offset, max_error)
    return encode_batch([array], options, masks=[mask])[0]


def encode_batch(
    arrays: Sequence[AnyArray], options: EncodeOptions, masks: Sequence[BoolArray | None] | None = None
) -> list[bytes]:
    """`encode` of several tiles, side by side on the threads that torch has."""
    card = registry.by_id(options.model)
    given = masks if masks is not None else [None] * len(arrays)
    quality = options.quality
    if quality is not None:
        load_fingerprint(card.fingerprint)

    def run(tile: tuple[AnyArray, BoolArray | None]) -> bytes:
        prepared = prepare(tile[0], options, card, tile[1])
        data = _without_pixels(prepared) if quality is None else finish(_analyse(prepared), quality)
        return data if options.max_error is None else _bound(data, tile[0], options)

    return map_tiles(run, list(zip(arrays, given, strict=True)))


def decode(data: bytes) -> AnyArray:
    """Decompress one tile: array of the shape and dtype that were encoded.

    Raises
    ------
    CodestreamError : the bytes are damaged or of an unknown version; never a wrong image
    ModelNotFound : the model that wrote it is not installed
    """
    return decode_batch([data])[0]


def decode_batch(datas: Sequence[bytes]) -> list[AnyArray]:
    """`decode` of several codestreams, side by side on the threads that torch has."""
    streams = [codestream.read(data) for data in datas]
    for stream in streams:  # before threads want them
        _load(stream)
    # Made here, not by the threads: those are new to every call, and so would be all of their memory.
    outs = [np.empty(stream.header.shape, stream.header.dtype) for stream in streams]
    map_tiles(_decode_into, list(zip(streams, outs, strict=True)))
    return [o[0] if s.header.axes == 3 else o for s, o in zip(streams, outs, strict=True)]


def _load(stream: codestream.Codestream) -> None:
    """Load the model that decodes a codestream, if it takes one; `ModelNotFound` says what to fetch."""
    section = stream.sections.get(SectionType.MODEL)
    stated = None if section is None else unpack_model(section)
    if has_base(stream):
        load_stated(stream.header.fingerprint, stated)


# --- encoder ------------------------------------------------------------------------------------------------


def analyse(
    arrays: Sequence[AnyArray], options: EncodeOptions, masks: Sequence[BoolArray | None] | None = None
) -> list[Analysed]:
    """Everything of encoding that does not depend on the quality."""
    card = registry.by_id(options.model)
    load_fingerprint(card.fingerprint)
    given = masks if masks is not None else [None] * len(arrays)

    def run(tile: tuple[AnyArray, BoolArray | None]) -> Analysed:
        return _analyse(prepare(tile[0], options, card, tile[1]))

    return map_tiles(run, list(zip(arrays, given, strict=True)))


def _analyse(tile: Prepared) -> Analysed:
    model = load_fingerprint(tile.header.fingerprint)
    t, _, rows, cols = tile.dn.shape
    with torch.inference_mode():
        y = np.stack([model.analysis(torch.from_numpy(frame)).numpy() for frame in tile.dn])
    return Analysed(y.reshape(t, -1, rows // STRIDE, cols // STRIDE), tile.header, tile.sections)


def prepare(
    array: AnyArray, options: EncodeOptions, card: registry.ModelCard, mask: BoolArray | None = None
) -> Prepared:
    """Check one tile, take nodata and saturated pixels out, fill, pad."""
    array = np.asarray(array)
    shape = _checked_shape(array, card)
    tile = array.reshape(shape)
    valid = _valid(tile, options.nodata, mask)
    _check_units(tile, valid, options)
    nodata = _stated_nodata(tile, valid, options)
    sections = [Section(SectionType.MASK, encode_mask(valid))] if not valid.all() else []
    usable = valid
    if np.can_cast(np.uint16, tile.dtype):
        saturated = valid & (tile == SATURATED_DN)
        if saturated.any():
            sections.append(Section(SectionType.SATURATED, encode_mask(~saturated)))
            usable = valid & ~saturated
    units = Units(options.scale, options.offset)
    if not units.plain:
        sections.append(Section(SectionType.UNITS, pack_units(units)))
    if card.imported:
        sections.append(Section(SectionType.MODEL, pack_model(card.id)))
    dn = units.to_dn(tile)
    _check_range(dn, usable, tile.dtype)
    if not usable.all():
        means = [band.mean for band in card.band_table]
        dn = np.stack([smooth_fill(f, m, constant=means) for f, m in zip(dn, usable, strict=True)])
    dn, _ = pad_to_multiple(dn, STRIDE)
    header = Header(card.fingerprint, shape, tile.dtype.name, 0, nodata=nodata, axes=array.ndim)
    return Prepared(np.ascontiguousarray(dn, np.float32), header, tuple(sections))


def _without_pixels(tile: Prepared) -> bytes:
    """Codestream of all but the pixels, for a residual that needs no base layer."""
    return codestream.write(tile.header, tile.sections)


def finish(tile: Analysed, quality: float) -> bytes:
    """Quantise, code and write one analysed tile at a quality, 0 to 100."""
    model = load_fingerprint(tile.header.fingerprint)
    if model.card.quality not in (None, quality):
        raise InputError(f"{model.card.id} has one rate; quality {quality:g} is none of it, leave it out")
    quality_steps = round(quality * QUALITY_STEPS)
    lmbda = model.lmbda(quality_steps)
    encoder, edges = SymbolEncoder(), EdgeWriter()
    frames = encode_all(model.coder, tile.y, encoder, edges, quality_steps, lmbda)
    header = replace(tile.header, quality_steps=quality_steps, symbols_crc=model.coder.crc(frames))
    stream, escapes = encoder.finish()
    coded = [
        Section(SectionType.EDGES, edges.finish()),
        Section(SectionType.SYMBOLS, stream),
        Section(SectionType.ESCAPES, escapes),
    ]
    return codestream.write(header, [*tile.sections, *(s for s in coded if s.data)])


def _checked_shape(array: AnyArray, card: registry.ModelCard) -> tuple[int, int, int, int]:
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


def _valid(tile: AnyArray, nodata: float | None, mask: BoolArray | None) -> BoolArray:
    """[T, C, H, W]: pixels that are neither nodata nor NaN nor masked by the caller."""
    if mask is None:
        return valid_mask(tile, nodata)
    given = np.asarray(mask, bool)
    if given.ndim == tile.ndim - 1 and given.shape[0] == tile.shape[1]:
        given = given[None]
    try:
        given = np.broadcast_to(given, tile.shape)
    except ValueError as error:
        raise InputError(f"the mask is {given.shape}, the array {tile.shape}") from error
    if tile.dtype.kind == "f":  # whatever lies under the mask, infinity too, is of no interest
        tile = np.where(given, tile, tile.dtype.type(np.nan))
    return given & valid_mask(tile, nodata)


def _check_range(dn: Float, usable: BoolArray, dtype: np.dtype[Any]) -> None:
    """Symbols stay far inside 32 bits up to MAX_DN; beyond, pixels would be lost without a word."""
    if dtype.itemsize <= 2:
        return
    low, high = dn.min(where=usable, initial=0), dn.max(where=usable, initial=0)
    if max(-low, high) > MAX_DN:
        raise UnitsError(f"values of {low:g} to {high:g} DN; digital numbers are within +-{MAX_DN}")


def _check_units(tile: AnyArray, valid: BoolArray, options: EncodeOptions) -> None:
    is_float = tile.dtype.kind == "f"
    if options.max_error is not None and is_float:
        raise UnitsError(f"max_error is for integers; the array is {tile.dtype}: round it to integers first")
    if options.scale is not None and not is_float:
        raise UnitsError(f"scale is for float input; the array is {tile.dtype}: leave scale out")
    if options.scale is None and is_float and looks_like_reflectance(tile, valid):
        raise UnitsError(
            "values look like reflectance (0 to 1), digital numbers are expected; state scale=10000"
        )


def _stated_nodata(tile: AnyArray, valid: BoolArray, options: EncodeOptions) -> float | int | None:
    nodata = options.nodata
    if nodata is None and not valid.all():
        if tile.dtype.kind != "f":
            raise InputError(
                "a mask is given for integers, but no nodata value to put under it; state nodata"
            )
        return float("nan")
    if nodata is not None and tile.dtype.kind != "f":
        info = np.iinfo(tile.dtype)
        if not (float(nodata).is_integer() and info.min <= nodata <= info.max):
            if valid.all():
                return None
            raise InputError(f"nodata {nodata} is no value of {tile.dtype}")
        return int(nodata)
    if nodata is None:
        return None
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, there as in the array
        return float(tile.dtype.type(nodata))


# --- decoder ------------------------------------------------------------------------------------------------


def _decode_into(job: tuple[codestream.Codestream, AnyArray]) -> None:
    """Decode a codestream into an array [T, C, H, W]."""
    stream, out = job
    header = stream.header
    restorer = Restorer.of(stream)
    if header.max_error is not None:
        restorer.fill(out, decode_bounded(stream, restorer.coded, _base_layer))
        return
    model = load_fingerprint(header.fingerprint)
    frames = decode_frames(stream, model)
    with torch.inference_mode():
        for t, frame in enumerate(frames):
            for top, strip in _synthesise(frame, header, model).strips():
                restorer.put(out[t], strip.numpy(), t, top)


def decode_frames(stream: codestream.Codestream, model: Model) -> list[CodedFrame]:
    """What is coded of each timestep, checked against its CRC."""
    _check_bands(stream.header, model)
    rows, cols = _blocks(stream.header)
    timesteps = stream.header.shape[0]
    codestream.DEFAULT_LIMITS.check_symbols(timesteps * model.coder.channels * rows * cols)
    sections = stream.sections
    edges = EdgeReader(sections.get(SectionType.EDGES, b""))
    decoder = SymbolDecoder(sections.get(SectionType.SYMBOLS, b""), sections.get(SectionType.ESCAPES, b""))
    steps = stream.header.quality_steps
    frames = decode_all(model.coder, decoder, edges, timesteps, rows, cols, steps)
    edges.finish()
    decoder.finish()
    codestream.check_symbols_crc(stream.header, model.coder.crc(frames))
    return frames


def _blocks(header: Header) -> tuple[int, int]:
    """Rows and columns of a timestep's latents."""
    rows, cols = (padded_size(side, STRIDE) // STRIDE for side in header.shape[2:])
    return rows, cols


def _check_bands(header: Header, model: Model) -> None:
    """Raise `MalformedHeader` unless the tile has the bands that its model codes (R36)."""
    found, expected = header.shape[1], len(model.card.bands)
    if found != expected:
        raise MalformedHeader(f"bands: found {found}, the model codes {expected} (R36)")


def _synthesise(frame: CodedFrame, header: Header, model: Model) -> Strips:
    """The padded image of one timestep, to be asked for its strips."""
    latents = model.coder.latents(frame, header.quality_steps, np.float32)
    return model.synthesis(latents, *_blocks(header))


# --- bounded error ------------------------------------------------------------------------------------------


def _bound(data: bytes, array: AnyArray, options: EncodeOptions) -> bytes:
    """A codestream with a residual that keeps every valid pixel of its array within the bound; seen to do so.

    Raises
    ------
    BoundError : it does not
    """
    stream = codestream.read(data)
    values, coded = np.asarray(array).reshape(stream.header.shape), Restorer.of(stream).coded
    max_error = options.max_error or 0
    base = None if options.quality is None else _base_layer
    bounded = add_residual(stream, values, coded, max_error, base)
    error = np.abs(decode(bounded).reshape(values.shape).astype(np.int64) - values)
    worst = int(error.max(where=coded, initial=0))
    if worst > max_error:
        raise BoundError(f"a decoded pixel is off by {worst}, the bound is {max_error}; nothing was written")
    return bounded


def _base_layer(stream: codestream.Codestream, edges: EdgeWriter | EdgeReader) -> NDArray[np.int64]:
    """What the symbols stand for, in units of the array, [T, C, H, W]: the same on every machine."""
    header = stream.header
    model = load_fingerprint(header.fingerprint)
    offset = units_of(stream).offset
    rows, cols = header.shape[2:]
    images = (
        model.exact_image(model.coder.latents(frame, header.quality_steps, np.float64), *_blocks(header))
        for frame in decode_frames(stream, model)
    )
    return np.stack([edges.resolve(image[:, :rows, :cols] - offset) for image in images])
