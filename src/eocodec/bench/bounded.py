"""`eocodec bench bounded`: bits at a bound on the error of every pixel, beside the codecs that offer one.

Every decoded pixel of every codec is held to its bound. The others code floats and are rounded to integers
afterwards, so they get 0.49 DN more than the bound: that is in their favour.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import BenchCodec, Image, flatten, model_name, pack, unflatten, unpack
from eocodec.bench.classical import require
from eocodec.bench.datasets import dev_tiles, load_tile
from eocodec.bench.provenance import provenance
from eocodec.bench.stills import JpegXlLossless, from_unsigned, to_unsigned
from eocodec.errors import BoundError
from eocodec.types import AnyArray

BOUNDS = (0, 5, 20, 50, 100, 200)  # DN
ROUNDING = 0.49  # DN that rounding to integers gives back
Report = Callable[[str], None]


class BoundedCodec(BenchCodec):
    """What codecs with a bound share: the settings are bounds in DN."""

    kind = "bounded"
    continuous = False

    @property
    def settings(self) -> tuple[float, ...]:
        """Bounds [DN]."""
        return BOUNDS


class Sperr(BoundedCodec):
    """SPERR, point-wise error, the bands as the third axis."""

    name = "sperr"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, size, stream."""
        shape, planes = flatten(series)
        stream = self._lib.sperr_encode(planes.astype(np.float32), setting + ROUNDING, mode="pwe")
        return pack([shape, struct.pack("<3I", *planes.shape), bytes(stream)])

    def decode(self, data: bytes) -> Image:
        """The planes, rounded."""
        shape, size, stream = unpack(data)
        decoded = self._lib.sperr_decode(stream, shape=struct.unpack("<3I", size), dtype=np.float32)
        return unflatten(shape, np.rint(decoded).astype(np.int32))


class Sz3(BoundedCodec):
    """SZ3, absolute error, the bands as the third axis."""

    name = "sz3"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, size, stream."""
        shape, planes = flatten(series)
        stream = self._lib.sz3_encode(planes.astype(np.float32), mode="abs", abs=setting + ROUNDING)
        return pack([shape, struct.pack("<3I", *planes.shape), bytes(stream)])

    def decode(self, data: bytes) -> Image:
        """The planes, rounded."""
        shape, size, stream = unpack(data)
        decoded = self._lib.sz3_decode(stream, struct.unpack("<3I", size), np.float32)
        return unflatten(shape, np.rint(decoded).astype(np.int32))


class LercZstd(BoundedCodec):
    """LERC with ZSTD level 19, bands as planes or interleaved, whichever is shorter."""

    name = "lerc+zstd"

    def __init__(self) -> None:
        self._lib = require("imagecodecs", "imagecodecs")

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, layout, stream."""
        shape, planes = flatten(series)
        candidates = []
        for planar in (True, False):
            samples = planes if planar else np.ascontiguousarray(np.moveaxis(planes, 0, -1))
            stream = self._lib.lerc_encode(
                samples, level=setting, planar=planar, compression="zstd", compressionargs={"level": 19}
            )
            candidates.append(pack([shape, bytes([planar]), bytes(stream)]))
        return min(candidates, key=len)

    def decode(self, data: bytes) -> Image:
        """The planes."""
        shape, planar, stream = unpack(data)
        decoded = self._lib.lerc_decode(stream)
        return unflatten(shape, decoded if planar[0] else np.moveaxis(decoded, -1, 0))


class JpegXlBands(BoundedCodec):
    """JPEG XL, lossless, one image a band."""

    name = "jxl-lossless-bands"

    def __init__(self, effort: int = 7) -> None:
        self._lib = require("imagecodecs", "imagecodecs")
        self.effort = effort

    @property
    def settings(self) -> tuple[float, ...]:
        """Lossless only."""
        return (0,)

    def encode(self, series: Image, setting: float) -> bytes:
        """Shape, offset, one stream a band."""
        shape, planes = flatten(series)
        low, samples = to_unsigned(planes)
        options = {"lossless": True, "effort": self.effort, "numthreads": 1}
        return pack([shape, low, *(bytes(self._lib.jpegxl_encode(plane, **options)) for plane in samples)])

    def decode(self, data: bytes) -> Image:
        """The bands."""
        shape, low, *streams = unpack(data)
        planes = np.stack([self._lib.jpegxl_decode(stream, numthreads=1) for stream in streams])
        return unflatten(shape, from_unsigned(low, planes))


class Ours(BoundedCodec):
    """This package; quality: of the base layer, None for none."""

    def __init__(self, model: str, quality: float | None = None) -> None:
        self.model, self.quality, self.name = model, quality, model_name(model)

    def encode(self, series: Image, setting: float) -> bytes:
        """The whole codestream."""
        from eocodec import codec

        return codec.encode(series, model=self.model, quality=self.quality, max_error=int(setting))

    def decode(self, data: bytes) -> AnyArray:
        """The decoded array."""
        from eocodec import codec

        return codec.decode(data)


@dataclass(frozen=True)
class BoundedOptions:
    """What to run: model and quality of the base layer (None: none), bounds [DN], imagery folder."""

    model: str
    quality: float | None = None
    bounds: tuple[int, ...] = BOUNDS
    data: Path | None = None


def run_bounded(
    options: BoundedOptions,
    report: Report = lambda line: None,
    codecs: Sequence[BenchCodec] | None = None,
) -> dict[str, Any]:
    """Code the dev tiles at every bound with every codec.

    Raises
    ------
    BoundError : a codec broke its bound
    RasterError : no imagery; MissingDependency : the extra `bench` is not installed
    """
    if codecs is None:
        others = [Sperr(), Sz3(), LercZstd(), JpegXlLossless(), JpegXlBands()]
        codecs = [Ours(options.model, options.quality), *others]
    rows = []
    for path in dev_tiles(options.data):
        image = load_tile(path)
        for codec in codecs:
            bounds = [bound for bound in options.bounds if bound in codec.settings]
            rows += [_measure(codec, image, path.stem, bound) for bound in bounds]
        report(f"{path.stem}: {len(codecs)} codecs")
    meta = {**provenance(), "model": model_name(options.model), "quality": options.quality}
    return {"meta": meta, "mean": _means(rows), "rows": rows}


def _measure(codec: BenchCodec, image: Image, tile: str, bound: int) -> dict[str, Any]:
    data = codec.encode(image, bound)
    decoded = codec.decode(data)
    error = decoded.astype(np.int64) - image
    worst = int(np.abs(error).max())
    if decoded.shape != image.shape or worst > bound:
        raise BoundError(f"{codec.name} is off by {worst} DN on {tile}, the bound is {bound}")
    return {
        "tile": tile,
        "codec": codec.name,
        "max_error": bound,
        "bits": 8 * len(data),
        "bpppc": 8 * len(data) / image.size,
        "worst": worst,
        "rmse": round(float(np.sqrt((error * error).mean())), 3),
    }


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Bits per pixel per band, mean over tiles, by codec and bound."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["codec"], {}).setdefault(str(row["max_error"]), []).append(row["bpppc"])
    return {
        codec: {bound: round(sum(values) / len(values), 4) for bound, values in by_bound.items()}
        for codec, by_bound in found.items()
    }


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table that is printed: bits per pixel per band at each bound."""
    means = result["mean"]
    bounds = sorted({int(bound) for by_bound in means.values() for bound in by_bound})
    header = ["bits per pixel per band", *(f"+-{bound} DN" if bound else "lossless" for bound in bounds)]
    rows = []
    for codec, by_bound in means.items():
        rows.append([codec, *(f"{by_bound[str(b)]:.3f}" if str(b) in by_bound else "" for b in bounds)])
    return header, rows
