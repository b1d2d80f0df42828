"""`eocodec models`."""

from __future__ import annotations

import json

import click

from eocodec.cli.common import debug_option
from eocodec.models import registry

COLUMNS = ("id", "parameters", "bands", "fingerprint")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole cards as JSON.")
@debug_option
def models(as_json: bool) -> None:
    """List the installed models from their cards."""
    cards = registry.installed()
    if as_json:
        click.echo(json.dumps([card.details for card in cards], indent=1, ensure_ascii=False))
        return
    if not cards:
        click.echo("no models are installed")
        return
    rows = [COLUMNS] + [
        (card.id, str(card.parameters), str(len(card.bands)), card.fingerprint.hex()) for card in cards
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
