"""`TecCodec`: a Zarr v3 array-to-bytes codec (a serializer) whose chunks are codestreams.

>>> zarr.create_array(store, shape=(12, 10980, 10980), chunks=(12, 512, 512), dtype="uint16",
...                   serializer=TecCodec(quality=60), filters=None, compressors=None)

Chunks are [C, h, w] or [T, C, h, w] (more leading axes of size 1 are allowed). A codestream may be smaller
than its chunk in the last two axes, as at the edge of an array, and hold fewer dates; reading pads it.
Importing this module does not import torch.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.codec import (
    ArrayBytesCodec,
    ArrayBytesCodecPartialDecodeMixin,
    ArrayBytesCodecPartialEncodeMixin,
)
from zarr.core.buffer import Buffer, NDBuffer

from eocodec.errors import (
    BandError,
    ConfigError,
    InputError,
    MissingDependency,
    ModelNotFound,
    UnitsError,
)
from eocodec.interop.batching import Batcher
from eocodec.interop.settings import codec_json, settings_from_json
from eocodec.interop.zarr_chunks import (
    DATES,
    Selection,
    as_chunk,
    as_tile,
    can_go_on,
    covers,
    dates_held,
    dates_wanted,
    differs,
    fetched,
    filled,
    is_later,
    put,
    stored_shape,
)
from eocodec.models import registry
from eocodec.types import AnyArray

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter, ByteSetter
    from zarr.core.array_spec import ArraySpec

    from eocodec.options import EncodeOptions

TILES_PER_CALL = 4  # of 512 x 512: bounds the activations of a network call
PIXELS_PER_CALL = TILES_PER_CALL * 512 * 512
MIN_TILE = 16  # smaller chunks cost more in headers than in pixels


@dataclass(frozen=True)
class TecCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin, ArrayBytesCodecPartialEncodeMixin):
    """Encode chunks as codestreams. The settings matter to encoding only: a codestream says how to decode it.

    Of a chunk of several dates, those that are asked for are made images, and no other. Dates written after
    those that a chunk holds are added to its codestream, which leaves the old ones as they are, where the
    model can (`codec.extend`); any other part that is written has Zarr's meaning: decoded, changed, encoded.

    Attributes
    ----------
    model, quality, nodata, scale, offset, max_error, tokens : as in `eocodec.options.EncodeOptions`
    """

    is_fixed_size = False

    model: str = "tec-elic"
    quality: float | None = None
    nodata: float | int | None = None
    scale: float | None = None
    offset: float = 0.0
    max_error: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_error is not None:
            _check_max_error(self.max_error)
        elif self.quality is None:
            object.__setattr__(self, "quality", 50.0)
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise ConfigError(f"quality is {self.quality}; give a number from 0 to 100, larger is better")

    @classmethod
    def from_options(cls, options: EncodeOptions) -> TecCodec:
        """The codec that encodes with `options`."""
        o = options
        return cls(o.model, o.quality, o.nodata, o.scale, o.offset, o.max_error, o.tokens)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TecCodec:
        """Read the JSON of a `zarr.json`.

        Raises
        ------
        ConfigError : another codec's name, an unknown key, or a value out of range
        """
        return cls(**settings_from_json(data))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of a `zarr.json`; settings that are off are left out."""
        return codec_json(self)

    @property
    def extensible(self) -> bool:
        """Whether dates can be added to a chunk that is not full, those in it staying as they are."""
        return registry.by_id(self.model).extensible and self.max_error is None and self.tokens is None

    def options(self) -> EncodeOptions:
        """These settings for `eocodec.codec.encode_batch`."""
        from eocodec.options import EncodeOptions

        return EncodeOptions(
            self.model, self.quality, self.nodata, self.scale, self.offset, self.max_error, self.tokens
        )

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> TecCodec:
        """This codec for an array: what was never written, its fill value, is nodata and comes back exactly.

        Raises
        ------
        InputError : a nodata value was stated that is not the fill value
        UnitsError, BandError : as `validate`, which Zarr does not call inside shards
        """
        native, fill = array_spec.dtype.to_native_dtype(), array_spec.fill_value
        _check_dtype(native, self.scale)
        self._check_bound(native)
        _check_bands(tuple(array_spec.shape), self.model)
        if self.nodata is None:
            # NaN is nodata anyhow; another fill value of floats would swallow the NaN that are there.
            return self if native.kind == "f" else replace(self, nodata=int(fill))
        same = fill == self.nodata or (fill != fill and self.nodata != self.nodata)
        if not same and not (native.kind == "f" and fill == 0):  # Zarr's default for floats
            raise InputError(
                f"nodata is {self.nodata}, the array's fill value {fill}: what was never written would be "
                "taken for pixels; make them the same"
            )
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse, when the array is created or opened, what could not be encoded.

        Raises
        ------
        UnitsError : the dtype is neither an integer nor a float with a stated scale
        BandError : the bands' axis is missing, has a wrong size, or is cut into chunks
        InputError : chunks that are too small
        """
        native = dtype.to_native_dtype() if hasattr(dtype, "to_native_dtype") else np.dtype(dtype)
        self._check_bound(native)
        check_array(tuple(shape), getattr(chunk_grid, "chunk_shape", shape), native, self.scale, self.model)

    def _check_bound(self, dtype: np.dtype[Any]) -> None:
        if self.max_error is not None and dtype.kind not in "iu":
            raise UnitsError(f"max_error is for integers; the array is {dtype}: round it to integers first")

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_many([(chunk_data, chunk_spec)])[0]

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_many([(chunk_data, chunk_spec)])[0]

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def encode(
        self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        """Encode several chunks, some per network call; None stays None."""
        items = list(chunks_and_specs)
        present = [(chunk, spec) for chunk, spec in items if chunk is not None]
        encoded = iter(await asyncio.to_thread(self._encode_many, present))
        return [None if chunk is None else next(encoded) for chunk, _ in items]

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Decode several chunks, some per network call; None stays None."""
        items = list(chunks_and_specs)
        present = [(chunk, spec) for chunk, spec in items if chunk is not None]
        decoded = iter(await asyncio.to_thread(self._decode_many, present))
        return [None if chunk is None else next(decoded) for chunk, _ in items]

    async def decode_partial(
        self, batch_info: Iterable[tuple[ByteGetter, Selection, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Selections of several chunks; None for chunks that were never written."""
        items = list(batch_info)
        found = await asyncio.gather(*(getter.get(spec.prototype) for getter, _, spec in items))
        present = [
            (data, selection, spec)
            for data, (_, selection, spec) in zip(found, items, strict=True)
            if data is not None
        ]
        decoded = iter(await asyncio.to_thread(self._decode_selected, present))
        return [None if data is None else next(decoded) for data in found]

    async def encode_partial(
        self, batch_info: Iterable[tuple[ByteSetter, NDBuffer, Selection, ArraySpec]]
    ) -> None:
        """Write selections of several chunks."""
        items = list(batch_info)
        there = await asyncio.gather(
            *(fetched(setter, selection, spec) for setter, _, selection, spec in items)
        )
        jobs = [(data, *item[1:]) for data, item in zip(there, items, strict=True)]
        encoded = await asyncio.to_thread(self._encode_selected, jobs)
        await asyncio.gather(
            *(
                setter.delete() if data is None else setter.set(data)
                for data, (setter, *_) in zip(encoded, items, strict=True)
            )
        )

    def _decode_selected(self, items: Sequence[tuple[Buffer, Selection, ArraySpec]]) -> list[NDBuffer]:
        wanted = [dates_wanted(selection, spec.shape) for _, selection, spec in items]
        alike = zip(items, wanted, strict=True)
        whole = iter(self._decode_many([(data, spec) for (data, _, spec), few in alike if few is None]))
        return [
            next(whole)[selection] if few is None else _decode_dates(data.to_bytes(), *few, spec)
            for (data, selection, spec), few in zip(items, wanted, strict=True)
        ]

    def _encode_selected(
        self, items: Sequence[tuple[Buffer | None, NDBuffer, Selection, ArraySpec]]
    ) -> list[Buffer | None]:
        found: list[Buffer | None] = [None] * len(items)
        anew: dict[int, tuple[NDBuffer, ArraySpec]] = {}
        for number, (there, value, selection, spec) in enumerate(items):
            longer = None if there is None else self._extended(there.to_bytes(), value, selection, spec)
            if longer is not None:
                found[number] = spec.prototype.buffer.from_bytes(longer)
                continue
            chunk = self._merged(there, value, selection, spec)
            if spec.config.write_empty_chunks or not chunk.all_equal(spec.fill_value):
                anew[number] = (chunk, spec)
        for number, data in zip(anew, self._encode_many(list(anew.values())), strict=True):
            found[number] = data
        return found

    def _extended(self, data: bytes, value: NDBuffer, selection: Selection, spec: ArraySpec) -> bytes | None:
        """A codestream with dates that follow those it holds; None where that is not what is written."""
        there, _, rows, cols = stored_shape(data)
        if not is_later(selection, spec.shape, there):
            return None
        chunk = filled(spec)
        put(chunk, value, selection)
        added = chunk.reshape(chunk.shape[DATES:])[there:]
        added = added[: dates_held(differs(added, spec.fill_value))]
        inside = added[..., :rows, :cols]
        if differs(added, spec.fill_value).sum() > differs(inside, spec.fill_value).sum():
            return None  # the codestream is smaller than the chunk, and these dates are not
        inside = np.ascontiguousarray(inside, dtype=inside.dtype.newbyteorder("="))
        if not can_go_on(data, self.options(), inside):
            return None
        return _EXTENDER.run(None, [(data, inside)], [inside[..., 0, :, :].size])[0]

    def _merged(
        self, there: Buffer | None, value: NDBuffer, selection: Selection, spec: ArraySpec
    ) -> NDBuffer:
        """The chunk as it is after a write."""
        if value.shape == spec.shape and covers(selection, spec.shape):
            return value
        chunk = filled(spec)
        if there is not None:
            chunk[...] = self._decode_many([(there, spec)])[0].as_numpy_array()
        put(chunk, value, selection)
        return spec.prototype.nd_buffer.from_numpy_array(chunk)

    def _encode_many(self, items: Sequence[tuple[NDBuffer, ArraySpec]]) -> list[Buffer]:
        arrays = [
            as_tile(np.asarray(chunk.as_numpy_array()), spec.fill_value, self.model) for chunk, spec in items
        ]
        streams = _ENCODER.run(self.options(), arrays, [array[..., 0, :, :].size for array in arrays])
        return [
            spec.prototype.buffer.from_bytes(stream) for stream, (_, spec) in zip(streams, items, strict=True)
        ]

    def _decode_many(self, items: Sequence[tuple[Buffer, ArraySpec]]) -> list[NDBuffer]:
        sizes = [math.prod(spec.shape[:-3]) * math.prod(spec.shape[-2:]) for _, spec in items]
        tiles = _DECODER.run(None, [chunk.to_bytes() for chunk, _ in items], sizes)
        return [as_chunk(tile, spec) for tile, (_, spec) in zip(tiles, items, strict=True)]


def _codec() -> Any:
    """`eocodec.codec`, which imports torch, at the first chunk."""
    try:
        from eocodec import codec
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"{error.name} is needed to encode and decode: pip install --upgrade eocodec brings it"
        ) from error
    return codec


# Networks use all cores by themselves, so calls take turns; Zarr would otherwise start ten at once.
_ENCODER: Batcher[AnyArray, bytes] = Batcher(
    lambda options, arrays: _codec().encode_batch(arrays, options), lambda: PIXELS_PER_CALL
)
_DECODER: Batcher[bytes, AnyArray] = Batcher(
    lambda dates, streams: _codec().decode_batch(streams, *(() if dates is None else (dates,))),
    lambda: PIXELS_PER_CALL,
)
_EXTENDER: Batcher[tuple[bytes, AnyArray], bytes] = Batcher(
    lambda _, jobs: [_codec().extend(*job) for job in jobs], lambda: PIXELS_PER_CALL
)


def _decode_dates(data: bytes, dates: list[int], among: Selection, spec: ArraySpec) -> NDBuffer:
    """A selection among some dates of a chunk; those that its codestream does not hold are fill values."""
    there = tuple(date for date in dates if date < stored_shape(data)[0])
    axis = len(spec.shape) + DATES
    few = replace(spec, shape=(*spec.shape[:axis], len(dates), *spec.shape[axis + 1 :]))
    if not there:
        return spec.prototype.nd_buffer.from_numpy_array(filled(few))[among]
    (tile,) = _DECODER.run(there, [data], [len(there) * math.prod(spec.shape[-2:])])
    return as_chunk(tile, few)[among]


def _check_max_error(max_error: int) -> None:
    from eocodec.options import check_max_error

    try:
        check_max_error(max_error)
    except InputError as error:
        raise ConfigError(str(error)) from error


def check_array(
    shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any], scale: float | None, model: str
) -> None:
    """Raise what `TecCodec.validate` raises."""
    _check_dtype(dtype, scale)
    _check_chunks(shape, tuple(chunks), model)


def _check_dtype(dtype: np.dtype[Any], scale: float | None) -> None:
    if dtype.kind == "f" and scale is not None:
        return
    if dtype.kind not in "iu":
        raise UnitsError(
            f"the array is {dtype}, the codec takes integer digital numbers; "
            "set scale=10000 for reflectance as floats, scale=1 for digital numbers as floats, or convert it"
        )


def _bands_of(model: str, shape: tuple[int, ...]) -> int:
    """Bands that a model takes; any number where it is not here: a store may be opened without it."""
    try:
        return len(registry.by_id(model).bands)
    except ModelNotFound:
        return shape[-3]


def _check_bands(shape: tuple[int, ...], model: str) -> None:
    if len(shape) < 3:
        raise BandError(f"the array has shape {shape}; axes [..., band, y, x] are needed")
    bands = _bands_of(model, shape)
    if shape[-3] != bands:
        raise BandError(
            f"axis {len(shape) - 3} of shape {shape} has {shape[-3]} bands; the model takes {bands}"
        )


def _check_chunks(shape: tuple[int, ...], chunks: tuple[int, ...], model: str) -> None:
    _check_bands(shape, model)
    bands = shape[-3]
    if chunks[-3] != bands:
        raise BandError(
            f"chunks {chunks} cut the bands; every chunk must hold all {bands}, as (..., {bands}, 512, 512)"
        )
    if any(size != 1 for size in chunks[:-4]):
        raise InputError(
            f"chunks {chunks} have more than the axes [T, C, H, W]; use size 1 for axes before them"
        )
    if any(size < min(MIN_TILE, whole) for size, whole in zip(chunks[-2:], shape[-2:], strict=True)):
        raise InputError(f"chunks {chunks} are smaller than {MIN_TILE} pixels; use 256 to 1024, best 512")
