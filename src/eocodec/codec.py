"""Array -> bytes -> array: the one place where rasters, models, entropy coding and the codestream meet.

    array --prepare--> network units --g_a--> y --quantise--> symbols --range coder--> codestream
    codestream --range coder--> symbols --CRC--> y_hat --g_s--> network units --restore--> array
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec import codestream
from eocodec.codestream import DTYPE_CODES, MAX_QUALITY, QUALITY_STEPS, Header, Section, SectionType
from eocodec.coding.crc import symbols_crc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.prior import Symbols
from eocodec.entropy.rdo import quantise
from eocodec.errors import BandError, InputError, UnitsError
from eocodec.models import registry
from eocodec.models.fp import STRIDE
from eocodec.models.weights import LoadedModel, load_fingerprint
from eocodec.nn.precision import inference_autocast
from eocodec.options import DEFAULT_MODEL, DEFAULT_QUALITY, EncodeOptions
from eocodec.raster.fill import smooth_fill
from eocodec.raster.masks import decode_mask, encode_mask, valid_mask
from eocodec.raster.tiles import pad_to_multiple, padded_size
from eocodec.raster.units import looks_like_reflectance, restore, standardise, to_dn
from eocodec.sensors import SATURATED_DN, S2_L2A
from eocodec.types import AnyArray, BoolArray
from eocodec.codestream.units_section import Units, pack_units, unpack_units

BATCH_PIXELS = 1 << 20  # pixels that go through the network together; more is no faster and only takes memory
MEANS = [band.mean for band in S2_L2A]
STDS = [band.std for band in S2_L2A]

T = TypeVar("T")
R = TypeVar("R")
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """One tile ready for analysis.

    x : [T, C, H', W'], network units, filled and padded; sections: masks and units; header: without CRC
    """

    x: Float
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
    array : [C, H, W] or [T, C, H, W], any H, W >= 1; integers in DN (10 000 x reflectance), or float with `scale`.
        Bands in the model's order: B01 .. B08, B8A, B09, B11, B12
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
    """`encode` of several tiles; tiles of one size go through the network together."""
    tiles = analyse(arrays, options, masks)
    return [finish(tile, options.quality) for tile in tiles]


def decode(data: bytes) -> AnyArray:
    """Decompress one tile: array of the shape and dtype that were encoded.

    Raises
    ------
    CodestreamError : the bytes are damaged or of an unknown version; never a wrong image
    ModelNotFound : the model that wrote it is not installed
    """
    return decode_batch([data])[0]


def decode_batch(datas: Sequence[bytes]) -> list[AnyArray]:
    """`decode` of several codestreams; tiles of one size and model go through the network together."""
    streams = [codestream.read(data) for data in datas]
    keys = [(s.header.fingerprint, s.header.shape) for s in streams]

    def run(group: list[codestream.Codestream]) -> list[AnyArray]:
        model = load_fingerprint(group[0].header.fingerprint)
        y_hat = np.stack([_dequantise(decode_symbols(s, model), s.header, model) for s in group])
        x_hat = _synthesise(y_hat, model)
        return [_restore(x, s) for x, s in zip(x_hat, group, strict=True)]

    return _in_groups(streams, keys, run)


# --- encoder --------------------------------------------------------------------------------------------------


def analyse(
    arrays: Sequence[AnyArray], options: EncodeOptions, masks: Sequence[BoolArray | None] | None = None
) -> list[Analysed]:
    """Everything of encoding that does not depend on the quality."""
    card = registry.by_id(options.model)
    model = load_fingerprint(card.fingerprint)
    given = masks if masks is not None else [None] * len(arrays)
    tiles = [prepare(a, options, card, m) for a, m in zip(arrays, given, strict=True)]

    def run(group: list[Prepared]) -> list[Analysed]:
        y = _latents(np.stack([tile.x for tile in group]), model)
        return [Analysed(v, t.header, t.sections) for v, t in zip(y, group, strict=True)]

    return _in_groups(tiles, [tile.x.shape for tile in tiles], run)


def prepare(
    array: AnyArray, options: EncodeOptions, card: registry.ModelCard, mask: BoolArray | None = None
) -> Prepared:
    """Check one tile, take nodata and saturated pixels out, fill, standardise, pad."""
    array = np.asarray(array)
    shape = _checked_shape(array, card)
    _check_units(array, options)
    tile = array.reshape(shape)
    valid = valid_mask(tile, options.nodata)
    if mask is not None:
        valid &= np.broadcast_to(np.asarray(mask, bool), array.shape).reshape(shape)
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
    if not usable.all():
        dn = np.stack([smooth_fill(f, m, constant=MEANS) for f, m in zip(dn, usable, strict=True)])
    x, _ = pad_to_multiple(standardise(dn, MEANS, STDS), STRIDE)
    header = Header(card.fingerprint, shape, tile.dtype.name, 0, nodata=nodata, axes=array.ndim)
    return Prepared(np.asarray(x, np.float32), header, tuple(sections))


def finish(tile: Analysed, quality: float) -> bytes:
    """Quantise, code and write one analysed tile at a quality, 0 to 100."""
    model = load_fingerprint(tile.header.fingerprint)
    quality_steps = round(quality * QUALITY_STEPS)
    symbols, stream, escapes = encode_symbols(tile.y, model, quality_steps)
    header = replace(tile.header, quality_steps=quality_steps, symbols_crc=symbols_crc(symbols))
    coded = [Section(SectionType.SYMBOLS, stream), Section(SectionType.ESCAPES, escapes)]
    return codestream.write(header, [*tile.sections, *(s for s in coded if s.data)])


def encode_symbols(y: Float, model: LoadedModel, quality_steps: int) -> tuple[Symbols, bytes, bytes]:
    """Latents [T, M, h, w] -> symbols [T, M, h * w], range coder stream, escapes."""
    encoder = SymbolEncoder()
    steps = _steps(model, quality_steps)
    weight = _lambda(model, quality_steps) * steps**2 * model.channel_energy
    frames = y.reshape(*y.shape[:2], -1) / steps[:, None]
    symbols = np.empty(frames.shape, np.int32)
    for t, frame in enumerate(frames):
        centred, choice = quantise(frame, weight, model.prior, quality_steps)
        model.prior.encode(encoder, centred, choice, quality_steps)
        symbols[t] = centred
        symbols[t, : len(choice.offset)] += choice.offset[:, None]
    return symbols, *encoder.finish()


def _latents(x: Float, model: LoadedModel) -> Float:
    """[n, T, C, H, W] -> [n, T, M, h, w]."""
    flat = torch.from_numpy(x.reshape(-1, *x.shape[2:]))
    with torch.inference_mode(), inference_autocast(flat.device):
        y = model.network.analysis(flat.contiguous(memory_format=torch.channels_last))
    return np.asarray(y.float().contiguous().numpy().reshape(*x.shape[:2], *y.shape[1:]))


def _checked_shape(array: AnyArray, card: registry.ModelCard) -> tuple[int, int, int, int]:
    if array.ndim not in (3, 4) or array.size == 0:
        raise InputError(f"an array is [C, H, W] or [T, C, H, W] and not empty, not {array.shape}")
    if array.dtype.name not in DTYPE_CODES:
        raise InputError(f"dtype {array.dtype} cannot be encoded; convert to one of {', '.join(DTYPE_CODES)}")
    t, c, h, w = array.shape if array.ndim == 4 else (1, *array.shape)
    if c != len(card.bands):
        raise BandError(f"{card.id} codes the {len(card.bands)} bands {', '.join(card.bands)}; the array has {c}")
    return t, c, h, w


def _check_units(array: AnyArray, options: EncodeOptions) -> None:
    is_float = array.dtype.kind == "f"
    if options.scale is not None and not is_float:
        raise UnitsError(f"scale is for float input; the array is {array.dtype}: leave scale out")
    if options.scale is None and is_float and looks_like_reflectance(array):
        raise UnitsError("values look like reflectance (0 to 1), digital numbers are expected; state scale=10000")


def _stated_nodata(tile: AnyArray, valid: BoolArray, options: EncodeOptions) -> float | int | None:
    nodata = options.nodata
    if nodata is None and not valid.all():
        if tile.dtype.kind != "f":
            raise InputError("a mask is given for integers, but no nodata value to put under it; state nodata")
        return float("nan")
    if nodata is not None and tile.dtype.kind != "f":
        info = np.iinfo(tile.dtype)
        if not (float(nodata).is_integer() and info.min <= nodata <= info.max):
            if valid.all():
                return None
            raise InputError(f"nodata {nodata} is no value of {tile.dtype}")
        return int(nodata)
    return nodata


# --- decoder --------------------------------------------------------------------------------------------------


def decode_symbols(stream: codestream.Codestream, model: LoadedModel) -> Symbols:
    """Symbols [T, M, h * w] of a codestream, checked against their CRC; integers only."""
    t, _, rows, cols = stream.header.shape
    n = (padded_size(rows, STRIDE) // STRIDE) * (padded_size(cols, STRIDE) // STRIDE)
    codestream.DEFAULT_LIMITS.check_symbols(t * model.prior.channels * n)
    sections = stream.sections
    decoder = SymbolDecoder(sections.get(SectionType.SYMBOLS, b""), sections.get(SectionType.ESCAPES, b""))
    steps = stream.header.quality_steps
    symbols = np.stack([model.prior.decode(decoder, n, steps) for _ in range(t)])
    decoder.finish()
    codestream.check_symbols(stream.header, symbols)
    return symbols


def _dequantise(symbols: Symbols, header: Header, model: LoadedModel) -> Float:
    """Symbols [T, M, n] -> y_hat [T, M, h, w]."""
    rows, cols = (padded_size(side, STRIDE) // STRIDE for side in header.shape[2:])
    y_hat = symbols * _steps(model, header.quality_steps)[:, None]
    return np.asarray(y_hat.reshape(*symbols.shape[:2], rows, cols), np.float32)


def _synthesise(y_hat: Float, model: LoadedModel) -> Float:
    """[n, T, M, h, w] -> [n, T, C, H', W'] in network units."""
    flat = torch.from_numpy(y_hat.reshape(-1, *y_hat.shape[2:]))
    with torch.inference_mode(), inference_autocast(flat.device):
        x_hat = model.network.synthesis(flat.contiguous(memory_format=torch.channels_last))
    return np.asarray(x_hat.float().contiguous().numpy().reshape(*y_hat.shape[:2], *x_hat.shape[1:]))


def _restore(x_hat: Float, stream: codestream.Codestream) -> AnyArray:
    """Network units [T, C, H', W'] -> the array as it was given."""
    header, sections = stream.header, stream.sections
    rows, cols = header.shape[2:]
    units = unpack_units(sections[SectionType.UNITS]) if SectionType.UNITS in sections else Units()
    dn = to_dn(x_hat[..., :rows, :cols], MEANS, STDS)
    mask = decode_mask(sections[SectionType.MASK], header.shape) if SectionType.MASK in sections else None
    values = units.from_dn(dn)
    if SectionType.SATURATED in sections:
        values[~decode_mask(sections[SectionType.SATURATED], header.shape)] = SATURATED_DN
    out = restore(values, np.dtype(header.dtype), mask, header.nodata)
    return out[0] if header.axes == 3 else out


# --- both -----------------------------------------------------------------------------------------------------


def _steps(model: LoadedModel, quality_steps: int) -> Float:
    """Quantisation step of every channel at a quality, [M]."""
    levels = model.network.config.levels
    level = torch.tensor([quality_steps / MAX_QUALITY * (levels - 1)], dtype=torch.float32)
    return np.asarray(model.network.steps.at(level)[0].numpy())


def _lambda(model: LoadedModel, quality_steps: int) -> float:
    """Bits that a unit of summed, weighted squared error is worth at a quality."""
    low, high = model.card.details["lmbda"]
    return float(low * (high / low) ** (quality_steps / MAX_QUALITY))


def _in_groups(items: Sequence[T], keys: Iterable[Any], run: Callable[[list[T]], list[R]]) -> list[R]:
    """Run on batches of items with equal keys (whose last two entries are H and W); results in order."""
    groups: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    out: dict[int, R] = {}
    for key, members in groups.items():
        shape = key[-1] if isinstance(key[-1], tuple) else key
        size = max(1, BATCH_PIXELS // (shape[0] * shape[-2] * shape[-1]))
        for at in range(0, len(members), size):
            batch = members[at : at + size]
            out.update(zip(batch, run([items[i] for i in batch]), strict=True))
    return [out[i] for i in range(len(items))]
