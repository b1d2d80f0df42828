"""The tables of docs/benchmark.md, made from the summary of a run and from other results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eocodec.bench.base import LABELS
from eocodec.bench.summary import PSNR_POINTS, TYPICAL_PSNR

Json = Mapping[str, Any]
AT_RATE = "0.1"  # bits per pixel per band
SETS = {"seasonal": "four seasons of a place", "dense": "clear dates some days apart"}  # of series
OPPONENTS = {  # of series
    **{name: f"{label}, date by date" for name, label in LABELS.items()},
    **{f"{name}-by-band": f"{label}, band by band" for name, label in LABELS.items()},
}
BENCHMARK_TABLES = (
    *("bench_run", "bench_rates", "bench_bd", "bench_quality"),
    *("bench_bounds", "bench_losses", "bench_recorded"),
)


def tables(summary: Json, meta: Json, ours: Sequence[str]) -> dict[str, str]:
    """Markdown by the name of its place in the document.

    Parameters
    ----------
    summary, meta : `summary.json` and `meta.json` of a run
    ours : names of this package's codecs
    """
    made = (
        run_sentence(summary, meta),
        _rates(summary, ours),
        _bd(summary, ours),
        _quality(summary, ours),
        _bounds(summary),
        _losses(summary, ours),
        _recorded(summary),
    )
    return dict(zip(BENCHMARK_TABLES, made, strict=True))


def run_sentence(summary: Json, meta: Json) -> str:
    """When, where, how much, and whether the machine was busy."""
    last = meta["sessions"][-1]
    busy = max(session["load_average_at_start"] or 0 for session in meta["sessions"]) > last["cpus"] / 2
    load = (
        "; the machine was busy with other work meanwhile, so the speeds are indicative only" if busy else ""
    )
    return (
        f"{len(summary['tiles'])} tiles of {meta['dataset']}, {meta['cut']['side']} x {meta['cut']['side']} "
        f"pixels, 12 bands; {last['date']}, commit {last['commit']}, {last['workers']} workers on "
        f"{last['cpus']} cores of {last['processor']}{load}."
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown of a table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _lossy(summary: Json, ours: Sequence[str]) -> list[Json]:
    """Lossy codecs with a curve, ours first."""
    found = [entry for entry in summary["codecs"] if entry["kind"] == "lossy" and "rate_at_psnr" in entry]
    return sorted(found, key=lambda entry: entry["name"] not in ours)


def _name(entry: Json, ours: Sequence[str]) -> str:
    return f"**{entry['label']}**" if entry["name"] in ours else str(entry["label"])


def _rates(summary: Json, ours: Sequence[str]) -> str:
    header = ["codec", *(f"{psnr:g} dB" for psnr in PSNR_POINTS), "encode", "decode"]
    rows = []
    for entry in _lossy(summary, ours):
        cells = []
        for psnr in PSNR_POINTS:
            found = entry["rate_at_psnr"].get(f"{psnr:g}")
            few = "" if found is None or found["n_tiles"] == entry["n_tiles"] else f" ({found['n_tiles']})"
            cells.append("-" if found is None else f"{found['bpppc']:.3f}{few}")
        speeds = [f"{entry['speed'][f'{way}_mpixel_per_s']:.2f}" for way in ("encode", "decode")]
        rows.append([_name(entry, ours), *cells, *speeds])
    note = (
        f"Speeds in Mpixel/s, all bands of a pixel counted once, at the setting nearest {TYPICAL_PSNR:g} dB."
    )
    return f"{markdown_table(header, rows)}\n\n{note}"


def _bd(summary: Json, ours: Sequence[str]) -> str:
    labels = {entry["name"]: entry["label"] for entry in summary["codecs"]}
    header = ["codec", *(labels[anchor] for anchor in summary["anchors"])]
    rows = []
    for entry in _lossy(summary, ours):
        found = [entry.get("bd", {}).get(anchor) for anchor in summary["anchors"]]
        rows.append([_name(entry, ours), *(_bd_cell(cell) for cell in found)])
    return markdown_table(header, rows)


def _bd_cell(cell: Json | None) -> str:
    if cell is None or cell["mean_percent"] is None:
        return "-"
    return f"{_signed(cell['mean_percent'])} / {_signed(cell['worst_percent'])}"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _quality(summary: Json, ours: Sequence[str]) -> str:
    header = ["codec", "PSNR", "SSIM", "MS-SSIM", "angle", "NDVI", "NDWI", "classes kept", "tiles"]
    rows = []
    for entry in _lossy(summary, ours):
        at = entry["at_rate"].get(AT_RATE)
        if at is None or at["psnr"] is None:
            continue
        indices = [f"{at[key]:.4f}" for key in ("ssim", "ms_ssim")]
        errors = [f"{at[key]:.4f}" for key in ("ndvi_error", "ndwi_error")]
        share = f"{100 * at['class_agreement']:.1f} %"
        figures = [f"{at['psnr']:.2f}", *indices, f"{at['sam']:.2f}", *errors, share, str(at["n_tiles"])]
        rows.append([_name(entry, ours), *figures])
    return markdown_table(header, rows)


def _bounds(summary: Json) -> str:
    bounded = [entry for entry in summary["codecs"] if "bounds" in entry]
    bounds = sorted({cell["bound"] for entry in bounded for cell in entry["bounds"]})
    rows = []
    for entry in bounded:
        by_bound = {cell["bound"]: cell for cell in entry["bounds"]}
        rows.append([entry["label"], *(_bound_cell(by_bound.get(bound)) for bound in bounds)])
    rows += [
        [entry["label"], f"{entry['bpppc']:.2f}", *("-" for _ in bounds[1:])]
        for entry in summary["codecs"]
        if entry["kind"] == "lossless" and bounds
    ]
    return markdown_table(["codec", *(f"±{bound:g}" for bound in bounds)], rows)


def _bound_cell(cell: Json | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['bpppc']:.2f}" + ("" if cell["psnr"] is None else f" / {cell['psnr']:.1f}")


def _losses(summary: Json, ours: Sequence[str]) -> str:
    """One row a model and opponent: tiles lost by each measure."""
    labels = {entry["name"]: entry["label"] for entry in summary["codecs"]}
    rows, measures = [], []
    for entry in _lossy(summary, ours):
        if entry["name"] not in ours:
            continue
        for anchor, found in entry.get("bd", {}).items():
            by = found["by_quality"]
            measures = [value["label"] for value in by.values()]
            cells = [
                f"{v['lost']} of {v['n_tiles']} ({_signed(v['percent'])} %)" if v["n_tiles"] else "-"
                for v in by.values()
            ]
            rows.append([f"`{entry['name']}` against {labels[anchor]}", *cells])
    return markdown_table(["", *measures], rows)


def _recorded(summary: Json) -> str:
    """How far the rows are from those recorded before."""
    found = summary.get("recorded")
    if not found:
        return "The recorded points were not beside the tiles."
    header = ["codec", "points", "bits, smallest and largest difference", "PSNR, largest difference"]
    rows = [
        [
            name,
            str(entry["points"]),
            f"{_signed(entry['bits_percent'][0])} to {_signed(entry['bits_percent'][1])} %",
            f"{entry['psnr_db']:.2f} dB",
        ]
        for name, entry in found.items()
    ]
    return markdown_table(header, rows)


def series_table(series: Json) -> str:
    """BD-rates of the model of series against all others: a row a codec, a column a set; `series.json`."""
    sets = series["summary"]
    cells: dict[str, dict[str, str]] = {}
    for name, entries in sets.items():
        for entry in entries:
            cells.setdefault(entry["anchor"], {})[name] = _bd_cell(entry)
    header = [f"`{series['meta']['model']}` against", *(SETS[name] for name in sets)]
    rows = [[OPPONENTS.get(a, f"`{a}`"), *(by.get(name, "-") for name in sets)] for a, by in cells.items()]
    return markdown_table(header, rows)


def lossless_table(bounded: Json) -> str:
    """Lossless bits per pixel per band of each tile, ours beside JPEG XL's; from a `bounded.json`."""
    ours = bounded["meta"]["model"]
    by_tile: dict[str, dict[str, float]] = {}
    for row in bounded["rows"]:
        if row["max_error"] == 0:
            by_tile.setdefault(row["tile"], {})[row["codec"]] = row["bpppc"]
    rows = []
    for tile, found in by_tile.items():
        mine, theirs = found[ours], found["jxl-lossless"]
        rows.append([f"`{tile}`", f"{mine:.3f}", f"{theirs:.3f}", f"{_signed(100 * (mine / theirs - 1))} %"])
    return markdown_table(["scene", "eocodec", "JPEG XL", "eocodec needs"], rows)
