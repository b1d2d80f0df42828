"""Digital numbers (DN) to network units and back, and the last step of decoding: `restore`.

Network units are standardised bands: `(dn - mean) / std`, one mean and std per band.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from eocodec.errors import CodecError, InputError
from eocodec.types import AnyArray, BoolArray, FloatArray

# Reflectance over clouds, snow and sun glint reaches about 2; DN that small are 0.0002 in reflectance.
MAX_REFLECTANCE = 2.0
_REFLECTANCE_QUANTILE = 0.99  # a few hot pixels must not hide what the rest is


def _per_band(values: ArrayLike, n_bands: int, dtype: DTypeLike) -> NDArray[Any]:
    """`values` as [C, 1, 1], after checking that there is one for each band."""
    column = np.asarray(values, dtype=dtype).reshape(-1, 1, 1)
    if column.shape[0] != n_bands:
        raise InputError(f"{column.shape[0]} means or stds for {n_bands} bands")
    return column


def _float_dtype(x: AnyArray) -> np.dtype[Any]:
    """float64 stays (the residual layer computes in it), everything else becomes float32."""
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def standardise(x: AnyArray, means: ArrayLike, stds: ArrayLike) -> FloatArray:
    """DN to network units: `(x - mean) / std` for each band.

    Parameters
    ----------
    x : [..., C, H, W], any numeric dtype, DN
    means, stds : [C], DN; stds > 0
    Returns
    -------
    [..., C, H, W], network units; float64 if `x` is, otherwise float32
    Raises
    ------
    InputError : not one mean and std per band
    """
    dtype = _float_dtype(x)
    out: FloatArray = np.subtract(x, _per_band(means, x.shape[-3], dtype), dtype=dtype)
    out /= _per_band(stds, x.shape[-3], dtype)
    return out


def to_dn(x: AnyArray, means: ArrayLike, stds: ArrayLike) -> FloatArray:
    """Network units to DN, the inverse of `standardise`; not rounded and not clipped.

    Parameters
    ----------
    x : [..., C, H, W], network units
    means, stds : [C], DN
    Returns
    -------
    [..., C, H, W], DN; float64 if `x` is, otherwise float32
    Raises
    ------
    InputError : not one mean and std per band
    """
    dtype = _float_dtype(x)
    out: FloatArray = np.multiply(x, _per_band(stds, x.shape[-3], dtype), dtype=dtype)
    out += _per_band(means, x.shape[-3], dtype)
    return out


def nodata_value(dtype: DTypeLike, nodata: float | None) -> np.number[Any]:
    """The scalar of `dtype` that stands for nodata; None means NaN, which only float dtypes have.

    Raises
    ------
    InputError : an integer dtype cannot hold the value (absent, NaN, fractional or out of range)
    """
    target = np.dtype(dtype)
    if target.kind == "f":
        with np.errstate(over="ignore"):  # a float64 nodata beyond float32 is infinite there too
            return _scalar(math.nan if nodata is None else nodata, target)
    if nodata is None or not float(nodata).is_integer():
        raise InputError(f"pixels are masked, but nodata {nodata} is not a value of {target}")
    info = np.iinfo(target)
    if not info.min <= int(nodata) <= info.max:
        raise InputError(f"nodata {nodata} is outside {target}: {info.min} to {info.max}")
    return _scalar(int(nodata), target)


def _scalar(value: float, dtype: np.dtype[Any]) -> np.number[Any]:
    """`value` as a NumPy scalar of `dtype`."""
    return cast("np.number[Any]", np.array(value, dtype)[()])


def _round_to_int(x_hat: FloatArray, dtype: np.dtype[Any], low: float, high: float) -> AnyArray:
    """Round half to even and clip to the range of the dtype, without overflow; low <= x_hat <= high."""
    info = np.iinfo(dtype)
    # float32 holds every integer of 16 bits exactly, not every one of 32
    wide = np.rint(x_hat, dtype=np.float64 if dtype.itemsize > 2 else _float_dtype(x_hat))
    top = float(info.max)
    if int(top) > info.max:  # 64-bit types: float(max) rounds up and would wrap around in the cast
        top = float(np.nextafter(top, 0.0))
    if not (info.min <= low and high <= top):
        np.clip(wide, float(info.min), top, out=wide)
    return wide.astype(dtype)


def _narrow(x_hat: FloatArray, dtype: np.dtype[Any]) -> AnyArray:
    """Cast to a float dtype; what is beyond its range becomes its largest value, not infinity."""
    info = np.finfo(dtype)
    if dtype.itemsize < x_hat.dtype.itemsize:
        x_hat = np.clip(x_hat, float(info.min), float(info.max))
    return x_hat.astype(dtype)


def _int_neighbours(x_hat: FloatArray, value: int, dtype: np.dtype[Any]) -> AnyArray:
    """For pixels that rounded to `value`: `value - 1` or `value + 1`, the one nearer to `x_hat`."""
    info = np.iinfo(dtype)
    below, above = max(value - 1, info.min), min(value + 1, info.max)
    if below == value:
        below = above
    if above == value:
        above = below
    return np.where(x_hat < value, np.array(below, dtype), np.array(above, dtype))


def restore(
    x_hat: FloatArray,
    dtype: DTypeLike,
    mask: BoolArray | None = None,
    nodata: float | None = None,
) -> AnyArray:
    """Decoded DN in the dtype of the original array, with nodata exactly where it was.

    Parameters
    ----------
    x_hat : [..., C, H, W], float, DN; may be anything (NaN too) under the mask
    dtype : integer or float dtype of the original
    mask : same shape or broadcastable, True = valid; None: all valid
    nodata : value of invalid pixels; None or NaN: NaN (float dtypes only)
    Returns
    -------
    same shape, `dtype`. Integers: rounded half to even and clipped. Valid pixels that would equal nodata
    get the nearest other value of the dtype, so that `valid_mask(out, nodata)` is exactly `mask`.
    Raises
    ------
    InputError : pixels are masked and `nodata` is no value of an integer `dtype`
    CodecError : a valid pixel is NaN or infinite
    Notes
    -----
    The step away from nodata changes an integer pixel by 1 DN, upwards on a tie: an encoder that promises
    an error bound has to check its result after this function.
    """
    target = np.dtype(dtype)
    valid = None if mask is None or mask.all() else np.broadcast_to(mask, x_hat.shape)
    fill = None if valid is None else nodata_value(target, nodata)
    if valid is not None:
        x_hat = np.where(valid, x_hat, x_hat.dtype.type(0))
    low, high = (float(x_hat.min()), float(x_hat.max())) if x_hat.size else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CodecError("a decoded pixel is NaN or infinite")
    out = _narrow(x_hat, target) if target.kind == "f" else _round_to_int(x_hat, target, low, high)
    _avoid_nodata(out, x_hat, nodata)
    if valid is not None and fill is not None:
        np.copyto(out, fill, where=~valid)
    return out


def _avoid_nodata(out: AnyArray, x_hat: FloatArray, nodata: float | None) -> None:
    """Move pixels that equal nodata to the nearest other value (in place)."""
    if nodata is None or math.isnan(nodata):
        return
    if out.dtype.kind == "f":
        value = nodata_value(out.dtype, nodata)
        # towards zero, because the value may be the largest of its type; from zero, upwards
        out[out == value] = np.nextafter(value, np.array(0.0 if value != 0 else 1.0, out.dtype))
        return
    clash = out == nodata
    if clash.any():
        out[clash] = _int_neighbours(x_hat[clash], int(nodata), out.dtype)


def looks_like_reflectance(array: AnyArray, mask: BoolArray | None = None) -> bool:
    """True if a float array seems to hold reflectance (0 to 1) where DN (0 to 10 000 and more) is meant.

    Parameters
    ----------
    array : any shape; integer dtypes are never reflectance
    mask : same shape or broadcastable, True = valid; None: all that is not NaN
    Returns
    -------
    True if 99 % of the valid non-zero values lie within +-2 and they are not all whole numbers; False if
    there are none (zeros mean the same in both units)
    """
    if array.dtype.kind != "f":
        return False
    valid = ~np.isnan(array) & (array != 0)
    values = np.abs(array[valid if mask is None else valid & mask])
    if values.size == 0 or bool((values == np.rint(values)).all()):
        return False
    return bool(np.quantile(values, _REFLECTANCE_QUANTILE) <= MAX_REFLECTANCE)
