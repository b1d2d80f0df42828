"""`eocodec models`: what is here, what is published, and how one comes to the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from eocodec.cli.common import debug_option, human_bytes
from eocodec.models import registry
from eocodec.models.registry import ModelCard

COLUMNS = ("id", "parameters", "bands", "fingerprint", "source")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the whole cards as JSON.")
_REPLACE = click.option(
    "--replace", is_flag=True, help="Import again, and trust a checkpoint that has changed."
)


@click.group("models", invoke_without_command=True)
@_JSON
@debug_option
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models, get published ones, import checkpoints.

    \b
    eocodec models fetch published/tec-elic@40
    eocodec encode scene.tif scene.tec --model published/tec-elic@40
    """
    if context.invoked_subcommand is None:
        _list(as_json=as_json, everything=False)


@models.command("list")
@_JSON
@click.option("--all", "everything", is_flag=True, help="Published models too that are not here.")
@debug_option
def list_models(as_json: bool, everything: bool) -> None:
    """List the models of the package and the imported ones."""
    _list(as_json=as_json, everything=everything)


def _list(*, as_json: bool, everything: bool) -> None:
    sources = {"package": registry.installed(), "imported": tuple(registry.imported())}
    if as_json:
        details = [card.details for cards in sources.values() for card in cards]
        click.echo(json.dumps(details, indent=1, ensure_ascii=False))
        return
    rows = [_row(card, source) for source, cards in sources.items() for card in cards]
    if everything:
        from eocodec.interop.published import published_models

        here = {row[0] for row in rows}
        rows += [
            (one.id, "", "", "", "eocodec models fetch") for one in published_models() if one.id not in here
        ]
    if not rows:
        click.echo("no models are installed")
        return
    _print_table([COLUMNS, *rows])


def _row(card: ModelCard, source: str) -> tuple[str, ...]:
    return card.id, str(card.parameters), str(len(card.bands)), card.fingerprint.hex(), source


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@models.command("info")
@click.argument("model")
@_JSON
@debug_option
def info(model: str, as_json: bool) -> None:
    """Say what is known of MODEL, an id or a weights file."""
    from eocodec.errors import ModelNotFound
    from eocodec.interop.published import find

    try:
        card = registry.by_id(model)
    except ModelNotFound:
        if not model.startswith(registry.PUBLISHED_PREFIX):
            raise
        published = find(model)
        facts: dict[str, Any] = {"id": model, "repository": published.repository, "file": published.filename}
        lines = {**facts, "here": f"no; eocodec models fetch {model}"}
    else:
        facts, lines = card.details, _described(card)
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        click.echo(f"{name:<{width}}{value}")


def _described(card: ModelCard) -> dict[str, str]:
    """What a reader of a card wants to see first."""
    details = card.details
    rate = "any quality from 0 to 100" if card.quality is None else f"one, quality {card.quality:g}"
    lines = {
        "id": card.id,
        "family": card.family,
        "parameters": str(card.parameters),
        "bands": " ".join(card.bands),
        "level": str(details.get("level", "L2A")),
        "rate": rate,
        "fingerprint": card.fingerprint.hex(),
        "file": f"{card.path}, {human_bytes(int(details['bytes']))}",
    }
    origin = details.get("checkpoint", {})
    if origin:
        lines["checkpoint"] = " of ".join(origin[key] for key in ("file", "repository") if key in origin)
        lines["its SHA-256"] = origin["sha256"]
    return lines


@models.command("fetch")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--offline", is_flag=True, help="Take it from the cache of huggingface_hub, never the network.")
@_REPLACE
@debug_option
def fetch(ids: tuple[str, ...], offline: bool, replace: bool) -> None:
    """Download published models and import them (needs the extra: pip install 'eocodec[hub]')."""
    from eocodec.interop import published

    for model in ids:
        _say_imported(published.fetch(model, offline=offline, replace=replace))


@models.command("import")
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--id", "model", help="Id to give it.  [default: that of the published file of this name]")
@click.option("--kind", help="Kind of a model that is not published: tec-fp, tec-elic, ...")
@_REPLACE
@debug_option
def import_model(checkpoint: Path, model: str | None, kind: str | None, replace: bool) -> None:
    """Convert CHECKPOINT, a .pt file in the published layout, to a model of the user's folder."""
    from eocodec.interop import published

    _say_imported(published.import_checkpoint(checkpoint, model, kind=kind, replace=replace))


def _say_imported(card: ModelCard) -> None:
    click.echo(f"{card.id}: {card.parameters} parameters, fingerprint {card.fingerprint.hex()}, {card.path}")
