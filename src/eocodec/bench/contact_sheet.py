"""A picture of filled clouds: each row a case, each column a way to fill. It shows the imagery itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eocodec.bench.inpaint import METHODS, Case, InpaintOptions, make_cases
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import FloatArray

ROWS = 6
STEP = 7  # cases from one row to the next: all dates come, and clouds of all sizes
HALF = 2  # pixels of the image a pixel of the sheet
LEVEL = 8  # step of the sheet's colours, which keeps it small
COLOURS = ("B04", "B03", "B02")
STRETCH = (1.0, 99.0)  # percentiles of the true image that become black and white
GAP = 4  # pixels between pictures


def write_contact_sheet(options: InpaintOptions, path: Path) -> Path:
    """Truth, clouded image and all methods, side by side in true colour."""
    import rasterio

    from eocodec.interop.gdal import gdal_session

    sheet = np.concatenate(list(map(_row, make_cases(replace(options, cases=STEP * ROWS))[::STEP])), 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = sheet.shape
    settings = {"driver": "PNG", "height": height, "width": width, "count": 3, "dtype": "uint8"}
    with gdal_session(), rasterio.open(path, "w", **settings) as picture:
        picture.write(sheet.transpose(2, 0, 1))
    return path


def _row(case: Case) -> NDArray[np.uint8]:
    """[H, n W, 3] of one case."""
    places = [S2_BAND_NAMES.index(name) for name in COLOURS]
    truth = case.series[case.t][places].astype(np.float64)
    low, high = np.percentile(truth, STRETCH)

    def drawn(image: FloatArray) -> NDArray[np.uint8]:
        scaled = np.clip((image[:, ::HALF, ::HALF] - low) / max(high - low, 1), 0, 1) * 255
        coarse = scaled.transpose(1, 2, 0).astype(np.uint8) // LEVEL * LEVEL
        return np.pad(coarse, ((0, GAP), (0, GAP), (0, 0)))

    clouded = drawn(np.where(case.clouds[case.t], high, truth))
    filled = [drawn(method(case.series, case.clouds, case.t)[places]) for method in METHODS.values()]
    return np.concatenate([drawn(truth), clouded, *filled], 1)
