"""Layers and metadata documents in a store: ordinary Zarr v3 arrays that any reader opens, without loss.

`layers/<grid>/<name>` has axes [y, x], or [<name>_band, y, x] for several bands; a group holds one grid only,
so that xarray opens it as a dataset. `documents/<file name>` holds a file's bytes. Codecs are bytes, blosc
(zstd, bytes shuffled) and crc32c, all of Zarr's core.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eocodec.coding.crc import crc32c
from eocodec.errors import ChecksumMismatch, InputError, MalformedHeader, MissingDependency, Truncated
from eocodec.interop.container import Container, Sink
from eocodec.interop.geozarr import geotransform, geozarr_attributes, parse_geotransform
from eocodec.interop.layers import Layer, LayerInfo, documents_of, layers_of
from eocodec.interop.scene import SceneSource, tile_windows
from eocodec.interop.settings import number_from_json, number_to_json
from eocodec.types import AnyArray

LAYERS, DOCUMENTS = "layers", "documents"
CHUNK = 1024  # pixels a side
# Level and block [bytes]: masks of one byte gain a fifth from the slower setting, measurements nothing.
BLOSC_BYTES, BLOSC_WIDE = (8, 1 << 18), (5, 0)
BLOSC_HEADER = 16
MAX_ITEMS = 1 << 28  # of a chunk, to allocate for what a damaged document claims
GRID_MAPPING = "spatial_ref"


@dataclass(frozen=True)
class StoredLayer:
    """A layer of an open store."""

    info: LayerInfo
    container: Container
    key: str
    chunk: tuple[int, int]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [n, h, w] of a window.

        Raises
        ------
        Truncated, ChecksumMismatch, MalformedHeader : a chunk is missing or damaged
        """
        out = np.empty((self.info.shape[0], rows.stop - rows.start, cols.stop - cols.start), self.info.dtype)
        tall, wide = self.chunk
        for i in range(rows.start // tall, -(-rows.stop // tall)):
            for j in range(cols.start // wide, -(-cols.stop // wide)):
                chunk = self._chunk(i, j)
                top, left = max(rows.start, i * tall), max(cols.start, j * wide)
                part = chunk[:, top - i * tall : rows.stop - i * tall, left - j * wide : cols.stop - j * wide]
                at = (slice(top - rows.start, None), slice(left - cols.start, None))
                out[(slice(None), *at)][:, : part.shape[1], : part.shape[2]] = part
        return out

    def check(self) -> list[str]:
        """Decode every chunk; a line for each that cannot be, a few at most."""
        lines = []
        for i, j, _ in tile_windows((self.info.shape[1], self.info.shape[2]), max(self.chunk)):
            try:
                self._chunk(i, j)
            except (Truncated, ChecksumMismatch, MalformedHeader) as error:
                lines.append(f"{type(error).__name__}: {error}")
        return lines

    def _chunk(self, row: int, col: int) -> AnyArray:
        bands = self.info.shape[0]
        key = f"{self.key}/c/{f'0/{row}/{col}' if bands > 1 else f'{row}/{col}'}"
        return _unpack(self.container.read(key), (bands, *self.chunk), self.info.dtype, key)


@dataclass(frozen=True)
class Beside:
    """What a store's metadata say of layers and documents.

    Attributes
    ----------
    parts : the `zarr.json` of every group and array beside the bands, by key, parents first
    listed : for the store's own description
    """

    parts: Mapping[str, dict[str, Any]]
    listed: Mapping[str, Any]

    @classmethod
    def of(cls, source: SceneSource) -> Beside:
        """What is to be said of a scene's."""
        listed = {
            "layers": _describe_layers(source),
            "documents": {name: len(data) for name, data in documents_of(source).items()},
        }
        return cls(_parts(source), {key: value for key, value in listed.items() if value})


def check_packable(source: SceneSource) -> None:
    """Refuse early what could not be kept: names that repeat, or a missing package.

    Raises
    ------
    InputError : two layers have one name
    MissingDependency : there are layers, and no numcodecs
    """
    names = [layer.info.name for layer in layers_of(source)]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise InputError(
            f"two layers are called {', '.join(sorted(double))}; rename or leave one out (--layers)"
        )
    if names or documents_of(source):
        _blosc()


def _parts(source: SceneSource) -> dict[str, dict[str, Any]]:
    files = documents_of(source)
    parts = array_documents(layers_of(source), source.info.crs_wkt, LAYERS)
    if files:
        parts[DOCUMENTS] = _group()
    for name, data in files.items():
        parts[f"{DOCUMENTS}/{name}"] = _array([len(data)], [len(data)], np.dtype(np.uint8), ["byte"], {})
    return {f"{key}/zarr.json": part for key, part in parts.items()}


def array_documents(layers: Sequence[Layer], crs_wkt: str | None, root: str) -> dict[str, dict[str, Any]]:
    """Metadata of the groups and arrays of layers, by path, parents first; `root` may be empty."""
    parts: dict[str, dict[str, Any]] = {root: _group()} if layers and root else {}
    for layer in layers:
        group = f"{root}/{layer.info.group}".lstrip("/")
        parts.setdefault(group, _group(geozarr_attributes(crs_wkt, layer.info.transform)))
        if layer.info.transform is not None or crs_wkt is not None:
            parts.setdefault(f"{group}/{GRID_MAPPING}", _grid_mapping(crs_wkt, layer.info))
        parts[f"{group}/{layer.info.name}"] = _layer_array(layer.info)
    return dict(sorted(parts.items()))  # readers of consolidated metadata want a group's members together


def write_layers(sink: Sink, source: SceneSource) -> int:
    """Put the chunks of all layers and documents; returns their bytes."""
    total = sum(write_array(sink, layer, LAYERS) for layer in layers_of(source))
    for name, content in documents_of(source).items():
        data = _pack(np.frombuffer(content, np.uint8))
        sink.put(f"{DOCUMENTS}/{name}/c/0", data)
        total += len(data)
    return total


def write_array(sink: Sink, layer: Layer, root: str) -> int:
    """Put the chunks of a layer; returns their bytes."""
    info = layer.info
    path = f"{root}/{info.group}/{info.name}/c/".lstrip("/") + ("0/" if info.shape[0] > 1 else "")
    total = 0
    for i, j, (rows, cols) in tile_windows((info.shape[1], info.shape[2]), CHUNK):
        chunk = np.zeros((info.shape[0], *_chunk_of(info)), info.dtype)
        pixels = layer.read(rows, cols)
        chunk[:, : pixels.shape[1], : pixels.shape[2]] = pixels
        data = _pack(chunk)
        sink.put(f"{path}{i}/{j}", data)
        total += len(data)
    return total


def stored_layers(container: Container, described: Sequence[Mapping[str, Any]]) -> tuple[StoredLayer, ...]:
    """The layers that a store's group document lists.

    Raises
    ------
    MalformedHeader : what it lists is not of this layout
    """
    try:
        return tuple(_stored(container, entry) for entry in described)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MalformedHeader):
            raise
        raise MalformedHeader(
            f"{container.name} has a layer with unreadable metadata ({type(error).__name__}: {error}); "
            "it is damaged or not written by eocodec"
        ) from error


def stored_documents(container: Container, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """The metadata documents by file name.

    Raises
    ------
    Truncated, ChecksumMismatch, MalformedHeader : one is missing or damaged
    """
    found = {}
    for name, size in sizes.items():
        key = f"{DOCUMENTS}/{name}/c/0"
        found[name] = _unpack(container.read(key), (int(size),), np.dtype(np.uint8), key).tobytes()
    return found


def _describe_layers(source: SceneSource) -> list[dict[str, Any]]:
    return [
        {
            "name": info.name,
            "path": f"{LAYERS}/{info.group}/{info.name}",
            "shape": list(info.shape),
            "dtype": info.dtype.name,
            **({} if info.transform is None else {"GeoTransform": geotransform(info.transform)}),
            **({} if info.nodata is None else {"nodata": number_to_json(info.nodata)}),
            "source": info.source,
            "tags": dict(info.tags),
        }
        for info in (layer.info for layer in layers_of(source))
    ]


def _stored(container: Container, entry: Mapping[str, Any]) -> StoredLayer:
    shape = tuple(int(size) for size in entry["shape"])
    dtype = np.dtype(entry["dtype"])
    path = str(entry["path"])
    if len(shape) != 3 or min(shape) < 1 or dtype.kind not in "iuf" or not path.startswith(f"{LAYERS}/"):
        raise MalformedHeader(f"{container.name}: layer {entry['name']} has shape {shape} and type {dtype}")
    info = LayerInfo(
        str(entry["name"]),
        (shape[0], shape[1], shape[2]),
        dtype,
        parse_geotransform(entry["GeoTransform"]) if "GeoTransform" in entry else None,
        number_from_json(entry.get("nodata")),
        str(entry.get("source", "")),
        dict(entry.get("tags", {})),
    )
    return StoredLayer(info, container, path, _chunk_of(info))


def _chunk_of(info: LayerInfo) -> tuple[int, int]:
    return min(CHUNK, info.shape[1]), min(CHUNK, info.shape[2])


def _group(attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}


def _layer_array(info: LayerInfo) -> dict[str, Any]:
    several = info.shape[0] > 1
    shape = list(info.shape) if several else list(info.shape[1:])
    chunk = [info.shape[0], *_chunk_of(info)] if several else list(_chunk_of(info))
    names = ([f"{info.name}_band"] if several else []) + ["y", "x"]
    attributes: dict[str, Any] = {"source": info.source, **info.tags, "grid_mapping": GRID_MAPPING}
    if info.nodata is not None and info.dtype.kind in "iu":
        attributes["_FillValue"] = info.nodata
    return _array(shape, chunk, info.dtype, names, attributes)


def _grid_mapping(crs_wkt: str | None, layer: LayerInfo) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if crs_wkt is not None:
        attributes["crs_wkt"] = crs_wkt
    if layer.transform is not None:
        attributes["GeoTransform"] = geotransform(layer.transform)
    part = _array([], [], np.dtype(np.int32), [], attributes)
    part["codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    return part


def _array(
    shape: list[int],
    chunk: list[int],
    dtype: np.dtype[Any],
    names: list[str],
    attributes: dict[str, Any],
) -> dict[str, Any]:
    level, block = BLOSC_WIDE if dtype.itemsize > 1 else BLOSC_BYTES
    blosc = {
        "cname": "zstd",
        "clevel": level,
        "shuffle": "shuffle" if dtype.itemsize > 1 else "noshuffle",
        "typesize": dtype.itemsize,
        "blocksize": block,
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}}
            if dtype.itemsize > 1
            else {"name": "bytes"},
            {"name": "blosc", "configuration": blosc},
            {"name": "crc32c"},
        ],
        "attributes": attributes,
        "dimension_names": names,
    }


def _pack(chunk: AnyArray) -> bytes:
    codecs = _blosc()
    is_wide = chunk.dtype.itemsize > 1
    level, block = BLOSC_WIDE if is_wide else BLOSC_BYTES
    shuffle = codecs.Blosc.SHUFFLE if is_wide else codecs.Blosc.NOSHUFFLE
    little = np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<"))
    data = bytes(codecs.Blosc("zstd", level, shuffle, block).encode(little))
    return data + struct.pack("<I", crc32c(data))


def _unpack(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], key: str) -> AnyArray:
    body, stored = data[:-4], data[-4:]
    if len(body) < BLOSC_HEADER:
        raise Truncated(f"{key} has {len(data)} bytes; fetch the file again")
    if struct.pack("<I", crc32c(body)) != stored:
        raise ChecksumMismatch(f"{key} does not match its CRC32C; fetch the file again")
    count = math.prod(shape)
    if count > MAX_ITEMS or struct.unpack_from("<I", body, 4)[0] != count * dtype.itemsize:
        raise MalformedHeader(f"{key} does not hold {shape} {dtype}; metadata and chunks do not fit")
    raw = _blosc().Blosc().decode(body)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _blosc() -> Any:
    """numcodecs, which comes with Zarr."""
    try:
        import numcodecs  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependency(
            "layers beside the bands take numcodecs; pip install numcodecs, or leave them out (--layers none)"
        ) from error
    return numcodecs
