"""The figures of docs/inpaint.md, made from the results of `eocodec bench inpaint`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from eocodec.bench.document import markdown_table
from eocodec.bench.inpaint import BINS, HALF, METRICS, OURS, text_of

Json = Mapping[str, Any]
INPAINT_TABLES = ("inpaint_run", "inpaint_under", "inpaint_whole", "inpaint_others")
# Best of the simpler ways first.
COLUMNS = {
    OURS: "**ours**",
    "median": "median mosaic",
    "linear": "linear in time",
    "last clear": "last clear date",
    "least cloudy": "least cloudy date",
}
LABELS = {"psnr": "PSNR, dB", "ssim": "SSIM", "sam": "SAM, degrees", "mae": "MAE, DN"}
HIGHER_IS_BETTER = ("psnr", "ssim")


def tables(alone: Json, others: Json) -> dict[str, str]:
    """Markdown by the name of its place in the document.

    Parameters
    ----------
    alone, others : `inpaint.json` and `inpaint-others.json`
    """
    meta = alone["meta"]
    made = (
        f"`eocodec bench inpaint` ({meta['cases']} cases, commit {meta['commit']})",
        _under_clouds(alone),
        _whole_image(alone),
        _clouded_others(others),
    )
    return dict(zip(INPAINT_TABLES, made, strict=True))


def _share(result: Json, low: float, high: float) -> dict[str, Json]:
    """Entries of a share of clouds by method."""
    found = [e for e in result["summary"] if (e["from"], e["to"]) == (low, high)]
    return {entry["method"]: entry for entry in found}


def _under_clouds(result: Json) -> str:
    """A row a share of clouds and measure, a column a method."""
    rows = []
    for low, high in pairwise(BINS):
        methods = _share(result, low, high)
        for measure, digits in METRICS.items():
            label = f"{100 * low:.0f}-{100 * high:.0f} %" if measure == next(iter(METRICS)) else ""
            values = [methods[name]["masked"][measure] for name in COLUMNS]
            rows.append([label, LABELS[measure], *_best_in_bold(values, digits, measure)])
    return markdown_table(["clouds", "", *COLUMNS.values()], rows)


def _best_in_bold(values: Sequence[float], digits: int, measure: str) -> list[str]:
    best = max(values) if measure in HIGHER_IS_BETTER else min(values)
    return [f"**{text_of(v, digits)}**" if v == best else text_of(v, digits) for v in values]


def _whole_image(result: Json) -> str:
    """Over the whole image up to half of it clouded, and how often ours is better."""
    half, every = (_share(result, BINS[0], to) for to in (HALF, BINS[-1]))
    others = [name for name in COLUMNS if name != OURS]
    psnr, ssim = (max(half[name]["whole"][m] for name in others) for m in ("psnr", "ssim"))
    mine = half[OURS]["whole"]
    beaten = [" / ".join(str(share[name]["beaten"]) for name in others) for share in (half, every)]
    return (
        f"Over the whole image, {100 * BINS[0]:.0f} to {100 * HALF:.0f} % clouds: {mine['psnr']:.2f} dB, "
        f"SSIM {mine['ssim']:.4f}; the best other way has {psnr:.2f} dB and {ssim:.4f}. Up to "
        f"{100 * HALF:.0f} %, ours is better in PSNR, SSIM and MAE, all three, in {beaten[0]} of "
        f"{half[OURS]['cases']} cases against each of the others, in the order of the table; over all "
        f"shares in {beaten[1]} of {every[OURS]['cases']}."
    )


def _clouded_others(result: Json) -> str:
    half = _share(result, BINS[0], HALF)
    mine, median = (half[name]["masked"] for name in (OURS, "median"))
    return (
        f"With clouds on the other dates too (`--others`, {result['meta']['cases']} cases), up to "
        f"{100 * HALF:.0f} %: {mine['psnr']:.2f} dB, SSIM {mine['ssim']:.4f}, MAE {mine['mae']:.0f} DN; "
        f"median mosaic {median['psnr']:.2f} dB, {median['ssim']:.4f}, {median['mae']:.0f} DN. A date of "
        f"four at this size takes {half[OURS]['seconds']:.1f} s of one core."
    )
