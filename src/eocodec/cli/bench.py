"""`eocodec bench`: rate-distortion, exactness, bounds, archives, clouds; each a command that writes JSON.

Commands that time one scene are in bench_scene.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from eocodec.cli import bench_scene
from eocodec.cli.bench_common import (
    COMMON,
    DATA,
    DEFAULT_OUT,
    MODEL,
    OUT,
    folder_of,
    numbers,
    print_paths,
    print_table,
    save,
    say,
)
from eocodec.cli.common import progress_bar

LINE_EVERY = 25  # points, in a log file


@click.group("bench", short_help="Measure rate and distortion, speed, exactness and windows over HTTP.")
def bench() -> None:
    """Measure the codec against its classical opponents (needs the extra: pip install 'eocodec[bench]')."""


@bench.command("run")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--codecs",
    default="default",
    show_default=True,
    help="Names and groups, separated by commas. Groups: default, all, classical, strong, "
    "native, lossless, bounded, ours, published.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench_out"),
    show_default=True,
    help="Result folder. A run that was stopped goes on in it.",
)
@click.option("--crop", type=click.IntRange(0), default=256, show_default=True, help="Top left part; 0: all.")
@click.option("--dates", type=click.IntRange(1), default=4, show_default=True, help="Of a series, at most.")
@click.option("--series", is_flag=True, help="GeoTIFFs NAME_0, NAME_1, ... are the dates of one series.")
@click.option("--limit", type=click.IntRange(1), help="Tiles, at most.")
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Timed runs of a point.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--again", is_flag=True, help="Measure these codecs anew; the rows of others stay.")
@click.option("--pictures", type=click.IntRange(0), default=2, show_default=True, help="Tiles to picture.")
@click.option("--progress/--no-progress", default=None, help="Draw a progress bar.  [default: on a terminal]")
def bench_run(
    data: Path,
    codecs: str,
    out: Path,
    crop: int,
    dates: int,
    series: bool,
    limit: int | None,
    runs: int,
    workers: int,
    again: bool,
    pictures: int,
    progress: bool | None,
) -> None:
    """Every codec on every tile of DATA: results.jsonl, meta.json, summary.json, pictures.json and a table.

    DATA holds 12-band GeoTIFFs, SSL4EO-S12 .zarr.zip files, .npz series or folders of Bxx.jp2, in any depth.
    """
    from eocodec.bench import run, tiles

    words = tuple(word.strip() for word in codecs.split(","))
    cut = tiles.Cut(crop, dates)
    options = run.RunOptions(data, out, words, cut, series, limit, runs, workers, again)
    with progress_bar("points", quiet=False, wanted=progress, unit="points") as update:
        rows = run.run_bench(options, _row_reporter(update))
    _finish_run(options, rows, pictures)


def _row_reporter(update: Callable[[int, int], None] | None) -> Callable[[int, int, dict[str, Any]], None]:
    """Moves the progress bar, or prints a line now and then where there is none; errors always."""

    def report(done: int, total: int, row: dict[str, Any]) -> None:
        if "error" in row:
            say(f"{row['codec']} at {row['setting']:g} on {row['tile']}: {row['error']}")
        if update is not None:
            update(done, total)
        elif done % LINE_EVERY == 0 or done == total:
            say(f"{done} of {total} points")

    return report


def _finish_run(options: Any, rows: list[dict[str, Any]], pictures: int) -> None:
    """Summary, table and pictures of a run."""
    from eocodec.bench import run, summary
    from eocodec.bench.datasets import recorded_beside
    from eocodec.bench.provenance import write_json

    result = summary.summarise(rows, run.read_meta(options.out))
    recorded = recorded_beside(options.data)
    if recorded:
        result["recorded"] = summary.agreement(rows, recorded)
    write_json(options.out / run.SUMMARY, result)
    print_table(*summary.table_rows(result))
    paths = [options.out / name for name in (run.RESULTS, run.META, run.SUMMARY)]
    if pictures:
        from eocodec.bench.pictures import make_pictures
        from eocodec.bench.tiles import find_sources

        sources = find_sources(options.data, series=options.series, limit=options.limit)
        step = max(len(sources) // pictures, 1)
        paths.append(make_pictures(rows, sources[::step][:pictures], options.cut, options.out, say))
    print_paths(paths)


@bench.command("rd")
@COMMON
@click.option(
    "--classical",
    type=click.Choice(["recorded", "run"]),
    default="recorded",
    show_default=True,
    help="Classical points: those in dev/classical.json, or coded anew.",
)
@click.option("--qualities", help="Comma-separated qualities, 0 to 100; default: 15 over the whole range.")
@click.option("--beside", multiple=True, metavar="MODEL", help="Compare with another model too.")
@click.option(
    "--every-metric", is_flag=True, help="SSIM, spectral angle, NDVI error and each band's PSNR as well."
)
def bench_rd(
    model: str,
    out: Path | None,
    data: Path | None,
    classical: str,
    qualities: str | None,
    beside: tuple[str, ...],
    every_metric: bool,
) -> None:
    """Rate-distortion on the dev tiles: rd.json, rd.png, rd.svg, and a table."""
    from eocodec.bench import rd
    from eocodec.bench.codecs import QUALITIES

    chosen = QUALITIES if qualities is None else numbers(qualities)
    source: rd.Classical = "run" if classical == "run" else "recorded"
    options = rd.RdOptions(model, chosen, source, data, beside, every_metric)
    result = rd.run_rd(options, report=say)
    paths = rd.save_rd(result, out or folder_of(model))
    print_table(*rd.table_rows(result))
    print_table(*rd.curve_rows(result))
    if every_metric:
        print_table(*rd.rate_rows(result))
    print_paths(paths)


@bench.command("series")
@click.option("--model", default="tec-tt", show_default=True, help="Model of series, or its weights file.")
@OUT
@DATA
@click.option("--beside", multiple=True, metavar="MODEL", default=("tec-elic",), show_default=True)
@click.option("--qualities", help="Comma-separated qualities, 0 to 100.")
@click.option("--classical/--no-classical", default=True, show_default=True, help="x265 and SVT-AV1 as well.")
def bench_series(
    model: str,
    out: Path | None,
    data: Path | None,
    beside: tuple[str, ...],
    qualities: str | None,
    classical: bool,
) -> None:
    """Rate-distortion on series: four seasons, and dense dates that were held back: series.json, plots."""
    from eocodec.bench import series
    from eocodec.bench.tokens import plot_series

    chosen = series.SETTINGS if qualities is None else numbers(qualities)
    options = series.SeriesOptions(model, beside, chosen, classical, data)
    result = series.run_series(options, say)
    print_table(*series.timestep_rows(result))
    folder = out or folder_of(model)
    save(folder / "series.json", result, series.table_rows)
    print_paths([plot_series(result, name, folder) for name in result["summary"]])


@bench.command("repacking")
@click.argument("weights", metavar="WEIGHTS...", nargs=-1, required=True)
@OUT
@DATA
def bench_repacking(weights: tuple[str, ...], out: Path | None, data: Path | None) -> None:
    """What each number of tokens of the published FlexTEC is worth: repacking.json, a plot and a table.

    WEIGHTS are files that `eocodec train` wrote: of a run with masking and of one without.
    """
    from eocodec.bench import repacking

    result = repacking.run_repacking(weights, data, say)
    folder = out or folder_of("flextec")
    save(folder / f"{repacking.NAME}.json", result, repacking.table_rows)
    print_paths([repacking.plot_repacking(result, folder)])


@bench.command("series-cost")
@click.option("--model", default="tec-tt", show_default=True, help="Id of a model of series.")
@OUT
@DATA
@click.option("--quality", type=click.FloatRange(0, 100), default=60.0, show_default=True)
@click.option("--dates", default="1,4,12,60", show_default=True, help="Lengths of series, by commas.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--speed-threads", type=click.IntRange(1), default=2, show_default=True, help="Of the speed.")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Timed runs of the speed.")
def bench_series_cost(  # one parameter an option
    model: str,
    out: Path | None,
    data: Path | None,
    quality: float,
    dates: str,
    threads: int,
    speed_threads: int,
    runs: int,
) -> None:
    """Processor time and memory by the number of dates, and the speed: series-cost.json and a table."""
    from eocodec.bench import series_cost

    options = series_cost.CostOptions(
        model=model,
        quality=quality,
        timesteps=tuple(int(count) for count in numbers(dates)),
        threads=threads,
        data=data,
        speed_threads=speed_threads,
        runs=runs,
    )
    result = series_cost.run_cost(options, report=say)
    save((out or folder_of(options.model)) / "series-cost.json", result, series_cost.table_rows)


@bench.command("exactness")
@COMMON
@click.option("--tiles", type=click.IntRange(1), default=200, show_default=True, help="Number of tiles.")
@click.option("--qualities", default="20,60,95", show_default=True, help="Comma-separated; taken in turn.")
def bench_exactness(model: str, out: Path | None, data: Path | None, tiles: int, qualities: str) -> None:
    """Decode under other threads, kernels and processor features: exactness.json and a table."""
    from eocodec.bench import exactness
    from eocodec.models.registry import by_id

    choose = exactness.series_to_code if by_id(model).of_series else exactness.tiles_to_code
    images = choose(tiles, data)
    result = exactness.run_exactness(images, model=model, qualities=numbers(qualities), report=say)
    save((out or folder_of(model)) / "exactness.json", result, exactness.table_rows)
    if not exactness.all_exact(result):
        raise click.ClickException("some settings decode other symbols or fail; see the table")


@bench.command("bounded")
@COMMON
@click.option("--quality", type=click.FloatRange(0, 100), help="Of the base layer; default: none.")
@click.option("--bounds", default="0,5,20,50,100,200", show_default=True, help="DN, separated by commas.")
def bench_bounded(
    model: str, out: Path | None, data: Path | None, quality: float | None, bounds: str
) -> None:
    """Bits at a bound on each pixel's error, beside SPERR, SZ3, LERC, JPEG XL: bounded.json and a table."""
    from eocodec.bench import bounded

    chosen = tuple(int(bound) for bound in numbers(bounds))
    result = bounded.run_bounded(bounded.BoundedOptions(model, quality, chosen, data), report=say)
    save((out or folder_of(model)) / "bounded.json", result, bounded.table_rows)


@bench.command("many")
@MODEL
@OUT
@DATA
@click.option("--quality", type=click.FloatRange(0, 100), default=50.0, show_default=True)
@click.option("--scenes", type=click.IntRange(16), default=64, show_default=True, help="Of the train split.")
@click.option("--workers", type=click.IntRange(2), default=2, show_default=True, help="Processes.")
@click.option("--runs", type=click.IntRange(1), default=2, show_default=True, help="Timed runs of each way.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments to kill at.")
def bench_many(
    model: str,
    out: Path | None,
    data: Path | None,
    quality: float,
    scenes: int,
    workers: int,
    runs: int,
    seed: int,
) -> None:
    """`encode-many` on several workers beside one process, and killed on the way: many.json and a table."""
    from eocodec.bench import many

    options = many.ManyOptions(model, quality, scenes, workers, runs, seed, data)
    result = many.run_many(options, report=say)
    save((out or Path(DEFAULT_OUT) / "scale") / "many.json", result, many.table_rows)
    if not many.all_equal(result):
        raise click.ClickException("the archives differ; see many.json")


@bench.command("inpaint")
@OUT
@DATA
@click.option("--cases", type=click.IntRange(1), default=120, show_default=True, help="Clouds to fill.")
@click.option("--others/--target-only", default=False, help="Put clouds on the other dates too.")
@click.option("--allclear", type=click.Path(path_type=Path), help="The AllClear benchmark: JSON of samples.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for a sheet that shows imagery.")
def bench_inpaint(
    out: Path | None,
    data: Path | None,
    cases: int,
    others: bool,
    allclear: Path | None,
    pictures: Path | None,
) -> None:
    """Cloud filling beside simpler ways, under real cloud shapes, on dev series: inpaint.json and a table."""
    from eocodec.bench import allclear as bench_of_allclear
    from eocodec.bench import contact_sheet, inpaint

    folder = out or folder_of("tec-tt")
    if allclear is not None:
        result = bench_of_allclear.run_allclear(allclear, cases, say)
        save(folder / "allclear.json", result, bench_of_allclear.table_rows)
        return
    options = inpaint.InpaintOptions(cases, others, data)
    result = inpaint.run_inpaint(options, report=say)
    save(folder / ("inpaint-others.json" if others else "inpaint.json"), result, inpaint.table_rows)
    if pictures is not None:
        print_paths([contact_sheet.write_contact_sheet(options, pictures / "inpaint.png")])


for _command in (bench_scene.bench_speed, bench_scene.bench_window, bench_scene.bench_whole_scene):
    bench.add_command(_command)
