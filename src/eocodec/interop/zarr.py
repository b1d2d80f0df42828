"""`TecCodec`: a Zarr v3 array-to-bytes codec (a serializer) whose chunks are codestreams.

>>> zarr.create_array(store, shape=(12, 10980, 10980), chunks=(12, 512, 512), dtype="uint16",
...                   serializer=TecCodec(quality=60), filters=None, compressors=None)

Chunks are [C, h, w] or [T, C, h, w] (more leading axes of size 1 are allowed). A codestream may be smaller
than its chunk in the last two axes, as at the edge of an array; reading pads it, Zarr cuts the padding off.
Importing this module does not import torch.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.buffer import Buffer, NDBuffer

from eocodec.errors import (
    BandError,
    ConfigError,
    InputError,
    MalformedHeader,
    MissingDependency,
    ModelNotFound,
    UnitsError,
)
from eocodec.interop.batching import Batcher
from eocodec.interop.settings import codec_json, settings_from_json
from eocodec.models import registry
from eocodec.types import AnyArray

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec

    from eocodec.options import EncodeOptions

TILES_PER_CALL = 4  # of 512 x 512: bounds the activations of a network call
PIXELS_PER_CALL = TILES_PER_CALL * 512 * 512
MIN_TILE = 16  # smaller chunks cost more in headers than in pixels


@dataclass(frozen=True)
class TecCodec(ArrayBytesCodec):
    """Encode chunks as codestreams. The settings matter to encoding only: a codestream says how to decode it.

    Attributes
    ----------
    model, quality, nodata, scale, offset, max_error : as in `eocodec.options.EncodeOptions`
    """

    is_fixed_size = False

    model: str = "tec-elic"
    quality: float | None = None
    nodata: float | int | None = None
    scale: float | None = None
    offset: float = 0.0
    max_error: int | None = None

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
        return cls(o.model, o.quality, o.nodata, o.scale, o.offset, o.max_error)

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

    def options(self) -> EncodeOptions:
        """These settings for `eocodec.codec.encode_batch`."""
        from eocodec.options import EncodeOptions

        return EncodeOptions(self.model, self.quality, self.nodata, self.scale, self.offset, self.max_error)

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

    def _encode_many(self, items: Sequence[tuple[NDBuffer, ArraySpec]]) -> list[Buffer]:
        arrays = [_as_tile(np.asarray(chunk.as_numpy_array()), spec.fill_value) for chunk, spec in items]
        streams = _ENCODER.run(self.options(), arrays, [array[..., 0, :, :].size for array in arrays])
        return [
            spec.prototype.buffer.from_bytes(stream) for stream, (_, spec) in zip(streams, items, strict=True)
        ]

    def _decode_many(self, items: Sequence[tuple[Buffer, ArraySpec]]) -> list[NDBuffer]:
        sizes = [math.prod(spec.shape[:-3]) * math.prod(spec.shape[-2:]) for _, spec in items]
        tiles = _DECODER.run(None, [chunk.to_bytes() for chunk, _ in items], sizes)
        return [_as_chunk(tile, spec) for tile, (_, spec) in zip(tiles, items, strict=True)]


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
    lambda _, streams: _codec().decode_batch(streams), lambda: PIXELS_PER_CALL
)


def _as_tile(array: AnyArray, fill_value: Any) -> AnyArray:
    """A chunk for the codec: [C, h, w] or [T, C, h, w], in the machine's byte order.

    Rows at the bottom and columns at the right that hold nothing but the fill value, such as those that Zarr
    adds at the edge of an array, are left out; reading puts them back.
    """
    if array.ndim > 4:
        array = array.reshape(array.shape[-4:])
    differs = ~np.isnan(array) if fill_value != fill_value else array != fill_value
    axes = tuple(range(array.ndim - 2))
    rows = np.flatnonzero(differs.any((*axes, -1)))
    cols = np.flatnonzero(differs.any((*axes, -2)))
    array = array[..., : rows[-1] + 1 if rows.size else 1, : cols[-1] + 1 if cols.size else 1]
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _as_chunk(tile: Any, spec: ArraySpec) -> NDBuffer:
    """Give a decoded tile the chunk's shape; it may be smaller at the right and at the bottom."""
    wanted = spec.dtype.to_native_dtype()
    depth = math.prod(spec.shape[:-2])
    height, width = spec.shape[-2:]
    fits = math.prod(tile.shape[:-2]) == depth and tile.shape[-2] <= height and tile.shape[-1] <= width
    if not fits or tile.dtype != wanted.newbyteorder("="):
        raise MalformedHeader(
            f"a chunk holds a tile of shape {tile.shape} {tile.dtype}, "
            f"the array's chunks are {spec.shape} {wanted}; metadata and chunks do not belong together"
        )
    chunk = np.full(spec.shape, spec.fill_value, dtype=wanted)
    flat = chunk.reshape(depth, height, width)
    flat[:, : tile.shape[-2], : tile.shape[-1]] = tile.reshape(depth, *tile.shape[-2:])
    return spec.prototype.nd_buffer.from_numpy_array(chunk)


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
