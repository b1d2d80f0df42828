"""This package's own way from a GeoTIFF to a `.tec` and back, as the commands do it but in a warm process."""

from __future__ import annotations

from pathlib import Path


def encode_file(source: Path, target: Path, *, model: str, quality: float) -> None:
    """Encode a 12-band raster to a `.tec` or `.zarr`, replacing what is there; errors: `interop.files`."""
    from eocodec.interop import files
    from eocodec.options import EncodeOptions

    files.encode_file([source], target, EncodeOptions(model=model, quality=quality), force=True)


def decode_file(source: Path, target: Path, *, compression: str = "zstd") -> None:
    """Decode a store to a GeoTIFF, replacing what is there; errors as in `interop.files`."""
    from eocodec.interop import files

    files.decode_file(source, target, files.DecodeOptions(compression=compression), force=True)
