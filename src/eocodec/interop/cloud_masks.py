"""Where the clouds of a series are: from rasters, scene classifications by class names, or brightness."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from eocodec.errors import InputError, RasterError
from eocodec.interop.gdal import open_dataset, read_window
from eocodec.interop.layers import layers_of
from eocodec.interop.scene import SceneSource, is_nodata, tile_windows
from eocodec.types import AnyArray, BoolArray

SCL_LAYER = "SCL"
SCL_CLASSES = {
    "no_data": 0,
    "saturated": 1,
    "dark": 2,
    "cloud_shadow": 3,
    "vegetation": 4,
    "not_vegetated": 5,
    "water": 6,
    "unclassified": 7,
    "cloud_medium": 8,
    "cloud_high": 9,
    "cirrus": 10,
    "snow": 11,
}
CLOUD_CLASSES = ("cloud_shadow", "cloud_medium", "cloud_high", "cirrus")
BRIGHT_BAND = "B02"
BRIGHT_DN = 3000.0  # of the band, without offset; snow, sand and roofs are as bright, thin cloud is not
_TILE = 1024


def class_values(names: Sequence[str]) -> tuple[int, ...]:
    """Values of classes of the scene classification (SCL) of Level-2A.

    Raises
    ------
    InputError : there is no class of this name
    """
    unknown = [name for name in names if name not in SCL_CLASSES]
    if unknown:
        raise InputError(
            f"no class {', '.join(unknown)} in a scene classification; it has {', '.join(SCL_CLASSES)}"
        )
    return tuple(SCL_CLASSES[name] for name in names)


def from_layers(scenes: Sequence[SceneSource], classes: Sequence[str] = CLOUD_CLASSES) -> BoolArray:
    """Clouds [T, H, W] where the scenes' own layer SCL has one of the classes.

    Raises
    ------
    InputError : a scene has no such layer, or there is no such class
    """
    values = class_values(classes)
    found = []
    for scene in scenes:
        layer = next((layer for layer in layers_of(scene) if layer.info.name == SCL_LAYER), None)
        if layer is None:
            name = scene.info.sources[0] if scene.info.sources else "an input"
            raise InputError(f"{name} has no layer {SCL_LAYER}; give masks as files with --mask FILE")
        _, rows, cols = layer.info.shape
        plane = layer.read(slice(0, rows), slice(0, cols))[0]
        found.append(_on_grid(np.isin(plane, values), scene.info.shape[1:], SCL_LAYER))
    return np.stack(found)


def from_files(
    paths: Sequence[str | Path],
    count: int,
    shape: tuple[int, int],
    classes: Sequence[str] | None = None,
) -> BoolArray:
    """Clouds [T, H, W] from one raster with a band for each date, or from a raster for each date.

    Parameters
    ----------
    count, shape : timesteps, and (rows, cols) of the scenes; coarser masks that cover the same extent are
        repeated
    classes : the rasters are scene classifications, and these are the classes; None: all but 0 is cloud

    Raises
    ------
    RasterError : a file is unreadable; InputError : numbers or sizes do not fit
    """
    values = None if classes is None else class_values(classes)
    planes: list[BoolArray] = []
    for path in paths:
        with ExitStack() as stack:
            dataset = open_dataset(str(path), stack)
            indexes = list(range(1, dataset.count + 1))
            pixels = read_window(dataset, indexes, slice(0, dataset.height), slice(0, dataset.width))
            for plane in pixels:
                marked = (plane != 0) if values is None else np.isin(plane, values)
                planes.append(_on_grid(marked, shape, str(path)))
    if len(planes) != count:
        raise InputError(
            f"{len(planes)} masks for {count} dates; give one raster for each date, or one with as many bands"
        )
    return np.stack(planes)


def from_brightness(scenes: Sequence[SceneSource], threshold: float = BRIGHT_DN) -> BoolArray:
    """Clouds [T, H, W] where the blue band is above a threshold, DN: a makeshift.

    Raises
    ------
    InputError : a scene has no blue band
    """
    found = []
    for scene in scenes:
        info = scene.info
        if BRIGHT_BAND not in info.bands:
            raise InputError(
                f"brightness is judged in {BRIGHT_BAND}, which the input lacks; give --mask FILE"
            )
        band, out = info.bands.index(BRIGHT_BAND), np.zeros(info.shape[1:], bool)
        for _, _, (rows, cols) in tile_windows(info.shape[1:], _TILE):
            plane: AnyArray = scene.read(rows, cols)[band]
            out[rows, cols] = (plane > threshold) & ~is_nodata(plane, info.nodata)
        found.append(out)
    return np.stack(found)


def grow(clouds: BoolArray, pixels: int) -> BoolArray:
    """Clouds [T, H, W] widened by so many pixels along rows and columns: their rims are hazy."""
    out = clouds.copy()
    for _ in range(pixels):
        wider = out.copy()
        wider[:, 1:] |= out[:, :-1]
        wider[:, :-1] |= out[:, 1:]
        wider[:, :, 1:] |= out[:, :, :-1]
        wider[:, :, :-1] |= out[:, :, 1:]
        out = wider
    return out


def _on_grid(plane: BoolArray, shape: tuple[int, ...], name: str) -> BoolArray:
    """The nearest pixel of a mask that covers the same extent with pixels of another size."""
    if plane.shape == tuple(shape):
        return plane
    factors = [size / own for size, own in zip(shape, plane.shape, strict=True)]
    if abs(factors[0] * plane.shape[1] - shape[1]) > factors[0]:
        raise RasterError(
            f"the mask {name} has {plane.shape[0]} x {plane.shape[1]} pixels, the scenes {shape[0]} x "
            f"{shape[1]}: the extents differ; bring them to one"
        )
    rows, cols = (
        np.minimum(((np.arange(size) + 0.5) / factor).astype(int), own - 1)
        for size, factor, own in zip(shape, factors, plane.shape, strict=True)
    )
    return np.asarray(plane[np.ix_(rows, cols)])
