"""A codec simple enough to reason about: quantisation with a step set by the quality, then zlib."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.errors import ChecksumMismatch


def fake_encode(array: Any, *, model: str = "fake", quality: float = 50.0, **_: Any) -> bytes:
    """Step 400 at quality 0 to 10 at quality 100."""
    step = float(np.exp(np.log(400.0) + (np.log(10.0) - np.log(400.0)) * quality / 100))
    levels = np.rint(np.asarray(array, np.float64) / step).astype(np.int16)
    differences = np.diff(levels, axis=-1, prepend=0).astype(np.int16)
    return struct.pack("<d3I", step, *levels.shape) + zlib.compress(differences.tobytes(), 1)


def fake_decode(data: bytes) -> Any:
    """Invert `fake_encode`; a stream that zlib refuses is a ChecksumMismatch."""
    step, *shape = struct.unpack_from("<d3I", data)
    try:
        raw = zlib.decompress(data[20:])
    except zlib.error as error:
        raise ChecksumMismatch(str(error)) from error
    levels = np.cumsum(np.frombuffer(raw, np.int16).reshape(shape), axis=-1)
    return np.rint(levels * step).astype(np.int16)


def fake_decode_batch(datas: list[bytes]) -> list[Any]:
    """`fake_decode` of each."""
    return [fake_decode(data) for data in datas]


def fake_encode_file(source: Path, target: Path, *, model: str, quality: float) -> None:
    """A GeoTIFF to a fake stream, with the profile needed to write one back."""
    import rasterio

    with rasterio.open(source) as raster:
        target.write_bytes(fake_encode(raster.read(), quality=quality))


def fake_decode_file(source: Path, target: Path) -> None:
    """A fake stream to a GeoTIFF."""
    from eocodec.bench.mosaic import write_scene

    write_scene(target, fake_decode(source.read_bytes()), 0)
