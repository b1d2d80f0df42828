"""Keys and bytes of a Zarr store: a folder (`.zarr`), or an uncompressed ZIP (`.tec`), also behind a URL.

Reading from disk needs the standard library only. The ZIPs written here depend on their content alone: fixed
times and modes.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from eocodec.errors import (
    BadMagic,
    ChecksumMismatch,
    CodecError,
    InputError,
    MalformedHeader,
    RasterError,
    Truncated,
)
from eocodec.interop.remote import RemoteZip, is_url

TEC_SUFFIX = ".tec"
ZARR_SUFFIX = ".zarr"
ZIP_MAGIC = b"PK"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
ZIP_ENTRY_BYTES = 30 + 46  # local and central header; each holds the name besides
ZIP_END_BYTES = 22
# What the standard library raises on damaged archives: its own error, and those of fields that it believes.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
)


class Sink(Protocol):
    """Where a new store's keys go."""

    def put(self, key: str, data: bytes) -> None: ...

    def close(self) -> None: ...


class ZipSink:
    """A new `.tec`."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "x", compression=zipfile.ZIP_STORED, allowZip64=True)

    def put(self, key: str, data: bytes) -> None:
        """Append an entry."""
        entry = zipfile.ZipInfo(key, date_time=ZIP_EPOCH)
        entry.create_system = 3  # Unix, wherever this runs
        entry.external_attr = 0o100644 << 16
        self._zip.writestr(entry, data)

    def close(self) -> None:
        """Write the directory of entries."""
        self._zip.close()


class FolderSink:
    """A new `.zarr`."""

    def __init__(self, path: Path) -> None:
        self._root = path
        path.mkdir()

    def put(self, key: str, data: bytes) -> None:
        """Write a file."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def close(self) -> None:
        """Nothing is open."""


def new_sink(partial: Path, suffix: str) -> Sink:
    """A sink of the kind that the final name's suffix asks for."""
    return ZipSink(partial) if suffix == TEC_SUFFIX else FolderSink(partial)


def pack(folder: Path, path: Path) -> None:
    """Put a store's folder into a new `.tec`: large arrays first, documents last, next to the directory."""
    keys = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    array_of = {key: key.partition("/c")[0] for key in keys}
    totals: Counter[str] = Counter()
    for key in keys:
        totals[array_of[key]] += (folder / key).stat().st_size

    def place(key: str) -> tuple[Any, ...]:
        chunk = [int(part) for part in key.removeprefix(array_of[key]).split("/") if part.isdigit()]
        return key.endswith("zarr.json"), -totals[array_of[key]], array_of[key], chunk

    sink = ZipSink(path)
    try:
        for key in sorted(keys, key=place):
            sink.put(key, (folder / key).read_bytes())
    finally:
        sink.close()


def check_suffix(path: Path) -> None:
    """Raise InputError unless `path` ends in .tec or .zarr."""
    if path.suffix.lower() not in (TEC_SUFFIX, ZARR_SUFFIX):
        raise InputError(f"{path} does not end in .tec or .zarr; name the output so")


class Container:
    """A store opened for reading. `sizes` maps each key to its bytes."""

    def __init__(self, path: str | Path, storage_options: Mapping[str, Any] | None = None) -> None:
        """Open a store.

        Parameters
        ----------
        path : of a folder or a ZIP, or the URL of a ZIP
        storage_options : for the URL, as fsspec takes them (credentials and the like)

        Raises
        ------
        RasterError : nothing is there
        BadMagic : it is neither a folder nor a ZIP
        MissingDependency : a URL, without what it takes to read it
        """
        self.name = str(path)
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        self._remote: RemoteZip | None = None
        if not is_url(path) and self.path.is_dir():
            files = (file for file in self.path.rglob("*") if file.is_file())
            self.sizes = {file.relative_to(self.path).as_posix(): file.stat().st_size for file in files}
            return
        try:
            self._zip = self._open_zip(storage_options)
        except CodecError:
            raise
        except ZIP_ERRORS as error:
            raise BadMagic(
                f"{path} is not a .tec file ({error}); it is damaged, incomplete or of another kind"
            ) from error
        except OSError as error:
            raise RasterError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
        self.sizes = {entry.filename: entry.file_size for entry in self._zip.infolist()}

    def _open_zip(self, storage_options: Mapping[str, Any] | None) -> zipfile.ZipFile:
        if is_url(self.name):
            self._remote = RemoteZip(self.name, storage_options)
            return self._remote.directory
        if not self.path.exists():
            raise RasterError(f"{self.name} does not exist; check the path")
        return zipfile.ZipFile(self.path)

    def read(self, key: str) -> bytes:
        """Bytes of a key.

        Raises
        ------
        Truncated : the key is not there
        ChecksumMismatch : the ZIP's own checksum disagrees
        MalformedHeader : the entry is compressed
        """
        self._check_stored(key)
        try:
            if self._remote is not None:
                return self._remote.read(key)
            return self._zip.read(key) if self._zip else (self.path / key).read_bytes()
        except (KeyError, FileNotFoundError) as error:
            raise Truncated(f"{self.name} lacks {key}; the copy is incomplete, fetch it again") from error
        except CodecError:
            raise
        except ZIP_ERRORS as error:
            raise ChecksumMismatch(
                f"{self.name}: {key} is damaged ({error}); fetch the file again"
            ) from error
        except OSError as error:
            raise RasterError(f"{self.name}: {key} cannot be read ({error}); check the disk") from error

    def _check_stored(self, key: str) -> None:
        """A stored entry cannot be larger than its file, a compressed one could promise anything."""
        if self._zip is None or key not in self.sizes:
            return
        entry = self._zip.getinfo(key)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise MalformedHeader(
                f"{self.name}: {key} is compressed; a .tec is a ZIP with stored entries only"
            )

    def total_bytes(self) -> int:
        """Bytes of the ZIP with its headers, or of all files."""
        if self._remote is not None:
            return self._remote.size
        return self.path.stat().st_size if self._zip else sum(self.sizes.values())

    def close(self) -> None:
        """Close the ZIP."""
        if self._zip is not None:
            self._zip.close()

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
