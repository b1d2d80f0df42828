"""Section RESIDUAL of a codestream, added to one and decoded from one; of base layers the caller knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import DEFAULT_LIMITS, Codestream, Section, SectionType, write
from eocodec.codestream.residual_section import pack_residual, unpack_residual
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.errors import MalformedSection
from eocodec.residual.layer import decode_residual, encode_residual
from eocodec.types import BoolArray, IntArray

# Codestream -> what its symbols stand for, [T, C, H, W] int64, units of the array, alike on every machine
BaseLayer: TypeAlias = Callable[[Codestream, EdgeWriter | EdgeReader], NDArray[np.int64]]


def has_base(stream: Codestream) -> bool:
    """Whether a model is needed to decode it."""
    section = stream.sections.get(SectionType.RESIDUAL)
    return section is None or unpack_residual(section).has_base


def add_residual(
    stream: Codestream, values: IntArray, coded: BoolArray, max_error: int, base_layer: BaseLayer | None
) -> bytes:
    """A codestream with what keeps every coded pixel within a bound.

    Parameters
    ----------
    stream : without RESIDUAL; values : [T, C, H, W], integers; coded : same shape, which of them count
    base_layer : makes the base layer, None to do without
    """
    edges = EdgeWriter()
    base = None if base_layer is None else base_layer(stream, edges)
    nodata = None if stream.header.nodata is None else int(stream.header.nodata)
    frame = encode_residual(values, coded, max_error, nodata=nodata, base=base, edges=edges.finish())
    sections = [Section(kind, content) for kind, content in stream.sections.items()]
    sections.append(Section(SectionType.RESIDUAL, pack_residual(frame)))
    return write(replace(stream.header, max_error=max_error), sections)


def decode_bounded(stream: Codestream, coded: BoolArray, base_layer: BaseLayer) -> NDArray[np.int64]:
    """Values of the coded pixels of a codestream with RESIDUAL, [T, C, H, W]; the others are anything.

    Raises
    ------
    CodestreamError : one of its subclasses, for anything that a writer cannot have meant
    """
    header = stream.header
    if header.max_error is None:
        raise MalformedSection("sections: residual without a bound in the header (R48)")
    DEFAULT_LIMITS.check_symbols(math.prod(header.shape))
    frame = unpack_residual(stream.sections[SectionType.RESIDUAL])
    base = None
    if frame.has_base:
        edges = EdgeReader(frame.edges)
        base = base_layer(stream, edges)
        edges.finish()
    elif {SectionType.SYMBOLS, SectionType.PARTS} & stream.sections.keys() or header.symbols_crc:
        raise MalformedSection("sections: symbols beside a residual that has no base layer (R52)")
    nodata = None if header.nodata is None else int(header.nodata)
    values = decode_residual(frame, coded, header.max_error, nodata=nodata, base=base)
    limits = np.iinfo(header.dtype)
    inside = values[coded]
    if inside.size and not limits.min <= inside.min() <= inside.max() <= limits.max:
        raise MalformedSection(f"RESIDUAL: a pixel is no value of {header.dtype} (R58)")
    return values
