"""What became of each source: JSON lines, the last one of a source counts.

A line is appended in one write and flushed to the disk. What a kill leaves of a line at the end is not read;
the next run writes the whole anew, one line a source, before it appends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eocodec.errors import InputError
from eocodec.interop.atomic import write_failure

MANIFEST = "manifest.jsonl"
Entry = Mapping[str, Any]
NEEDED = ("source", "output", "request", "status", "error")
NEEDED_IF_OK = ("bytes", "beside_bytes", "raw_bytes")


def read_manifest(path: Path) -> dict[str, Entry]:
    """The last entry of each source, in the order in which they came first; none where there is no file.

    Raises
    ------
    InputError : a line other than the last is no entry
    """
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line) if line else None
            if entry is not None:
                entries[str(entry["source"])] = _checked(entry)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # no line break after it: cut off while it was written
                break
            raise InputError(
                f"line {number} of {path} is no entry ({error}); the file is damaged: remove that line"
            ) from error
    return entries


class Manifest:
    """The manifest of a run; `entries` are those of all runs so far, by source."""

    def __init__(self, path: Path, workplace: Path) -> None:
        """Read it, and make it whole.

        Parameters
        ----------
        workplace : a folder of the same file system, to write to before renaming

        Raises
        ------
        InputError : as `read_manifest`; OutputError : it cannot be written
        """
        self.path, self._workplace = path, workplace
        self.entries = read_manifest(path)
        self.compact()

    def append(self, entry: Entry) -> None:
        """Add what became of a source.

        Raises
        ------
        OutputError : it cannot be written
        """
        self.entries[str(entry["source"])] = entry
        self._write(self.path, "ab", _line(entry))

    def compact(self, last: Sequence[str] = ()) -> None:
        """Write it anew with one line a source, all at once; those of the sources `last` come last."""
        moved = set(last)
        others = [source for source in self.entries if source not in moved]
        self.entries = {source: self.entries[source] for source in (*others, *last)}
        if self.entries:
            partial = self._workplace / self.path.name
            self._write(partial, "wb", b"".join(map(_line, self.entries.values())))
            partial.replace(self.path)

    def _write(self, path: Path, mode: str, data: bytes) -> None:
        try:
            with path.open(mode) as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise write_failure(self.path, error.strerror or str(error)) from error


def _checked(entry: Entry) -> Entry:
    """Raise KeyError unless everything is there that a later run relies on."""
    for key in (*NEEDED, *(NEEDED_IF_OK if entry["status"] == "ok" else ())):
        entry[key]
    return entry


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
