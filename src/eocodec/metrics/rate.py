"""Rates: what a coded array costs. Sizes are those of the whole codestream or file, headers included."""

from __future__ import annotations

from collections.abc import Sequence

from eocodec.errors import InputError
from eocodec.types import AnyArray


def bpp(n_bytes: int, shape: Sequence[int]) -> float:
    """Bits per pixel, all bands of a pixel together: `8 n_bytes / (T H W)`.

    Parameters
    ----------
    n_bytes : size of the coded array [byte]
    shape : (T, C, H, W) or (C, H, W) of the array, each >= 1
    Raises
    ------
    InputError : another number of axes, or an empty one
    """
    n_times, _, rows, cols = _shape4(shape)
    return 8.0 * n_bytes / (n_times * rows * cols)


def bpppc(n_bytes: int, shape: Sequence[int]) -> float:
    """Bits per pixel per channel (band): `8 n_bytes / (T C H W)`; parameters and errors as in `bpp`."""
    return bpp(n_bytes, shape) / _shape4(shape)[1]


def ratio(n_bytes: int, array: AnyArray) -> float:
    """How many times smaller than the array in memory: `array.nbytes / n_bytes`.

    Raises
    ------
    InputError : `n_bytes` is below 1
    """
    if n_bytes < 1:
        raise InputError(f"a coded array has at least one byte, not {n_bytes}")
    return array.nbytes / n_bytes


def _shape4(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """The shape with T = 1 where it is absent."""
    full = (1, *shape) if len(shape) == 3 else tuple(shape)
    if len(full) != 4 or min(full) < 1:
        raise InputError(f"shape {tuple(shape)} is not (T, C, H, W) or (C, H, W)")
    return full[0], full[1], full[2], full[3]
