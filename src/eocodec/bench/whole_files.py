"""Any codec of the benchmark from a GeoTIFF to a file of its bytes and back, for timing."""

from __future__ import annotations

from pathlib import Path

from eocodec.bench.base import BenchCodec
from eocodec.bench.mosaic import write_scene


def encode_file(codec: BenchCodec, setting: float, source: Path, target: Path) -> None:
    """Code all bands of a GeoTIFF."""
    import rasterio

    with rasterio.open(source) as raster:
        image = raster.read()
    target.write_bytes(codec.encode(image, setting))


def decode_file(codec: BenchCodec, source: Path, target: Path) -> None:
    """Decode a file of `encode_file` to an uncompressed GeoTIFF."""
    write_scene(target, codec.decode(source.read_bytes()))
