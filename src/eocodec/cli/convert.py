"""`eocodec encode` and `eocodec decode`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

import click

from eocodec.cli.common import (
    BandListType,
    BboxType,
    NumberType,
    Run,
    human_bytes,
    libtiff_silenced,
    limit_threads,
    progress_bar,
    run_options,
)
from eocodec.errors import InputError
from eocodec.interop.files import DecodeOptions, EncodeReport, RateTarget, decode_file, encode_file
from eocodec.interop.gdal import gdal_options, parse_gdal_options
from eocodec.interop.geotiff import COMPRESSIONS
from eocodec.interop.rio import ReadOptions
from eocodec.interop.store import DEFAULT_TILE
from eocodec.options import EncodeOptions

NO_LAYERS = ("none",)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.argument("output", metavar="OUT")
@click.option("--model", default="tec-elic", show_default=True, help="Model id, see `eocodec models`.")
@click.option("--quality", type=click.FloatRange(0, 100), help="0 to 100, larger is better.  [default: 50]")
@click.option("--psnr", type=float, help="Search the quality that reaches this PSNR [dB, peak 10000].")
@click.option("--ratio", type=float, help="Search the quality that makes the file this many times smaller.")
@click.option("--bpppc", type=float, help="Search the quality that takes these bits per pixel and band.")
@click.option("--max-error", type=click.IntRange(0), help="Largest error of any valid pixel; 0 is lossless.")
@click.option("--tile", type=int, default=DEFAULT_TILE, show_default=True, help="Pixels a side of a tile.")
@click.option("--scale", type=float, help="Digital numbers per unit of float input: 10000 for reflectance.")
@click.option(
    "--offset",
    type=float,
    default=0.0,
    help="Radiometric offset to add, DN: -1000 for baseline 04.00 on.  [default: as the product says]",
)
@click.option("--nodata", type=NumberType(), help="Value of invalid pixels, if the files do not say it.")
@click.option(
    "--bands",
    type=BandListType(),
    help="Band names of a stack in the file's order: B01,B02,...; of other inputs, the bands to take.",
)
@click.option("--bbox", type=BboxType(), help="Area to take, in the input's system or in degrees.")
@click.option(
    "--layers", type=BandListType(), help="Layers to keep beside the bands, or none.  [default: all]"
)
@click.option("--item", help="Id of the item of a STAC collection.")
@click.option("--time", "timestep", help="Timestep of a cube: its date, or its position from 0.")
@click.option("--variable", help="Variable of a cube.")
@run_options
def encode(  # one parameter an option
    inputs: tuple[str, ...],
    output: str,
    model: str,
    quality: float | None,
    psnr: float | None,
    ratio: float | None,
    bpppc: float | None,
    max_error: int | None,
    tile: int,
    scale: float | None,
    offset: float,
    nodata: int | float | None,
    bands: tuple[str, ...] | None,
    bbox: tuple[float, float, float, float] | None,
    layers: tuple[str, ...] | None,
    item: str | None,
    timestep: str | None,
    variable: str | None,
    run: Run,
) -> None:
    """Compress a scene to OUT, a .tec file or a .zarr folder.

    IN is a Sentinel-2 product (.SAFE folder or zip), a 12-band raster, a folder with one raster per band, or
    those rasters one by one, a STAC item (.json), or a NetCDF or Zarr cube.
    """
    target = _target(quality, psnr, ratio, bpppc)
    if target is not None and max_error is not None:
        raise InputError("--max-error goes with --quality or alone, not with --psnr, --ratio and --bpppc")
    options = EncodeOptions(model, quality, nodata, scale, offset, max_error)
    part = ReadOptions(bbox, () if layers == NO_LAYERS else layers, item, timestep, variable)
    limit_threads(run.threads)
    with (
        gdal_options(parse_gdal_options(run.gdal)),
        progress_bar("encoding", quiet=run.quiet, wanted=run.progress) as progress,
    ):
        report = encode_file(
            inputs,
            output,
            options,
            target=target,
            tile=tile,
            bands=bands,
            read=part,
            force=run.force,
            progress=progress,
        )
    _say_notes(report.notes, run)
    if not report.reached:
        click.echo("note: the target is out of the model's reach; this is the nearest", err=True)
    if run.as_json:
        click.echo(json.dumps({"output": output, **report.to_dict()}, indent=1, ensure_ascii=False))
    elif not run.quiet:
        click.echo(_summary(output, report))


def _say_notes(notes: Sequence[str], run: Run) -> None:
    """What was assumed; JSON has it anyway."""
    if not run.as_json:
        for note in notes:
            click.echo(f"note: {note}", err=True)


def _target(
    quality: float | None, psnr: float | None, ratio: float | None, bpppc: float | None
) -> RateTarget | None:
    asked = [value for value in (quality, psnr, ratio, bpppc) if value is not None]
    if len(asked) > 1:
        raise InputError("--quality, --psnr, --ratio and --bpppc exclude each other; give one of them")
    return RateTarget(psnr, ratio, bpppc) if asked and quality is None else None


def _summary(output: str, report: EncodeReport) -> str:
    parts = [
        f"{output}: {report.total_bytes} bytes",
        f"ratio {report.ratio:.1f}",
        f"{report.bpppc:.4f} bpppc",
    ]
    if report.quality is not None:
        parts.append(f"quality {report.quality:g}")
    if report.max_error is not None:
        parts.append(f"every pixel within {report.max_error}" if report.max_error else "lossless")
    if report.psnr is not None:
        parts.append(f"PSNR {report.psnr:.2f} dB on the sample")
    if report.layers:
        parts.append(f"beside the bands {' '.join(report.layers)} in {human_bytes(report.beside_bytes)}")
    return ", ".join([*parts, f"{report.seconds:.2f} s"])


@click.command()
@click.argument("encoded", metavar="IN")
@click.argument("output", metavar="OUT")
@click.option(
    "--compress",
    type=click.Choice(COMPRESSIONS),
    default=COMPRESSIONS[0],
    show_default=True,
    help="Lossless compression within the GeoTIFF.",
)
@click.option("--cog", is_flag=True, help="Make the GeoTIFF a cloud-optimized one.")
@click.option(
    "--grid",
    type=click.Choice(["native", "finest"]),
    default="native",
    show_default=True,
    help="Pixels of a folder's or a store's bands: each its own, or all the finest.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tif", "jp2"]),
    default="tif",
    show_default=True,
    help="Files of a folder.",
)
@click.option("--without-offset", is_flag=True, help="Take the radiometric offset off the digital numbers.")
@run_options
def decode(  # one parameter an option
    encoded: str,
    output: str,
    compress: str,
    cog: bool,
    grid: str,
    kind: str,
    without_offset: bool,
    run: Run,
) -> None:
    """Decode IN, a .tec file, a .zarr folder or a codestream, to OUT.

    OUT is a GeoTIFF (.tif), a folder for a file per band and layer (no suffix), or a Zarr store (.zarr).
    """
    options = DecodeOptions(
        compression=compress,
        cog=cog,
        native=grid == "native",
        jpeg2000=kind == "jp2",
        keep_offset=not without_offset,
    )
    limit_threads(run.threads)
    begin = time.perf_counter()
    with (
        gdal_options(parse_gdal_options(run.gdal)),
        progress_bar("decoding", quiet=run.quiet, wanted=run.progress) as progress,
        libtiff_silenced(),
    ):
        report = decode_file(encoded, output, options, force=run.force, progress=progress)
    seconds = time.perf_counter() - begin
    if not run.quiet:
        _say_notes(report.notes, run)
    if run.as_json:
        found = {"output": output, "seconds": seconds, **asdict(report)}
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    elif not run.quiet:
        click.echo(f"{output}: {human_bytes(report.total_bytes)}, {seconds:.2f} s")
