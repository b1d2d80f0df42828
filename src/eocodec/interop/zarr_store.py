"""`TecStore`: a `.tec`, on disk or behind a URL, as a read-only store of Zarr.

>>> zarr.open_group(TecStore("https://example.com/scene.tec"), mode="r")["dn"]
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from eocodec.errors import OutputError
from eocodec.interop.container import Container

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


class TecStore(Store):
    """Keys of a `.tec`. It pickles as its path, so that workers of a cluster open it anew.

    Errors of `eocodec.interop.container.Container`; writing raises OutputError.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, path: str | Path, storage_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(read_only=True)
        self._given = (str(path), dict(storage_options or {}))
        self._container = Container(*self._given)
        self._is_open = True

    def __reduce__(self) -> tuple[type[TecStore], tuple[str, dict[str, Any]]]:
        return TecStore, self._given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TecStore) and self._given == other._given

    def __hash__(self) -> int:
        return hash(self._given[0])

    def __repr__(self) -> str:
        return f"TecStore({self._given[0]!r})"

    def with_read_only(self, read_only: bool = False) -> TecStore:
        """This store; a `.tec` cannot be written to."""
        if not read_only:
            self._refuse()
        return self

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._container.close()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of a key, or None where there is no such key."""
        if key not in self._container.sizes:
            return None
        data = await asyncio.to_thread(self._container.read, key)
        return prototype.buffer.from_bytes(data[_as_slice(byte_range)])

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several of `get`, at the same time."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._container.sizes

    async def getsize(self, key: str) -> int:
        """Bytes of a key."""
        return self._container.sizes[key]

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in self._container.sizes:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with `prefix`."""
        for key in self._container.sizes:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names right below `prefix`."""
        stem = f"{prefix.rstrip('/')}/" if prefix else ""
        names = (key.removeprefix(stem) for key in self._container.sizes if key.startswith(stem))
        for name in dict.fromkeys(name.split("/")[0] for name in names):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Not possible."""
        self._refuse()

    async def delete(self, key: str) -> None:
        """Not possible."""
        self._refuse()

    def _refuse(self) -> None:
        raise OutputError(f"{self._given[0]} is read-only, as every .tec is; write a .zarr to add to it")


def _as_slice(byte_range: ByteRequest | None) -> slice:
    match byte_range:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(-suffix, None)
        case _:
            return slice(None)
