"""`eocodec demo`: see the codec work, on a scene that needs no download or on one's own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo", short_help="Compress a sample scene, restore it, show figures and a picture.")
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    help="12-band raster to use; default: a procedurally generated scene.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo_out"),
    show_default=True,
    help="Folder for what is written; files of an earlier run are replaced.",
)
@click.option(
    "--quality", type=click.FloatRange(0, 100), default=50.0, show_default=True, help="Larger is better."
)
@click.option("--model", default="tec-elic", show_default=True, help="Model id.")
def demo(source: Path | None, out: Path, quality: float, model: str) -> None:
    """Compress a scene to .tec, restore it as GeoTIFF, print sizes, PSNR and seconds, and write a PNG with
    the original, the decoded scene and ten times the error side by side."""
    from eocodec.bench.demo import run_demo

    click.echo("compressing and restoring ...", err=True)
    report = run_demo(out, source=source, model=model, quality=quality)
    for name, value in report.rows():
        click.echo(f"{name:<20}{value}")
