"""`eocodec encode` and `eocodec decode`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import click

from eocodec.cli.common import (
    Run,
    human_bytes,
    libtiff_silenced,
    limit_threads,
    progress_bar,
    run_options,
)
from eocodec.cli.encoding import Encoding, encoding_options
from eocodec.interop.files import DecodeOptions, EncodeReport, decode_file, encode_file
from eocodec.interop.gdal import gdal_options, parse_gdal_options
from eocodec.interop.geotiff import COMPRESSIONS


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.argument("output", metavar="OUT")
@encoding_options
@click.option("--item", help="Id of the item of a STAC collection.")
@click.option("--time", "timestep", help="Timestep of a cube: its date, or its position from 0.")
@run_options
def encode(
    inputs: tuple[str, ...],
    output: str,
    encoding: Encoding,
    item: str | None,
    timestep: str | None,
    run: Run,
) -> None:
    """Compress a scene to OUT, a .tec file or a .zarr folder.

    IN is a Sentinel-2 product (.SAFE folder or zip), a raster with all bands or with some that it names, a
    folder with one raster per band, or those rasters one by one, a STAC item (.json or URL), or a NetCDF or
    Zarr cube.
    """
    part = replace(encoding.read, item=item, time=timestep)
    limit_threads(run.threads)
    with (
        gdal_options(parse_gdal_options(run.gdal)),
        progress_bar("encoding", quiet=run.quiet, wanted=run.progress) as progress,
    ):
        report = encode_file(
            inputs,
            output,
            encoding.options,
            target=encoding.target,
            tile=encoding.tile,
            bands=encoding.bands,
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
