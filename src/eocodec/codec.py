"""Array -> bytes -> array: the one place where rasters, models, entropy coding and the codestream meet.

array --prepare--> DN --g_a--> y --turn, quantise--> symbols --range coder--> codestream
codestream --range coder--> symbols --CRC--> y_hat --g_s--> DN --restore--> array
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec import codestream
from eocodec.codestream import QUALITY_STEPS, Header, Section, SectionType
from eocodec.codestream.model_section import unpack_model
from eocodec.entropy.coder import CodedFrame, SeriesCoder, decode_all, encode_all, extend_all
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.layered_coder import LayeredCoder
from eocodec.errors import BoundError, InputError, MalformedHeader
from eocodec.models import registry
from eocodec.models.fp import STRIDE
from eocodec.models.model import Model, Strips
from eocodec.models.weights import load_fingerprint, load_stated
from eocodec.nn.threads import ahead, map_tiles
from eocodec.options import DEFAULT_MODEL, EncodeOptions
from eocodec.preparing import Masks, Prepared, mask_sections, prepare
from eocodec.raster.tiles import padded_size
from eocodec.residual.stream import add_residual, decode_bounded, has_base
from eocodec.restoring import Restorer, units_of
from eocodec.truncating import check_truncatable
from eocodec.types import AnyArray, BoolArray

# Latents of a longer tile are made anew at every quality that a search tries: they take twice the memory of
# 16-bit pixels, and an eighth of the time of coding.
HELD_DATES = 12

Float = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Analysed:
    """One tile ready to be quantised and coded at any quality.

    latents : gives them date by date, [M, h, w], float32, as often as they are asked for
    """

    latents: Callable[[], Iterable[Float]]
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
    tokens: int | None = None,
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
    tokens : model flextec only: how many tokens to keep, 1 to 16; default all (see `truncate`)

    Returns
    -------
    codestream, see docs/codestream.md

    Raises
    ------
    InputError (BandError, UnitsError) : the array does not fit; ModelNotFound : no such model
    BoundError : the codestream was decoded and broke its bound; it is not released
    """
    options = EncodeOptions(model, quality, nodata, scale, offset, max_error, tokens)
    return encode_batch([array], options, masks=[mask])[0]


def encode_batch(
    arrays: Sequence[AnyArray], options: EncodeOptions, masks: Sequence[BoolArray | None] | None = None
) -> list[bytes]:
    """`encode` of several tiles, side by side on the threads that torch has."""
    card = registry.by_id(options.model)
    given = masks if masks is not None else [None] * len(arrays)
    quality = options.quality
    if options.tokens is not None:
        check_truncatable(options.model)
    if quality is not None:
        load_fingerprint(card.fingerprint)

    def run(tile: tuple[AnyArray, BoolArray | None]) -> bytes:
        prepared = prepare(tile[0], options, card, tile[1])
        if quality is None:
            data = _without_pixels(prepared)
        else:
            header, sections = prepared.header, prepared.sections()
            data = _coded(header, sections, _latents(prepared), quality, options.tokens)
        return data if options.max_error is None else _bound(data, tile[0], options)

    return map_tiles(run, list(zip(arrays, given, strict=True)))


def extend(data: bytes, array: AnyArray, *, mask: BoolArray | None = None) -> bytes:
    """Add dates to a codestream of a model of series; what is coded of those before them stays bit for bit.

    Parameters
    ----------
    data : a codestream without an error bound
    array : [C, H, W] or [T, C, H, W], the dates that follow; dtype, bands, rows, columns and units as there
    mask : same shape, True = valid; for integers it takes a codestream with a nodata value

    Returns
    -------
    codestream of all dates, which decodes to four axes; ancillary sections of `data` are left out

    Raises
    ------
    CodestreamError : `data` are damaged; ModelNotFound : the model that wrote them is not installed
    InputError (BandError, UnitsError) : the array does not fit, or the codestream cannot be extended
    """
    stream = codestream.read(data)
    _check_extensible(stream, np.asarray(array), mask)
    _load(stream)
    header, model = stream.header, load_fingerprint(stream.header.fingerprint)
    _check_bands(header, model)
    units = units_of(stream)
    options = EncodeOptions(model.card.id, header.quality, header.nodata, units.scale, units.offset)
    new = prepare(array, options, model.card, mask)
    if str(new.header.nodata) != str(header.nodata):  # a NaN is not equal to itself
        raise InputError("some pixels are NaN; the codestream has no nodata value to put there")
    lmbda = model.lmbda(header.quality_steps)
    coded, crc = extend_all(model.coder, stream, *_blocks(header), _latents(new), lmbda)
    old = Restorer.of(stream)
    masks = mask_sections(
        [*_masks(old.mask, old.header), *new.valid],
        [*_masks(old.unsaturated, old.header), *new.unsaturated],
        header.shape[1:],
    )
    dates = header.shape[0] + len(new.tile)
    extended = replace(header, shape=(dates, *header.shape[1:]), symbols_crc=crc, axes=4)
    return codestream.write(extended, [*masks, *new.others, *coded])


def _masks(mask: BoolArray | None, header: Header) -> Masks:
    """Of each date, for `mask_sections`."""
    return [None] * header.shape[0] if mask is None else list(mask)


def _check_extensible(stream: codestream.Codestream, array: AnyArray, mask: BoolArray | None) -> None:
    header = stream.header
    if header.max_error is not None:
        raise InputError("a codestream with an error bound cannot be extended; encode all dates anew")
    if array.dtype.name != header.dtype:
        raise InputError(f"the array is {array.dtype}, the codestream {header.dtype}; convert it")
    if array.shape[-2:] != header.shape[2:]:
        raise InputError(f"the array has {array.shape[-2:]} pixels, the codestream {header.shape[2:]}")
    if header.nodata is None and mask is not None and not np.all(mask):
        raise InputError("the codestream has no nodata value to put under the mask; encode all dates anew")


def decode(data: bytes, dates: Sequence[int] | None = None) -> AnyArray:
    """Decompress one tile: array of the shape and dtype that were encoded.

    Parameters
    ----------
    dates : which timesteps, ascending, of those from 0 on; default: all. Of a series, the symbols of the last
        one and of all before it are decoded, and images of these dates alone are made

    Returns
    -------
    as encoded; or with `dates`, [len(dates), C, H, W]

    Raises
    ------
    CodestreamError : the bytes are damaged or of an unknown version; never a wrong image
    ModelNotFound : the model that wrote it is not installed
    InputError : `dates` are not ascending, or one of them is not there
    """
    return decode_batch([data], dates)[0]


def decode_batch(datas: Sequence[bytes], dates: Sequence[int] | None = None) -> list[AnyArray]:
    """`decode` of several codestreams, side by side on the threads that torch has."""
    streams = [codestream.read(data) for data in datas]
    chosen = [_checked_dates(dates, stream.header) for stream in streams]
    for stream in streams:  # before threads want them
        _load(stream)
    # Made here, not by the threads: those are new to every call, and so would be all of their memory.
    outs = [
        np.empty((len(wanted), *stream.header.shape[1:]), stream.header.dtype)
        for stream, wanted in zip(streams, chosen, strict=True)
    ]
    map_tiles(_decode_into, list(zip(streams, chosen, outs, strict=True)))
    if dates is not None:
        return list(outs)
    return [o[0] if s.header.axes == 3 else o for s, o in zip(streams, outs, strict=True)]


def _checked_dates(dates: Sequence[int] | None, header: Header) -> list[int]:
    timesteps = header.shape[0]
    if dates is None:
        return list(range(timesteps))
    found = [int(t) for t in dates]
    if sorted(set(found)) != found or (found and not 0 <= found[0] <= found[-1] < timesteps):
        raise InputError(f"dates {found}: give ascending numbers from 0 to {timesteps - 1}")
    return found


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
    if len(tile.tile) > HELD_DATES:
        return Analysed(lambda: _latents(tile), tile.header, tile.sections())
    held = list(_latents(tile))
    return Analysed(lambda: held, tile.header, tile.sections())


def _latents(tile: Prepared) -> Iterator[Float]:
    """Latents of a tile, [M, h, w], date by date."""
    model = load_fingerprint(tile.header.fingerprint)
    rows, cols = _blocks(tile.header)
    for dn in tile.dates(STRIDE):
        with torch.inference_mode():
            y = model.analysis(torch.from_numpy(dn)).numpy()
        yield y.reshape(-1, rows, cols)


def _without_pixels(tile: Prepared) -> bytes:
    """Codestream of all but the pixels, for a residual that needs no base layer."""
    return codestream.write(tile.header, tile.sections())


def finish(tile: Analysed, quality: float, tokens: int | None = None) -> bytes:
    """Quantise, code and write one analysed tile at a quality, 0 to 100; of FlexTEC so many tokens."""
    return _coded(tile.header, tile.sections, tile.latents(), quality, tokens)


def _coded(
    header: Header,
    sections: Sequence[Section],
    ys: Iterable[Float],
    quality: float,
    tokens: int | None = None,
) -> bytes:
    model = load_fingerprint(header.fingerprint)
    if model.card.quality not in (None, quality):
        raise InputError(f"{model.card.id} has one rate; quality {quality:g} is none of it, leave it out")
    quality_steps = round(quality * QUALITY_STEPS)
    coder = model.coder
    if tokens is not None and isinstance(coder, LayeredCoder):
        coder = replace(coder, tokens=tokens)
    with _ahead(ys, model, header.shape[0]) as coming:
        coded, crc = encode_all(coder, coming, quality_steps, model.lmbda(quality_steps))
    header = replace(header, quality_steps=quality_steps, symbols_crc=crc)
    return codestream.write(header, [*sections, *coded])


def _ahead(frames: Iterable[T], model: Model, count: int) -> AbstractContextManager[Iterable[T]]:
    """Timesteps of a series made while those before them are worked on; others as they are."""
    series = isinstance(model.coder, SeriesCoder) and count > 1
    return ahead(frames) if series else nullcontext(frames)


# --- decoder ------------------------------------------------------------------------------------------------


def _decode_into(job: tuple[codestream.Codestream, Sequence[int], AnyArray]) -> None:
    """Decode some timesteps of a codestream into an array [len(dates), C, H, W]."""
    stream, dates, out = job
    header = stream.header
    restorer = Restorer.of(stream)
    if header.max_error is not None:
        whole = out if len(dates) == header.shape[0] else np.empty(header.shape, header.dtype)
        restorer.fill(whole, decode_bounded(stream, restorer.coded, _base_layer))
        if whole is not out:
            out[...] = whole[list(dates)]
        return
    model = load_fingerprint(header.fingerprint)
    with torch.inference_mode():
        frames = decode_frames(stream, model)
        if len(dates) < header.shape[0]:  # what comes after the last one is not looked at
            frames = itertools.islice(frames, max(dates, default=-1) + 1)
        places = {t: place for place, t in enumerate(dates)}
        with _ahead(frames, model, len(dates)) as coming:
            for t, frame in enumerate(coming):
                if t in places:
                    for top, strip in _synthesise(frame, header, model).strips():
                        restorer.put(out[places[t]], strip.numpy(), t, top)


def decode_frames(stream: codestream.Codestream, model: Model) -> Iterator[CodedFrame]:
    """What is coded of each timestep, in order, each one checked before it is given."""
    _check_bands(stream.header, model)
    rows, cols = _blocks(stream.header)
    timesteps = stream.header.shape[0]
    codestream.DEFAULT_LIMITS.check_symbols(timesteps * model.coder.channels * rows * cols)
    return decode_all(model.coder, stream, rows, cols)


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
