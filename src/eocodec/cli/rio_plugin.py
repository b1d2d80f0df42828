"""`rio eocodec`: the commands for files, within rasterio's own command line."""

from __future__ import annotations

import click

from eocodec._version import __version__
from eocodec.cli.common import debug_option
from eocodec.cli.main import COMMANDS, LazyGroup, prepare_process


class FileGroup(LazyGroup):
    """Those commands that read or write files."""

    lazy = {name: COMMANDS[name] for name in ("encode", "decode", "info", "validate")}  # noqa: RUF012


@click.group(cls=FileGroup, short_help="Learned compression of Sentinel-2 scenes.")
@click.version_option(__version__, prog_name="rio eocodec")
@debug_option
def eocodec() -> None:
    """Compress Sentinel-2 scenes, many times smaller than JPEG 2000, georeferenced and checked.

    \b
    rio eocodec encode S2A_MSIL2A_....SAFE scene.tec --quality 60
    rio eocodec decode scene.tec bands
    """
    prepare_process()
