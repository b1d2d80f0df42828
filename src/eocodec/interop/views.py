"""A scene seen in part: a window of it, some of its bands or layers, its numbers without the offset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds

from eocodec.errors import InputError
from eocodec.interop.layers import CroppedLayer, Layer, documents_of, layers_of, shifted
from eocodec.interop.scene import SceneInfo, SceneSource, check_absent, is_nodata
from eocodec.sensors import S2_BAND_NAMES, SATURATED_DN
from eocodec.types import AnyArray

Bbox = tuple[float, float, float, float]  # left, bottom, right, top
# What a scene says of a band that it has not.
NOTHING: dict[str, Any] = {
    "descriptions": None,
    "band_tags": {},
    "scales": 1.0,
    "offsets": 0.0,
    "units": None,
    "factors": 1,
}
DENSIFY = 21  # points an edge: a rectangle in degrees has curved edges in a projection


@dataclass(frozen=True)
class View:
    """Another scene's pixels, described otherwise; derived classes change the pixels too."""

    info: SceneInfo
    scene: SceneSource
    layers: tuple[Layer, ...]

    @property
    def documents(self) -> Mapping[str, bytes]:
        """The scene's own."""
        return documents_of(self.scene)

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window."""
        return self.scene.read(rows, cols)

    def close(self) -> None:
        """Close the scene."""
        self.scene.close()


@dataclass(frozen=True)
class Crop(View):
    """A window of a scene."""

    window: tuple[slice, slice]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window of the window."""
        top, left = self.window[0].start, self.window[1].start
        return self.scene.read(
            slice(rows.start + top, rows.stop + top), slice(cols.start + left, cols.stop + left)
        )


@dataclass(frozen=True)
class Subset(View):
    """Some bands of a scene."""

    positions: tuple[int, ...]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window."""
        return self.scene.read(rows, cols)[list(self.positions)]


@dataclass(frozen=True)
class Filled(View):
    """A scene with nodata for the bands that it lacks; `positions` are those of its own among all."""

    positions: tuple[int, ...]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window."""
        part = self.scene.read(rows, cols)
        out = np.full((self.info.shape[0], *part.shape[1:]), self.info.nodata, part.dtype)
        out[list(self.positions)] = part
        return out


@dataclass(frozen=True)
class WithoutOffset(View):
    """Digital numbers as they would be without the radiometric offset; marks stay what they are."""

    offset: float

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window; what falls below the dtype's range becomes the least."""
        pixels = self.scene.read(rows, cols)
        limits = np.iinfo(pixels.dtype)
        mark = is_nodata(pixels, self.info.nodata)
        if np.can_cast(np.uint16, pixels.dtype):
            mark |= pixels == SATURATED_DN
        least = limits.min + (self.info.nodata == limits.min)
        shifted_dn = np.clip(pixels.astype(np.int64) + round(self.offset), least, limits.max - 1)
        return np.where(mark, pixels, shifted_dn.astype(pixels.dtype))


def pick_layers(source: SceneSource, names: Sequence[str] | None) -> SceneSource:
    """The scene with only the layers named; None: all.

    Raises
    ------
    InputError : a name is of no layer
    """
    layers = layers_of(source)
    if names is None:
        return source
    there = [layer.info.name for layer in layers]
    unknown = [name for name in names if name not in there]
    if unknown:
        raise InputError(f"no layer {', '.join(unknown)} in the input; it has {', '.join(there) or 'none'}")
    left_out = tuple(layer.info.source or layer.info.name for layer in layers if layer.info.name not in names)
    info = replace(source.info, left_out=(*source.info.left_out, *left_out))
    return View(info, source, tuple(layer for layer in layers if layer.info.name in names))


def pick_bands(source: SceneSource, positions: Sequence[int]) -> SceneSource:
    """The scene with only the bands at these positions, such as those that are not absent."""
    info = source.info
    positions = tuple(positions)
    if positions == tuple(range(info.shape[0])):
        return source
    places = [info.order[k] for k in positions] if info.order else list(positions)
    described: dict[str, tuple[object, ...]] = {
        name: tuple(values[k] for k in positions)
        for name in ("bands", "descriptions", "band_tags", "scales", "offsets", "units", "factors")
        if (values := getattr(info, name))
    }
    bands: tuple[str, ...] = tuple(info.bands[k] for k in positions)
    part = replace(
        info,
        **described,  # type: ignore[arg-type]  # each as long as before, of the same kind
        shape=(len(positions), *info.shape[1:]),
        order=tuple(sorted(places).index(place) for place in places),
        absent=tuple(name for name in info.absent if name in bands),
    )
    return Subset(part, source, layers_of(source), positions)


def fill_absent(source: SceneSource) -> SceneSource:
    """The scene with all bands of the model, those that it lacks as absent ones; `pick_bands` undoes it.

    Raises
    ------
    RasterError : bands are missing, and the scene has no nodata value
    """
    info = source.info
    if info.bands == S2_BAND_NAMES:
        return source
    check_absent(info.nodata)
    absent = tuple(band for band in S2_BAND_NAMES if band not in info.bands)
    places = (*info.order, *range(len(info.bands), len(S2_BAND_NAMES)))  # absent ones come last in the file
    order = dict(zip((*info.bands, *absent), places, strict=True))
    known: dict[str, Any] = {name: _spread(info, name, nothing) for name, nothing in NOTHING.items()}
    whole = replace(
        info,
        shape=(len(S2_BAND_NAMES), *info.shape[1:]),
        bands=S2_BAND_NAMES,
        order=tuple(order[band] for band in S2_BAND_NAMES),
        absent=absent,
        **known,
    )
    return Filled(whole, source, layers_of(source), tuple(map(S2_BAND_NAMES.index, info.bands)))


def _spread(info: SceneInfo, name: str, nothing: Any) -> tuple[Any, ...]:
    """What is known of the bands that are there, and nothing of the others; stays empty."""
    values = getattr(info, name)
    known = dict(zip(info.bands, values, strict=True)) if values else {}
    return tuple(known.get(band, nothing) for band in S2_BAND_NAMES) if values else ()


def without_offset(source: SceneSource, offset: float) -> SceneSource:
    """The scene with `offset` added to its digital numbers, and said to be so.

    Raises
    ------
    InputError : the pixels are not integers
    """
    info = source.info
    if not offset:
        return source
    if info.dtype.kind not in "iu":
        raise InputError(f"the pixels are {info.dtype}; only integers have a radiometric offset to take off")
    product = {**info.product, "offset_removed": offset}
    plain = replace(info, offsets=(0.0,) * info.shape[0] if info.offsets else (), product=product)
    return WithoutOffset(plain, source, layers_of(source), offset)


def crop_to(source: SceneSource, bbox: Bbox | None) -> SceneSource:
    """The part of a scene within a rectangle, widened to whole pixels of its coarsest band.

    Parameters
    ----------
    bbox : left, bottom, right, top in the scene's reference system, or longitudes and latitudes; None: all

    Raises
    ------
    InputError : the rectangle is empty or beside the scene, or the scene has no georeferencing
    """
    if bbox is None:
        return source
    window = window_of(source.info, bbox)
    rows, cols = window
    info = source.info
    part = replace(
        info,
        shape=(info.shape[0], rows.stop - rows.start, cols.stop - cols.start),
        transform=shifted(info.transform, rows.start, cols.start),
        gcps=tuple((p[0] - rows.start, p[1] - cols.start, *p[2:]) for p in info.gcps),
        rpcs=None,  # they count pixels of the whole
        left_out=(*info.left_out, "what lies outside of --bbox"),
    )
    layers = tuple(_crop_layer(layer, info, window) for layer in layers_of(source))
    return Crop(part, source, layers, window)


def window_of(info: SceneInfo, bbox: Bbox) -> tuple[slice, slice]:
    """Rows and columns that a rectangle covers; see `crop_to`."""
    left, bottom, right, top = bbox
    if not (left < right and bottom < top):
        raise InputError(f"--bbox {_text(bbox)} is empty; give left,bottom,right,top")
    if info.transform is None:
        raise InputError("the input has no georeferencing, so --bbox means nothing; leave it out")
    if info.transform[1] or info.transform[3]:
        raise InputError("the input's grid is rotated; --bbox takes grids along the axes only")
    a, _, c, _, e, f = info.transform
    left, bottom, right, top = _in_scene_crs(info, bbox)
    step = math.lcm(*info.native_factors)
    spans = []
    for low, high, origin, pixel, size in (
        (bottom, top, f, e, info.shape[1]),
        (left, right, c, a, info.shape[2]),
    ):
        ends = [(low - origin) / pixel, (high - origin) / pixel]
        # A rectangle that follows pixel edges must not grow by one for a rounding error.
        first = math.floor(min(ends) / step + 1e-6) * step
        last = math.ceil(max(ends) / step - 1e-6) * step
        spans.append(slice(max(first, 0), min(last, size)))
    rows, cols = spans
    if rows.start >= rows.stop or cols.start >= cols.stop:
        raise InputError(f"--bbox {_text(bbox)} does not touch the input, which covers {_extent(info)}")
    return rows, cols


def _in_scene_crs(info: SceneInfo, bbox: Bbox) -> Bbox:
    """Longitudes and latitudes turned into the scene's coordinates; others are these already."""
    looks_like_degrees = all(abs(x) <= 180 for x in bbox[::2]) and all(abs(y) <= 90 for y in bbox[1::2])
    if not looks_like_degrees or info.crs_wkt is None:
        return bbox
    try:
        crs = CRS.from_wkt(info.crs_wkt)
        if crs.is_geographic:
            return bbox
        left, bottom, right, top = transform_bounds("EPSG:4326", crs, *bbox, densify_pts=DENSIFY)
    except CRSError as error:
        raise InputError(
            f"--bbox {_text(bbox)} cannot be brought into the input's system ({error}); give it in that"
        ) from error
    return left, bottom, right, top


def _crop_layer(layer: Layer, info: SceneInfo, window: tuple[slice, slice]) -> Layer:
    """The same part of a layer, whose grid covers the scene's extent with pixels of its own size."""
    spans = []
    for part, layer_size, size in zip(window, layer.info.shape[1:], info.shape[1:], strict=True):
        spans.append(
            slice(part.start * layer_size // size, min(-(-part.stop * layer_size // size), layer_size))
        )
    return CroppedLayer(layer, (spans[0], spans[1]))


def _text(bbox: Bbox) -> str:
    return ",".join(f"{value:g}" for value in bbox)


def _extent(info: SceneInfo) -> str:
    a, _, c, _, e, f = info.transform or (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    _, rows, cols = info.shape
    return f"{c:.10g},{f + e * rows:.10g},{c + a * cols:.10g},{f:.10g}"
