"""Georeferencing as attributes: CF's grid mapping for xarray and rioxarray, GeoZarr for others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

CONVENTIONS = "CF-1.11"
# The conventions' own identifiers, which stay the same wherever their texts move.
SPATIAL = {"uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "name": "spatial:"}
PROJ = {"uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f", "name": "proj:"}
# The identifier of the whole system closes its WKT; those before it are of its parts.
_EPSG = re.compile(r'(?:AUTHORITY|ID)\["EPSG",\s*"?(\d+)"?\]\s*\]\s*$')


def geozarr_attributes(
    crs_wkt: str | None, transform: Sequence[float] | None, dims: tuple[str, str] = ("y", "x")
) -> dict[str, Any]:
    """Attributes of a group after GeoZarr's `proj:` and `spatial:`; what is unknown is left out.

    Parameters
    ----------
    crs_wkt : WKT of the coordinate reference system
    transform : affine a, b, c, d, e, f (x = a col + b row + c), of pixel corners
    dims : names of the vertical and the horizontal axis
    """
    attributes: dict[str, Any] = {}
    conventions = []
    if transform is not None:
        conventions.append(SPATIAL)
        attributes["spatial:dimensions"] = list(dims)
        attributes["spatial:transform"] = [float(value) for value in transform]
    if crs_wkt:
        conventions.append(PROJ)
        code = epsg_code(crs_wkt)
        attributes |= {"proj:wkt2": crs_wkt} if code is None else {"proj:code": f"EPSG:{code}"}
    return {"zarr_conventions": conventions, **attributes} if conventions else {}


def epsg_code(wkt: str) -> int | None:
    """EPSG code that a WKT of a reference system ends with, or None."""
    found = _EPSG.search(wkt)
    return int(found[1]) if found else None


def geotransform(transform: Sequence[float]) -> str:
    """An affine a, b, c, d, e, f as GDAL's text, in GDAL's order."""
    a, b, c, d, e, f = transform
    return " ".join(repr(float(value)) for value in (c, a, b, f, d, e))


def parse_geotransform(text: str) -> tuple[float, ...]:
    """Invert `geotransform`; raises ValueError unless there are six numbers."""
    c, a, b, f, d, e = (float(value) for value in text.split())
    return a, b, c, d, e, f
