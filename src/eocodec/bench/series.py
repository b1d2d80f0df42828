"""`eocodec bench series`: what the past is worth, on series of whole places, per place and by timestep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.bench import curves
from eocodec.bench.base import PSNR_PEAK, BenchCodec, Image, LearnedCodec, RatePoint, measure
from eocodec.bench.datasets import CROP, dev_tiles, load_tile, require_data
from eocodec.bench.provenance import provenance
from eocodec.bench.tokens import QUALITIES, TokenCodec
from eocodec.interop.resample import bilinear
from eocodec.models import registry
from eocodec.sensors import S2_BAND_NAMES
from eocodec.truncating import TRUNCATABLE

SETTINGS = (10.0, 25.0, 40.0, 55.0, 70.0, 85.0)  # qualities
CLEAR_DN = 1200.0  # mean of B02 below which a date of the dense series counts as clear
DENSE_DATES = 8  # of a dense series, the latest clear ones that were held back

Report = Callable[[str], None]


@dataclass(frozen=True)
class SeriesOptions:
    """What to run.

    model : of series; beside : image models; classical : x265 and SVT-AV1, run in the better order of frames
    data : imagery folder (None: found); held_back : share of a dense series that training left out
    """

    model: str = "tec-tt"
    beside: tuple[str, ...] = ("tec-elic",)
    qualities: tuple[float, ...] = SETTINGS
    classical: bool = True
    data: Path | None = None
    held_back: float = 0.2


def dev_series(data: Path | None = None) -> dict[str, Image]:
    """Seasonal series of the dev split: place -> [4, 12, 256, 256]."""
    places: dict[str, list[Image]] = {}
    for path in dev_tiles(data):
        places.setdefault(path.stem.rsplit("_", 1)[0], []).append(load_tile(path))
    return {place: np.stack(frames) for place, frames in places.items()}


def dense_series(data: Path | None, held_back: float) -> dict[str, Image]:
    """Latest clear dates of the long series with 10 bands, of those held back: place -> [T, 12, H, W]."""
    found = {}
    for path in sorted((require_data(data) / "train" / "series").glob("*.npz")):
        with np.load(path) as archive:
            bands = [str(band) for band in archive["bands"]]
            if len(bands) < 10:
                continue
            whole = archive["mask"].all((1, 2))
            dates = archive["data"][whole]
        late = dates[round(len(dates) * (1 - held_back)) :]
        clear = late[late[:, bands.index("B02")].mean((1, 2)) < CLEAR_DN]
        if len(clear) > 1:
            found[path.stem] = np.stack([twelve(date, bands) for date in clear[-DENSE_DATES:]])
    return found


def twelve(date: Image, bands: Sequence[str]) -> Image:
    """10 bands as 12: B01 and B09 stand in from B02 and B8A, both as 60 m shows them."""
    planes = dict(zip(bands, date.astype(np.float64), strict=True))
    planes["B01"], planes["B09"] = (_at_60m(planes[name]) for name in ("B02", "B8A"))
    stack: Image = np.rint(np.stack([planes[name] for name in S2_BAND_NAMES])).astype(np.int16)
    return stack


def _at_60m(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, cols = plane.shape
    padded = np.pad(plane, ((0, -rows % 6), (0, -cols % 6)), mode="edge")
    coarse = padded.reshape(padded.shape[0] // 6, 6, -1, 6).mean((1, 3))
    window = (slice(0, rows), slice(0, cols))
    return np.asarray(bilinear(lambda r, c: coarse[r, c], coarse.shape, padded.shape, window, None))


def classical_codecs() -> list[BenchCodec]:
    """Video codecs on series, in both orders of frames."""
    from eocodec.bench.classical import X265, SvtAv1

    return [Reordered(X265()), X265(), Reordered(SvtAv1()), SvtAv1()]


class Reordered(BenchCodec):
    """A video codec that sees all dates of a band, then those of the next."""

    def __init__(self, codec: BenchCodec) -> None:
        self._codec, self.name = codec, f"{codec.name}-by-band"

    @property
    def settings(self) -> tuple[float, ...]:
        """Those of the codec."""
        return self._codec.settings

    def encode(self, series: Image, setting: float) -> bytes:
        """The codec's stream of [C, T, H, W]."""
        return self._codec.encode(np.ascontiguousarray(series.swapaxes(0, 1)), setting)

    def decode(self, data: bytes) -> Image:
        """[T, C, H, W]."""
        return np.ascontiguousarray(np.asarray(self._codec.decode(data)).swapaxes(0, 1))


def run_series(options: SeriesOptions, report: Report = lambda line: None) -> dict[str, Any]:
    """Measure all codecs on all series: JSON-ready `meta`, `summary` and `points`."""
    sets = {
        "seasonal": dev_series(options.data),
        "dense": dense_series(options.data, options.held_back),
    }
    ours = LearnedCodec(options.model, options.qualities)
    cut = _cut(options.model)
    codecs: list[BenchCodec] = [ours, *cut, *(LearnedCodec(m, options.qualities) for m in options.beside)]
    if options.classical:
        codecs += classical_codecs()
    points, summary = [], {}
    for name, series in sets.items():
        rows = list(_sweep(codecs, series, report))
        points += [{"set": name, **row.to_dict()} for row in rows]
        grouped = curves.by_codec_and_tile(rows)
        rivals = [codec for codec in grouped if codec != ours.name]
        summary[name] = [
            {"codec": codec.name, **curves.compare(grouped[codec.name], grouped[rival], rival).to_dict()}
            for codec in (ours, *cut)
            for rival in rivals
            if rival != codec.name
        ]
    meta = {
        **provenance(),
        "model": ours.name,
        "psnr_peak": PSNR_PEAK,
        "sets": {name: {k: list(v.shape) for k, v in series.items()} for name, series in sets.items()},
        "crop": CROP,
        "by_timestep": by_timestep(options, sets["seasonal"]),
        "method": curves.METHOD,
    }
    return {"meta": meta, "summary": summary, "points": points}


def _cut(model: str) -> list[TokenCodec]:
    """The model's codestreams cut short, if they can be."""
    if registry.by_id(model).details["family"] not in TRUNCATABLE:
        return []
    return [TokenCodec(model, quality) for quality in QUALITIES]


def _sweep(codecs: Sequence[BenchCodec], sets: dict[str, Image], report: Report) -> Iterator[RatePoint]:
    for codec in codecs:
        for place, series in sets.items():
            rows = [measure(codec, series, place, setting) for setting in codec.settings]
            report(f"{codec.name} {place}: {rows[0].psnr:.1f} to {rows[-1].psnr:.1f} dB")
            yield from rows


def by_timestep(options: SeriesOptions, sets: dict[str, Image]) -> list[dict[str, Any]]:
    """Bits of each further timestep beside those of the image model, at one quality.

    Of a series model they are what the codestream grows by when the timestep is added.
    """
    if not options.beside:
        return []
    quality = options.qualities[len(options.qualities) // 2]
    model, image = (LearnedCodec(m, (quality,)) for m in (options.model, options.beside[0]))
    rows = []
    for place, series in sets.items():
        whole = [8 * len(model.encode(series[: t + 1], quality)) for t in range(len(series))]
        alone = [8 * len(image.encode(frame, quality)) for frame in series]
        for t, bits in enumerate(np.diff([0, *whole]).tolist()):
            rows.append({"place": place, "timestep": t, "bits": bits, "bits_alone": alone[t]})
    return rows


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: BD-rate of the model against each codec, by set."""
    header = ["set", "codec", "against", "BD-rate [%]", "of mean curve [%]", "worst", "[%]"]
    rows = [
        [
            name,
            entry["codec"],
            entry["anchor"],
            _percent(entry["mean_percent"]),
            _percent(entry["of_average_curve_percent"]),
            entry["worst_tile"],
            _percent(entry["worst_percent"]),
        ]
        for name, entries in result["summary"].items()
        for entry in entries
    ]
    return header, rows


def timestep_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: bits of each timestep of the seasonal series, and as an image."""
    header = ["place", "timestep", "bits", "as an image", "[%]"]
    rows = []
    for row in result["meta"]["by_timestep"]:
        change = 100 * (row["bits"] / row["bits_alone"] - 1)
        figures = (row["timestep"], row["bits"], row["bits_alone"], _percent(change))
        rows.append([row["place"], *map(str, figures)])
    return header, rows


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
