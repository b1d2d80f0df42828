"""Scenes as `.tec` and `.zarr` stores: written and read by tiles, a few in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eocodec.errors import InputError, MalformedHeader
from eocodec.interop.atomic import atomic_output, check_output
from eocodec.interop.container import (
    ZARR_SUFFIX,
    ZIP_END_BYTES,
    ZIP_ENTRY_BYTES,
    Container,
    check_suffix,
    new_sink,
)
from eocodec.interop.layer_store import (
    Beside,
    check_packable,
    stored_documents,
    stored_layers,
    write_layers,
)
from eocodec.interop.metadata import (
    ARRAY_KEY,
    GRID_MAPPING_KEY,
    GROUP_KEY,
    StoreLayout,
    documents,
    read_layout,
)
from eocodec.interop.scene import (
    Progress,
    SceneInfo,
    SceneSource,
    TileBatch,
    TileWindow,
    Window,
    read_ahead,
    tile_batches,
    tile_windows,
)
from eocodec.types import AnyArray

if TYPE_CHECKING:
    from eocodec.options import EncodeOptions

DEFAULT_TILE = 512
MIN_TILE, MAX_TILE = 16, 4096


@dataclass(frozen=True)
class WriteReport:
    """What was written: bytes of the file(s), and of them the codestreams' and the layers' and documents'."""

    total_bytes: int
    codestream_bytes: int
    tiles: int
    beside_bytes: int = 0


def write_store(
    path: str | Path,
    source: SceneSource,
    options: EncodeOptions,
    *,
    tile: int = DEFAULT_TILE,
    force: bool = False,
    progress: Progress | None = None,
) -> WriteReport:
    """Encode a scene tile by tile into a new `.tec` or `.zarr`.

    Parameters
    ----------
    options : settings; its nodata should be the scene's
    tile : rows and columns of a tile
    progress : called with (tiles written, tiles in all)

    Raises
    ------
    InputError : `path` has another suffix, or `tile` is out of range
    OutputExists, OutputError : as in `eocodec.interop.atomic.atomic_output`
    """
    from eocodec import codec

    target = Path(path)
    check_suffix(target)
    if not MIN_TILE <= tile <= MAX_TILE:
        raise InputError(f"tile is {tile} pixels; give {MIN_TILE} to {MAX_TILE}, best {DEFAULT_TILE}")
    check_output(target, force=force)
    check_packable(source)
    is_folder = target.suffix.lower() == ZARR_SUFFIX
    windows = list(tile_windows(source.info.shape[1:], tile))
    coded = 0
    with atomic_output(target, force=force) as partial:
        sink = new_sink(partial, target.suffix.lower())
        try:
            done = 0
            with closing(read_ahead(source, windows, tile)) as batches:
                for batch, tiles in batches:
                    streams = codec.encode_batch(tiles, options)
                    for (i, j, _), stream in zip(batch, streams, strict=True):
                        sink.put(f"dn/c/0/{i}/{j}", stream)
                        coded += len(stream)
                    done += len(batch)
                    if progress is not None:
                        progress(done, len(windows))
            beside_bytes = write_layers(sink, source)
            # Last, beside a ZIP's directory, where one request gets them all.
            found = documents(source.info, options, tile, consolidated=is_folder, beside=Beside.of(source))
            for key, document in found.items():
                sink.put(key, document)
        finally:
            sink.close()
    with Container(target) as written:
        return WriteReport(written.total_bytes(), coded, len(windows), beside_bytes)


def overhead_bytes(
    info: SceneInfo, options: EncodeOptions, tile: int, suffix: str, beside: Beside | None = None
) -> int:
    """Bytes of a store beside its codestreams; of `beside` only what the metadata say."""
    is_folder = suffix.lower() == ZARR_SUFFIX
    found = documents(info, options, tile, consolidated=is_folder, beside=beside)
    total = sum(map(len, found.values()))
    if is_folder:
        return total
    tiles = [f"dn/c/0/{i}/{j}" for i, j, _ in tile_windows(info.shape[1:], tile)]
    names = [*found, *tiles]
    return total + ZIP_END_BYTES + sum(ZIP_ENTRY_BYTES + 2 * len(name) for name in names)


class StoreSource:
    """A store opened as a scene; tiles are decoded when a window touches them."""

    def __init__(self, path: str | Path) -> None:
        """Open a store and read its metadata.

        Raises
        ------
        RasterError, BadMagic, Truncated, ChecksumMismatch : there is no whole store at `path`
        MalformedHeader : its metadata are not those of this layout
        """
        self.container = Container(path)
        self.layout = load_layout(self.container)
        self.layers = stored_layers(self.container, self.layout.layers)
        self.path = str(path)

    @property
    def documents(self) -> dict[str, bytes]:
        """The product's metadata documents by file name.

        Raises
        ------
        CodestreamError : one is missing or damaged
        """
        return stored_documents(self.container, self.layout.documents)

    @property
    def info(self) -> SceneInfo:
        """The scene's description."""
        return self.layout.info

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window; explicit start and stop.

        Raises
        ------
        CodestreamError : a tile is missing, damaged, or not of the size that the metadata say
        """
        out = np.empty(
            (self.info.shape[0], rows.stop - rows.start, cols.stop - cols.start), dtype=self.info.dtype
        )
        touched = list(self._touched(rows, cols))
        for batch in tile_batches(touched, max(self.layout.tile)):
            for (_, _, window), tile in zip(batch, self._decode(batch), strict=True):
                _paste(out, tile, window, (rows, cols))
        return out

    def read_tiles(self, batch: TileBatch) -> list[AnyArray]:
        """Pixels of several windows, as they are decoded where the windows are tiles of the store.

        Errors of `read`.
        """
        if all(list(self._touched(*at[2])) == [at] for at in batch):
            return self._decode(batch)
        return [self.read(*window) for _, _, window in batch]

    def _decode(self, batch: TileBatch) -> list[AnyArray]:
        from eocodec import codec

        tiles = codec.decode_batch([self.container.read(self.layout.chunk_key(i, j)) for i, j, _ in batch])
        for (i, j, window), tile in zip(batch, tiles, strict=True):
            _check_tile(self.path, (i, j), tile, self.info, window)
        return tiles

    def _touched(self, rows: slice, cols: slice) -> Iterator[TileWindow]:
        _, height, width = self.info.shape
        tall, wide = self.layout.tile
        for i in range(rows.start // tall, -(-rows.stop // tall)):
            for j in range(cols.start // wide, -(-cols.stop // wide)):
                tile_rows = slice(i * tall, min((i + 1) * tall, height))
                yield i, j, (tile_rows, slice(j * wide, min((j + 1) * wide, width)))

    def close(self) -> None:
        """Close the file."""
        self.container.close()


def load_layout(container: Container) -> StoreLayout:
    """Read and check the metadata documents of a store."""
    keys = [GROUP_KEY, ARRAY_KEY, *([GRID_MAPPING_KEY] if GRID_MAPPING_KEY in container.sizes else [])]
    return read_layout(container.name, {key: container.read(key) for key in keys})


def _check_tile(
    where: str, position: tuple[int, int], tile: AnyArray, info: SceneInfo, window: Window
) -> None:
    rows, cols = window
    expected = (info.shape[0], rows.stop - rows.start, cols.stop - cols.start)
    if tile.shape != expected or tile.dtype != info.dtype:
        raise MalformedHeader(
            f"{where}: tile {position} decodes to {tile.shape} {tile.dtype}, "
            f"expected {expected} {info.dtype}; tiles and metadata do not belong together"
        )


def _paste(out: AnyArray, tile: AnyArray, window: Window, wanted: Window) -> None:
    """Copy what the tile and the wanted window share."""
    (tile_rows, tile_cols), (rows, cols) = window, wanted
    top, bottom = max(tile_rows.start, rows.start), min(tile_rows.stop, rows.stop)
    left, right = max(tile_cols.start, cols.start), min(tile_cols.stop, cols.stop)
    out[:, top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = tile[
        :,
        top - tile_rows.start : bottom - tile_rows.start,
        left - tile_cols.start : right - tile_cols.start,
    ]
