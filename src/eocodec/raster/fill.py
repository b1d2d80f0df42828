"""Filling masked pixels smoothly, so that they cost next to nothing to code.

Push-pull: average the valid pixels down a pyramid until every pixel has a value (pull), then interpolate
back up, keeping what is known (push) and relaxing the rest towards its neighbours' mean. The result is
close to the membrane (harmonic) interpolation of the border, in time linear in the number of pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eocodec.errors import InputError
from eocodec.types import BoolArray, FloatArray

_Float32 = NDArray[np.float32]
_RELAXATIONS = 2  # per level; they close most of the step at the border, more change little


def smooth_fill(x: FloatArray, mask: BoolArray, *, constant: ArrayLike = 0.0) -> _Float32:
    """Fill invalid pixels smoothly from the valid ones around them.

    Parameters
    ----------
    x : [C, H, W], float32 (others are cast), any unit; values under the mask are ignored, NaN included
    mask : [C, H, W] or [H, W] (one for all bands), True = valid
    constant : scalar or [C]; what a band without any valid pixel is filled with
    Returns
    -------
    [C, H, W], float32, a new array: valid pixels bit for bit those of `x`, the others within the range
    of the band's valid pixels and continuous with their neighbours
    Raises
    ------
    InputError : shapes of `x`, `mask` or `constant` do not fit
    Notes
    -----
    Not checked: NaN or infinity in valid pixels, which spread into what is filled.
    """
    constants = np.asarray(constant, np.float32)
    if x.ndim != 3 or mask.shape not in (x.shape, x.shape[1:]) or constants.shape not in ((), x.shape[:1]):
        raise InputError(f"smooth_fill: array {x.shape}, mask {mask.shape}, constant {constants.shape}")
    out: _Float32 = np.array(x, dtype=np.float32)
    if mask.all():
        return out
    masks = np.broadcast_to(mask, x.shape)
    levels = np.broadcast_to(constants, x.shape[:1])
    for band, valid, level in zip(out, masks, levels, strict=True):  # one band at a time stays in cache
        if not valid.any():
            band[:] = level
        elif not valid.all():
            np.copyto(band, _push_pull(np.where(valid, band, np.float32(0)), valid), where=~valid)
    return out


def _push_pull(x: _Float32, known: BoolArray) -> _Float32:
    """`x` [H, W] where known; elsewhere (where `x` must be 0) filled from the coarser levels."""
    if known.all():
        return x
    rows, cols = x.shape
    count = _pair_sums(known.astype(np.float32))
    coarse = _pair_sums(x)
    coarse /= np.maximum(count, np.float32(1))
    up = _expand(_push_pull(coarse, count > 0))[:rows, :cols]
    np.copyto(up, x, where=known)
    return _relax(up, ~known)


def _pair_sums(x: _Float32) -> _Float32:
    """Sums over 2 x 2 pixels, [H, W] -> [ceil(H / 2), ceil(W / 2)]; an odd last line stands alone."""
    half = x[::2].copy()
    half[: x.shape[0] // 2] += x[1::2]
    out: _Float32 = half[:, ::2].copy()
    out[:, : x.shape[1] // 2] += half[:, 1::2]
    return out


def _expand(x: _Float32) -> _Float32:
    """Bilinear interpolation to twice the size, pixel centres aligned, edges extended."""
    rows, cols = x.shape
    tall = np.empty((2 * rows, cols), np.float32)
    _expand_lines(x, tall)
    out = np.empty((2 * rows, 2 * cols), np.float32)
    _expand_lines(tall.T, out.T)
    return out


def _expand_lines(x: _Float32, out: _Float32) -> None:
    """`out[2 i]` = 3/4 `x[i]` + 1/4 `x[i - 1]`, `out[2 i + 1]` = 3/4 `x[i]` + 1/4 `x[i + 1]`."""
    quarter = x * np.float32(0.25)
    main = x - quarter
    even, odd = out[::2], out[1::2]
    np.add(main[1:], quarter[:-1], out=even[1:])
    np.add(main[:-1], quarter[1:], out=odd[:-1])
    even[0] = x[0]
    odd[-1] = x[-1]


def _relax(x: _Float32, unknown: BoolArray) -> _Float32:
    """A few Jacobi steps of Laplace's equation on the unknown pixels, edges extended (in place)."""
    for _ in range(_RELAXATIONS):
        total = _neighbour_sums(x)
        total += _neighbour_sums(x.T).T
        total *= np.float32(0.25)
        np.copyto(x, total, where=unknown)
    return x


def _neighbour_sums(x: _Float32) -> _Float32:
    """Sum of the line before and the line after, an edge line standing for its missing neighbour."""
    total = np.empty_like(x)
    np.add(x[:-2], x[2:], out=total[1:-1])
    total[0] = x[0] + x[min(1, x.shape[0] - 1)]
    total[-1] = x[-1] + x[max(-2, -x.shape[0])]
    return total
