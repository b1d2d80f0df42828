"""`eocodec bench rd`: the rate-distortion curve of a model beside the classical codecs, on the dev tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eocodec.bench import curves
from eocodec.bench.base import PSNR_PEAK, BenchCodec, LearnedCodec, RatePoint, measure
from eocodec.bench.codecs import QUALITIES
from eocodec.bench.datasets import CROP, dev_tiles, load_tile, recorded_points
from eocodec.bench.distortions import at_rates
from eocodec.bench.provenance import provenance, write_json
from eocodec.errors import InputError
from eocodec.sensors import S2_BAND_NAMES

TABLE_PSNR = (34.0, 36.0, 38.0, 40.0, 42.0, 44.0, 46.0, 48.0)
GRID = (34.0, 48.0)  # dB, of the average curves
RATES = (0.03, 0.06, 0.12, 0.25)  # bits per sample at which every metric is compared

METRICS = (
    ("PSNR [dB]", "psnr", 2),
    ("SSIM", "ssim", 4),
    ("MS-SSIM", "ms_ssim", 4),
    ("SAM [degrees]", "sam", 3),
    ("NDVI error", "ndvi_error", 4),
)  # title, key, digits

Classical = Literal["recorded", "run"]
Report = Callable[[str], None]


@dataclass(frozen=True)
class RdOptions:
    """What to run.

    model, beside : model id, and those of models that it is compared with; qualities : of all of them
    classical : where the classical points come from; recorded ones have no metric but PSNR
    every_metric : SSIM, spectral angle, errors of indices, and PSNR of each band, for every point
    data : imagery folder (None: found)
    """

    model: str = "tec-elic"
    qualities: tuple[float, ...] = QUALITIES
    classical: Classical = "recorded"
    data: Path | None = None
    beside: tuple[str, ...] = ()
    every_metric: bool = False


def run_rd(
    options: RdOptions, codec: BenchCodec | None = None, report: Report = lambda line: None
) -> dict[str, Any]:
    """Measure the model on the dev tiles and set it beside the classical codecs.

    Parameters
    ----------
    codec : replaces the model of the options (tests, other codecs)
    report : called with one line after each tile

    Returns
    -------
    result : JSON-ready: `meta`, `summary` (BD-rates, average curves) and `points` (one row a measurement)
    """
    ours = codec or LearnedCodec(options.model, options.qualities)
    paths = dev_tiles(options.data)
    points = sweep(ours, paths, report, every_metric=options.every_metric)
    rivals: list[BenchCodec] = []
    if options.classical == "recorded":
        points += recorded_points(options.data)
    else:
        from eocodec.bench.classical import X265, Jpeg2000, SvtAv1

        rivals += [Jpeg2000(), X265(), SvtAv1()]
    rivals += [LearnedCodec(model, options.qualities) for model in options.beside]
    for rival in rivals:
        points += sweep(rival, paths, report, every_metric=options.every_metric)
    meta = {
        **provenance(),
        "dataset": f"SSL4EO-S12 dev tiles, {CROP} x {CROP} top left",
        "tiles": [path.stem for path in paths],
        "model": ours.name,
        "settings": list(ours.settings),
        "classical": options.classical,
        "psnr_peak": PSNR_PEAK,
        "samples_per_tile": len(S2_BAND_NAMES) * CROP * CROP,
        "jpeg2000_header_bytes_subtracted_per_band": 169,
        "method": curves.METHOD,
    }
    summary = summarise(points, ours.name)
    if options.every_metric:
        summary["at_rate"] = at_equal_rates(points, meta["samples_per_tile"])
    return {"meta": meta, "summary": summary, "points": [p.to_dict() for p in points]}


def at_equal_rates(points: Sequence[RatePoint], samples: int) -> dict[str, dict[str, Any]]:
    """Every metric of each codec that has them, at bits per sample of RATES: codec -> rate -> figures."""
    tiles: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        if point.more is not None:
            tiles[point.codec][point.tile].append({**point.more, "bpppc": point.bits / samples})
    return at_rates(tiles, RATES)


def sweep(
    codec: BenchCodec,
    paths: Sequence[Path],
    report: Report = lambda line: None,
    *,
    every_metric: bool = False,
) -> list[RatePoint]:
    """All settings of a codec on all tiles."""
    points: list[RatePoint] = []
    for path in paths:
        image = load_tile(path)
        rows = [
            measure(codec, image, path.stem, setting, every_metric=every_metric) for setting in codec.settings
        ]
        points += rows
        low, high = rows[0], rows[-1]
        report(f"{codec.name} {path.stem}: {low.psnr:.1f} to {high.psnr:.1f} dB, {len(rows)} points")
    return points


def summarise(points: Sequence[RatePoint], ours: str, samples: int = 12 * CROP * CROP) -> dict[str, Any]:
    """BD-rates of `ours` against every other codec, and each codec's average curve.

    Raises
    ------
    InputError : no point of `ours`
    """
    grouped = curves.by_codec_and_tile(points)
    if ours not in grouped:
        raise InputError(f"no point of {ours} among those of {sorted(grouped)}")
    grid = curves.psnr_grid(*GRID)
    rivals = [codec for codec in grouped if codec != ours]
    return {
        "bd_rate": [curves.compare(grouped[ours], grouped[codec], codec).to_dict() for codec in rivals],
        "average_curves": {
            codec: curves.average_curve(tiles, grid, samples) for codec, tiles in grouped.items()
        },
        "bits_ratio_at_psnr": {
            codec: _ratios(grouped[ours], grouped[codec], np.asarray(TABLE_PSNR)) for codec in rivals
        },
    }


def _ratios(
    ours: dict[str, list[RatePoint]], rival: dict[str, list[RatePoint]], grid: curves.Curve
) -> dict[str, dict[str, float]]:
    """Mean bits of the rival over mean bits of ours at each PSNR, over the tiles in which both reach it."""
    tiles = sorted(set(ours) & set(rival))
    a = np.stack([curves.bits_at(ours[tile], grid) for tile in tiles])
    b = np.stack([curves.bits_at(rival[tile], grid) for tile in tiles])
    shared = np.isfinite(a) & np.isfinite(b)
    return {
        f"{psnr:g}": {
            "ratio": round(float(b[keep, i].sum() / a[keep, i].sum()), 4),
            "n_tiles": int(keep.sum()),
        }
        for i, psnr in enumerate(grid)
        if (keep := shared[:, i]).any()
    }


def save_rd(result: dict[str, Any], out: Path) -> list[Path]:
    """Write rd.json, rd.png and rd.svg into the folder `out`; returns their paths."""
    from eocodec.bench.rd_plot import plot_rd

    json_path = out / "rd.json"
    write_json(json_path, result)
    return [json_path, *plot_rd(result, out)]


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The per-tile BD-rates as a table of text: header, and rows ending in mean, average curve and worst."""
    entries = result["summary"]["bd_rate"]
    header = ["BD-rate 36-46 dB [%]", *(f"vs {entry['anchor']}" for entry in entries)]
    rows = [
        [tile, *(_percent(entry["per_tile_percent"].get(tile)) for entry in entries)]
        for tile in result["meta"]["tiles"]
    ]
    for title, key in (
        ("mean of tiles", "mean_percent"),
        ("of the average curve", "of_average_curve_percent"),
        ("worst tile", "worst_percent"),
    ):
        rows.append([title, *(_percent(entry[key]) for entry in entries)])
    return header, rows


def curve_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Our average rate, and the others' bits over ours at equal PSNR where both reach it, as a table.

    '(n)' where these are n tiles and not all.
    """
    summary, n_all = result["summary"], len(result["meta"]["tiles"])
    ours = {f"{e['psnr']:g}": e for e in summary["average_curves"][result["meta"]["model"]]}
    columns = [f"{psnr:g}" for psnr in TABLE_PSNR]
    rows = [["our bits per pixel per band", *(_cell(ours.get(c), "bpppc", n_all) for c in columns)]]
    for codec, ratios in summary["bits_ratio_at_psnr"].items():
        rows.append([f"{codec} bits / ours", *(_cell(ratios.get(c), "ratio", n_all) for c in columns)])
    return ["at equal PSNR", *(f"{c} dB" for c in columns)], rows


def rate_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Metrics at equal rates, a row a rate and codec, as a table; no rows without them."""
    header = ["at bits per pixel per band", *(title for title, _, _ in METRICS)]
    found = result["summary"].get("at_rate", {})
    rows = [
        [
            f"{rate:g} {codec}",
            *(_figure(found[codec][f"{rate:g}"][key], digits) for _, key, digits in METRICS),
        ]
        for rate in RATES
        for codec in found
        if f"{rate:g}" in found[codec]
    ]
    return header, rows


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def _cell(entry: dict[str, Any] | None, key: str, n_all: int) -> str:
    if entry is None:
        return "-"
    return f"{entry[key]:.3f}" + ("" if entry["n_tiles"] == n_all else f" ({entry['n_tiles']})")
