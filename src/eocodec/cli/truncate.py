"""`eocodec truncate`: a smaller, coarser file without decoding."""

from __future__ import annotations

import click

from eocodec.cli.common import debug_option, progress_bar
from eocodec.interop.truncate import truncate_file
from eocodec.options import MAX_TOKENS


@click.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@click.option("--tokens", type=click.IntRange(1, MAX_TOKENS), required=True, help="Tokens to keep.")
@click.option("--force", is_flag=True, help="Replace OUT.")
@debug_option
def truncate(source: str, output: str, tokens: int, force: bool) -> None:
    """Cut IN, a file of the model flextec, to its first tokens. Nothing is decoded."""
    with progress_bar("truncating", quiet=False, unit="entries") as progress:
        report = truncate_file(source, output, tokens, force=force, progress=progress)
    click.echo(
        f"{output}: {report.bytes_after} bytes of {report.bytes_before}, {report.tiles} tiles, "
        f"{tokens} tokens"
    )
