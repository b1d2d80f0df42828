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
from eocodec.codestream import DTYPE_CODES, MAX_QUALITY, QUALITY_STEPS, Header, Section, SectionType
from eocodec.codestream.units_section import MAX_DN, Units, pack_units, unpack_units
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.axes import bases, turn
from eocodec.entropy.prior import Frame, frames_crc, with_offsets
from eocodec.entropy.rdo import RDO_STRENGTH, quantise, state_axes
from eocodec.errors import BandError, InputError, MalformedHeader, UnitsError
from eocodec.models import registry
from eocodec.models.fp import STRIDE
from eocodec.models.fp_inference import Reconstruction
from eocodec.models.weights import LoadedModel, load_fingerprint
from eocodec.nn.precision import inference_dtype
from eocodec.nn.threads import map_tiles
from eocodec.options import DEFAULT_MODEL, DEFAULT_QUALITY, EncodeOptions
from eocodec.raster.fill import smooth_fill
from eocodec.raster.masks import decode_mask, encode_mask, valid_mask
from eocodec.raster.tiles import pad_to_multiple, padded_size
from eocodec.raster.units import looks_like_reflectance, restore
from eocodec.sensors import S2_L2A, SATURATED_DN
from eocodec.types import AnyArray, BoolArray

MEANS = [band.mean for band in S2_L2A]
CPU = torch.device("cpu")

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
    quality: float = DEFAULT_QUALITY,
    nodata: float | None = None,
    mask: BoolArray | None = None,
    scale: float | None = None,
    offset: float = 0.0,
) -> bytes:
    """Compress one tile.

    Parameters
    ----------
    array : [C, H, W] or [T, C, H, W], any H, W >= 1; integers in DN (10 000 x reflectance), or float with
        `scale`. Bands in the model's order: B01 .. B08, B8A, B09, B11, B12
    model : id of an installed model
    quality : 0 to 100, continuous, larger is better
    nodata : value of pixels that are not there; comes back exactly. NaN in float input always is nodata
    mask : same shape, True = valid: masks more than `nodata` does; needs `nodata` for integers
    scale, offset : DN = value * scale + offset (see `EncodeOptions`)

    Returns
    -------
    codestream, see docs/codestream.md

    Raises
    ------
    InputError (BandError, UnitsError) : the array does not fit; ModelNotFound : no such model
    """
    options = EncodeOptions(model, quality, nodata, scale, offset)
    return encode_batch([array], options, masks=[mask])[0]


def encode_batch(
    arrays: Sequence[AnyArray], options: EncodeOptions, masks: Sequence[BoolArray | None] | None = None
) -> list[bytes]:
    """`encode` of several tiles, side by side on the threads that torch has."""
    card = registry.by_id(options.model)
    load_fingerprint(card.fingerprint)
    given = masks if masks is not None else [None] * len(arrays)

    def run(tile: tuple[AnyArray, BoolArray | None]) -> bytes:
        return finish(_analyse(prepare(tile[0], options, card, tile[1])), options.quality)

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
    for fingerprint in {stream.header.fingerprint for stream in streams}:
        load_fingerprint(fingerprint)  # before threads want it
    # Made here, not by the threads: those are new to every call, and so would be all of their memory.
    outs = [np.empty(stream.header.shape, stream.header.dtype) for stream in streams]
    map_tiles(_decode_into, list(zip(streams, outs, strict=True)))
    return [o[0] if s.header.axes == 3 else o for s, o in zip(streams, outs, strict=True)]


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
        inference = model.inference(inference_dtype(CPU))
        y = np.stack([inference.analysis(torch.from_numpy(frame)).numpy() for frame in tile.dn])
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
    dn = units.to_dn(tile)
    _check_range(dn, usable, tile.dtype)
    if not usable.all():
        dn = np.stack([smooth_fill(f, m, constant=MEANS) for f, m in zip(dn, usable, strict=True)])
    dn, _ = pad_to_multiple(dn, STRIDE)
    header = Header(card.fingerprint, shape, tile.dtype.name, 0, nodata=nodata, axes=array.ndim)
    return Prepared(np.ascontiguousarray(dn, np.float32), header, tuple(sections))


def finish(tile: Analysed, quality: float) -> bytes:
    """Quantise, code and write one analysed tile at a quality, 0 to 100."""
    model = load_fingerprint(tile.header.fingerprint)
    quality_steps = round(quality * QUALITY_STEPS)
    frames, stream, escapes = encode_frames(tile.y, model, quality_steps)
    header = replace(
        tile.header, quality_steps=quality_steps, symbols_crc=frames_crc(frames, model.prior.channels)
    )
    coded = [Section(SectionType.SYMBOLS, stream), Section(SectionType.ESCAPES, escapes)]
    return codestream.write(header, [*tile.sections, *(s for s in coded if s.data)])


def encode_frames(y: Float, model: LoadedModel, quality_steps: int) -> tuple[list[Frame], bytes, bytes]:
    """Latents [T, M, h, w] -> what is coded of each timestep, range coder stream, escapes."""
    encoder = SymbolEncoder()
    prior, ring = model.prior, model.ring
    steps = _steps(model, quality_steps)
    weight = RDO_STRENGTH * _lambda(model, quality_steps) * steps**2
    frames = []
    for latents in y.reshape(*y.shape[:2], -1):
        axes = state_axes(latents, steps, prior, ring)
        z = turn(latents, bases(axes.counts, axes.entries, prior.bands), ring)
        centred, choice = quantise(z, steps, weight, prior, quality_steps)
        prior.encode_axes(encoder, axes)
        prior.encode(encoder, centred, choice, quality_steps)
        frames.append(Frame(*with_offsets(choice.live, centred, choice.offset), axes))
    return frames, *encoder.finish()


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
    model = load_fingerprint(header.fingerprint)
    frames = decode_frames(stream, model)
    restorer = _Restorer.of(stream)
    with torch.inference_mode():
        for t, frame in enumerate(frames):
            for top, strip in _synthesise(frame, header, model).strips():
                restorer.put(out[t], strip.numpy(), t, top)


def decode_frames(stream: codestream.Codestream, model: LoadedModel) -> list[Frame]:
    """What is coded of each timestep, checked against its CRC; integers only."""
    _check_bands(stream.header, model)
    t, _, rows, cols = stream.header.shape
    n = (padded_size(rows, STRIDE) // STRIDE) * (padded_size(cols, STRIDE) // STRIDE)
    codestream.DEFAULT_LIMITS.check_symbols(t * model.prior.channels * n)
    sections = stream.sections
    decoder = SymbolDecoder(sections.get(SectionType.SYMBOLS, b""), sections.get(SectionType.ESCAPES, b""))
    steps = stream.header.quality_steps
    frames = [model.prior.decode(decoder, n, steps) for _ in range(t)]
    decoder.finish()
    codestream.check_symbols_crc(stream.header, frames_crc(frames, model.prior.channels))
    return frames


def _check_bands(header: Header, model: LoadedModel) -> None:
    """Raise `MalformedHeader` unless the tile has the bands that its model codes (R36)."""
    found, expected = header.shape[1], len(model.card.bands)
    if found != expected:
        raise MalformedHeader(f"bands: found {found}, the model codes {expected} (R36)")


def _synthesise(frame: Frame, header: Header, model: LoadedModel) -> Reconstruction:
    """The padded image of one timestep, to be asked for its strips."""
    rows, cols = (padded_size(side, STRIDE) // STRIDE for side in header.shape[2:])
    values = frame.symbols.astype(np.float32)
    values *= _steps(model, header.quality_steps)[frame.channels, None]
    axes = bases(frame.axes.counts, frame.axes.entries, model.prior.bands).astype(np.float32)
    inference = model.inference(inference_dtype(CPU))
    return inference.synthesis(
        torch.from_numpy(values), torch.from_numpy(frame.channels), torch.from_numpy(axes), rows, cols
    )


@dataclass(frozen=True)
class _Restorer:
    """From DN to the array as it was given; mask, saturated: [T, C, H, W], None if there are none."""

    header: Header
    units: Units
    mask: BoolArray | None
    saturated: BoolArray | None

    @classmethod
    def of(cls, stream: codestream.Codestream) -> _Restorer:
        header, sections = stream.header, stream.sections
        units = unpack_units(sections[SectionType.UNITS]) if SectionType.UNITS in sections else Units()
        masks = [
            decode_mask(sections[kind], header.shape) if kind in sections else None
            for kind in (SectionType.MASK, SectionType.SATURATED)
        ]
        return cls(header, units, masks[0], None if masks[1] is None else ~masks[1])

    def put(self, out: AnyArray, dn: Float, t: int, top: int) -> None:
        """Rows `top` and following of timestep t, [C, h, W'], DN, into out [C, H, W]."""
        place = (slice(None), slice(top, top + dn.shape[1]))
        rows, cols = out[place].shape[1:]
        values = dn[:, :rows, :cols]
        if not self.units.plain:
            values = self.units.from_dn(values)
        if self.saturated is not None:
            values[self.saturated[(t, *place)]] = SATURATED_DN
        mask = None if self.mask is None else self.mask[(t, *place)]
        out[place] = restore(values, out.dtype, mask, self.header.nodata)


# --- both ---------------------------------------------------------------------------------------------------


def _steps(model: LoadedModel, quality_steps: int) -> Float:
    """Quantisation step of every channel at a quality, [M]."""
    levels = model.network.config.levels
    level = torch.tensor([quality_steps / MAX_QUALITY * (levels - 1)], dtype=torch.float32)
    return np.asarray(model.network.steps.at(level)[0].numpy())


def _lambda(model: LoadedModel, quality_steps: int) -> float:
    """Bits that a unit of summed, weighted squared error is worth at a quality."""
    low, high = model.card.details["lmbda"]
    return float(low * (high / low) ** (quality_steps / MAX_QUALITY))
