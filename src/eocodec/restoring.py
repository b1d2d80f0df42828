"""The last step of decoding: values back into the array as it was given, nodata and saturated exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eocodec.codestream import Codestream, Header, SectionType
from eocodec.codestream.units_section import Units, unpack_units
from eocodec.raster.masks import decode_mask
from eocodec.raster.units import nodata_value, restore
from eocodec.sensors import SATURATED_DN
from eocodec.types import AnyArray, BoolArray, FloatArray, IntArray


def units_of(stream: Codestream) -> Units:
    """The units that a codestream states; errors of `unpack_units`."""
    section = stream.sections.get(SectionType.UNITS)
    return Units() if section is None else unpack_units(section)


@dataclass(frozen=True)
class Restorer:
    """What a codestream says of a tile beside its pixels; mask, unsaturated: [T, C, H, W], or None."""

    header: Header
    units: Units
    mask: BoolArray | None
    unsaturated: BoolArray | None

    @classmethod
    def of(cls, stream: Codestream) -> Restorer:
        """Read the sections; errors of `decode_mask` and `unpack_units`."""
        header, sections = stream.header, stream.sections
        masks = [
            decode_mask(sections[kind], header.shape) if kind in sections else None
            for kind in (SectionType.MASK, SectionType.SATURATED)
        ]
        return cls(header, units_of(stream), *masks)

    @property
    def coded(self) -> BoolArray:
        """[T, C, H, W]: pixels that are neither nodata nor saturated."""
        coded = np.ones(self.header.shape, bool) if self.mask is None else self.mask
        return coded if self.unsaturated is None else coded & self.unsaturated

    def put(self, out: AnyArray, dn: FloatArray, t: int, top: int) -> None:
        """Rows `top` and following of timestep t, [C, h, W'], DN, into out [C, H, W]."""
        place = (slice(None), slice(top, top + dn.shape[1]))
        rows, cols = out[place].shape[1:]
        values = dn[:, :rows, :cols]
        if not self.units.plain:
            values = self.units.from_dn(values)
        if self.unsaturated is not None:
            values[~self.unsaturated[(t, *place)]] = SATURATED_DN
        mask = None if self.mask is None else self.mask[(t, *place)]
        out[place] = restore(values, out.dtype, mask, self.header.nodata)

    def fill(self, out: AnyArray, values: IntArray) -> None:
        """Coded pixels as they are to be, into out; both [T, C, H, W]."""
        out[...] = values
        if self.unsaturated is not None:
            np.copyto(out, SATURATED_DN, where=~self.unsaturated)
        if self.mask is not None:
            np.copyto(out, nodata_value(out.dtype, self.header.nodata), where=~self.mask)
