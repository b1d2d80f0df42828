"""`eocodec inpaint`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click
import numpy as np

from eocodec.cli.common import BandListType, NumberType, Run, limit_threads, progress_bar, run_options
from eocodec.errors import InputError
from eocodec.interop import cloud_masks
from eocodec.interop.filled import FillReport, SceneSeries, fill_series, open_series
from eocodec.interop.gdal import gdal_options, parse_gdal_options
from eocodec.interop.geotiff import COMPRESSIONS
from eocodec.types import BoolArray

SCL, BRIGHT = "scl", "bright"


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.argument("output", metavar="OUT")
@click.option(
    "--mask",
    "masks",
    multiple=True,
    required=True,
    metavar="M",
    help="Where clouds are: a raster with a band for each date, or this option once for each date's raster "
    "(all but 0 is cloud); 'scl': the inputs' scene classification; 'bright' or 'bright:DN': a threshold.",
)
@click.option(
    "--classes",
    type=BandListType(),
    help="Classes that are cloud; makes --mask files scene classifications.  "
    f"[default of scl: {','.join(cloud_masks.CLOUD_CLASSES)}]",
)
@click.option("--grow", type=click.IntRange(0, 100), default=0, help="Widen the clouds by so many pixels.")
@click.option("--time", "timestep", help="Fill one date alone: its date, or its position from 0.")
@click.option(
    "--model", help="Published TEC-TT whose prior predicts what lies under clouds, as published/tec-tt@20."
)
@click.option("--bands", type=BandListType(), help="Band names, as in `encode`.")
@click.option("--nodata", type=NumberType(), help="Value of invalid pixels, if the files do not say it.")
@click.option("--variable", help="Variable of a cube with several.")
@click.option(
    "--compress",
    "compression",
    type=click.Choice(COMPRESSIONS),
    default=COMPRESSIONS[0],
    show_default=True,
    help="Compression of GeoTIFF.",
)
@run_options
def inpaint(
    inputs: tuple[str, ...],
    output: str,
    masks: tuple[str, ...],
    classes: tuple[str, ...] | None,
    grow: int,
    timestep: str | None,
    model: str | None,
    bands: tuple[str, ...] | None,
    nodata: float | int | None,
    variable: str | None,
    compression: str,
    run: Run,
) -> None:
    """Fill clouds from the other dates of a series, into the folder OUT or, with --time, OUT.tif.

    IN is a cube with several timesteps (.zarr, .tec, NetCDF), or one scene for each date, encoded or not, in
    the order of time. Clear pixels come back unchanged.
    """
    limit_threads(run.threads)
    with (
        gdal_options(parse_gdal_options(run.gdal)),
        closing(open_series(inputs, bands=bands, nodata=nodata, variable=variable)) as series,
        progress_bar("filling", quiet=run.quiet, wanted=run.progress) as progress,
    ):
        clouds = cloud_masks.grow(_clouds(series, masks, classes), grow)
        report = fill_series(
            series,
            clouds,
            output,
            time=timestep,
            model=model,
            compression=compression,
            force=run.force,
            progress=progress,
        )
    _print(output, report, run)


def _clouds(series: SceneSeries, masks: tuple[str, ...], classes: tuple[str, ...] | None) -> BoolArray:
    """Clouds [T, H, W] as --mask and --classes say."""
    kind, _, value = masks[0].partition(":")
    if kind not in (SCL, BRIGHT) or Path(masks[0]).exists():
        shape = series.scenes[0].info.shape
        return cloud_masks.from_files(masks, len(series.scenes), (shape[1], shape[2]), classes)
    if len(masks) > 1:
        raise InputError(f"--mask {masks[0]} is for all dates; give it once and no other")
    if kind == SCL:
        return cloud_masks.from_layers(series.scenes, classes or cloud_masks.CLOUD_CLASSES)
    try:
        threshold = float(value) if value else cloud_masks.BRIGHT_DN
    except ValueError as error:
        raise InputError(
            f"--mask {masks[0]} is no threshold; write for example --mask bright:3000"
        ) from error
    click.echo(
        f"warning: clouds are taken to be where {cloud_masks.BRIGHT_BAND} is above {threshold:g}; "
        "snow, sand and roofs are taken too, thin clouds and shadows are not",
        err=True,
    )
    return cloud_masks.from_brightness(series.scenes, threshold)


def _print(output: str, report: FillReport, run: Run) -> None:
    if run.as_json:
        click.echo(json.dumps({"output": output, **report.to_dict()}, indent=1))
        return
    if run.quiet:
        return
    for date in report.dates:
        used = sorted({k for references in date.references for k in references})
        origin = f", from timesteps {' '.join(map(str, used))}" if used else ""
        click.echo(f"{date.name}: {100 * date.clouded:.1f} % filled{origin if date.clouded else ''}")
    mean = float(np.mean([date.clouded for date in report.dates]))
    count = f"{len(report.dates)} date{'s' if len(report.dates) > 1 else ''}"
    click.echo(f"{output}: {count}, {100 * mean:.1f} % of pixels filled")
