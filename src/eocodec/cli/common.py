"""What several commands share: options, parameter types, the progress bar, threads."""

from __future__ import annotations

import functools
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import click

STDERR_FD = 2
LIBTIFF_NOISE = (b"_tiffWriteProc", b"_tiffSeekProc", b"_tiffReadProc")
DEBUG_KEY = "eocodec.debug"
Command = TypeVar("Command", bound=Callable[..., Any])


def debug_option(command: Command) -> Command:
    """Add --debug, which the group reads when an error passes it."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[DEBUG_KEY] = value or ctx.meta.get(DEBUG_KEY, False)  # the group has the option too

    option = click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of an error."
    )
    return option(command)


FORCE = click.option("--force", is_flag=True, help="Replace the output if it exists.")
QUIET = click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
PROGRESS = click.option(
    "--progress/--no-progress", default=None, help="Draw a progress bar.  [default: on a terminal]"
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")


def run_options(command: Command) -> Command:
    """Add --force, --threads, --quiet, --progress, --json, --gdal and --debug; `Run` has what they say."""
    options = (
        FORCE,
        click.option(
            "--threads", type=click.IntRange(min=1), help="Threads of the network; all cores if not given."
        ),
        QUIET,
        PROGRESS,
        JSON,
        click.option("--gdal", multiple=True, metavar="KEY=VALUE", help="Set an option of GDAL; repeatable."),
        debug_option,
    )

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:
        run = Run(**{name: values.pop(name) for name in Run.__dataclass_fields__})
        return command(run=run, **values)

    decorated: Any = gathered
    for option in reversed(options):
        decorated = option(decorated)
    return cast("Command", decorated)


@dataclass(frozen=True)
class Run:
    """How a command is to run: the values of `run_options`.

    Attributes
    ----------
    force, threads, quiet, progress, as_json, gdal : as their options; progress None: on a terminal
    """

    force: bool
    threads: int | None
    quiet: bool
    progress: bool | None
    as_json: bool
    gdal: tuple[str, ...]


class NumberType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on only
    """An integer where it is written as one, else a float; 'nan' allowed."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Parse the text of an option."""
        if isinstance(value, int | float):
            return value
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        return int(number) if math.isfinite(number) and number == int(number) else number


class BboxType(click.ParamType):  # type: ignore[type-arg]
    """Four numbers: left, bottom, right, top."""

    name = "left,bottom,right,top"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float, float]:
        """Parse the text of an option."""
        if isinstance(value, tuple):
            return value  # type: ignore[return-value]
        try:
            left, bottom, right, top = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not four numbers such as 500000,5800000,510000,5810000", param, ctx)
        return left, bottom, right, top


class BandListType(click.ParamType):  # type: ignore[type-arg]
    """Band names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split the text of an option."""
        return value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))


def limit_threads(threads: int | None) -> None:
    """Bound the network's threads; must run before torch is imported to reach every library."""
    if threads is None:
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS"):
        os.environ[name] = str(threads)
    import torch

    torch.set_num_threads(threads)


@contextmanager
def progress_bar(
    title: str, *, quiet: bool, wanted: bool | None = None, unit: str = "tiles"
) -> Iterator[Callable[[int, int], None] | None]:
    """A progress callback (done, total) that draws on standard error, or None where nobody watches.

    Parameters
    ----------
    wanted : draw it; None: on a terminal
    unit : what is counted
    """
    if quiet or not (sys.stderr.isatty() if wanted is None else wanted):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    # A file of its own, so that the bar goes on where `libtiff_silenced` has taken the standard one away.
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w") as stream,
        Progress(*columns, console=Console(file=stream), transient=True) as bar,
    ):
        task = bar.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


@contextmanager
def libtiff_silenced() -> Iterator[None]:
    """Drop what libtiff prints by itself when a write fails; anything else on standard error is passed on.

    It writes to file descriptor 2, a line for each block of a file that the disk has no room for.
    """
    sys.stderr.flush()
    saved = os.dup(STDERR_FD)
    try:
        with tempfile.TemporaryFile() as captured:
            os.dup2(captured.fileno(), STDERR_FD)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(saved, STDERR_FD)
                captured.seek(0)
                for line in captured:
                    if not line.startswith(LIBTIFF_NOISE):
                        os.write(STDERR_FD, line)
    finally:
        os.close(saved)


def human_bytes(count: int) -> str:
    """'1.23 MB'; powers of 1000, three figures."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{count} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
