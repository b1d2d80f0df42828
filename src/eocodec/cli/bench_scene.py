"""`eocodec bench speed`, `window` and `whole-scene`: one large scene, as a file."""

from __future__ import annotations

from pathlib import Path

import click

from eocodec.cli.bench_common import COMMON, SCENE, folder_of, save, say


@click.command("speed")
@SCENE
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Timed rounds.")
@click.option("--video/--no-video", default=True, show_default=True, help="Time x265 and SVT-AV1 too.")
def bench_speed(
    model: str,
    out: Path | None,
    data: Path | None,
    source: Path | None,
    quality: float,
    size: int,
    threads: int,
    runs: int,
    video: bool,
) -> None:
    """Speed from file to file and back, beside OpenJPEG and video encoders: speed.json and a table."""
    from eocodec.bench import speed

    options = speed.SpeedOptions(model, quality, size, source, data, threads, runs, video)
    result = speed.run_speed(options, report=say)
    save((out or folder_of(model)) / "speed.json", result, speed.table_rows)


@click.command("window")
@SCENE
@click.option("--tile", type=click.IntRange(16), default=512, show_default=True, help="Side of a tile.")
@click.option("--window", type=click.IntRange(1), default=100, show_default=True, help="Side of the window.")
def bench_window(
    model: str,
    out: Path | None,
    data: Path | None,
    source: Path | None,
    quality: float,
    size: int,
    tile: int,
    window: int,
) -> None:
    """Requests and bytes of a window over HTTP, beside a COG's: window.json and a table."""
    from eocodec.bench import window as bench_of

    options = bench_of.WindowOptions(model, quality, size, source, data, tile, window)
    result = bench_of.run_window(options, report=say)
    save((out or folder_of(model)) / "window.json", result, bench_of.table_rows)


@click.command("whole-scene")
@COMMON
@click.option(
    "--input", "source", type=click.Path(path_type=Path), help="12-band raster; default: a mosaic, repeated."
)
@click.option("--quality", type=click.FloatRange(0, 100), default=50.0, show_default=True)
@click.option("--side", type=click.IntRange(64), default=10980, show_default=True, help="Of the mosaic.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--to", "suffix", type=click.Choice([".tec", ".zarr"]), default=".tec", show_default=True, help="Encoded."
)
def bench_whole_scene(
    model: str,
    out: Path | None,
    data: Path | None,
    source: Path | None,
    quality: float,
    side: int,
    threads: int,
    suffix: str,
) -> None:
    """Time and memory of a whole scene, encoded and decoded by a process each: whole-scene.json and a table.

    Needs room for two uncompressed copies in the temporary folder (TMPDIR), which are deleted.
    """
    from eocodec.bench import whole_scene

    options = whole_scene.WholeSceneOptions(model, quality, side, source, data, threads, suffix)
    result = whole_scene.run_whole_scene(options, report=say)
    save((out or folder_of(model)) / "whole-scene.json", result, whole_scene.table_rows)
