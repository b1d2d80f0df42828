"""NetCDF and Zarr cubes as scenes, through xarray: a variable [band, y, x] or [time, band, y, x].

The bands are named by the coordinate of their axis, or are variables of their own ("B02", "B03", ...) over
[y, x] or [time, y, x]. One timestep is a scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.errors import BandError, InputError, MissingDependency, RasterError
from eocodec.interop.bands import parse_band, stack_bands
from eocodec.interop.gdal import as_nodata
from eocodec.interop.geozarr import parse_geotransform
from eocodec.interop.layers import Layer, LayerInfo
from eocodec.interop.scene import SceneInfo
from eocodec.types import AnyArray

BAND_AXES = ("band", "bands", "channel", "wavelength")
TIME_AXES = ("time", "t", "date")
NODATA_ATTRIBUTES = ("_FillValue", "missing_value", "nodata", "nodatavals")


@dataclass(frozen=True)
class CubeLayer:
    """A plane that no model knows, as a layer."""

    info: LayerInfo
    plane: Any  # a DataArray [y, x]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [1, h, w] of a window."""
        return np.asarray(self.plane[rows, cols].values)[None]


@dataclass(frozen=True)
class CubeSource:
    """One timestep of a cube; `planes` are lazy DataArrays [y, x] in the model's order."""

    info: SceneInfo
    planes: tuple[Any, ...]
    dataset: Any
    layers: tuple[Layer, ...]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window, in the model's band order."""
        return np.stack([np.asarray(plane[rows, cols].values) for plane in self.planes])

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()


def open_cube(
    path: Path,
    *,
    bands: Sequence[str] | None = None,
    nodata: float | int | None = None,
    time: str | None = None,
    variable: str | None = None,
) -> CubeSource:
    """Open one timestep of a cube.

    Parameters
    ----------
    bands : names in the order of the band axis, where its coordinate does not give them; some may be missing
    nodata : replaces what the cube says
    time : position or ISO 8601 date of the timestep; None: the only one
    variable : the one with the bands; None: the only one that has a band axis

    Raises
    ------
    MissingDependency : xarray, or what it takes to read the format, is not installed
    RasterError : the file cannot be read, or has no such variable
    BandError : the bands are not those of the model
    InputError : which timestep is meant is not clear
    """
    dataset = _open(path)
    try:
        return _scene(dataset, path, bands, nodata, time, variable)
    except (InputError, MissingDependency):
        dataset.close()
        raise


def timesteps(path: Path, *, variable: str | None = None) -> tuple[str, ...]:
    """What `time` of `open_cube` is for each timestep of a cube; empty where there is but one.

    Errors of `open_cube`.
    """
    dataset = _open(path)
    try:
        plane = _planes(dataset, path, variable)[0][0]
        axis = _axis(plane, TIME_AXES)
        if axis is None or plane.sizes[axis] == 1:
            return ()
        stamps = plane[axis].values if axis in plane.coords else range(plane.sizes[axis])
        return tuple(str(stamp) for stamp in stamps)
    finally:
        dataset.close()


def _open(path: Path) -> Any:
    try:
        import xarray
    except ImportError as error:
        raise MissingDependency(
            f"{path} is a cube, which takes xarray; pip install 'eocodec[xarray]'"
        ) from error
    if not path.exists():
        raise RasterError(f"{path} does not exist; check the path")
    try:
        if path.suffix.lower() == ".zarr":
            return xarray.open_zarr(path, chunks=None, mask_and_scale=False)
        return xarray.open_dataset(path, mask_and_scale=False)
    except (ValueError, OSError, KeyError) as error:
        # xarray names engines that would do; on several lines
        raise RasterError(
            f"{path} cannot be read as a cube ({' '.join(str(error).split())}); "
            "install h5netcdf for NetCDF 4, or check that the file is complete"
        ) from error


def _scene(
    dataset: Any,
    path: Path,
    bands: Sequence[str] | None,
    nodata: float | int | None,
    time: str | None,
    variable: str | None,
) -> CubeSource:
    planes, names = _planes(dataset, path, variable)
    planes = [_at_time(plane, path, time) for plane in planes]
    found = stack_bands(str(path), names, bands)
    chosen = tuple(planes[place] for place in found.places)
    first = chosen[0]
    if {plane.dtype for plane in chosen} != {first.dtype} or {plane.shape for plane in chosen} != {
        first.shape
    }:
        raise BandError(f"the bands of {path} differ in type or size; bring them to one grid and type")
    info = SceneInfo(
        shape=(len(chosen), *first.shape),
        dtype=np.dtype(first.dtype),
        bands=found.present,
        nodata=_nodata(first) if nodata is None else nodata,
        order=found.order,
        descriptions=found.present,
        sources=(path.name,),
        notes=(found.note,) if found.note else (),
        **_georeferencing(dataset, first),
    )
    stamp = first.coords.get(next((name for name in TIME_AXES if name in first.coords), ""))
    if stamp is not None and stamp.ndim == 0:
        moment = (
            str(np.datetime_as_string(stamp.values, "s")) if stamp.dtype.kind == "M" else str(stamp.values)
        )
        info = replace(info, tags={"DATETIME": moment}, product={"sensing_time": moment})
    layers = tuple(_layer(planes[k], name, info) for k, name in found.extra.items())
    return CubeSource(info, chosen, dataset, layers)


def _planes(dataset: Any, path: Path, variable: str | None) -> tuple[list[Any], list[str | None]]:
    """DataArrays without a band axis, and what they are called."""
    if variable is not None and variable not in dataset:
        raise RasterError(
            f"{path} has no variable {variable}; it has {', '.join(map(str, dataset.data_vars))}"
        )
    stacked = [
        name for name, array in dataset.data_vars.items() if _axis(array, BAND_AXES) and array.ndim >= 3
    ]
    if variable is None and not stacked:
        single = {name: array for name, array in dataset.data_vars.items() if parse_band(str(name))}
        if not single:
            raise RasterError(
                f"{path} has no variable with a band axis ({', '.join(BAND_AXES)}), none per band"
            )
        return list(single.values()), [str(name) for name in single]
    if variable is None and len(stacked) > 1:
        raise InputError(f"{path} has several cubes, {', '.join(map(str, stacked))}; choose with --variable")
    array = dataset[variable if variable is not None else stacked[0]]
    axis = _axis(array, BAND_AXES)
    if axis is None:
        raise RasterError(f"variable {array.name} of {path} has axes {array.dims}, none is called band")
    labels: list[str | None] = [None] * array.sizes[axis]
    if axis in array.coords and array[axis].dtype.kind in "UOST":
        labels = [str(value) for value in array[axis].values]
    return [array.isel({axis: k}) for k in range(array.sizes[axis])], labels


def _axis(array: Any, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in array.dims), None)


def _at_time(plane: Any, path: Path, time: str | None) -> Any:
    """A plane [y, x] at the timestep meant."""
    axis = _axis(plane, TIME_AXES)
    if axis is not None:
        plane = plane.isel({axis: _timestep(plane, axis, path, time)})
    if plane.ndim != 2:
        raise RasterError(f"a band of {path} has axes {plane.dims}; [time, band, y, x] are needed")
    return plane


def _timestep(plane: Any, axis: str, path: Path, time: str | None) -> int:
    count = plane.sizes[axis]
    stamps = [str(value) for value in plane[axis].values] if axis in plane.coords else []
    if time is None:
        if count != 1:
            example = stamps[0][:10] if stamps else "0"
            raise InputError(
                f"{path} has {count} timesteps; choose one with --time, such as --time {example}"
            )
        return 0
    if time.isdigit() and len(time) < 4 and int(time) < count:
        return int(time)
    found = [k for k, stamp in enumerate(stamps) if stamp.startswith(time)]
    if len(found) != 1:
        raise InputError(f"--time {time} fits {len(found)} of the {count} timesteps of {path}; give one date")
    return found[0]


def _nodata(plane: Any) -> float | int | None:
    for name in NODATA_ATTRIBUTES:
        value = plane.encoding.get(name, plane.attrs.get(name))
        if value is not None:
            return as_nodata(float(np.ravel(value)[0]), np.dtype(plane.dtype))
    return None


def _georeferencing(dataset: Any, plane: Any) -> dict[str, Any]:
    """`crs_wkt` and `transform` from CF's grid mapping, else from the coordinates of an even grid."""
    name = plane.encoding.get("grid_mapping", plane.attrs.get("grid_mapping", "spatial_ref"))
    attributes: Mapping[str, Any] = dataset[name].attrs if name in dataset.variables else {}
    wkt = attributes.get("crs_wkt") or attributes.get("spatial_ref")
    if "GeoTransform" in attributes:
        return {"crs_wkt": wkt, "transform": parse_geotransform(attributes["GeoTransform"])}
    rows, cols = plane.dims
    if not (rows in plane.coords and cols in plane.coords and min(plane.shape) > 1):
        return {"crs_wkt": wkt, "transform": None}
    y, x = (np.asarray(plane[axis].values, np.float64) for axis in (rows, cols))
    down, across = (y[-1] - y[0]) / (len(y) - 1), (x[-1] - x[0]) / (len(x) - 1)
    transform = (across, 0.0, x[0] - across / 2, 0.0, down, y[0] - down / 2)
    return {"crs_wkt": wkt, "transform": tuple(float(value) for value in transform)}


def _layer(plane: Any, name: str, info: SceneInfo) -> CubeLayer:
    described = LayerInfo(
        name, (1, *info.shape[1:]), np.dtype(plane.dtype), info.transform, _nodata(plane), info.sources[0]
    )
    return CubeLayer(described, plane)
