"""All timesteps of a tile <-> the residual's streams, checked by a CRC of what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream.residual_section import ResidualFrame
from eocodec.coding.crc import symbols_crc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.errors import ChecksumMismatch, InputError
from eocodec.residual.coder import Task, decode_timestep, encode_timestep
from eocodec.residual.repeats import Grids, find_repeats, unpack_repeats
from eocodec.types import BoolArray, IntArray

Ints = NDArray[np.int64]
MAX_VALUE = 1 << 25  # of a pixel: twice as large as digital numbers may be


def encode_residual(
    values: IntArray,
    coded: BoolArray,
    max_error: int,
    *,
    nodata: int | None = None,
    base: Ints | None = None,
    edges: bytes = b"",
) -> ResidualFrame:
    """Code integers so that each comes back within a bound.

    Parameters
    ----------
    values : [T, C, H, W], integers within +-MAX_VALUE where coded
    coded : same shape; the others come back as anything
    max_error : E >= 0; 0 is lossless
    nodata : a value that no coded pixel has, and that none shall come back as
    base : [T, C, H, W], int64, what a base layer makes of it, the same on every machine; None: there is none
    edges : the list that makes it so

    Raises
    ------
    InputError : a value is out of range
    """
    encoder = SymbolEncoder()
    wide = np.where(coded, values, 0).astype(np.int64)
    if wide.size and np.abs(wide).max() > MAX_VALUE:
        raise InputError(f"values of up to {np.abs(wide).max()}, expected at most {MAX_VALUE}")
    repeats = find_repeats(wide, coded, 2 * max_error + 1)
    grids = Grids(repeats)
    out = np.empty(wide.shape, np.int64)
    for t, frame in enumerate(wide):
        task = Task(max_error, nodata, None if base is None else base[t], grids)
        out[t] = encode_timestep(encoder, frame, coded[t], task)
    stated = b"" if repeats is None else repeats.pack()
    return ResidualFrame(base is not None, symbols_crc(out), edges, *encoder.finish(), stated)


def decode_residual(
    frame: ResidualFrame,
    coded: BoolArray,
    max_error: int,
    *,
    nodata: int | None = None,
    base: Sequence[Ints] | Ints | None = None,
) -> Ints:
    """Inverse of `encode_residual`: [T, C, H, W], int64. Arguments as there.

    Raises
    ------
    MalformedSection, Truncated, TrailingBytes : the streams cannot be those of a writer
    ChecksumMismatch : they decode to other values than those written
    """
    decoder = SymbolDecoder(frame.stream, frame.escapes)
    bands, rows, cols = coded.shape[1:]
    grids = Grids(unpack_repeats(frame.repeats, bands, (rows, cols)) if frame.repeats else None)
    out = np.empty(coded.shape, np.int64)
    for t, part in enumerate(coded):
        task = Task(max_error, nodata, None if base is None else base[t], grids)
        out[t] = decode_timestep(decoder, part, task)
    decoder.finish()
    found = symbols_crc(out)
    if found != frame.pixels_crc:
        raise ChecksumMismatch(f"pixels_crc: found {found:08x}, expected {frame.pixels_crc:08x} (R59)")
    return out
