"""`eocodec.inpaint`: clouds in a series of arrays filled from its other dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eocodec.errors import InputError
from eocodec.filling.filler import STRIDE, Filler, Read
from eocodec.raster.masks import valid_mask
from eocodec.types import AnyArray, BoolArray

Progress = Callable[[int, int], None]  # called with (strips done, strips in all)
SECONDS_PER_DAY = 86_400.0


def inpaint(
    series: AnyArray,
    clouds: BoolArray,
    *,
    timestep: int | None = None,
    dates: Sequence[object] | None = None,
    nodata: float | int | None = None,
    model: str | None = None,
    offset: float = 0.0,
    progress: Progress | None = None,
) -> AnyArray:
    """Fill what lies under clouds from the other dates, and from the clear part of each date itself.

    Parameters
    ----------
    series : [T, C, H, W], T >= 2, any number of bands, integers or floats, in any unit
    clouds : [T, H, W], bool, True = clouded, to be filled; [T, 1, H, W] will do
    timestep : fill and return this date alone; None: all of them
    dates : of the timesteps, ascending, as np.datetime64 takes them; None: evenly spaced
    nodata : value of pixels without a measurement; they stay as they are, and so does NaN
    model : id of a published TEC-TT, whose prior then predicts what lies under clouds. The series must have
        its bands, in digital numbers; None: see Notes
    offset : with a model, DN = value + offset, such as -1000 for products of baseline 04.00 and later
    progress : called with (strips done, strips in all)

    Returns
    -------
    the series, or [C, H, W] of one date, in the dtype given; pixels outside `clouds` bit for bit as they were

    Raises
    ------
    InputError : shapes or dates do not fit, T is below 2, or no pixel of any date is clear; or the model is
        of another kind or for other bands
    ModelNotFound : the model is not installed
    Notes
    -----
    See docs/inpaint.md. Nothing is trained: the map from the other dates is fitted to the clear pixels of the
    date, so clouds that `clouds` does not name are taken for ground.
    """
    series, clouds = _checked(series, clouds)
    count, _, height, width = series.shape
    if timestep is not None and not -count <= timestep < count:
        raise InputError(f"timestep {timestep} of a series of {count}; count from 0")
    wanted = range(count) if timestep is None else [timestep % count]
    filler = filler_of(
        lambda t, rows, cols: series[t, :, rows, cols],
        clouds,
        times_of(dates, count),
        nodata,
        bands=[c for c in range(series.shape[1]) if valid_mask(series[:, c], nodata).any()],
        model=model,
        offset=offset,
    )
    out = series[list(wanted)]  # a copy
    strips = [slice(top, min(top + STRIDE, height)) for top in range(0, height, STRIDE)]
    for place, t in enumerate(wanted):
        for number, rows in enumerate(strips):
            out[place, :, rows] = filler.fill(t, rows, slice(0, width))
            if progress is not None:
                progress(place * len(strips) + number + 1, len(wanted) * len(strips))
    return out if timestep is None else np.asarray(out[0])


def filler_of(
    read: Read,
    clouds: BoolArray,
    times: Sequence[float],
    nodata: float | int | None,
    *,
    bands: Sequence[int] | None = None,
    model: str | None = None,
    offset: float = 0.0,
) -> Filler:
    """What fills a series: maps that are fitted to it, or the prior of a published model.

    Arguments and errors of `Filler` and `inpaint`.
    """
    if model is None:
        return Filler(read, clouds, times, nodata, bands)
    from eocodec.filling.by_prior import PriorFiller, temporal_model  # torch

    return PriorFiller(read, clouds, times, nodata, bands, model=temporal_model(model), offset=offset)


def times_of(dates: Sequence[object] | None, count: int) -> list[float]:
    """Times of timesteps in days, or their positions.

    Raises
    ------
    InputError : a date cannot be read, or their number is another
    """
    if dates is None:
        return [float(k) for k in range(count)]
    try:
        moments = np.array([np.datetime64(str(date)) for date in dates], "datetime64[s]")
    except ValueError as error:
        raise InputError(f"a date cannot be read ({error}); write it as 2023-05-11") from error
    if len(moments) != count:
        raise InputError(f"{len(moments)} dates for {count} timesteps")
    return [float(value) / SECONDS_PER_DAY for value in moments.astype(np.int64)]


def _checked(series: AnyArray, clouds: BoolArray) -> tuple[AnyArray, BoolArray]:
    series, clouds = np.asarray(series), np.asarray(clouds)
    if series.ndim != 4 or series.size == 0 or series.dtype.kind not in "iuf":
        raise InputError(f"a series is [T, C, H, W] of numbers, not {series.dtype} {series.shape}")
    if clouds.ndim == 4 and clouds.shape[1] == 1:
        clouds = clouds[:, 0]
    if clouds.dtype != bool or clouds.shape != (series.shape[0], *series.shape[2:]):
        raise InputError(
            f"clouds are bool [T, H, W] of the series {series.shape}, not {clouds.dtype} {clouds.shape}"
        )
    return series, clouds
