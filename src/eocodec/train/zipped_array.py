"""One array of a Zarr v2 store in a ZIP, read a few chunks at a time: the form SSL4EO-S12 v1.1 comes in.

Written for training: no Zarr library, so nothing to import or keep open in the processes that read, and any
seekable file will do, such as a member of a tar.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from eocodec.errors import RasterError
from eocodec.types import AnyArray

_UNREADABLE = (OSError, KeyError, ValueError, TypeError, BadZipFile, RuntimeError)


class ZippedArray:
    """The array `name` of a store.

    Parameters
    ----------
    file : the ZIP, open as long as this is read from; label : of it, for messages

    Raises
    ------
    RasterError : no such array, or not of Zarr v2
    """

    def __init__(self, file: IO[bytes], name: str, label: str) -> None:
        import numcodecs  # type: ignore[import-untyped]

        self._name, self._label = name, label
        try:
            self._zip = ZipFile(file)
            meta: dict[str, Any] = json.loads(self._zip.read(f"{name}/.zarray"))
            self.shape = tuple(int(n) for n in meta["shape"])
            self.dtype = np.dtype(meta["dtype"])
            self._chunks = tuple(int(n) for n in meta["chunks"])
            self._separator = meta.get("dimension_separator", ".")
            self._order, self._fill = meta["order"], meta["fill_value"] or 0
            codecs = [*(meta["filters"] or []), *([meta["compressor"]] if meta["compressor"] else [])]
            self._codecs = [numcodecs.get_codec(codec) for codec in codecs]
        except _UNREADABLE as error:
            raise RasterError(f"{label}: no Zarr v2 array {name!r} that can be read ({error})") from error
        self._keys = set(self._zip.namelist())

    def read(self, lead: Sequence[int]) -> AnyArray:
        """What is at the indices `lead` of the leading dimensions, all of the others.

        Raises
        ------
        RasterError : a chunk is damaged
        """
        inner = len(lead)
        shape, chunks = self.shape[inner:], self._chunks[inner:]
        out = np.full(shape, self._fill, self.dtype)
        within = tuple(i % c for i, c in zip(lead, self._chunks, strict=False))
        first = tuple(i // c for i, c in zip(lead, self._chunks, strict=False))
        for grid in itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True))):
            chunk = self._chunk((*first, *grid))
            if chunk is None:
                continue
            begin = [g * c for g, c in zip(grid, chunks, strict=True)]
            size = [min(c, n - b) for c, n, b in zip(chunks, shape, begin, strict=True)]
            to = tuple(slice(b, b + s) for b, s in zip(begin, size, strict=True))
            out[to] = chunk[within][tuple(slice(s) for s in size)]
        return out

    def _chunk(self, index: tuple[int, ...]) -> AnyArray | None:
        """A decoded chunk, or None where none is stored."""
        key = f"{self._name}/{self._separator.join(map(str, index))}"
        if key not in self._keys:
            return None
        try:
            data: Any = self._zip.read(key)
            for codec in reversed(self._codecs):
                data = codec.decode(data)
            return np.frombuffer(data, self.dtype).reshape(self._chunks, order=self._order)
        except _UNREADABLE as error:
            raise RasterError(f"{self._label}: {key} is damaged ({error})") from error
