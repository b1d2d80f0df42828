"""Rasters before and after the network: tiles and padding, valid masks, filling, units. NumPy only."""

from __future__ import annotations

from eocodec.raster.fill import smooth_fill
from eocodec.raster.masks import decode_mask, encode_mask, valid_mask
from eocodec.raster.tiles import Tiles, crop, pad_to_multiple, padded_size
from eocodec.raster.units import looks_like_reflectance, nodata_value, restore, standardise, to_dn

__all__ = [
    "Tiles",
    "crop",
    "decode_mask",
    "encode_mask",
    "looks_like_reflectance",
    "nodata_value",
    "pad_to_multiple",
    "padded_size",
    "restore",
    "smooth_fill",
    "standardise",
    "to_dn",
    "valid_mask",
]
