"""The folder of an archive: one run at a time, outputs that appear whole, nothing done twice.

Workers write below `.encoding/<run>/` and rename what is finished to its name. Before that, they leave an
entry beside, so that a run that is killed between the two has not lost what it has done. The next run moves
the folder of a killed one aside before anything else: what still writes there finds no way to a name.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from eocodec.errors import OutputError
from eocodec.interop.atomic import check_output, replace_output, write_failure
from eocodec.interop.scale.manifest import Entry

WORK = ".encoding"
LOCK = "lock"
OWNER = "owner"  # in a run's folder while the run has not ended
ENTRY_SUFFIX = ".entry"
ENDED = ".ended"


@contextmanager
def open_folder(out: Path) -> Iterator[tuple[Path, list[Entry]]]:
    """Take a folder for a run; gives the run's own folder in it, and entries that killed runs left.

    Raises
    ------
    OutputError : another run has it, or it cannot be written
    """
    with ExitStack() as stack:
        try:
            work = out / WORK
            work.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(work / LOCK, out))
            left = [entry for run in sorted(work.iterdir()) if run.is_dir() for entry in _cleared(run, out)]
            run = work / uuid.uuid4().hex[:12]
            run.mkdir()
            (run / OWNER).touch()
        except OSError as error:
            raise write_failure(out, error.strerror or str(error)) from error
        stack.callback(_end, work, run)
        yield run, left


def _end(work: Path, run: Path) -> None:
    """Nothing of a run stays but its outputs; the lock goes with the folder."""
    (run / OWNER).unlink(missing_ok=True)
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(path: Path, out: Path) -> Iterator[None]:
    """Hold a lock that the system takes back when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows; two runs at once are not noticed there
        yield
        return
    while True:
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"another run writes to {out}; wait for it, or choose another") from error
            except OSError:  # a file system that knows no locks
                pass
            # The run before may have removed the file that was just opened.
            if path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                yield
                return


def _cleared(run: Path, out: Path) -> list[Entry]:
    """Remove what a killed run left; gives the entries of outputs that it finished."""
    aside = run.with_suffix(ENDED)
    if run != aside:
        run.rename(aside)
    found = [_finished(path, out) for path in sorted(aside.glob(f"*{ENTRY_SUFFIX}"))]
    shutil.rmtree(aside, ignore_errors=True)
    return [entry for entry in found if entry is not None]


def _finished(path: Path, out: Path) -> Entry | None:
    """The entry in a file, if the output that it speaks of is there under its name."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        inode, entry = content["inode"], content["entry"]
        # Renaming keeps it: this is the very file or folder, not one that it was to replace.
        return entry if (out / entry["output"]).stat().st_ino == inode else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def finished_before(run: Path, out: Path, output: str) -> Entry | None:
    """The entry of an output that this run has published already, for a worker that was told to make it."""
    return _finished(run / f"{output}{ENTRY_SUFFIX}", out)


def publish(made: Path, out: Path, entry: Entry, *, force: bool) -> None:
    """Give a finished file or folder its name in the archive.

    Parameters
    ----------
    made : in the run's folder
    entry : for the manifest; its `output` is the name

    Raises
    ------
    OutputExists : the name is taken, and `force` is False
    OutputError : the run has ended meanwhile, or nothing can be written
    """
    run, target = made.parent, out / str(entry["output"])
    try:
        partial = run / f"{made.name}{ENTRY_SUFFIX}.partial"
        partial.write_text(json.dumps({"inode": made.stat().st_ino, "entry": entry}), encoding="utf-8")
        partial.replace(run / f"{made.name}{ENTRY_SUFFIX}")
        check_output(target, force=force)
        if not (run / OWNER).exists():
            raise OutputError(f"{target} is not written: the run that it belongs to has ended")
        replace_output(made, target, run)
    except OSError as error:
        raise write_failure(target, error.strerror or str(error)) from error
