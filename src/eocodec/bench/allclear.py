"""The AllClear benchmark of cloud removal (Zhou et al. 2024, arXiv:2410.23891) in its published layout.

A JSON file has for each sample its region `roi`, the clouded acquisitions `s2_toa` and the clear `target`,
each a list of [time, path]. Paths lead to GeoTIFFs of 13 bands of Level-1C in DN,

    data/roi156261/2022_3/s2_toa/roi156261_s2_toa_2022_3_26_median.tif

with cloud and shadow masks in bands 2 and 5 of the same path with `cld_shdw` for `s2_toa`. The 256 x 256
pixels in the middle count; figures are means over samples, over pixels that are clear in the target.

The target's date has no clear pixel to fit anything to. What is measured of ours is the clouded dates filled
from one another, interpolated linearly in time at the target's date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.inpaint import METHODS, METRICS, OURS, Float, mean_of, scores, text_of
from eocodec.bench.provenance import provenance
from eocodec.errors import RasterError
from eocodec.filling import inpaint, times_of
from eocodec.filling.fallback import interpolated
from eocodec.interop.gdal import open_dataset, read_window
from eocodec.types import AnyArray, BoolArray

SENSOR, MASKS = "s2_toa", "cld_shdw"
MASK_BANDS = [2, 5]  # counted from 1: cloud, shadow
BANDS = 13
SIDE = 256
MAX_DN = 10_000.0  # beyond it everything is cut off

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Sample:
    """Clouded acquisitions and the clear one that is to be restored.

    series : [T, 13, 256, 256], DN; clouds : [T, 256, 256]; dates : ISO 8601, ascending
    target : [13, 256, 256]; hidden : [256, 256], clouds of the target, which are not judged; date : its own
    """

    name: str
    series: Float
    clouds: BoolArray
    dates: tuple[str, ...]
    target: Float
    hidden: BoolArray
    date: str


def read_samples(path: Path, limit: int | None = None) -> Iterator[Sample]:
    """Samples of a JSON file, in its order, at most `limit`.

    Raises
    ------
    RasterError : the file, or an image that it names, is missing or another than expected
    """
    try:
        entries = json.loads(path.read_text())
        chosen = list(entries.items())[:limit]
        named = [(str(name), sorted(entry[SENSOR]), entry["target"][0]) for name, entry in chosen]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RasterError(
            f"{path} is no list of AllClear samples ({error!r}); give the JSON with targets"
        ) from error
    for name, acquisitions, (date, target) in named:
        images, clouds = zip(*(_acquisition(path, file) for _, file in acquisitions), strict=True)
        truth, hidden = _acquisition(path, target)
        dates = tuple(moment.replace(" ", "T") for moment, _ in acquisitions)
        yield Sample(
            name, np.stack(images), np.stack(clouds), dates, truth, hidden, str(date).replace(" ", "T")
        )


def _acquisition(path: Path, file: str) -> tuple[Float, BoolArray]:
    image = _middle(_find(path, file), list(range(1, BANDS + 1)))
    marked = _middle(_find(path, file.replace(SENSOR, MASKS)), MASK_BANDS)
    clouds = np.isnan(marked).any(0) | (np.nan_to_num(marked) > 0).any(0) | np.isnan(image).any(0)
    return np.clip(np.nan_to_num(image), 0, MAX_DN), np.asarray(clouds)


def _find(listing: Path, file: str) -> Path:
    """An image by the part of its path from the region on, in folders above the list."""
    parts = Path(file).parts
    start = next((k for k, part in enumerate(parts) if part.startswith("roi")), 0)
    tail = Path(*parts[start:])
    for folder in listing.resolve().parents:
        for found in (folder / tail, folder / "data" / tail):
            if found.is_file():
                return found
    raise RasterError(f"{tail} is not in a folder data above {listing}; fetch its region")


def _middle(file: Path, bands: list[int]) -> Float:
    with ExitStack() as stack:
        dataset = open_dataset(str(file), stack)
        if dataset.count < max(bands) or min(dataset.height, dataset.width) < SIDE:
            size = f"{dataset.count} bands of {dataset.height} x {dataset.width} pixels"
            raise RasterError(f"{file} has {size}; AllClear has {max(bands)} of {SIDE} and more")
        top, left = dataset.height // 2 - SIDE // 2, dataset.width // 2 - SIDE // 2
        return read_window(dataset, bands, slice(top, top + SIDE), slice(left, left + SIDE)).astype(
            np.float64
        )


def restore(sample: Sample) -> Float:
    """The target's date, [13, 256, 256]: clouds of the others filled, then interpolated in time."""
    filled = (
        inpaint(sample.series, sample.clouds, dates=sample.dates) if sample.clouds.any() else sample.series
    )
    series, clouds, t = _with_target(sample, filled, np.zeros_like(sample.clouds))
    times = times_of(_all_dates(sample)[0], len(series))
    frames = [(image, ~cloud) for image, cloud in zip(series, clouds, strict=True)]
    return interpolated(frames.__getitem__, times, t, clouds[t])[0]


def _all_dates(sample: Sample) -> tuple[list[str], int]:
    """Dates with that of the target among them, and its place."""
    t = sum(date < sample.date for date in sample.dates)
    return [*sample.dates[:t], sample.date, *sample.dates[t:]], t


def _with_target(sample: Sample, series: AnyArray, clouds: BoolArray) -> tuple[Float, BoolArray, int]:
    """The series with the target's date among its dates, wholly clouded."""
    t = _all_dates(sample)[1]
    return np.insert(series, t, 0, axis=0), np.insert(clouds, t, True, axis=0), t


def run_allclear(path: Path, limit: int | None = None, report: Report = lambda line: None) -> dict[str, Any]:
    """All methods on samples: JSON-ready `meta` and means by method.

    Raises
    ------
    RasterError : see `read_samples`
    """
    rows: list[dict[str, Any]] = []
    for sample in read_samples(path, limit):
        given = _with_target(sample, sample.series, sample.clouds)
        found = {name: method(*given) for name, method in METHODS.items() if name != OURS}
        found[OURS] = restore(sample)
        rows.append({name: scores(sample.target, image, ~sample.hidden) for name, image in found.items()})
        report(f"{len(rows)} samples: {sample.name}")
    summary = [
        {"method": name, **{m: mean_of(row[name][m] for row in rows) for m in METRICS}} for name in METHODS
    ]
    return {"meta": {**provenance(), "samples": len(rows), "list": path.name}, "summary": summary}


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: means over samples."""
    rows = [
        [entry["method"], *(text_of(entry[name], digits) for name, digits in METRICS.items())]
        for entry in result["summary"]
    ]
    return ["method", "PSNR [dB]", "SSIM", "SAM [deg]", "MAE [DN]"], rows
