"""`eocodec info` and `eocodec validate`. Neither needs a model or torch."""

from __future__ import annotations

import json
from typing import Any

import click

from eocodec.cli.common import debug_option
from eocodec.interop.inspect import describe_file, validate_file

EXIT_INVALID = 1


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def info(path: str, as_json: bool) -> None:
    """Show what FILE holds: a .tec, a .zarr or a codestream."""
    description = describe_file(path)
    if as_json:
        click.echo(json.dumps(description, indent=1, ensure_ascii=False))
        return
    width = max(map(len, description))
    for key, value in description.items():
        click.echo(f"{key:<{width}}  {_text(value)}")


def _text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return (
            " ".join(_text(item) if not isinstance(item, dict) else f"({_text(item)})" for item in value)
            or "-"
        )
    return "-" if value is None else str(value)


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def validate(path: str, as_json: bool) -> None:
    """Check FILE: metadata, completeness, codestreams, checksums. Exit code 1 if invalid."""
    report = validate_file(path)
    if as_json:
        found = {"ok": report.ok, "errors": report.errors, "warnings": report.warnings, "tiles": report.tiles}
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for line in report.errors:
            click.echo(f"error: {line}", err=True)
        for line in report.warnings:
            click.echo(f"warning: {line}", err=True)
        click.echo(f"{path}: {'valid' if report.ok else 'INVALID'}, {report.tiles} tiles")
    if not report.ok:
        raise click.exceptions.Exit(EXIT_INVALID)
