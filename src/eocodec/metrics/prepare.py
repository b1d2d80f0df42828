"""What all distortion metrics do first: check shapes, and hand out planes as float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import InputError
from eocodec.types import AnyArray, BoolArray

_Float64 = NDArray[np.float64]
Plane = tuple[_Float64, _Float64, BoolArray | None]


def check_pair(x: AnyArray, x_hat: AnyArray, mask: BoolArray | None) -> None:
    """Raise InputError unless both are [..., C, H, W] of one shape that the mask broadcasts to."""
    if x.shape != x_hat.shape or x.ndim < 3:
        raise InputError(f"cannot compare {x.shape} with {x_hat.shape}: both must be one [..., C, H, W]")
    if mask is None:
        return
    fits = mask.ndim <= x.ndim and all(
        m in (1, n) for m, n in zip(mask.shape[::-1], x.shape[::-1], strict=False)
    )
    if not fits or mask.dtype != bool:
        raise InputError(f"a mask of {mask.dtype} {mask.shape} does not fit an array {x.shape}")


def bands_of(x: AnyArray, x_hat: AnyArray, mask: BoolArray | None) -> Iterator[Plane]:
    """Planes [H, W] of all timesteps and bands as float64 (invalid pixels 0), one at a time, and their masks.

    The mask of a plane without invalid pixels is None.
    """
    rows, cols = x.shape[-2:]
    masks = np.broadcast_to(np.True_ if mask is None else mask, x.shape).reshape(-1, rows, cols)
    for a, b, valid in zip(x.reshape(-1, rows, cols), x_hat.reshape(-1, rows, cols), masks, strict=True):
        if valid.all():
            yield a.astype(np.float64), b.astype(np.float64), None
        else:
            yield np.where(valid, a, 0).astype(np.float64), np.where(valid, b, 0).astype(np.float64), valid
