"""Outputs that are either complete or absent: a temporary place beside the target, then one rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eocodec.errors import OutputError, OutputExists


def check_output(target: Path, *, force: bool) -> None:
    """Refuse early what would fail late.

    Raises
    ------
    OutputExists : the target is there and `force` is False
    OutputError : the folder to write into is missing or is not a folder
    """
    parent = target.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {parent} does not exist; create it first")
    if (target.exists() or target.is_symlink()) and not force:
        raise OutputExists(f"{target} exists already; add --force to replace it, or name another output")


@contextmanager
def atomic_output(target: Path, *, force: bool = False, durable: bool = True) -> Iterator[Path]:
    """Give a path to write to (file or folder) that becomes `target` when the block ends without an error.

    With `durable` the bytes of a file are on the disk before it gets its name; without, a power failure soon
    afterwards may leave it incomplete, which is good enough for what can be made again.

    Whatever ends the block early, Ctrl-C included, leaves nothing behind and `target` as it was.

    Raises
    ------
    OutputExists : as in `check_output`; also when the target appeared meanwhile
    OutputError : the operating system refused a write, such as on a full disk
    """
    check_output(target, force=force)
    try:
        # A folder of our own also catches side files that a driver writes beside the one asked for.
        workplace = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.absolute().parent)
        )
    except OSError as error:
        raise write_failure(target, error.strerror or str(error)) from error
    try:
        # The inner name must not be private to this user, as mkdtemp's is: it becomes the output.
        partial = workplace / target.name
        yield partial
        if durable:
            _flush(partial)
        check_output(target, force=force)
        replace_output(partial, target, workplace)
    except OSError as error:
        raise write_failure(target, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def write_failure(target: Path, cause: str) -> OutputError:
    """One line for a failed write: what, why, and what to do about it."""
    return OutputError(
        f"cannot write {target}: {cause}; nothing was changed, free space there or choose another folder"
    )


def _flush(partial: Path) -> None:
    """Force a file to the disk, so that the rename never publishes a file whose bytes are not there."""
    if partial.is_file():
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())


def replace_output(partial: Path, target: Path, workplace: Path) -> None:
    """Move `partial` to `target`; a folder cannot be renamed over another, so the old one steps aside.

    Parameters
    ----------
    workplace : where it steps to; a folder of the same file system
    """
    if not (target.is_dir() and not target.is_symlink()) and partial.is_file():
        partial.replace(target)
        return
    if not (target.exists() or target.is_symlink()):
        partial.rename(target)
        return
    aside = workplace / f"{target.name}.previous"
    target.rename(aside)
    try:
        partial.rename(target)
    except BaseException:
        aside.rename(target)
        raise
