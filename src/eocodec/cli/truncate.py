"""`eocodec truncate`: a smaller, coarser file without decoding."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from eocodec.cli.common import FORCE, JSON, PROGRESS, QUIET, debug_option, progress_bar
from eocodec.interop.truncate import truncate_file
from eocodec.options import MAX_TOKENS


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@click.option("--tokens", type=click.IntRange(1, MAX_TOKENS), required=True, help="Tokens to keep.")
@FORCE
@QUIET
@PROGRESS
@JSON
@debug_option
def truncate(  # one parameter an option
    source: str, output: str, tokens: int, force: bool, quiet: bool, progress: bool | None, as_json: bool
) -> None:
    """Cut IN, a file of the model flextec, to its first tokens. Nothing is decoded."""
    with progress_bar("truncating", quiet=quiet, wanted=progress, unit="entries") as update:
        report = truncate_file(source, output, tokens, force=force, progress=update)
    if as_json:
        found = {"output": output, "tokens": tokens, **asdict(report)}
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    elif not quiet:
        click.echo(
            f"{output}: {report.bytes_after} bytes of {report.bytes_before}, {report.tiles} tiles, "
            f"{tokens} tokens"
        )
