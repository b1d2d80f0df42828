"""`eocodec encode` and `eocodec decode`."""

from __future__ import annotations

import time

import click

from eocodec.cli.common import (
    BandListType,
    NumberType,
    human_bytes,
    libtiff_silenced,
    limit_threads,
    progress_bar,
    run_options,
)
from eocodec.errors import InputError
from eocodec.interop.files import EncodeReport, RateTarget, decode_file, encode_file
from eocodec.interop.geotiff import COMPRESSIONS
from eocodec.interop.store import DEFAULT_TILE
from eocodec.options import EncodeOptions


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.argument("output", metavar="OUT")
@click.option("--model", default="tec-fp", show_default=True, help="Model id, see `eocodec models`.")
@click.option("--quality", type=click.FloatRange(0, 100), help="0 to 100, larger is better.  [default: 50]")
@click.option("--psnr", type=float, help="Search the quality that reaches this PSNR [dB, peak 10000].")
@click.option("--ratio", type=float, help="Search the quality that makes the file this many times smaller.")
@click.option("--bpppc", type=float, help="Search the quality that takes these bits per pixel and band.")
@click.option("--tile", type=int, default=DEFAULT_TILE, show_default=True, help="Pixels a side of a tile.")
@click.option("--scale", type=float, help="Digital numbers per unit of float input: 10000 for reflectance.")
@click.option(
    "--offset", type=float, default=0.0, help="Radiometric offset to add, DN: -1000 for baseline 04.00 on."
)
@click.option("--nodata", type=NumberType(), help="Value of invalid pixels, if the files do not say it.")
@click.option("--bands", type=BandListType(), help="Band names of a stack in the file's order: B01,B02,...")
@run_options
def encode(  # one parameter an option
    inputs: tuple[str, ...],
    output: str,
    model: str,
    quality: float | None,
    psnr: float | None,
    ratio: float | None,
    bpppc: float | None,
    tile: int,
    scale: float | None,
    offset: float,
    nodata: int | float | None,
    bands: tuple[str, ...] | None,
    force: bool,
    threads: int | None,
    quiet: bool,
) -> None:
    """Compress a scene to OUT, a .tec file or a .zarr folder.

    IN is a 12-band raster, a folder with one raster per band, or those rasters one by one.
    """
    target = _target(quality, psnr, ratio, bpppc)
    options = EncodeOptions(
        model=model, quality=50.0 if quality is None else quality, nodata=nodata, scale=scale, offset=offset
    )
    limit_threads(threads)
    with progress_bar("encoding", quiet=quiet) as progress:
        report = encode_file(
            inputs, output, options, target=target, tile=tile, bands=bands, force=force, progress=progress
        )
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if not report.reached:
        click.echo("note: the target is out of the model's reach; this is the nearest", err=True)
    if not quiet:
        click.echo(_summary(output, report))


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
        f"quality {report.quality:g}",
    ]
    if report.psnr is not None:
        parts.append(f"PSNR {report.psnr:.2f} dB on the sample")
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
@run_options
def decode(encoded: str, output: str, compress: str, force: bool, threads: int | None, quiet: bool) -> None:
    """Decode IN, a .tec file, a .zarr folder or a codestream, to the GeoTIFF OUT."""
    limit_threads(threads)
    begin = time.perf_counter()
    with progress_bar("decoding", quiet=quiet) as progress, libtiff_silenced():
        written = decode_file(encoded, output, compression=compress, force=force, progress=progress)
    if not quiet:
        click.echo(f"{output}: {human_bytes(written)}, {time.perf_counter() - begin:.2f} s")
