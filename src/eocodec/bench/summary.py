"""From the rows of `eocodec bench run` to tables: BD-rates, rates at equal PSNR, speeds, bounds, losses."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eocodec.bench import curves
from eocodec.bench.base import RatePoint
from eocodec.bench.evaluate import Row
from eocodec.errors import InputError
from eocodec.metrics.bdrate import bd_psnr, bd_rate

WITH_HEADERS = "+headers"  # ends the name of a codec whose fixed headers are charged after all
ANCHORS = ("j2k", "x265", "av1", "x265-veryslow", "av1-p0")
PSNR_POINTS = (36.0, 40.0, 44.0, 48.0)
RATE_POINTS = (0.05, 0.1, 0.2, 0.4)  # bits per pixel per band
TYPICAL_PSNR = 42.0  # dB; speeds are those of the setting nearest to it
# What a codec is judged by besides PSNR; larger is better after the transformation.
QUALITIES: dict[str, tuple[str, Callable[[float], float]]] = {
    "psnr": ("PSNR", lambda v: v),
    "ssim": ("SSIM", lambda v: -10 * math.log10(max(1 - v, 1e-9))),
    "ms_ssim": ("MS-SSIM", lambda v: -10 * math.log10(max(1 - v, 1e-9))),
    "sam": ("spectral angle", lambda v: -v),
    "ndvi_error": ("NDVI", lambda v: -v),
    "ndwi_error": ("NDWI", lambda v: -v),
    "class_agreement": ("spectral classes", lambda v: v),
}
SPEED_METHOD = f"Speeds are medians over tiles at the setting nearest {TYPICAL_PSNR:g} dB."
Grouped = dict[str, dict[str, list[Row]]]


def measured(rows: Iterable[Row]) -> list[Row]:
    """Rows without error, and a copy with headers charged of those of codecs that have free bits."""
    good = [row for row in rows if "error" not in row]
    paying = [
        {**row, "codec": row["codec"] + WITH_HEADERS, "free_bits": 0} for row in good if row["free_bits"]
    ]
    return [*good, *paying]


def samples(row: Row) -> int:
    """Pixels x bands x dates of a row's tile."""
    return math.prod(row["shape"])


def rate(row: Row) -> float:
    """Bits per pixel per band that curves charge."""
    return float((row["bits"] - row["free_bits"]) / samples(row))


def by_codec_and_tile(rows: Iterable[Row]) -> Grouped:
    """Rows as codec -> tile -> list by rate."""
    grouped: Grouped = defaultdict(lambda: defaultdict(list))
    for row in rows:
        grouped[row["codec"]][row["tile"]].append(row)
    return {c: {t: sorted(rs, key=rate) for t, rs in tiles.items()} for c, tiles in grouped.items()}


def summarise(rows: Sequence[Row], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that report and documents show of a run; JSON-ready.

    Returns
    -------
    `codecs`: one entry a codec; `method`: how its figures are made; `errors`: what could not be measured
    """
    grouped = by_codec_and_tile(measured(rows))
    points = curves.by_codec_and_tile(_points(grouped))
    anchors = [name for name in ANCHORS if name in points]
    codecs = [_codec_entry(name, grouped, points, anchors, meta["labels"]) for name in grouped]
    errors = sorted({(r["codec"], r["tile"], r["error"]) for r in rows if "error" in r})
    return {
        "dataset": meta["dataset"],
        "tiles": sorted(meta["tiles"]),
        "anchors": anchors,
        "codecs": codecs,
        "errors": [dict(zip(("codec", "tile", "error"), entry, strict=True)) for entry in errors],
        "method": f"{curves.METHOD} {SPEED_METHOD}",
    }


def _points(grouped: Grouped) -> list[RatePoint]:
    """Rate-distortion points; lossless ones (no PSNR) are none, nor are codecs with fewer than two."""
    return [
        RatePoint(tile, codec, row["setting"], row["bits"] - row["free_bits"], row["psnr"])
        for codec, tiles in grouped.items()
        for tile, rows in tiles.items()
        if sum(row["psnr"] is not None for row in rows) > 1
        for row in rows
        if row["psnr"] is not None
    ]


def label_of(name: str, labels: Mapping[str, str]) -> str:
    """Words for a codec."""
    plain = name.removesuffix(WITH_HEADERS)
    return labels.get(plain, plain) + (", headers charged" if name != plain else "")


def _codec_entry(
    name: str,
    grouped: Grouped,
    points: Mapping[str, Mapping[str, Sequence[RatePoint]]],
    anchors: Sequence[str],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    tiles = grouped[name]
    every = [row for rows in tiles.values() for row in rows]
    entry: dict[str, Any] = {
        "name": name,
        "label": label_of(name, labels),
        "kind": every[0]["kind"],
        "n_tiles": len(tiles),
        "speed": _speed(tiles),
    }
    if every[0]["kind"] == "lossless":
        return {**entry, "bpppc": round(statistics.mean(rate(row) for row in every), 4)}
    if every[0]["kind"] == "bounded":
        entry["bounds"] = _bounds(every)
    if name in points:
        entry["rate_at_psnr"] = _rates_at(points[name], tiles)
        entry["at_rate"] = {f"{value:g}": _qualities_at(tiles, value) for value in RATE_POINTS}
        entry["bd"] = {
            anchor: {
                **curves.compare(points[name], points[anchor], anchor).to_dict(),
                "bd_psnr_db": _bd_psnr(points[name], points[anchor]),
                "by_quality": _bd_by_quality(tiles, grouped[anchor]),
            }
            for anchor in anchors
            if anchor != name
        }
    return entry


def _speed(tiles: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Median Mpixel/s (all bands of a pixel count once) and MB at the setting nearest the typical PSNR."""
    typical = [min(rows, key=lambda r: abs((r["psnr"] or 99.0) - TYPICAL_PSNR)) for rows in tiles.values()]
    pixels = [samples(row) / row["shape"][-3] / 1e6 for row in typical]
    found: dict[str, Any] = {}
    for way in ("encode", "decode"):
        speeds = [n / row[f"{way}_s"] for n, row in zip(pixels, typical, strict=True)]
        memory = [row[f"{way}_peak_mb"] for row in typical if row[f"{way}_peak_mb"] is not None]
        found[f"{way}_mpixel_per_s"] = round(statistics.median(speeds), 4)
        found[f"{way}_peak_mb"] = max(memory) if memory else None
    return found


def _bounds(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each bound: mean rate and PSNR of the tiles, and the largest error that occurred."""
    by_bound: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        by_bound[row["bound"]].append(row)
    return [
        {
            "bound": bound,
            "bpppc": round(statistics.mean(map(rate, group)), 4),
            "psnr": _mean([row["psnr"] for row in group]),
            "max_error": max(row["max_error"] for row in group),
            "n_tiles": len(group),
        }
        for bound, group in sorted(by_bound.items())
    ]


def _rates_at(
    points: Mapping[str, Sequence[RatePoint]], tiles: Mapping[str, Sequence[Row]]
) -> dict[str, Any]:
    """Mean bits per pixel per band at each PSNR over the tiles that reach it, with their number."""
    grid = np.asarray(PSNR_POINTS)
    rates = np.stack([curves.bits_at(points[t], grid) / samples(tiles[t][0]) for t in points])
    return {
        f"{psnr:g}": {"bpppc": round(float(np.nanmean(column)), 5), "n_tiles": int(np.isfinite(column).sum())}
        for psnr, column in zip(PSNR_POINTS, rates.T, strict=True)
        if np.isfinite(column).any()
    }


def _qualities_at(tiles: Mapping[str, Sequence[Row]], at: float) -> dict[str, Any]:
    """Each measure at a rate, linear in log rate; mean over the tiles whose curve has that rate."""
    found: dict[str, Any] = {}
    for key in QUALITIES:
        values = []
        for rows in tiles.values():
            known = [(rate(row), row[key]) for row in rows if row[key] is not None]
            if known and known[0][0] <= at <= known[-1][0]:
                logs, qualities = np.log([r for r, _ in known]), [q for _, q in known]
                values.append(float(np.interp(math.log(at), logs, qualities)))
        found[key] = round(statistics.mean(values), 5) if values else None
    found["n_tiles"] = sum(rate(rows[0]) <= at <= rate(rows[-1]) for rows in tiles.values())
    return found


def _bd_psnr(
    test: Mapping[str, Sequence[RatePoint]], anchor: Mapping[str, Sequence[RatePoint]]
) -> float | None:
    """BD-PSNR [dB], mean over the tiles whose curves overlap."""
    found = []
    for tile in set(test) & set(anchor):
        (a_bits, a_psnr), (t_bits, t_psnr) = curves.increasing(anchor[tile]), curves.increasing(test[tile])
        if max(a_bits[0], t_bits[0]) < min(a_bits[-1], t_bits[-1]):
            found.append(bd_psnr(a_bits, a_psnr, t_bits, t_psnr))
    return _mean(found)


def _bd_by_quality(
    test: Mapping[str, Sequence[Row]], anchor: Mapping[str, Sequence[Row]]
) -> dict[str, dict[str, Any]]:
    """For each measure: mean BD-rate [%] over the whole overlap, the number of tiles, and of tiles lost."""
    found = {}
    for key, (label, better) in QUALITIES.items():
        values = []
        for tile in sorted(set(test) & set(anchor)):
            pair = [_curve(rows[tile], key, better) for rows in (anchor, test)]
            try:
                values.append(bd_rate(*pair[0], *pair[1]))
            except InputError:  # no overlap, or no curve: nothing to compare by this measure
                continue
        lost = sum(value > 0 for value in values)
        found[key] = {"label": label, "percent": _mean(values), "n_tiles": len(values), "lost": lost}
    return found


def _curve(
    rows: Sequence[Row], key: str, better: Callable[[float], float]
) -> tuple[list[float], list[float]]:
    known = [row for row in rows if row[key] is not None]
    return [rate(row) for row in known], [better(row[key]) for row in known]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.mean(known), 3) if known else None


def agreement(rows: Sequence[Row], recorded: Sequence[RatePoint]) -> dict[str, dict[str, Any]]:
    """How far rows are from points recorded before, by codec, over the points that both have."""
    points = {(p.tile, p.codec, p.setting): p for p in recorded}
    differences: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        point = points.get((row["tile"], row["codec"], float(row["setting"])))
        if point is not None and "error" not in row:
            bits = row["bits"] - row["free_bits"]
            differences[row["codec"]].append((100 * (bits / point.bits - 1), abs(row["psnr"] - point.psnr)))
    return {
        name: {
            "points": len(pairs),
            "bits_percent": [round(min(b for b, _ in pairs), 2), round(max(b for b, _ in pairs), 2)],
            "psnr_db": round(max(d for _, d in pairs), 3),
        }
        for name, pairs in sorted(differences.items())
    }


# --- tables of text -----------------------------------------------------------------------------------------


def table_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """One row a codec: rates at equal PSNR, BD-rates against the anchors, speeds."""
    anchors = summary["anchors"]
    header = [
        "codec",
        *(f"{psnr:g} dB" for psnr in PSNR_POINTS),
        *(f"vs {anchor}" for anchor in anchors),
        "enc",
        "dec",
    ]
    return header, [_table_row(entry, anchors) for entry in summary["codecs"]]


def _table_row(entry: Mapping[str, Any], anchors: Sequence[str]) -> list[str]:
    rates = entry.get("rate_at_psnr", {})
    cells = [_rate_cell(rates.get(f"{psnr:g}"), entry["n_tiles"]) for psnr in PSNR_POINTS]
    if entry["kind"] == "lossless":
        cells[-1] = f"{entry['bpppc']:.2f} lossless"
    bd = [_percent(entry.get("bd", {}).get(anchor, {}).get("mean_percent")) for anchor in anchors]
    speeds = [f"{entry['speed'][f'{way}_mpixel_per_s']:.2f}" for way in ("encode", "decode")]
    return [entry["name"], *cells, *bd, *speeds]


def _rate_cell(found: Mapping[str, Any] | None, n_all: int) -> str:
    if found is None:
        return "-"
    return f"{found['bpppc']:.3f}" + ("" if found["n_tiles"] == n_all else f" ({found['n_tiles']})")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
