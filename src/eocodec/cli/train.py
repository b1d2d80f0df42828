"""`eocodec train` and `eocodec curves`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from eocodec.cli.common import debug_option, limit_threads


@click.command()
@click.argument("config", metavar="CONFIG.toml", type=click.Path(dir_okay=False))
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Run folder.  [default: runs/<name of CONFIG>, of published models runs/published/<name>]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Replace a value of CONFIG; repeatable.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the network; all cores if not given.")
@debug_option
def train(config: str, out: str | None, overrides: tuple[str, ...], threads: int | None) -> None:
    """Train a model as CONFIG.toml says; continues a run folder that has a checkpoint of it."""
    limit_threads(threads)
    from eocodec.models.registry import PUBLISHED_PREFIX
    from eocodec.train.config import read_values

    if str(read_values(config, overrides).get("model_id", "")).startswith(PUBLISHED_PREFIX):
        from eocodec.train.published import run
    else:
        from eocodec.train.loop import run
    folder = run(config, out, overrides)
    if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
        click.echo(f"trained: {folder}")


@click.command()
@click.argument(
    "folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("curves.png"),
    show_default=True,
    help="The figure: .png, .svg or .pdf.",
)
@debug_option
def curves(folders: tuple[Path, ...], out: Path) -> None:
    """Plot the logs of training runs of published models."""
    from eocodec.train.csv_log import plot_logs

    plot_logs(folders, out)
    click.echo(out)
