"""What a store's `zarr.json` documents say: Zarr v3 metadata, CF grid mapping, the scene's own description.

Layout: a group with the array `dn` [band, y, x], whose chunks are tiles, and the scalar `spatial_ref` that
holds the reference system where CF readers such as rioxarray look for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eocodec._version import __version__
from eocodec.errors import MalformedHeader
from eocodec.interop.geozarr import CONVENTIONS, geotransform, geozarr_attributes, parse_geotransform
from eocodec.interop.layer_store import Beside
from eocodec.interop.scene import SceneInfo
from eocodec.interop.settings import CODEC_NAME, codec_json, number_from_json, number_to_json
from eocodec.sensors import S2_L1C

ARRAY = "dn"
GRID_MAPPING = "spatial_ref"
LAYOUT_VERSION = 1
GROUP_KEY = "zarr.json"
ARRAY_KEY = f"{ARRAY}/zarr.json"
GRID_MAPPING_KEY = f"{GRID_MAPPING}/zarr.json"


@dataclass(frozen=True)
class StoreLayout:
    """A store's metadata, read: the scene, its tiles and the settings that it was encoded with.

    `layers` and `documents` are what it lists beside the bands (see `layer_store`).
    """

    info: SceneInfo
    tile: tuple[int, int]
    settings: Mapping[str, Any]
    written_by: str | None
    layers: tuple[Mapping[str, Any], ...] = ()
    documents: Mapping[str, int] = field(default_factory=dict)

    def chunk_key(self, row: int, col: int) -> str:
        """Key of the tile at (tile row, tile column)."""
        return f"{ARRAY}/c/0/{row}/{col}"

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles (down, across)."""
        _, height, width = self.info.shape
        return -(-height // self.tile[0]), -(-width // self.tile[1])


def documents(
    info: SceneInfo, options: Any, tile: int, *, consolidated: bool = False, beside: Beside | None = None
) -> dict[str, bytes]:
    """The metadata documents by key.

    Parameters
    ----------
    options : an `eocodec.options.EncodeOptions`
    tile : rows and columns of a chunk; smaller where the scene is
    beside : what is kept beside the bands
    consolidated : repeat the arrays' documents in the group's, for readers of stores that cannot be listed
    """
    listed = {} if beside is None else beside.listed
    parts: dict[str, Any] = {GROUP_KEY: _group(info, listed), ARRAY_KEY: _array(info, options, tile)}
    if info.crs_wkt is not None or info.transform is not None:
        parts[GRID_MAPPING_KEY] = _grid_mapping(info)
    parts |= {} if beside is None else beside.parts
    if consolidated:
        arrays = {key.removesuffix("/zarr.json"): part for key, part in parts.items() if key != GROUP_KEY}
        parts[GROUP_KEY]["consolidated_metadata"] = {
            "kind": "inline",
            "must_understand": False,
            "metadata": arrays,
        }
    return {
        key: json.dumps(part, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        for key, part in parts.items()
    }


def _group(info: SceneInfo, listed: Mapping[str, Any]) -> dict[str, Any]:
    scene: dict[str, Any] = {
        "order": list(info.order),
        "sources": list(info.sources),
        "descriptions": list(info.descriptions),
        "tags": dict(info.tags),
        "band_tags": [dict(tags) for tags in info.band_tags] if any(info.band_tags) else [],
        "scales": list(info.scales) if any(value != 1 for value in info.scales) else [],
        "offsets": list(info.offsets) if any(info.offsets) else [],
        "units": list(info.units) if any(info.units) else [],
        "gcps": [list(point) for point in info.gcps],
        "gcps_crs_wkt": info.gcps_crs_wkt,
        "rpcs": dict(info.rpcs) if info.rpcs else None,
        "nodata": number_to_json(info.nodata),
        "notes": list(info.notes),
        "factors": list(info.factors),
        "absent": list(info.absent),
        "left_out": list(info.left_out),
        "product": dict(info.product),
    }
    scene = {key: value for key, value in scene.items() if value not in (None, [], {})}
    attributes = {
        "Conventions": CONVENTIONS,
        "eocodec": {"version": __version__, "layout": LAYOUT_VERSION, "scene": scene, **listed},
        **geozarr_attributes(info.crs_wkt, info.transform),
    }
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(info: SceneInfo, options: Any, tile: int) -> dict[str, Any]:
    bands, height, width = info.shape
    wavelengths = {band.name: band.wavelength for band in S2_L1C}
    attributes: dict[str, Any] = {"long_name": "digital numbers", "band_names": list(info.bands)}
    if all(name in wavelengths for name in info.bands):
        attributes["wavelengths_nm"] = [wavelengths[name] for name in info.bands]
    if info.crs_wkt is not None or info.transform is not None:
        attributes["grid_mapping"] = GRID_MAPPING
    if info.nodata is not None and info.dtype.kind in "iu":
        attributes["_FillValue"] = info.nodata  # xarray masks by this attribute, not by Zarr's fill value
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [bands, height, width],
        "data_type": info.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [bands, min(tile, height), min(tile, width)]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill_value(info),
        "codecs": [codec_json(options)],
        "attributes": attributes,
        "dimension_names": ["band", "y", "x"],
    }


def _fill_value(info: SceneInfo) -> float | int | str | None:
    value = 0 if info.nodata is None else info.nodata
    return number_to_json(float(value) if info.dtype.kind == "f" else int(value))


def _grid_mapping(info: SceneInfo) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if info.crs_wkt is not None:
        attributes["crs_wkt"] = info.crs_wkt
    if info.transform is not None:
        attributes["GeoTransform"] = geotransform(info.transform)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [],
        "data_type": "int32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": attributes,
    }


def read_layout(where: str, found: Mapping[str, bytes]) -> StoreLayout:
    """Read the documents back; `found` holds those of GROUP_KEY, ARRAY_KEY and, if any, GRID_MAPPING_KEY.

    Raises
    ------
    MalformedHeader : a document is not JSON, lacks a field or has one that this layout does not allow
    """
    try:
        group, array = json.loads(found[GROUP_KEY]), json.loads(found[ARRAY_KEY])
        mapping = json.loads(found[GRID_MAPPING_KEY]) if GRID_MAPPING_KEY in found else {}
        return _layout(where, group, array, mapping)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, MalformedHeader):
            raise
        raise MalformedHeader(
            f"{where} has unreadable metadata ({type(error).__name__}: {error}); "
            "it is damaged or not written by eocodec"
        ) from error


def _layout(where: str, group: Any, array: Any, mapping: Any) -> StoreLayout:
    codecs = array["codecs"]
    if [codec["name"] for codec in codecs] != [CODEC_NAME] or array["chunk_key_encoding"][
        "name"
    ] != "default":
        raise MalformedHeader(
            f"{where} has the codecs {[codec['name'] for codec in codecs]}, this layout has {[CODEC_NAME]}; "
            "open it with zarr.open instead"
        )
    own = group["attributes"]["eocodec"]
    if own["layout"] != LAYOUT_VERSION:
        raise MalformedHeader(
            f"{where} has layout {own['layout']}, this version reads {LAYOUT_VERSION}; 0 was experimental, a "
            "higher one takes a newer eocodec"
        )
    shape = tuple(int(size) for size in array["shape"])
    chunk = tuple(int(size) for size in array["chunk_grid"]["configuration"]["chunk_shape"])
    if len(shape) != 3 or len(chunk) != 3 or min(shape + chunk) < 1 or chunk[0] != shape[0]:
        raise MalformedHeader(
            f"{where} has shape {shape} and chunks {chunk}; three axes, bands whole, were expected"
        )
    info = _scene(shape, array, own["scene"], mapping.get("attributes", {}))
    return StoreLayout(
        info,
        (chunk[1], chunk[2]),
        codecs[0]["configuration"],
        own.get("version"),
        tuple(own.get("layers", ())),
        dict(own.get("documents", {})),
    )


def _scene(shape: tuple[int, ...], array: Any, scene: Any, mapping: Any) -> SceneInfo:
    bands, height, width = shape
    transform = None
    if "GeoTransform" in mapping:
        transform = parse_geotransform(mapping["GeoTransform"])
    names = tuple(array["attributes"]["band_names"])
    order = tuple(int(k) for k in scene.get("order", range(bands)))
    if len(names) != bands or sorted(order) != list(range(bands)):
        raise MalformedHeader(f"{bands} bands, but names {names} and order {order}")
    return SceneInfo(
        shape=(bands, height, width),
        dtype=np.dtype(array["data_type"]),
        bands=names,
        nodata=number_from_json(scene.get("nodata")),
        crs_wkt=mapping.get("crs_wkt"),
        transform=transform,
        order=order,
        descriptions=tuple(scene.get("descriptions", [None] * bands)),
        band_tags=tuple(scene.get("band_tags", [{}] * bands)),
        scales=tuple(scene.get("scales", [1.0] * bands)),
        offsets=tuple(scene.get("offsets", [0.0] * bands)),
        units=tuple(scene.get("units", [None] * bands)),
        tags=dict(scene.get("tags", {})),
        gcps=tuple(tuple(point) for point in scene.get("gcps", ())),
        gcps_crs_wkt=scene.get("gcps_crs_wkt"),
        rpcs=scene.get("rpcs"),
        sources=tuple(scene.get("sources", ())),
        notes=tuple(scene.get("notes", ())),
        factors=_factors(scene.get("factors", ()), bands),
        absent=tuple(name for name in scene.get("absent", ()) if name in names),
        left_out=tuple(scene.get("left_out", ())),
        product=dict(scene.get("product", {})),
    )


def _factors(stated: Any, bands: int) -> tuple[int, ...]:
    factors = tuple(int(factor) for factor in stated)
    if factors and (len(factors) != bands or min(factors) < 1):
        raise MalformedHeader(f"{bands} bands, but native pixel sizes {factors}")
    return factors
