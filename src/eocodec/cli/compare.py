"""`eocodec compare`."""

from __future__ import annotations

import json

import click

from eocodec.cli.common import debug_option, human_bytes
from eocodec.interop.compare import FileComparison, compare_files


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--scale", type=float, help="Digital numbers per unit of float input: 10000 for reflectance.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def compare(a: str, b: str, scale: float | None, as_json: bool) -> None:
    """Measure how the scenes A and B differ; each is encoded or anything that `encode` takes."""
    found = compare_files(a, b, scale=scale)
    if as_json:
        click.echo(json.dumps({"a": a, "b": b, **found.to_dict()}, indent=1))
        return
    _print_table(a, b, found)


def _print_table(a: str, b: str, found: FileComparison) -> None:
    metrics = found.metrics
    click.echo(f"A {a}: {found.bytes_a} bytes ({human_bytes(found.bytes_a)})")
    click.echo(f"B {b}: {found.bytes_b} bytes ({human_bytes(found.bytes_b)})")
    click.echo(
        f"PSNR {metrics.psnr:.2f} dB (peak {metrics.peak:g}), SSIM {metrics.ssim:.4f}, "
        f"SAM {metrics.sam:.3f} degrees, max error {metrics.max_error:g} DN, "
        f"valid {100 * metrics.valid_share:.1f} %"
    )
    if found.nodata_differs:
        click.echo(f"nodata differs in {found.nodata_differs} values")
    click.echo(f"{'band':<5}{'PSNR dB':>9}{'SSIM':>9}{'RMSE DN':>10}{'max DN':>9}")
    for band in metrics.bands:
        click.echo(
            f"{band.name:<5}{band.psnr:>9.2f}{band.ssim:>9.4f}{band.mse**0.5:>10.2f}{band.max_error:>9g}"
        )
