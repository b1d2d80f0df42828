"""`eocodec encode-many`."""

from __future__ import annotations

import json

import click

from eocodec.cli.common import Run, human_bytes, limit_threads, progress_bar, run_options
from eocodec.cli.encoding import Encoding, encoding_options
from eocodec.interop.container import TEC_SUFFIX, ZARR_SUFFIX
from eocodec.interop.gdal import gdal_options, parse_gdal_options
from eocodec.interop.scale.estimate import Estimate, estimate
from eocodec.interop.scale.manifest import MANIFEST
from eocodec.interop.scale.many import DEFAULT_RETRIES, ManyReport, encode_many
from eocodec.interop.scale.sources import find_sources
from eocodec.interop.scale.work import DEFAULT_SAMPLES, Request
from eocodec.interop.scale.workers import HERE, LOCAL, Workers

EXIT_FAILED = 1  # some sources; as `validate` says of what it looked at
EXIT_STOPPED = 2
MOST_LISTED = 10


@click.command("encode-many")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCES...")
@click.argument("out", metavar="OUT")
@click.option(
    "--scheduler",
    default=LOCAL,
    show_default=True,
    metavar=f"{LOCAL}|{HERE}|ADDRESS",
    help="Dask on this machine, no Dask, or a scheduler such as tcp://host:8786.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes of a local cluster.  [default: cores]")
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=DEFAULT_RETRIES,
    show_default=True,
    help="Further attempts at a source whose failure may pass.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tec", "zarr"]),
    default="tec",
    show_default=True,
    help="Outputs are files, or folders.",
)
@click.option(
    "--samples",
    type=click.IntRange(0),
    default=DEFAULT_SAMPLES,
    show_default=True,
    help="Tiles of each output to decode for the manifest's PSNR.",
)
@click.option("--dry-run", is_flag=True, help="Estimate size and time on some tiles; write nothing.")
@encoding_options
@run_options
def encode_many_command(  # one parameter an option
    sources: tuple[str, ...],
    out: str,
    scheduler: str,
    workers: int | None,
    retries: int,
    kind: str,
    samples: int,
    dry_run: bool,
    encoding: Encoding,
    run: Run,
) -> None:
    """Compress an archive: every scene of SOURCES to a file in the folder OUT, and what became of it to
    OUT/manifest.jsonl.

    SOURCES are what `encode` takes, one scene each; patterns in quotes ('archive/**/*.SAFE'); lists (.txt),
    a path a line; STAC item collections (.json or URL), of which each item is a scene; cubes, of which each
    timestep is one.

    Run it again to go on after any interruption: what is done is not done again. A source that cannot be
    encoded does not stop the others. --threads are those of each worker. --force replaces outputs that were
    made with other settings.

    Exit code 0: all are encoded; 1: some are not, the manifest says why; 2: the run could not go on.
    """
    request = Request(
        encoding.options,
        encoding.target,
        encoding.tile,
        encoding.bands,
        encoding.read,
        ZARR_SUFFIX if kind == "zarr" else TEC_SUFFIX,
        samples,
    )
    options = parse_gdal_options(run.gdal)
    staff = Workers(scheduler, workers, run.threads, tuple(options.items()))
    if dry_run or scheduler == HERE:
        limit_threads(staff.threads_each)
    with gdal_options(options):
        found = find_sources(sources, variable=encoding.read.variable)
        if dry_run:
            _say_estimate(estimate(found, out, request, workers=staff), run)
            return
        try:
            with progress_bar("encoding", quiet=run.quiet, wanted=run.progress, unit="scenes") as progress:
                report = encode_many(
                    found,
                    out,
                    request,
                    workers=staff,
                    retries=retries,
                    force=run.force,
                    progress=progress,
                )
        except KeyboardInterrupt as error:
            click.echo("error: interrupted; run the same command again to go on", err=True)
            raise click.exceptions.Exit(EXIT_STOPPED) from error
    _say_report(report, out, run)
    if report.failed:
        raise click.exceptions.Exit(EXIT_FAILED)


def _say_estimate(found: Estimate, run: Run) -> None:
    if run.as_json:
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
        return
    for source, reason in found.unreadable:
        click.echo(f"note: {source}: {reason}", err=True)
    coded = found.total_bytes - found.beside_bytes
    click.echo(
        f"{found.sources} scenes, {found.there} there already, {found.sources - found.there} to encode: "
        f"about {human_bytes(found.total_bytes)} of {human_bytes(found.raw_bytes)}"
        + (f" (ratio {found.raw_bytes / coded:.1f})" if coded else "")
        + f", about {_duration(found.seconds)} on {found.workers} worker{'s' if found.workers > 1 else ''}, "
        f"judged by {found.tiles} tiles"
    )


def _say_report(report: ManyReport, out: str, run: Run) -> None:
    if run.as_json:
        click.echo(json.dumps({"output": out, **report.to_dict()}, indent=1, ensure_ascii=False))
        return
    for source, reason in report.failed[:MOST_LISTED]:
        click.echo(f"failed: {source}: {reason}", err=True)
    if len(report.failed) > MOST_LISTED:
        click.echo(f"and {len(report.failed) - MOST_LISTED} more, see {out}/{MANIFEST}", err=True)
    if not run.quiet:
        ratio = f", ratio {report.ratio:.1f}" if report.ratio else ""
        click.echo(
            f"{out}: {report.encoded} scenes encoded, {report.there} there already, "
            f"{len(report.failed)} failed; {human_bytes(report.total_bytes)}{ratio}, "
            f"{_duration(report.seconds)}"
        )


def _duration(seconds: float) -> str:
    """'12 s', '5 min', '3.4 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
