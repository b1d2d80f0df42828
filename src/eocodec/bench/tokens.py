"""Rate varied by cutting one codestream of FlexTEC instead of coding at several qualities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from eocodec.bench import curves
from eocodec.bench.base import Image, LearnedCodec, RatePoint
from eocodec.bench.classical import require
from eocodec.options import MAX_TOKENS
from eocodec.truncating import truncate

QUALITIES = (60.0, 85.0)  # at which series are coded once, to be cut
TOKENS = tuple(float(k) for k in range(1, MAX_TOKENS + 1))
_DASHES = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (3, 1, 1, 1)), (0, (4, 1.5)))
_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7")


class TokenCodec(LearnedCodec):
    """One codestream a series, at one quality; the setting is the number of tokens that are kept."""

    def __init__(self, model: str, quality: float) -> None:
        super().__init__(model, TOKENS)
        self.name, self._quality = f"{self.name}-tokens-{quality:g}", quality
        self._whole: tuple[bytes, bytes] = b"", b""  # a series and its codestream: sweeps take one at a time

    def encode(self, series: Image, setting: float) -> bytes:
        """The codestream's first tokens."""
        pixels = series.tobytes()
        if self._whole[0] != pixels:
            self._whole = pixels, super().encode(series, self._quality)
        return truncate(self._whole[1], int(setting))


def plot_series(result: dict[str, Any], name: str, out: Path) -> Path:
    """Average curves of one set of `run_series` as a picture in the folder `out`; returns its path.

    Raises
    ------
    MissingDependency : matplotlib is not installed (extra `bench`)
    """
    matplotlib = require("matplotlib", "matplotlib")
    figure_class = require("matplotlib.figure", "matplotlib").Figure
    rows = [row for row in result["points"] if row["set"] == name]
    grouped = curves.by_codec_and_tile(
        RatePoint(**{k: v for k, v in row.items() if k != "set"}) for row in rows
    )
    shapes = result["meta"]["sets"][name]
    with matplotlib.rc_context({"font.size": 10}):
        figure = figure_class(figsize=(7.6, 5.4), layout="constrained")
        axes = figure.subplots()
        for number, (codec, places) in enumerate(grouped.items()):
            for place, points in places.items():
                samples = math.prod(shapes[place])
                bits, psnr = curves.increasing(points)
                first = place == next(iter(places))
                axes.plot(
                    bits / samples,
                    psnr,
                    color=_COLOURS[number % len(_COLOURS)],
                    linestyle=_DASHES[number % len(_DASHES)],
                    marker="os^Dv"[number % 5],
                    markersize=3.5,
                    label=codec if first else None,
                )
        axes.set_xscale("log")
        axes.set_xlabel("bits per pixel per band (log scale)")
        axes.set_ylabel("PSNR [dB], peak 10 000, all bands and dates of a place together")
        axes.grid(True, which="both", color="#DDDDDD", linewidth=0.5)
        axes.legend(loc="lower right", framealpha=0.95)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"series-{name}.png"
        figure.savefig(path, dpi=140, metadata={"Software": None})
    return path
