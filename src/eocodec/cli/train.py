"""`eocodec train`."""

from __future__ import annotations

import click

from eocodec.cli.common import debug_option, limit_threads


@click.command()
@click.argument("config", metavar="CONFIG.toml", type=click.Path(dir_okay=False))
@click.option("--out", type=click.Path(file_okay=False), help="Run folder.  [default: runs/<name of CONFIG>]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the network; all cores if not given.")
@debug_option
def train(config: str, out: str | None, threads: int | None) -> None:
    """Train a model as CONFIG.toml says; continues a run folder that has a checkpoint of it."""
    limit_threads(threads)
    from eocodec.train.loop import run

    click.echo(f"trained: {run(config, out)}")
