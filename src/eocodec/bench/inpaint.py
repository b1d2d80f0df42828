"""`eocodec bench inpaint`: clouds of true shapes put on clear dates, filled, and compared with the truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec import metrics
from eocodec.bench.base import PSNR_PEAK, Image
from eocodec.bench.datasets import require_data
from eocodec.bench.provenance import provenance
from eocodec.bench.series import dev_series
from eocodec.errors import RasterError
from eocodec.filling import inpaint
from eocodec.filling.fallback import Frame, interpolated, nearest_clear, nearest_first
from eocodec.interop.cloud_masks import BRIGHT_BAND, BRIGHT_DN, CLOUD_CLASSES, class_values
from eocodec.raster.fill import smooth_fill
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray, BoolArray

OURS = "eocodec"
BINS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8)  # edges of cloud shares
HALF = 0.5  # the share up to which ours is to beat all others
LOST = 0.5  # share of a date that is bright by itself, from which on all of it counts as clouded
MOST_CLOUD = 0.02  # share of a date that is bright by itself, up to which it is filled and compared
METRICS = {"psnr": 2, "ssim": 4, "sam": 2, "mae": 1}  # and digits shown
AREAS = ("whole", "masked")

Float = NDArray[np.float64]
Report = Callable[[str], None]
Fill = Callable[[AnyArray, BoolArray, int], Float]  # series, clouds, timestep -> image


@dataclass(frozen=True)
class InpaintOptions:
    """What to run. cases : in all, evenly over the dates; others : put clouds on the other dates too."""

    cases: int = 120
    others: bool = False
    data: Path | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Case:
    """A series [T, C, H, W] with clouds [T, H, W], of which those of timestep t hide what is known."""

    place: str
    series: Image
    clouds: BoolArray
    t: int
    hidden: BoolArray


def cloud_shapes(data: Path | None = None) -> list[BoolArray]:
    """Clouds and shadows of the long series' clouded dates, covering 5 to 80 % each.

    Raises
    ------
    RasterError : there are no series
    """
    found = []
    for path in sorted((require_data(data) / "train" / "series").glob("*.npz")):
        with np.load(path) as archive:
            bands = [str(band) for band in archive["bands"]]
            blue, scl = archive["data"][:, bands.index(BRIGHT_BAND)], archive["scl"]
        marked = np.isin(scl, class_values(CLOUD_CLASSES)) | (blue > BRIGHT_DN)
        found += [plane for plane in marked if BINS[0] <= plane.mean() <= BINS[-1]]
    if not found:
        raise RasterError("no clouded dates in train/series; their shapes are needed")
    return found


def fitted_shape(cloud: BoolArray, shape: tuple[int, int], rng: np.random.Generator) -> BoolArray:
    """A cloud enlarged by a whole factor to cover a shape, turned at random and cut."""
    factor = max(-(-size // own) for size, own in zip(shape, cloud.shape, strict=True))
    large = np.kron(cloud, np.ones((factor, factor), bool))
    large = np.rot90(large, int(rng.integers(4)))
    large = large[:, ::-1] if rng.random() < 0.5 else large
    top, left = (int(rng.integers(own - size + 1)) for size, own in zip(shape, large.shape, strict=True))
    return np.ascontiguousarray(large[top : top + shape[0], left : left + shape[1]])


def make_cases(options: InpaintOptions) -> list[Case]:
    """Cases on the dev series: dates that are clear by themselves, as many of each share of clouds."""
    rng = np.random.default_rng(options.seed)
    shapes, places = cloud_shapes(options.data), dev_series(options.data)
    own = {place: own_clouds(series) for place, series in places.items()}
    clear = [(p, t) for p in places for t in range(len(own[p])) if own[p][t].mean() <= MOST_CLOUD]
    cases = []
    for number in range(options.cases):
        place, t = clear[number % len(clear)]
        series, clouds = places[place], own[place].copy()
        size = (series.shape[2], series.shape[3])
        share = number // len(clear) % (len(BINS) - 1)
        hidden = _of_share(shapes, size, rng, BINS[share], BINS[share + 1])
        if options.others:
            for k in range(len(series)):
                clouds[k] |= _of_share(shapes, size, rng, BINS[0], BINS[-1])
        clouds[t] |= hidden
        cases.append(Case(place, series, clouds, t, hidden & ~own[place][t]))
    return cases


def own_clouds(series: Image) -> BoolArray:
    """Clouds [T, H, W] that a series came with, by brightness; a date that is mostly cloud is useless."""
    clouds = np.asarray(series[:, S2_BAND_NAMES.index(BRIGHT_BAND)] > BRIGHT_DN)
    clouds[clouds.mean((1, 2)) > LOST] = True
    return clouds


def _of_share(
    shapes: Sequence[BoolArray], size: tuple[int, int], rng: np.random.Generator, low: float, high: float
) -> BoolArray:
    while True:
        found = fitted_shape(shapes[int(rng.integers(len(shapes)))], size, rng)
        if low <= found.mean() <= high:
            return found


# --- what is compared ---------------------------------------------------------------------------------------


def _frames(series: AnyArray, clouds: BoolArray) -> Callable[[int], Frame]:
    return lambda k: (series[k].astype(np.float64), ~clouds[k])


def _completed(series: AnyArray, clouds: BoolArray, t: int, image: Float, known: BoolArray) -> Float:
    """Under the clouds what was found, smoothly filled where nothing was; the date itself elsewhere."""
    out = np.where(clouds[t], np.where(known, image, 0), series[t])
    return np.asarray(smooth_fill(out, known | ~clouds[t]), np.float64)


def last_clear(series: AnyArray, clouds: BoolArray, t: int) -> Float:
    """Each pixel from the last date before that has it clear; where there is none, from the next after."""
    times = list(range(len(series)))
    order = [*nearest_first(times, t, later=False), *nearest_first(times, t, later=True)]
    image, _, known = nearest_clear(_frames(series, clouds), order, times, clouds[t])
    return _completed(series, clouds, t, image, known)


def least_cloudy(series: AnyArray, clouds: BoolArray, t: int) -> Float:
    """The least clouded of the other dates; where it is clouded, the next one."""
    order = sorted((k for k in range(len(series)) if k != t), key=lambda k: float(clouds[k].mean()))
    image, _, known = nearest_clear(_frames(series, clouds), order, list(range(len(series))), clouds[t])
    return _completed(series, clouds, t, image, known)


def linear(series: AnyArray, clouds: BoolArray, t: int) -> Float:
    """Linear interpolation in time between each pixel's clear dates."""
    image, known = interpolated(_frames(series, clouds), list(range(len(series))), t, clouds[t])
    return _completed(series, clouds, t, image, known)


def median_mosaic(series: AnyArray, clouds: BoolArray, t: int) -> Float:
    """Median of each pixel's clear dates."""
    others = [k for k in range(len(series)) if k != t]
    known = np.asarray((~clouds[others]).any(0))
    stack = np.where(clouds[others][:, None], np.nan, series[others])
    stack[:, :, ~known] = 0
    return _completed(series, clouds, t, np.asarray(np.nanmedian(stack, 0)), known)


def ours(series: AnyArray, clouds: BoolArray, t: int) -> Float:
    """`eocodec.inpaint`."""
    return np.asarray(inpaint(series, clouds, timestep=t), np.float64)


METHODS: dict[str, Fill] = {
    OURS: ours,
    "last clear": last_clear,
    "least cloudy": least_cloudy,
    "linear": linear,
    "median": median_mosaic,
}


# --- measuring ----------------------------------------------------------------------------------------------


def scores(x: AnyArray, x_hat: AnyArray, area: BoolArray | None) -> dict[str, float | None]:
    """PSNR [dB], SSIM, spectral angle [degrees] and mean absolute error [DN] over an area; None: all.

    SSIM of an area is that of windows wholly within it; None where no window fits.
    """
    mask = None if area is None else np.broadcast_to(area, x.shape)
    error = np.abs(x_hat.astype(np.float64) - x)
    found = {
        "psnr": metrics.psnr(x, x_hat, peak=PSNR_PEAK, mask=mask),
        "ssim": metrics.ssim(x, x_hat, mask=mask),
        "sam": metrics.sam(x, x_hat, mask=mask),
        "mae": float(error.mean() if area is None else error[:, area].mean()),
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def run_case(case: Case) -> dict[str, Any]:
    """All methods on one case."""
    truth = case.series[case.t]
    row: dict[str, Any] = {"place": case.place, "timestep": case.t, "cloud": float(case.hidden.mean())}
    for name, method in METHODS.items():
        begin = time.perf_counter()
        found = method(case.series, case.clouds, case.t)
        seconds = time.perf_counter() - begin
        row[name] = {
            "whole": scores(truth, found, None),
            "masked": scores(truth, found, case.hidden),
            "seconds": seconds,
        }
    return row


def run_inpaint(options: InpaintOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Measure all methods on all cases: JSON-ready `meta`, `summary`, and of `cases` what `brief` keeps."""
    cases = make_cases(options)
    rows = []
    for number, case in enumerate(cases):
        rows.append(run_case(case))
        if (number + 1) % 20 == 0:
            report(f"{number + 1} of {len(cases)} cases")
    meta = {
        **provenance(),
        "cases": len(rows),
        "others_clouded": options.others,
        "seed": options.seed,
        "psnr_peak": PSNR_PEAK,
        "classes": list(CLOUD_CLASSES),
        "bright_dn": BRIGHT_DN,
        "lost": LOST,
        "places": sorted({row["place"] for row in rows}),
    }
    return {"meta": meta, "summary": list(summarise(rows)), "cases": [brief(row) for row in rows]}


def brief(row: dict[str, Any]) -> dict[str, Any]:
    """Of a case, which one it is, and PSNR [dB] under the clouds by method."""
    under = {name: _rounded(row[name]["masked"]["psnr"], METRICS["psnr"]) for name in METHODS}
    return {
        "place": row["place"],
        "timestep": row["timestep"],
        "cloud": round(row["cloud"], 4),
        "psnr": under,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def summarise(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Means by cloud share and method, and in how many cases ours is better in PSNR, SSIM and error."""
    for low, high in (*pairwise(BINS), (BINS[0], HALF), (BINS[0], BINS[-1])):
        inside = [row for row in rows if low <= row["cloud"] < high or row["cloud"] == high == BINS[-1]]
        for name in METHODS if inside else ():
            means = {
                area: {
                    m: _rounded(mean_of(row[name][area][m] for row in inside), digits + 2)
                    for m, digits in METRICS.items()
                }
                for area in AREAS
            }
            yield {
                "from": low,
                "to": high,
                "cases": len(inside),
                "method": name,
                **means,
                "beaten": sum(_is_beaten(row, name) for row in inside),
                "seconds": _rounded(mean_of(row[name]["seconds"] for row in inside), 4),
            }


def mean_of(values: Iterable[float | None]) -> float | None:
    """Mean of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _is_beaten(row: dict[str, Any], name: str) -> bool:
    """Whether ours is better under the clouds in PSNR, SSIM (where any window fits) and error, all three."""
    mine, other = row[OURS]["masked"], row[name]["masked"]
    alike = mine["ssim"] is None or mine["ssim"] > other["ssim"]
    return bool(mine["psnr"] > other["psnr"] and alike and mine["mae"] < other["mae"])


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: means under the clouds, and in brackets over the whole image."""
    header = ["clouds [%]", "method", "PSNR [dB]", "SSIM", "SAM [deg]", "MAE [DN]", "beaten", "s"]
    rows = []
    for entry in result["summary"]:
        figures = [
            f"{text_of(entry['masked'][name], digits)} ({text_of(entry['whole'][name], digits)})"
            for name, digits in METRICS.items()
        ]
        beaten = f"{entry['beaten']}/{entry['cases']}" if entry["method"] != OURS else ""
        clouds = f"{100 * entry['from']:.0f}-{100 * entry['to']:.0f}"
        rows.append([clouds, entry["method"], *figures, beaten, f"{entry['seconds']:.2f}"])
    return header, rows


def text_of(value: float | None, digits: int) -> str:
    """A figure in a table."""
    return "-" if value is None else f"{value:.{digits}f}"
