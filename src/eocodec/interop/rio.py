"""Scenes from anything that rasterio reads: one 12-band stack, or one file per band at several pixel sizes.

Pixels are read by windows and never held as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RioWindow

from eocodec.errors import BandError, RasterError, UnitsError
from eocodec.interop.bands import parse_band, stack_order
from eocodec.interop.resample import bilinear
from eocodec.interop.scene import SceneInfo, SceneSource
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray

Dataset: TypeAlias = Any  # rasterio has no types
RASTER_SUFFIXES = frozenset({".jp2", ".tif", ".tiff", ".img", ".vrt", ".j2k", ".bil", ".dat"})
BLOCK_CACHE_BYTES = (
    256 << 20
)  # GDAL's own default is 5 % of the memory, which on a big machine breaks our bound
VOLATILE_TAGS = ("STATISTICS_",)  # computed from pixels that a lossy codec changes


def open_scene(
    inputs: Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    nodata: float | int | None = None,
) -> SceneSource:
    """Open a stack, a folder of band files or a list of band files as one scene on the finest grid.

    Parameters
    ----------
    inputs : one stack; or one folder; or one file per band, in any order, their names containing B01 ... B12
    bands : the stack's band names in the file's order, where its descriptions do not give them
    nodata : replaces what the files say

    Raises
    ------
    RasterError : a file is missing or unreadable, or files disagree in extent, system, type or nodata
    BandError : the bands are not those of the model, or their order is unknown
    """
    paths = _expand(inputs)
    with ExitStack() as stack:
        source: SceneSource
        if len(paths) == 1 and not _is_folder(inputs):
            source = StackSource.open(_open(paths[0], stack), paths[0], bands, nodata, stack)
        else:
            if bands is not None:
                raise BandError(
                    "--bands describes a stack, but band files were given; put the band in each file's name"
                )
            datasets = {path: _open(path, stack) for path in paths}
            source = BandFilesSource.open(datasets, nodata, stack)
        stack.pop_all()
        return source


def gdal_session() -> Any:
    """Context in which GDAL reports to rasterio's log instead of the terminal, with a bounded block cache."""
    return rasterio.Env(GDAL_CACHEMAX=BLOCK_CACHE_BYTES, GDAL_NUM_THREADS=gdal_threads())


def gdal_threads() -> str:
    """Threads that pack and unpack blocks: as GDAL's own variable says, else all cores."""
    return os.environ.get("GDAL_NUM_THREADS", "ALL_CPUS")


def check_units(info: SceneInfo, scale: float | None) -> None:
    """Refuse pixels that are not digital numbers unless the user said how to turn them into such.

    Raises
    ------
    UnitsError : float pixels without a scale, or complex ones
    """
    if info.dtype.kind == "f" and scale is None:
        raise UnitsError(
            f"{_named(info)} holds {info.dtype} values where digital numbers are expected; "
            "add --scale 10000 if they are reflectances (0 to 1), --scale 1 if they are digital numbers"
        )
    if info.dtype.kind not in "iuf":
        raise UnitsError(f"{_named(info)} holds {info.dtype} values; convert them to 16-bit integers first")


def _named(info: SceneInfo) -> str:
    """The file, or the first of several, for a message."""
    return info.sources[0] if info.sources else "the input"


@dataclass
class StackSource:
    """One raster with all bands."""

    info: SceneInfo
    dataset: Dataset
    stack: ExitStack

    @classmethod
    def open(
        cls,
        dataset: Dataset,
        path: str,
        bands: Sequence[str] | None,
        nodata: float | int | None,
        stack: ExitStack,
    ) -> StackSource:
        """Describe an open dataset; `stack` closes it."""
        order, note = stack_order(path, dataset.descriptions, bands)
        info = _describe(dataset, path, order, nodata)
        return cls(replace(info, notes=(note,) if note else ()), dataset, stack.pop_all())

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window, in the model's band order."""
        indexes = [index + 1 for index in self.info.order]
        return _read(self.dataset, indexes, rows, cols)

    def close(self) -> None:
        """Close the file."""
        self.stack.close()


@dataclass
class BandFilesSource:
    """One raster per band, at one or several pixel sizes over one extent."""

    info: SceneInfo
    datasets: tuple[Dataset, ...]  # in the model's order
    stack: ExitStack

    @classmethod
    def open(
        cls, datasets: dict[str, Dataset], nodata: float | int | None, stack: ExitStack
    ) -> BandFilesSource:
        """Pick a file for each band, check that they fit together, describe the scene on the finest grid."""
        chosen = _choose(datasets)
        finest = min(chosen.values(), key=lambda path: -datasets[path].width)
        reference = datasets[finest]
        if nodata is None:
            nodata = _common_nodata({path: datasets[path] for path in chosen.values()})
        for path in chosen.values():
            _check_alike(datasets[path], path, reference, finest)
        files = [chosen[band] for band in S2_BAND_NAMES]
        parts = [_describe(datasets[path], path, (0,), nodata) for path in files]
        info = _describe(reference, finest, (0,), nodata)
        info = replace(
            info,
            shape=(len(files), reference.height, reference.width),
            bands=S2_BAND_NAMES,
            order=tuple(range(len(files))),
            descriptions=S2_BAND_NAMES,
            band_tags=tuple(part.band_tags[0] for part in parts),
            scales=tuple(part.scales[0] for part in parts),
            offsets=tuple(part.offsets[0] for part in parts),
            units=tuple(part.units[0] for part in parts),
            sources=tuple(Path(path).name for path in files),
        )
        return cls(info, tuple(datasets[path] for path in files), stack.pop_all())

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window on the finest grid; coarser bands are interpolated."""
        return np.stack([self._read_band(dataset, rows, cols) for dataset in self.datasets])

    def _read_band(self, dataset: Dataset, rows: slice, cols: slice) -> AnyArray:
        fine_shape = self.info.shape[1:]
        if dataset.shape == fine_shape:
            return np.asarray(_read(dataset, [1], rows, cols)[0])
        return bilinear(
            lambda r, c: np.asarray(_read(dataset, [1], r, c)[0]),
            dataset.shape,
            fine_shape,
            (rows, cols),
            self.info.nodata,
        )

    def close(self) -> None:
        """Close all files."""
        self.stack.close()


def _is_folder(inputs: Sequence[str | Path]) -> bool:
    return len(inputs) == 1 and Path(inputs[0]).is_dir()


def _expand(inputs: Sequence[str | Path]) -> list[str]:
    """Paths of the rasters meant; a folder gives its files that name a band."""
    if not inputs:
        raise RasterError("no input was given; name a raster, a folder or one file per band")
    if not _is_folder(inputs):
        return [str(path) for path in inputs]
    folder = Path(inputs[0])
    direct = _band_files(folder.iterdir())
    # A product folder keeps its bands some levels down, beside masks and previews that name bands too.
    found = direct or _band_files(path for path in folder.rglob("*") if "QI_DATA" not in path.parts)
    if not found:
        raise BandError(
            f"{folder} holds no raster whose name contains a band (B01 ... B12); "
            "name the files so, or give one 12-band stack"
        )
    return [str(path) for path in found]


def _band_files(paths: Any) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in RASTER_SUFFIXES
        and not path.name.startswith("MSK_")
        and parse_band(path.stem) in S2_BAND_NAMES
    )


def _open(path: str, stack: ExitStack) -> Dataset:
    try:
        with gdal_session():
            return stack.enter_context(rasterio.open(path))
    except (RasterioError, OSError) as error:
        is_plain = "://" not in path and not path.startswith("/vsi") and ":" not in path
        if is_plain and not Path(path).exists():
            raise RasterError(f"{path} does not exist; check the path") from error
        raise RasterError(
            f"{path} cannot be read as a raster ({error}); "
            "check that it is complete and of a format that rasterio reads"
        ) from error


def _read(dataset: Dataset, indexes: list[int], rows: slice, cols: slice) -> AnyArray:
    window = RioWindow(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
    try:
        with gdal_session():
            return np.asarray(dataset.read(indexes, window=window))
    except (RasterioError, OSError) as error:
        raise RasterError(
            f"{dataset.name} cannot be read at rows {rows.start}-{rows.stop}, "
            f"columns {cols.start}-{cols.stop}; "
            "the file is damaged or incomplete, fetch it again"
        ) from error


def _choose(datasets: dict[str, Dataset]) -> dict[str, str]:
    """The file of each band with the finest pixels."""
    chosen: dict[str, str] = {}
    for path, dataset in datasets.items():
        band = parse_band(Path(path).stem)
        if band not in S2_BAND_NAMES:
            raise BandError(
                f"{path} names no band of the model in its file name; rename it to contain B01 ... B12"
            )
        if dataset.count != 1:
            raise BandError(
                f"{path} has {dataset.count} bands where a file with one was expected; give one file per band"
            )
        rival = chosen.get(band)
        if rival is not None and datasets[rival].width == dataset.width:
            raise BandError(f"{rival} and {path} are both {band}; give the files of one scene only")
        if rival is None or datasets[rival].width < dataset.width:
            chosen[band] = path
    missing = [band for band in S2_BAND_NAMES if band not in chosen]
    if missing:
        raise BandError(
            f"the wrong number of bands: {len(chosen)} found, no file for {' '.join(missing)}; "
            f"the model takes {' '.join(S2_BAND_NAMES)}"
        )
    return chosen


def _common_nodata(datasets: dict[str, Dataset]) -> float | int | None:
    values = {path: _native_nodata(dataset) for path, dataset in datasets.items()}
    stated = {repr(value): value for value in values.values() if value is not None}
    if len(stated) > 1:
        raise RasterError(
            f"the band files have different nodata values ({', '.join(stated)}); state one with --nodata"
        )
    return next(iter(stated.values()), None)


def _check_alike(dataset: Dataset, path: str, reference: Dataset, reference_path: str) -> None:
    """Band files must share type, reference system and, within half a pixel of the coarser, their extent."""
    if dataset.dtypes[0] != reference.dtypes[0]:
        raise RasterError(
            f"{path} is {dataset.dtypes[0]} but {reference_path} is {reference.dtypes[0]}; "
            "convert them to one type"
        )
    if dataset.crs != reference.crs:
        raise RasterError(
            f"{path} and {reference_path} have different coordinate reference systems; reproject them to one"
        )
    if not _extents_agree(dataset, reference):
        raise RasterError(
            f"the extents of {path} {_bounds_text(dataset)} and {reference_path} {_bounds_text(reference)} "
            "differ by more than half a pixel; crop the bands to one extent"
        )


def _extents_agree(dataset: Dataset, reference: Dataset) -> bool:
    if dataset.transform.is_identity or reference.transform.is_identity:
        # No georeferencing to compare: one extent then means one whole factor between the sizes.
        factor = reference.width / dataset.width
        return bool(factor == round(factor) and dataset.height * factor == reference.height)
    tolerance = 0.5 * (1 + 1e-9) * max(*dataset.res, *reference.res)
    return all(
        abs(p - q) <= tolerance
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1))
        for p, q in zip(_corner(dataset, *corner), _corner(reference, *corner), strict=True)
    )


def _corner(dataset: Dataset, right: int, lower: int) -> tuple[float, float]:
    """Map coordinates (x, y) of a corner of the raster."""
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    col, row = right * dataset.width, lower * dataset.height
    return a * col + b * row + c, d * col + e * row + f


def _bounds_text(dataset: Dataset) -> str:
    if dataset.transform.is_identity:
        return f"({dataset.height} x {dataset.width} px)"
    return "(" + ", ".join(f"{value:.10g}" for value in dataset.bounds) + ")"


def _native_nodata(dataset: Dataset) -> float | int | None:
    """The nodata value in the pixels' own type; None where that type cannot hold it."""
    value = dataset.nodata
    if value is None or np.dtype(dataset.dtypes[0]).kind == "f":
        return None if value is None else float(value)
    limits = np.iinfo(dataset.dtypes[0])
    holds = np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max
    return int(value) if holds else None


def _describe(dataset: Dataset, path: str, order: tuple[int, ...], nodata: float | int | None) -> SceneInfo:
    """All that rasterio tells about a dataset, its bands taken in `order`."""
    if len(set(dataset.dtypes)) != 1:
        raise RasterError(
            f"the bands of {path} have different types ({', '.join(sorted(set(dataset.dtypes)))}); "
            "convert them to one"
        )
    gcps, gcps_crs = dataset.gcps
    return SceneInfo(
        shape=(len(order), dataset.height, dataset.width),
        dtype=np.dtype(dataset.dtypes[0]),
        bands=S2_BAND_NAMES if len(order) == len(S2_BAND_NAMES) else tuple(f"{k}" for k in order),
        nodata=_native_nodata(dataset) if nodata is None else nodata,
        crs_wkt=dataset.crs.to_wkt() if dataset.crs else None,
        transform=None if dataset.transform.is_identity else tuple(dataset.transform)[:6],
        order=order,
        descriptions=tuple(dataset.descriptions[k] for k in order),
        band_tags=tuple(_stable_tags(dataset.tags(k + 1)) for k in order),
        scales=tuple(dataset.scales[k] for k in order),
        offsets=tuple(dataset.offsets[k] for k in order),
        units=tuple(dataset.units[k] for k in order),
        tags=_stable_tags(dataset.tags()),
        gcps=tuple((g.row, g.col, g.x, g.y, g.z, g.id, g.info) for g in gcps),
        gcps_crs_wkt=gcps_crs.to_wkt() if gcps_crs else None,
        rpcs=dataset.rpcs.to_gdal() if dataset.rpcs else None,
        sources=(Path(path).name,),
    )


def _stable_tags(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith(VOLATILE_TAGS)}
