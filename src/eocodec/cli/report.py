"""`eocodec report`: the results of a benchmark as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report", short_help="Turn benchmark results into one HTML page.")
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page; default: report.html in RESULTS.",
)
def report(results: Path, out: Path | None) -> None:
    """Turn RESULTS, a folder of `eocodec bench run`, into one page that opens without a network.

    The page holds pictures of the imagery where the run made them.
    """
    from eocodec.bench.report.page import build_page

    target = out or results / "report.html"
    page = build_page(results)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(target)
    click.echo(target)
