"""Results of `eocodec bench run` as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from eocodec.bench import run, summary
from eocodec.bench.codecs import OURS_BOUNDED, entries
from eocodec.bench.evaluate import Row
from eocodec.bench.pictures import PICTURES
from eocodec.errors import InputError

SCRIPTS = ("common.js", "charts.js", "viewer.js", "tables.js")  # in this order
MEASURES = (*summary.QUALITIES, "max_error")
OUR_GROUP = "ours"


def build_page(folder: Path) -> str:
    """The page of a result folder, pictures included where `pictures.json` is there.

    Raises
    ------
    InputError : no results
    """
    meta, rows = run.read_meta(folder), run.read_rows(folder)
    if not rows:
        raise InputError(f"{folder / run.RESULTS}: no results; run `eocodec bench run` first")
    pictures = folder / PICTURES
    payload = {
        "meta": meta,
        "summary": summary.summarise(rows, meta),
        "rows": [_plotted(row) for row in summary.measured(rows) if row["kind"] != "lossless"],
        "bands": _bands(rows),
        "ours": _ours(rows),
        "pictures": json.loads(pictures.read_text()) if pictures.is_file() else None,
    }
    return fill(
        _asset("page.html"),
        {
            "title": f"eocodec benchmark, {meta['dataset']}",
            "style": _asset("style.css"),
            "script": "\n".join(_asset(name) for name in SCRIPTS),
            # '<' must not end the element that holds the data
            "data": json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        },
    )


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put each value where `{{its name}}` stands; every name must be there once."""
    for name in values:
        if template.count(f"{{{{{name}}}}}") != 1:
            raise InputError(f"the template has no single place for {name}")
    parts = template.split("{{")
    out = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}}")
        out += [values[name], rest]
    return "".join(out)


def _asset(name: str) -> str:
    return (resources.files("eocodec.bench.report") / name).read_text(encoding="utf-8")


def _plotted(row: Row) -> dict[str, Any]:
    """What curves and tables need of a row."""
    return {
        "codec": row["codec"],
        "tile": row["tile"],
        "setting": row["setting"],
        "rate": round(summary.rate(row), 6),
        **{measure: row[measure] for measure in MEASURES},
        "bands": row["bands"]["psnr"],
    }


def _bands(rows: Sequence[Row]) -> list[str]:
    """Band names of the first tile; tiles of other bands have no place in the table of bands."""
    return next((row["bands"]["name"] for row in rows if "error" not in row), [])


def _ours(rows: Sequence[Row]) -> list[str]:
    """This package's own among the codecs, by the names that are installed here."""
    names = [entry.name for entry in entries() if entry.group == OUR_GROUP] + [OURS_BOUNDED]
    present = {row["codec"] for row in rows}
    return [name for name in names if name in present]
