"""Options and output that the commands of `eocodec bench` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

DEFAULT_OUT = "experiments"
TABLE_WIDTH = 120
MODEL = click.option("--model", default="tec-elic", show_default=True, help="Model id, or its weights file.")
DATA = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with dev/ and train/; default: EOCODEC_DATA, else ../shared/data.",
)
OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Result folder; default: experiments/MODEL.",
)
Command = TypeVar("Command", bound=Callable[..., None])


def shared(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in this order in the help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


COMMON = shared(MODEL, OUT, DATA)
SCENE = shared(
    COMMON,
    click.option(
        "--input", "source", type=click.Path(path_type=Path), help="12-band raster; default: a mosaic."
    ),
    click.option("--quality", type=click.FloatRange(0, 100), default=50.0, show_default=True),
    click.option(
        "--size", type=click.IntRange(64), default=2048, show_default=True, help="Side of the mosaic."
    ),
)


def save(
    path: Path, result: dict[str, Any], table: Callable[[dict[str, Any]], tuple[list[str], list[list[str]]]]
) -> None:
    """Write a result, and print its table and where it is."""
    from eocodec.bench.provenance import write_json

    write_json(path, result)
    print_table(*table(result))
    print_paths([path])


def folder_of(model: str) -> Path:
    from eocodec.bench.base import model_name

    return Path(DEFAULT_OUT) / model_name(model)


def numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 20,60,95") from error


def say(line: str) -> None:
    click.echo(line, err=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for index, title in enumerate(header):
        table.add_column(title, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)  # a log file says 80, and would lose columns
    console.print(table)


def print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        click.echo(path)
