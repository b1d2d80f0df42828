"""The `eocodec` command. Each command's module is imported when the command is used, not before."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import traceback
import warnings
from collections.abc import Mapping
from types import FrameType
from typing import Any

import click

from eocodec._version import __version__
from eocodec.cli.common import DEBUG_KEY, debug_option
from eocodec.errors import CodecError

COMMANDS = {
    "encode": ("eocodec.cli.convert", "encode", "Compress a scene to .tec or .zarr."),
    "encode-many": ("eocodec.cli.many", "encode_many_command", "Compress an archive, many scenes at a time."),
    "decode": ("eocodec.cli.convert", "decode", "Decode a .tec or .zarr to a GeoTIFF, band files or Zarr."),
    "info": ("eocodec.cli.examine", "info", "Show what an encoded file holds."),
    "validate": ("eocodec.cli.examine", "validate", "Check structure and checksums of an encoded file."),
    "truncate": ("eocodec.cli.truncate", "truncate", "Cut a file of the model flextec to fewer tokens."),
    "inpaint": ("eocodec.cli.inpaint", "inpaint", "Fill clouds from the other dates of a series."),
    "compare": ("eocodec.cli.compare", "compare", "Measure how two scenes differ."),
    "models": ("eocodec.cli.models", "models", "List models, get published ones, import checkpoints."),
    "train": ("eocodec.cli.train", "train", "Train a model from a configuration."),
    "curves": ("eocodec.cli.train", "curves", "Plot the logs of training runs."),
    "bench": ("eocodec.cli.bench", "bench", "Measure rate and distortion, speed, and exactness."),
    "report": ("eocodec.cli.report", "report", "Turn benchmark results into one HTML page."),
    "demo": ("eocodec.cli.demo", "demo", "Compress a sample scene, restore it, show figures and a picture."),
}
EXIT_ERROR = 2  # of bad input, a full disk and an interruption alike


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one to run it; errors become one line.

    Attributes
    ----------
    lazy : module, name in it and summary of each command
    """

    lazy: Mapping[str, tuple[str, str, str]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the workflow."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; help pages of the group need no import."""
        if cmd_name not in self.lazy:
            return None
        module, name, _ = self.lazy[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in self.lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises on purpose is printed as one line, with the traceback if asked."""
        try:
            return super().invoke(ctx)
        except CodecError as error:
            _report(ctx, _one_line(error))
            ctx.exit(EXIT_ERROR)
        except MemoryError:
            _report(ctx, "out of memory; use smaller tiles with --tile, or fewer --threads")
            ctx.exit(EXIT_ERROR)
        except KeyboardInterrupt:
            _report(ctx, "interrupted, nothing written; run the command again")
            ctx.exit(EXIT_ERROR)


def _report(ctx: click.Context, line: str) -> None:
    if ctx.meta.get(DEBUG_KEY):
        click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo(f"error: {line}", err=True)


def _one_line(error: CodecError) -> str:
    """The message on one line; libraries put line breaks into theirs."""
    return " ".join(str(error).split()) or type(error).__name__


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="eocodec")
@debug_option
def cli() -> None:
    """Learned compression for Sentinel-2 imagery.

    \b
    eocodec encode scene.tif scene.tec --quality 60
    eocodec decode scene.tec back.tif
    eocodec compare scene.tif scene.tec
    """


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that temporary files are removed."""
    raise KeyboardInterrupt


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGTERM, _stop)
    prepare_process()
    cli.main(prog_name="eocodec")


def prepare_process() -> None:
    """What commands of a process rely on, whichever program they are part of."""
    # Threads that spin while they wait for one another bring a busy machine to a crawl; read as torch starts.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # GDAL's complaints come with the exceptions that they cause; unhandled, Python would print them besides.
    logging.getLogger("rasterio").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")  # `info` says it


if __name__ == "__main__":
    main()
