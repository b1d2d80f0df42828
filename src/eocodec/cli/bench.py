"""`eocodec bench`: rate-distortion, speed and exactness, each one command that writes its figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

DEFAULT_OUT = "experiments"
TABLE_WIDTH = 120
_MODEL = click.option("--model", default="tec-fp", show_default=True, help="Model id, or its weights file.")
_DATA = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with dev/ and train/; default: EOCODEC_DATA, else ../shared/data.",
)
_OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Result folder; default: experiments/MODEL.",
)


@click.group("bench", short_help="Measure rate and distortion, speed, and exactness.")
def bench() -> None:
    """Measure the codec against its classical opponents (needs the extra: pip install 'eocodec[bench]')."""


@bench.command("rd")
@_MODEL
@_OUT
@_DATA
@click.option(
    "--classical",
    type=click.Choice(["recorded", "run"]),
    default="recorded",
    show_default=True,
    help="Classical points: those in dev/classical.json, or coded anew.",
)
@click.option("--qualities", help="Comma-separated qualities, 0 to 100; default: 15 over the whole range.")
def bench_rd(model: str, out: Path | None, data: Path | None, classical: str, qualities: str | None) -> None:
    """Rate-distortion on the dev tiles: rd.json, rd.png, rd.svg, and a table."""
    from eocodec.bench import rd

    chosen = rd.QUALITIES if qualities is None else _numbers(qualities)
    source: rd.Classical = "run" if classical == "run" else "recorded"
    options = rd.RdOptions(model=model, qualities=chosen, classical=source, data=data)
    result = rd.run_rd(options, report=_progress)
    paths = rd.save_rd(result, out or _folder(model))
    _print_table(*rd.table_rows(result))
    _print_table(*rd.curve_rows(result))
    _print_paths(paths)


@bench.command("speed")
@_MODEL
@_OUT
@_DATA
@click.option("--input", "source", type=click.Path(path_type=Path), help="12-band raster; default: a mosaic.")
@click.option("--quality", type=click.FloatRange(0, 100), default=50.0, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Timed rounds.")
@click.option("--size", type=click.IntRange(64), default=2048, show_default=True, help="Side of the mosaic.")
def bench_speed(
    model: str,
    out: Path | None,
    data: Path | None,
    source: Path | None,
    quality: float,
    threads: int,
    runs: int,
    size: int,
) -> None:
    """Encode and decode speed, file in to file out, beside OpenJPEG: speed.json and a table."""
    from eocodec.bench import speed
    from eocodec.bench.provenance import write_json

    options = speed.SpeedOptions(model, quality, threads, runs, size, source, data)
    result = speed.run_speed(options, report=_progress)
    path = (out or _folder(model)) / "speed.json"
    write_json(path, result)
    _print_table(*speed.table_rows(result))
    _print_paths([path])


@bench.command("exactness")
@_MODEL
@_OUT
@_DATA
@click.option("--tiles", type=click.IntRange(1), default=4, show_default=True, help="Number of tiles.")
@click.option("--crop", type=click.IntRange(32), default=256, show_default=True, help="Side of a tile.")
@click.option("--qualities", default="20,60,95", show_default=True, help="Comma-separated.")
def bench_exactness(
    model: str, out: Path | None, data: Path | None, tiles: int, crop: int, qualities: str
) -> None:
    """Decode under other threads, kernels and processor features: exactness.json and a table."""
    from eocodec.bench import exactness
    from eocodec.bench.provenance import write_json

    images = exactness.tiles_to_code(tiles, crop, data)
    result = exactness.run_exactness(images, model=model, qualities=_numbers(qualities), report=_progress)
    path = (out or _folder(model)) / "exactness.json"
    write_json(path, result)
    _print_table(*exactness.table_rows(result))
    _print_paths([path])
    if not exactness.all_exact(result):
        raise click.ClickException("some settings decode other symbols or fail; see the table")


def _folder(model: str) -> Path:
    from eocodec.bench.base import model_name

    return Path(DEFAULT_OUT) / model_name(model)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 20,60,95") from error


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
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


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        click.echo(path)
