"""A ZIP behind a URL, read with few requests: its end once, then every entry in one piece.

The end of a `.tec` holds the ZIP's directory and the metadata documents, so that one request opens a scene of
up to about a thousand tiles, and one more reads each tile. Any protocol that fsspec knows and that can read
ranges will do: https, s3, gs, memory.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eocodec.errors import MissingDependency, RasterError

END_BYTES = 64 * 1024  # a scene of 10 980 x 10 980 pixels in tiles of 512 has a directory of 30 kB
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
LOCAL_MAGIC = b"PK\x03\x04"
DIRECTORY_END = b"PK\x05\x06"
DIRECTORY_END_64 = b"PK\x06\x06"
LOCATOR_64 = b"PK\x06\x07"
LOCATOR_64_BYTES = 20


def is_url(path: str | Path) -> bool:
    """Whether `path` names a protocol, as in `https://host/scene.tec`."""
    return "://" in str(path)


def fetch(url: str) -> bytes:
    """A whole document behind a URL.

    Raises
    ------
    MissingDependency, RasterError : as `RemoteFile` does
    """
    fs, path = _file_system(url, None)
    return _cat(fs, path, url)


def _file_system(url: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    """fsspec's file system for a URL, and its name for the file."""
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url, **(storage_options or {}))
    except ImportError as error:
        raise MissingDependency(
            f"{url} cannot be read ({error}); pip install 'eocodec[remote]', or download the file"
        ) from error
    except ValueError as error:
        raise RasterError(f"{url} is of an unknown protocol ({error}); check the address") from error
    return fs, str(path)


def _cat(fs: Any, path: str, url: str, start: int | None = None, stop: int | None = None) -> bytes:
    try:
        return bytes(fs.cat_file(path, start=start, end=stop))
    except FileNotFoundError as error:
        raise RasterError(f"{url} does not exist; check the address") from error
    except _transport_errors() as error:
        raise RasterError(f"{url} cannot be read ({error}); check address and access") from error


class RemoteFile:
    """A file behind a URL whose end is kept in memory.

    Raises
    ------
    MissingDependency : fsspec, or its part for the protocol, is not installed
    RasterError : nothing is there, or the server refuses
    zipfile.BadZipFile : it does not end like a ZIP
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.url = url
        self._fs, self._path = _file_system(url, storage_options)
        self._end = self._fetch(-END_BYTES, None)
        self._end_start = _position_of(self._end)
        self.size = self._end_start + len(self._end)

    def read_at(self, start: int, stop: int) -> bytes:
        """Bytes from `start` to before `stop`; only those that are not in memory are fetched."""
        stop = min(stop, self.size)
        if start >= self._end_start:
            return self._end[start - self._end_start : stop - self._end_start]
        middle = min(stop, self._end_start)
        data = self._fetch(start, middle)
        if len(data) != middle - start:
            raise RasterError(
                f"{self.url}: {middle - start} bytes were asked for, {len(data)} came; the server does not "
                "serve ranges, download the file"
            )
        return data + self._end[: stop - middle]

    def _fetch(self, start: int, stop: int | None) -> bytes:
        return _cat(self._fs, self._path, self.url, start, stop)


class RemoteZip:
    """Entries of a ZIP behind a URL; errors of `RemoteFile` and those of `zipfile`. Safe in threads."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._file = RemoteFile(url, storage_options)
        self.directory = zipfile.ZipFile(_Seekable(self._file))
        starts = sorted(entry.header_offset for entry in self.directory.infolist())
        self._stops = dict(zip(starts, [*starts[1:], self.directory.start_dir], strict=True))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def read(self, key: str) -> bytes:
        """Bytes of a stored entry, checked against the directory's CRC; header and content in one request."""
        entry = self.directory.getinfo(key)
        data = self._file.read_at(entry.header_offset, self._stops[entry.header_offset])
        magic, name_bytes, extra_bytes = LOCAL_HEADER.unpack_from(data)
        start = LOCAL_HEADER.size + name_bytes + extra_bytes
        content = data[start : start + entry.file_size]
        if magic != LOCAL_MAGIC or zlib.crc32(content) != entry.CRC:
            raise zipfile.BadZipFile(f"bad CRC-32 for file {key!r}")
        return content


class _Seekable(io.RawIOBase):
    """What `zipfile` needs of a file to read its directory."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if self._at < 0:
            raise OSError(f"seek to {self._at}")  # as files do; zipfile takes it for "no ZIP"
        return self._at

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._file.size if size < 0 else self._at + size
        data = self._file.read_at(self._at, max(stop, self._at))
        self._at += len(data)
        return data


def _position_of(end: bytes) -> int:
    """Where in its ZIP the bytes `end` begin, from what the directory's last record says of itself."""
    at = end.rfind(DIRECTORY_END)
    if at < 0 or len(end) < at + 20:
        raise zipfile.BadZipFile("File is not a zip file")
    directory_bytes, directory_start = struct.unpack_from("<II", end, at + 12)
    start = int(directory_bytes) + int(directory_start) - at
    locator = at - LOCATOR_64_BYTES
    if locator >= 0 and end[locator : locator + 4] == LOCATOR_64:  # above 4 GB or 65 535 entries
        (record_start,) = struct.unpack_from("<Q", end, locator + 8)
        start = int(record_start) - end.rfind(DIRECTORY_END_64, 0, locator)
    if start < 0:
        raise zipfile.BadZipFile("File is not a zip file")
    return start


def _transport_errors() -> tuple[type[Exception], ...]:
    """What file systems raise when a server refuses; aiohttp's own only where it is in use."""
    aiohttp = sys.modules.get("aiohttp")
    return (OSError, aiohttp.ClientError) if aiohttp is not None else (OSError,)
