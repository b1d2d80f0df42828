"""xarray: the engine `eocodec` for reading, the accessor `.eocodec` and `encoding` for writing.

>>> ds = xr.open_dataset("scene.tec", engine="eocodec", chunks={})   # a folder or a URL will do, too
>>> ds.eocodec.to_zarr("copy.zarr", quality=60)

xarray finds the engine by its entry point. The accessor is there once an engine has been looked for (any
`xr.open_dataset` does that) or this module imported. torch is imported when a tile is decoded, not before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from eocodec.errors import MissingDependency
from eocodec.interop.cf import with_coordinates
from eocodec.interop.container import TEC_SUFFIX
from eocodec.interop.metadata import GROUP_KEY
from eocodec.interop.remote import is_url
from eocodec.interop.xarray_write import as_dataset, encoding, write_dataset

__all__ = ["TecBackend", "encoding"]


class TecBackend(BackendEntrypoint):
    """Engine `eocodec`: a `.tec` or `.zarr` as a dataset; tiles are decoded when a window touches them."""

    description = "Open .tec files and Zarr stores of eocodec"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "mask_and_scale",
        "decode_times",
        "decode_timedelta",
        "use_cftime",
        "concat_characters",
        "decode_coords",
        "group",
        "storage_options",
    )

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | Path,
        *,
        drop_variables: str | list[str] | None = None,
        mask_and_scale: bool = True,
        decode_coords: bool | str = "all",
        group: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **decoding: Any,
    ) -> xr.Dataset:
        """Open lazily; `xr.open_dataset` adds Dask chunks, which are tiles for `chunks={}`.

        Parameters
        ----------
        filename_or_obj : path or URL of a `.tec`, path or URL of a `.zarr`
        mask_and_scale : nodata becomes NaN and integers float32, as everywhere in xarray; False: as stored
        group : such as `layers/20m`, where a store keeps layers of another grid
        storage_options : for a URL, as fsspec takes them
        decoding : the other options of `xr.open_dataset`, as Zarr's engine takes them

        Raises
        ------
        RasterError : nothing is there
        CodestreamError : the file is damaged; that of a tile comes when it is decoded
        """
        store, more = _store(filename_or_obj, storage_options)
        ds = _zarr_engine().open_dataset(
            store,
            drop_variables=drop_variables,
            mask_and_scale=mask_and_scale,
            # The variable of the reference system is a coordinate also where nothing is decoded.
            decode_coords="all" if decode_coords is True else decode_coords,
            group=group,
            **more,
            **decoding,
        )
        close = ds._close
        ds = with_coordinates(ds)
        ds.set_close(close)
        return ds

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is called `.tec`; folders are left to Zarr's engine."""
        return isinstance(filename_or_obj, str | Path) and str(filename_or_obj).lower().endswith(TEC_SUFFIX)


def _zarr_engine() -> Any:
    try:
        import zarr  # noqa: F401
        from xarray.backends import ZarrBackendEntrypoint
    except ImportError as error:
        raise MissingDependency("zarr 3 is needed, and Python 3.11 for it: pip install zarr") from error
    return ZarrBackendEntrypoint()


def _store(path: str | Path, storage_options: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """What Zarr's engine opens, and how."""
    if str(path).lower().endswith(TEC_SUFFIX):
        from eocodec.interop.zarr_store import TecStore

        return TecStore(path, storage_options), {"consolidated": False}
    if is_url(path):
        return path, {"storage_options": dict(storage_options or {})}
    # Said here, as xarray warns of stores that are slow to list; a folder is not.
    return path, {"consolidated": _is_consolidated(Path(path) / GROUP_KEY)}


def _is_consolidated(document: Path) -> bool:
    try:
        return json.loads(document.read_bytes()).get("consolidated_metadata") is not None
    except (OSError, ValueError, AttributeError):
        return False  # whoever opens it says what is wrong


class _Accessor:
    """What datasets and arrays have in common."""

    def __init__(self, data: xr.Dataset | xr.DataArray) -> None:
        self._data = data

    def to_zarr(
        self,
        path: str | Path,
        *,
        quality: float | None = None,
        append_dim: str | None = None,
        mode: Any = None,
        storage_options: dict[str, Any] | None = None,
        compute: bool = True,
        **settings: Any,
    ) -> Any:
        """Write a `.zarr` (folder or URL) or a `.tec`; what has the model's bands encoded, all else as is.

        Parameters
        ----------
        path : of the new store; or of the one to append to, a `.zarr`
        quality, settings : of `encoding`; not with `append_dim`
        append_dim : axis along which to append, such as `time`; entries that are there already are refused
        mode : as in `Dataset.to_zarr`; "w" replaces what is there
        storage_options : for a URL, as fsspec takes them
        compute : False gives a Dask object that writes when computed; not for a `.tec`

        Raises
        ------
        InputError : see `encoding`; or what is appended does not fit
        OutputExists : the `.tec` is there already; of a `.zarr` Zarr says it
        """
        return write_dataset(
            as_dataset(self._data),
            path,
            settings={"quality": quality, **settings} if quality is not None else settings,
            append_dim=append_dim,
            mode=mode,
            storage_options=storage_options,
            compute=compute,
        )


@xr.register_dataset_accessor("eocodec")
class DatasetAccessor(_Accessor):
    """`Dataset.eocodec`."""


@xr.register_dataarray_accessor("eocodec")
class DataArrayAccessor(_Accessor):
    """`DataArray.eocodec`."""
