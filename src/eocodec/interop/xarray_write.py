"""Datasets of xarray written as Zarr: which variables the codec takes, how, and the rest as it is."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eocodec.errors import BandError, InputError
from eocodec.interop.atomic import atomic_output
from eocodec.interop.bands import stack_order
from eocodec.interop.cf import (
    BAND_DIM,
    shape_text,
    with_coordinates,
    with_georeference,
    without_fixed_strings,
)
from eocodec.interop.container import TEC_SUFFIX, pack
from eocodec.interop.metadata import ARRAY
from eocodec.interop.settings import codec_json
from eocodec.interop.store import DEFAULT_TILE
from eocodec.models import registry
from eocodec.options import DEFAULT_MODEL, EncodeOptions

if TYPE_CHECKING:
    import xarray as xr

# What xarray needs to know of a variable that it packs itself; the codec gets the packed values.
KEPT_ENCODING = ("dtype", "_FillValue", "missing_value", "scale_factor", "add_offset", "grid_mapping")
# Sensing times have milliseconds; counted from a fixed day, so that any date can be appended.
SERIES_TIMESTEPS = 12  # of a chunk, with a model that predicts timesteps from earlier ones
TIME_ENCODING = {"units": "milliseconds since 1970-01-01", "dtype": "int64", "chunks": (512,)}


def encoding(
    data: xr.Dataset | xr.DataArray,
    *,
    quality: float | None = None,
    model: str | None = None,
    nodata: float | int | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    max_error: int | None = None,
    tokens: int | None = None,
    tile: int = DEFAULT_TILE,
    timesteps: int | None = None,
    shard: int | None = None,
) -> dict[str, dict[str, Any]]:
    """What to pass as `encoding=` to `Dataset.to_zarr(..., zarr_format=3)`.

    Parameters
    ----------
    data : variables with axes [..., band, y, x], the bands in the model's order, are encoded; Zarr keeps
        others losslessly, in the same tiles where they have the same y and x
    quality, model, scale, offset, max_error, tokens : as in `eocodec.options.EncodeOptions`
    nodata : value of pixels that are not there, as stored; default: the variable's `_FillValue`
    tile : rows and columns of a chunk
    timesteps : of a chunk, along the axis before the bands: what is read to get at one of them, and the
        longest chain of predictions; may be more than there are yet, for dates that will be appended.
        Default: 1, for a model of series all up to 12
    shard : rows and columns of a shard (a file of several chunks), a multiple of `tile`

    Returns
    -------
    by name of variable

    Raises
    ------
    BandError : no variable has the model's bands on the third axis from the end, or in another order
    UnitsError : floats without a scale
    ModelNotFound : no such model; InputError : tile or shard do not fit
    """
    ds = as_dataset(data)
    options = EncodeOptions(
        model=DEFAULT_MODEL if model is None else model,
        quality=quality,
        nodata=nodata,
        scale=scale,
        offset=offset,
        max_error=max_error,
        tokens=tokens,
    )
    card = registry.by_id(options.model)
    stated = 1 if timesteps is None else timesteps
    if timesteps is None:
        timesteps = SERIES_TIMESTEPS if card.of_series else 1
    if shard is not None and (shard < tile or shard % tile):
        raise InputError(f"shard is {shard} pixels; give a multiple of the tile, {tile}")
    names = _encodable(ds, card.bands)
    chunks = {BAND_DIM: len(card.bands), "tile": tile, "timesteps": timesteps, "stated": stated}
    found = {str(name): _encoding_of(ds, name, options, chunks, shard) for name in names}
    grid = ds[names[0]].dims[-2:]
    for name, variable in ds.variables.items():
        if variable.dtype.kind == "M" and variable.ndim == 1 and "units" not in variable.encoding:
            found[str(name)] = dict(TIME_ENCODING)
        elif name not in names and variable.dims[-2:] == grid:
            sides = [min(tile, side) for side in variable.shape[-2:]]
            found[str(name)] = {**_kept(variable), "chunks": (*[1] * (variable.ndim - 2), *sides)}
    return found


def _kept(variable: xr.Variable | xr.DataArray) -> dict[str, Any]:
    return {key: variable.encoding[key] for key in KEPT_ENCODING if key in variable.encoding}


def as_dataset(data: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """A dataset as it is; an array as the only variable of one, `dn` if it has no name."""
    import xarray as xr

    return data.to_dataset(name=data.name or ARRAY) if isinstance(data, xr.DataArray) else data


def _encodable(ds: xr.Dataset, taken: Sequence[str]) -> list[Any]:
    """Names of the variables that a model of these bands takes."""
    bands = len(taken)
    names = [
        name
        for name, variable in ds.data_vars.items()
        if variable.ndim >= 3 and variable.dims[-3] == BAND_DIM and variable.shape[-3] == bands
    ]
    if not names:
        found = "; ".join(shape_text(name, variable) for name, variable in ds.data_vars.items())
        raise BandError(
            f"no variable has axes (..., {BAND_DIM}, y, x) with {bands} bands; found {found or 'none'}. "
            "Bring axes into order with .transpose(), name them with .rename(), stack variables with "
            f".to_dataarray({BAND_DIM!r})"
        )
    if BAND_DIM in ds.coords:
        labels = [str(label) for label in ds[BAND_DIM].values]
        named = [None if label.isdigit() else label for label in labels]
        order, _ = stack_order(BAND_DIM, named, bands=taken)
        if order != tuple(range(bands)):
            raise BandError(
                f"the bands are {' '.join(labels)}, the model takes {' '.join(taken)}: "
                f"data.isel({BAND_DIM}={list(order)}) is in this order"
            )
    return names


def _encoding_of(
    ds: xr.Dataset, name: Any, options: EncodeOptions, sizes: Mapping[str, int], shard: int | None
) -> dict[str, Any]:
    from eocodec.interop.zarr import check_array

    variable = ds[name]
    kept = _kept(variable)
    dtype = np.dtype(kept.get("dtype", variable.dtype))
    stated = options.nodata
    if stated is None:
        stated = kept.get("_FillValue", variable.attrs.get("_FillValue"))
    if dtype.kind == "f" and stated is None:
        stated = float("nan")
    if stated is not None:
        stated = float(stated) if dtype.kind == "f" else int(stated)
        kept["_FillValue"] = stated
    depth = [1] * (variable.ndim - 4)
    if variable.ndim > 3:
        depth.append(min(sizes["timesteps"], max(variable.shape[-4], sizes["stated"])))
    sides = [sizes["tile"] if shard else min(sizes["tile"], side) for side in variable.shape[-2:]]
    chunks = (*depth, sizes[BAND_DIM], *sides)
    check_array(variable.shape, chunks, dtype, options.scale, options.model)
    found = {
        **kept,
        "serializer": codec_json(replace(options, nodata=stated)),
        "filters": None,
        "compressors": None,
        "chunks": chunks,
        "fill_value": 0 if stated is None else stated,
    }
    return {**found, "shards": (*depth, sizes[BAND_DIM], shard, shard)} if shard else found


def write_dataset(
    ds: xr.Dataset,
    path: str | Path,
    *,
    settings: Mapping[str, Any],
    append_dim: str | None = None,
    mode: Any = None,
    storage_options: dict[str, Any] | None = None,
    compute: bool = True,
) -> Any:
    """Write a dataset; `Dataset.eocodec.to_zarr` says how."""
    ds = without_fixed_strings(with_georeference(with_coordinates(ds.copy())))
    for variable in ds.data_vars.values():
        _tidy(variable)
    if str(path).lower().endswith(TEC_SUFFIX):
        if append_dim is not None or not compute or settings.get("shard") or "://" in str(path):
            raise InputError(f"{path}: a .tec is written at once and on disk; use a .zarr for anything else")
        return _write_tec(ds, Path(path), settings, force=mode == "w")
    more = {"storage_options": storage_options, "compute": compute}
    if append_dim is None:
        found = encoding(ds, **settings)
        return _to_zarr(_in_whole_chunks(ds, found), path, found, mode=mode, **more)
    stated = sorted(key for key, value in settings.items() if value is not None)
    if stated:
        raise InputError(
            f"leave out {', '.join(stated)}: what is appended is encoded with the settings of the store"
        )
    import xarray as xr

    with xr.open_zarr(path, chunks=None, decode_coords="all", storage_options=storage_options) as there:
        _check_appended(ds, there, str(path), append_dim)
        _check_open_chunks(there, str(path), append_dim)
        stored = {name: array.encoding for name, array in there.data_vars.items()}
        ds = _in_whole_chunks(ds, stored, {append_dim: there.sizes[append_dim]})
    return _to_zarr(ds, path, None, append_dim=append_dim, mode=mode, **more)


def _tidy(variable: xr.DataArray) -> None:
    """Attributes of what was opened without masking and scaling: where xarray wants them, no-ops left out."""
    if "_FillValue" in variable.attrs:
        variable.encoding["_FillValue"] = variable.attrs.pop("_FillValue")
    for key, without_effect in (("scale_factor", 1), ("add_offset", 0)):
        if variable.attrs.get(key) == without_effect:
            del variable.attrs[key]


def _write_tec(ds: xr.Dataset, target: Path, settings: Mapping[str, Any], *, force: bool) -> None:
    """By way of a folder: a ZIP cannot replace what is in it, as writing Zarr does."""
    found = encoding(ds, **settings)
    ds = _in_whole_chunks(ds, found)
    with (
        atomic_output(target, force=force) as partial,
        tempfile.TemporaryDirectory(dir=partial.parent) as folder,
    ):
        _to_zarr(ds, Path(folder) / "store", found, consolidated=False)
        pack(Path(folder) / "store", partial)


def _to_zarr(ds: xr.Dataset, path: str | Path, found: dict[str, dict[str, Any]] | None, **more: Any) -> Any:
    with warnings.catch_warnings():
        # Zarr warns of what is in every store that is read over HTTP, where folders cannot be listed.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        return ds.to_zarr(path, encoding=found, zarr_format=3, **{"consolidated": True, **more})


def _in_whole_chunks(
    ds: xr.Dataset, found: Mapping[Any, Mapping[Any, Any]], there: Mapping[Any, int] | None = None
) -> xr.Dataset:
    """Dask's chunks along those of the store: two tasks must not write one chunk.

    there : how many entries the store has along a dimension before those of `ds`
    """
    aligned = {}
    for name, how in found.items():
        if name in ds.data_vars and ds[name].chunks is not None:
            stored = zip(ds[name].dims, how.get("shards") or how["chunks"], strict=True)
            sizes = {dim: _cuts(ds.sizes[dim], size, (there or {}).get(dim, 0)) for dim, size in stored}
            aligned[name] = ds[name].chunk(sizes)
            aligned[name].encoding = ds[name].encoding
    return ds.assign(aligned)


def _cuts(count: int, size: int, there: int) -> tuple[int, ...]:
    """Lengths of the pieces of `count` entries that follow `there` others, in chunks of `size`."""
    ends = [*range(size - there % size, count, size), count]
    return tuple(np.diff([0, *ends]).tolist())


def _check_open_chunks(there: xr.Dataset, where: str, dim: str) -> None:
    """Refuse to append to a chunk that is not full and whose codestream cannot be extended.

    It would be decoded and encoded a second time.
    """
    from eocodec.interop.zarr import TecCodec

    for name, array in there.data_vars.items():
        codec = array.encoding.get("serializer")
        if not isinstance(codec, TecCodec) or dim not in array.dims:
            continue
        size, held = array.encoding["chunks"][array.dims.index(dim)], array.sizes[dim]
        if held % size and not codec.extensible:
            raise InputError(
                f"{where}: {name} has chunks of {size} along {dim} and the last one holds {held % size}, "
                f"to which nothing can be added as it is encoded ({codec.model}); append to a store written "
                "with timesteps=1, or write all of it anew"
            )


def _check_appended(ds: xr.Dataset, there: xr.Dataset, where: str, dim: str) -> None:
    """Refuse what would not fit to the store, or is in it already."""
    if dim not in ds.dims or dim not in there.dims:
        raise InputError(f"{where} and what is to be appended need the axis {dim!r}; .expand_dims() adds it")
    along, wanted = ({k for k, v in each.variables.items() if dim in v.dims} for each in (ds, there))
    if along != wanted:
        odd = ", ".join(sorted(map(str, along ^ wanted)))
        raise InputError(f"{odd} is in only one of {where} and what is appended; give the same variables")
    scaled = [
        str(name) for name, array in ds.data_vars.items() if {"scale_factor", "add_offset"} & set(array.attrs)
    ]
    if scaled:  # xarray scales what it appends
        raise InputError(f"{', '.join(scaled)} is as stored, not scaled; open it with mask_and_scale=True")
    for name in (BAND_DIM, "y", "x"):
        if name in ds.coords and name in there.coords and not ds[name].equals(there[name]):
            raise InputError(f"{name} differs from that of {where}; append what has the same grid and bands")
    if dim in ds.coords and dim in there.coords:
        twice = np.intersect1d(ds[dim].values, there[dim].values)
        if twice.size:
            raise InputError(f"{where} has {dim} {', '.join(map(str, twice[:3]))} already")
