"""Coordinates as xarray's users expect them: pixel centres, band names, wavelengths, the grid mapping.

Nothing here opens a file. xarray is imported at first use.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from eocodec.interop.bands import parse_band
from eocodec.interop.geozarr import CONVENTIONS, geotransform, geozarr_attributes, parse_geotransform
from eocodec.interop.metadata import GRID_MAPPING
from eocodec.sensors import S2_L1C

if TYPE_CHECKING:
    import xarray as xr

BAND_DIM = "band"
WAVELENGTH = "wavelength"
# Attributes of stored arrays that become coordinates, which follow when bands are selected.
BAND_NAMES, WAVELENGTHS = "band_names", "wavelengths_nm"
REGULAR = 1e-3  # of a pixel: by how much coordinates may be off a regular grid


def with_coordinates(ds: xr.Dataset) -> xr.Dataset:
    """Add what can be known and is missing: `x` and `y` of pixel centres, `band`, `wavelength` [nm]."""
    ds = _with_band_names(ds)
    ds = _with_pixel_centres(ds)
    names = [parse_band(str(name)) for name in ds[BAND_DIM].values] if BAND_DIM in ds.coords else []
    known = {band.name: band.wavelength for band in S2_L1C}
    if WAVELENGTH not in ds.coords and names and all(name in known for name in names):
        attributes = {"units": "nm", "long_name": "central wavelength"}
        values = [known[str(name)] for name in names]
        ds = ds.assign_coords({WAVELENGTH: (BAND_DIM, np.array(values, np.int32), attributes)})
    return ds


def _with_band_names(ds: xr.Dataset) -> xr.Dataset:
    """Names from our attributes; or from where rioxarray puts a file's descriptions, beside mere numbers."""
    numbered = BAND_DIM in ds.coords and ds[BAND_DIM].dtype.kind in "iu"
    for variable in ds.data_vars.values():
        names = variable.attrs.pop(BAND_NAMES, None)
        variable.attrs.pop(WAVELENGTHS, None)
        described = variable.attrs.get("long_name")
        if numbered and isinstance(described, tuple | list) and all(map(parse_band, described)):
            names = [parse_band(text) for text in variable.attrs.pop("long_name")]
        fits = names is not None and len(names) == ds.sizes.get(BAND_DIM, 0)
        if fits and (numbered or BAND_DIM not in ds.coords):
            ds = ds.assign_coords({BAND_DIM: list(names)})
    return ds


def _with_pixel_centres(ds: xr.Dataset) -> xr.Dataset:
    transform, crs_wkt = georeference(ds)
    if transform is None or transform[1] or transform[3]:  # rotated grids have no coordinates by axis
        return ds
    a, _, c, _, e, f = transform
    for dim, step, start in (("x", a, c), ("y", e, f)):
        if dim in ds.dims and dim not in ds.coords:
            values = start + step * (np.arange(ds.sizes[dim]) + 0.5)
            ds = ds.assign_coords({dim: (dim, values, _axis_attributes(dim, crs_wkt))})
    return ds


def _axis_attributes(dim: str, crs_wkt: str | None) -> dict[str, str]:
    attributes = {"axis": dim.upper(), "long_name": f"{dim} of pixel centres"}
    if (crs_wkt or "").startswith("PROJ"):
        return {**attributes, "standard_name": f"projection_{dim}_coordinate", "units": "metre"}
    if (crs_wkt or "").startswith("GEOG"):
        names = {"x": ("longitude", "degrees_east"), "y": ("latitude", "degrees_north")}
        return {**attributes, "standard_name": names[dim][0], "units": names[dim][1]}
    return attributes


def grid_mapping_name(ds: xr.Dataset) -> str | None:
    """Name of the variable that holds the reference system, or None."""
    for variable in ds.data_vars.values():
        name = variable.encoding.get("grid_mapping") or variable.attrs.get("grid_mapping")
        if name in ds.variables:
            return str(name)
    return GRID_MAPPING if GRID_MAPPING in ds.variables else None


def georeference(ds: xr.Dataset) -> tuple[tuple[float, ...] | None, str | None]:
    """Affine (a, b, c, d, e, f) and WKT of a dataset; None for what it does not say.

    The coordinates `x` and `y` win over the grid mapping: they follow when a window is selected.
    """
    name = grid_mapping_name(ds)
    attributes: dict[str, Any] = dict(ds.variables[name].attrs) if name else {}
    crs_wkt = attributes.get("crs_wkt") or attributes.get("spatial_ref")
    stated = None
    if "GeoTransform" in attributes:
        stated = parse_geotransform(str(attributes["GeoTransform"]))
    if "x" in ds.coords and "y" in ds.coords:
        return _transform_of(ds["x"].values, ds["y"].values, stated), crs_wkt
    return stated, crs_wkt


def _transform_of(x: Any, y: Any, stated: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Affine of regular coordinates; a single pixel takes its size from what is stated."""
    steps = []
    for values, k in ((x, 0), (y, 4)):
        if values.ndim != 1 or values.dtype.kind not in "iuf" or values.size == 0:
            return None
        if values.size == 1:
            if stated is None:
                return None
            steps.append(stated[k])
            continue
        step = float(values[-1] - values[0]) / (values.size - 1)
        if np.abs(np.diff(values) - step).max() > REGULAR * abs(step):
            return None
        steps.append(step)
    return (steps[0], 0.0, float(x[0]) - steps[0] / 2, 0.0, steps[1], float(y[0]) - steps[1] / 2)


def with_georeference(ds: xr.Dataset) -> xr.Dataset:
    """State the reference system and the affine where CF and GeoZarr look for them.

    Variables on the grid get `grid_mapping` in their encoding, where xarray keeps it.
    """
    transform, crs_wkt = georeference(ds)
    ds = ds.assign_attrs({"Conventions": CONVENTIONS, **geozarr_attributes(crs_wkt, transform)})
    name = grid_mapping_name(ds)
    if name is None:
        return ds
    attributes = dict(ds.variables[name].attrs)
    if transform is not None:
        attributes["GeoTransform"] = geotransform(transform)
    ds = ds.assign_coords({name: ((), np.int32(0), attributes)})
    for variable in ds.data_vars.values():
        if {"x", "y"} <= set(variable.dims):
            variable.attrs.pop("grid_mapping", None)
            variable.encoding["grid_mapping"] = name
    return ds


def without_fixed_strings(ds: xr.Dataset) -> xr.Dataset:
    """Texts of fixed length as texts of any length: Zarr has specified only these."""
    fixed = [name for name, variable in ds.variables.items() if variable.dtype.kind == "U"]
    return ds.assign({name: ds[name].astype(object) for name in fixed}) if fixed else ds


def shape_text(name: Hashable, variable: Any) -> str:
    """`dn (time: 3, band: 12)`, for messages."""
    sizes = (f"{dim}: {size}" for dim, size in zip(variable.dims, variable.shape, strict=True))
    return f"{name} ({', '.join(sizes)})"
