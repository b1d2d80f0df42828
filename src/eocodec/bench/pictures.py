"""Pictures for the report's viewer: tiles as each codec gives them back at equal numbers of bytes.

Pixels are 8 bit, stretched alike for the original and all codecs, in lossless WebP. They show imagery, so
`pictures.json` goes where the imagery may go.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import PSNR_PEAK, BenchCodec, charged_bits
from eocodec.bench.classical import require
from eocodec.bench.codecs import entries
from eocodec.bench.evaluate import Row
from eocodec.bench.provenance import write_json
from eocodec.bench.summary import by_codec_and_tile, label_of
from eocodec.bench.tiles import Cut, Source, Tile
from eocodec.metrics import max_error, psnr
from eocodec.types import AnyArray, BoolArray

PICTURES = "pictures.json"
# Two images of three bands each, enough for true colour, false colour and short-wave infrared.
BAND_SETS = (("B04", "B03", "B02"), ("B08", "B8A", "B12"))
RIVALS = ("x265", "av1", "j2k", "jxl", "klt+j2k")  # shown beside our models, where measured
BUDGETS = (0.4, 0.7)  # places on the first codec's sweep whose bytes the others get
STRETCH = (1.0, 99.0)  # percentiles of the original that become black and white
TRIES = 3  # encodings per codec in search of equal bytes
Report = Callable[[str], None]


def make_pictures(
    rows: Sequence[Row], sources: Sequence[Source], cut: Cut, out: Path, report: Report = lambda line: None
) -> Path:
    """Encode the tiles once more at equal bytes and write `pictures.json` into the result folder.

    Parameters
    ----------
    rows : of `run_bench`; say which setting gives how many bytes
    sources : tiles to show
    """
    grouped = by_codec_and_tile(row for row in rows if "error" not in row and row["kind"] == "lossy")
    labels = {entry.name: entry for entry in entries()}
    ours = [name for name in grouped if name in labels and labels[name].group in ("ours", "published")]
    shown = [*ours, *(name for name in RIVALS if name in grouped)]
    codecs = {name: labels[name].make() for name in shown}
    tiles = []
    for source in sources:
        of_tile = {name: grouped[name][source.name] for name in shown if source.name in grouped[name]}
        if of_tile:
            tiles.append(_tile_pictures(source.load(cut), of_tile, codecs))
            report(f"pictures of {source.name}: {len(of_tile)} codecs, {len(BUDGETS)} sizes")
    names = {name: label_of(name, {name: labels[name].label}) for name in shown}
    path = out / PICTURES
    write_json(path, {"tiles": tiles, "labels": names, "band_sets": [list(bands) for bands in BAND_SETS]})
    return path


def _tile_pictures(tile: Tile, rows: dict[str, list[Row]], codecs: dict[str, BenchCodec]) -> dict[str, Any]:
    """The original, and for each budget every codec's picture and error map."""
    stretch = Stretch(tile)
    reference = next(iter(rows.values()))
    budgets = []
    for share in BUDGETS:
        row = reference[round(share * (len(reference) - 1))]
        target = row["bits"] - row["free_bits"]
        shots = [_shot(codecs[name], tile, of_codec, target) for name, of_codec in rows.items()]
        scale = max(float(np.percentile(shot["error"], 99.5)) for shot in shots)
        budgets.append(
            {
                "bytes": target // 8,
                "error_scale": round(scale, 1),
                "codecs": [_packed(shot, stretch, scale) for shot in shots],
            }
        )
    size = tile.data.shape[-2:]
    return {
        "name": tile.name,
        "rows": size[0],
        "cols": size[1],
        "original": stretch.images(_first_date(tile.data)),
        "budgets": budgets,
    }


def _shot(codec: BenchCodec, tile: Tile, rows: Sequence[Row], target: int) -> dict[str, Any]:
    """The encoding nearest in size to the target, decoded."""
    data, setting = at_size(codec, tile.data, rows, target)
    decoded = codec.decode(data)
    difference = _first_date(decoded).astype(np.float64) - _first_date(tile.data)
    return {
        "codec": codec.name,
        "setting": round(setting, 2),
        "bytes": charged_bits(codec, data) // 8,
        "psnr": round(psnr(tile.data, decoded, peak=PSNR_PEAK, mask=tile.mask), 2),
        "max_error": float(max_error(tile.data, decoded, mask=tile.mask)),
        "decoded": _first_date(decoded),
        "error": np.sqrt((difference**2).mean(axis=0)),
    }


def _packed(shot: dict[str, Any], stretch: Stretch, scale: float) -> dict[str, Any]:
    grey = np.clip(shot.pop("error") * (255 / max(scale, 1e-9)), 0, 255).astype(np.uint8)
    images = stretch.images(shot.pop("decoded"))
    return {**shot, "images": images, "error": as_webp(np.repeat(grey[..., None], 3, axis=2))}


def at_size(codec: BenchCodec, data: AnyArray, rows: Sequence[Row], target: int) -> tuple[bytes, float]:
    """The encoding whose charged bits are nearest to the target, and its setting.

    The rows give a first setting by interpolation in log rate, its result corrects the next.
    """
    known = sorted((math.log(row["bits"] - row["free_bits"]), float(row["setting"])) for row in rows)
    logs, settings = [log for log, _ in known], [setting for _, setting in known]
    aim, found = math.log(target), []
    for _ in range(TRIES):
        setting = float(np.interp(aim, logs, settings))
        setting = setting if codec.continuous else float(round(setting))
        coded = codec.encode(data, setting)
        miss = math.log(charged_bits(codec, coded) / target)
        found.append((abs(miss), coded, setting))
        if abs(miss) < 0.005:
            break
        aim -= miss
    _, coded, setting = min(found, key=lambda entry: entry[0])
    return coded, setting


class Stretch:
    """The way from DN to 8 bits of a tile's bands, by percentiles of the original."""

    def __init__(self, tile: Tile) -> None:
        data = _first_date(tile.data)
        valid: BoolArray = np.ones(data.shape, bool) if tile.mask is None else _first_date(tile.mask)
        self._positions = {name: i for i, name in enumerate(tile.bands)}
        self._limits = [
            np.percentile(plane[ok], STRETCH) if ok.any() else np.array([0.0, 1.0])
            for plane, ok in zip(data, valid, strict=True)
        ]

    def images(self, data: AnyArray) -> list[str]:
        """An image for each band set, as data URLs; a band that is not there is black."""
        return [as_webp(np.stack([self._plane(data, name) for name in names], -1)) for names in BAND_SETS]

    def _plane(self, data: AnyArray, name: str) -> AnyArray:
        position = self._positions.get(name)
        if position is None:
            return np.zeros(data.shape[-2:], np.uint8)
        low, high = self._limits[position]
        plane: AnyArray = np.clip((data[position] - low) * (255 / max(high - low, 1.0)), 0, 255)
        return plane.round().astype(np.uint8)


def as_webp(rgb: AnyArray) -> str:
    """uint8 [H, W, 3] as a data URL of a lossless WebP."""
    data = require("imagecodecs", "imagecodecs").webp_encode(np.ascontiguousarray(rgb), lossless=True)
    return "data:image/webp;base64," + base64.b64encode(bytes(data)).decode()


def _first_date(data: AnyArray) -> AnyArray:
    return data[0] if data.ndim == 4 else data
