"""Section UNITS: how the array's values relate to DN."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import MalformedSection
from eocodec.types import AnyArray, FloatArray

_LAYOUT = struct.Struct("<Bdd")
_FLAG_SCALED = 0x01
MIN_SCALE, MAX_SCALE = 1e-12, 1e12  # so that neither direction leaves float32
MAX_DN = 1 << 24  # float32 holds every integer up to it


@dataclass(frozen=True)
class Units:
    """DN = value * scale + offset.

    scale : None if values are DN but for the offset; offset : DN
    """

    scale: float | None = None
    offset: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether nothing needs to be said."""
        return self == Units()

    def to_dn(self, values: AnyArray) -> NDArray[np.float32]:
        """Values as given -> DN, float32."""
        with np.errstate(over="ignore"):  # of nodata; what is infinite elsewhere, the caller refuses
            dn = values.astype(np.float32)
            if self.scale is not None:
                dn *= np.float32(self.scale)
        if self.offset:
            dn += np.float32(self.offset)
        return dn

    def from_dn(self, dn: FloatArray) -> FloatArray:
        """DN -> values as given; a new array."""
        values = dn - np.float32(self.offset)
        return values / np.float32(self.scale) if self.scale is not None else values


def pack_units(units: Units) -> bytes:
    """17 bytes: flags u8 (1: `scale` is stated), scale f64, offset f64, little-endian."""
    return _LAYOUT.pack(
        0 if units.scale is None else _FLAG_SCALED, 1.0 if units.scale is None else units.scale, units.offset
    )


def unpack_units(data: bytes) -> Units:
    """Inverse of `pack_units`; `MalformedSection` for anything it cannot have written (R32)."""
    if len(data) != _LAYOUT.size:
        raise MalformedSection(f"UNITS: found {len(data)} bytes, expected {_LAYOUT.size} (R32)")
    flags, scale, offset = _LAYOUT.unpack(data)
    if flags & ~_FLAG_SCALED or (not flags and scale != 1.0):
        raise MalformedSection(f"UNITS: found flags {flags:#04x} with scale {scale} (R32)")
    if not (MIN_SCALE <= scale <= MAX_SCALE and abs(offset) <= MAX_DN):
        raise MalformedSection(f"UNITS: found scale {scale}, offset {offset} (R32)")
    return Units(scale if flags else None, offset)
