"""One raster per band, at one or several pixel sizes over one extent, as a scene on the finest grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from eocodec.errors import BandError, RasterError
from eocodec.interop.bands import parse_band
from eocodec.interop.gdal import Dataset, describe, native_nodata, open_dataset, read_window
from eocodec.interop.layers import Layer
from eocodec.interop.resample import bilinear, keep_means
from eocodec.interop.scene import SceneInfo, check_absent
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray


@dataclass
class BandFilesSource:
    """Bands from files of their own, and the layers beside them; `datasets` has those that are there."""

    info: SceneInfo
    datasets: Mapping[str, Dataset]
    stack: ExitStack
    layers: tuple[Layer, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def open(cls, paths: Mapping[str, str], nodata: float | int | None, stack: ExitStack) -> BandFilesSource:
        """Open the file of each band, check that they fit together, describe the scene on the finest grid.

        Parameters
        ----------
        paths : by band of the model; bands that are not among them are absent
        nodata : replaces what the files say; absent bands need one

        Raises
        ------
        RasterError : a file cannot be read, or differs from the others in type, extent, system or nodata
        """
        files = {band: paths[band] for band in S2_BAND_NAMES if band in paths}
        datasets = {band: open_dataset(path, stack) for band, path in files.items()}
        finest = min(datasets, key=lambda band: -datasets[band].width)
        if nodata is None:
            nodata = _common_nodata({files[band]: dataset for band, dataset in datasets.items()})
        for band, dataset in datasets.items():
            _check_alike(dataset, files[band], datasets[finest], files[finest])
        if len(datasets) < len(S2_BAND_NAMES):
            check_absent(nodata)
        info = _describe_all(datasets, files, finest, nodata)
        return cls(info, datasets, stack.pop_all())

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window on the finest grid; coarser bands are interpolated."""
        shape = (self.info.shape[0], rows.stop - rows.start, cols.stop - cols.start)
        out = np.empty(shape, self.info.dtype)
        for plane, band, factor in zip(out, self.info.bands, self.info.native_factors, strict=True):
            if band in self.datasets:
                plane[:] = self._read_band(self.datasets[band], factor, rows, cols)
            else:
                plane[:] = self.info.nodata
        return out

    def _read_band(self, dataset: Dataset, factor: int, rows: slice, cols: slice) -> AnyArray:
        fine_shape = self.info.shape[1:]
        if dataset.shape == fine_shape:
            return np.asarray(read_window(dataset, [1], rows, cols)[0])
        return (bilinear if factor == 1 else keep_means)(
            lambda r, c: np.asarray(read_window(dataset, [1], r, c)[0]),
            dataset.shape,
            fine_shape,
            (rows, cols),
            self.info.nodata,
        )

    def close(self) -> None:
        """Close all files."""
        self.stack.close()


def choose_finest(paths: Sequence[str], stack: ExitStack, wanted: Sequence[str] | None) -> dict[str, str]:
    """The file with the finest pixels of each band, by the band in its name.

    Parameters
    ----------
    wanted : bands to take; others then are absent. None: all of the model, and all must be there

    Raises
    ------
    BandError : a file names no band, or a wanted band has no file or two
    """
    chosen: dict[str, tuple[int, str]] = {}
    for path in paths:
        band = parse_band(Path(path).stem)
        if band not in S2_BAND_NAMES:
            raise BandError(
                f"{path} names no band of the model in its file name; rename it to contain B01 ... B12"
            )
        if wanted is not None and band not in wanted:
            continue
        dataset = open_dataset(path, stack)
        if dataset.count != 1:
            raise BandError(
                f"{path} has {dataset.count} bands where a file with one was expected; give one file per band"
            )
        width, rival = chosen.get(band, (0, ""))
        if width == dataset.width:
            raise BandError(f"{rival} and {path} are both {band}; give the files of one scene only")
        if width < dataset.width:
            chosen[band] = (dataset.width, path)
    found = {band: path for band, (_, path) in chosen.items()}
    check_found(found, wanted)
    return found


def check_found(found: Mapping[str, str], wanted: Sequence[str] | None) -> None:
    """Raise BandError unless every band asked for (all, for None) is there."""
    needed = S2_BAND_NAMES if wanted is None else tuple(wanted)
    missing = [band for band in needed if band not in found]
    if missing:
        there = ",".join(band for band in S2_BAND_NAMES if band in found) or "none"
        raise BandError(
            f"the wrong number of bands: {len(found)} found, no file for {' '.join(missing)}; "
            f"the model takes {' '.join(S2_BAND_NAMES)}; add them, or take what there is: --bands {there}"
        )


def parse_wanted(bands: Sequence[str]) -> tuple[str, ...]:
    """Names of bands to take, in the model's spelling and order.

    Raises
    ------
    BandError : a name is none of the model's bands, or there is none
    """
    parsed = {name: parse_band(name) for name in bands}
    unknown = [name for name, band in parsed.items() if band not in S2_BAND_NAMES]
    if unknown or not parsed:
        raise BandError(
            f"--bands {','.join(bands)}: {', '.join(unknown) or 'nothing'} is no band of the model; "
            f"choose from {' '.join(S2_BAND_NAMES)}"
        )
    return tuple(band for band in S2_BAND_NAMES if band in parsed.values())


def _describe_all(
    datasets: Mapping[str, Dataset], files: Mapping[str, str], finest: str, nodata: float | int | None
) -> SceneInfo:
    """The scene on the finest band's grid; nothing is known about absent bands."""
    reference = datasets[finest]
    parts = {band: describe(dataset, files[band], (0,), nodata) for band, dataset in datasets.items()}
    nothing = SceneInfo((1, 1, 1), reference.dtypes[0], ("",), None, None, None, (0,), (None,), ({},))
    nothing = replace(nothing, scales=(1.0,), offsets=(0.0,), units=(None,))
    each = [parts.get(band, nothing) for band in S2_BAND_NAMES]
    factors = [_factor(datasets[band], reference) if band in datasets else 1 for band in S2_BAND_NAMES]
    return replace(
        parts[finest],
        shape=(len(S2_BAND_NAMES), reference.height, reference.width),
        bands=S2_BAND_NAMES,
        order=tuple(range(len(S2_BAND_NAMES))),
        descriptions=S2_BAND_NAMES,
        band_tags=tuple(part.band_tags[0] for part in each),
        scales=tuple(part.scales[0] for part in each),
        offsets=tuple(part.offsets[0] for part in each),
        units=tuple(part.units[0] for part in each),
        sources=tuple(Path(files[band]).name for band in datasets),
        factors=tuple(factors) if max(factors) > 1 else (),
        absent=tuple(band for band in S2_BAND_NAMES if band not in datasets),
    )


def _factor(dataset: Dataset, reference: Dataset) -> int:
    """Pixel size over the reference's; 1 unless both grids share their extent and the factor is whole."""
    factor = int(reference.width // dataset.width)
    whole = (dataset.height * factor, dataset.width * factor) == reference.shape
    corners = ((0, 0), (1, 1))
    aligned = dataset.transform.is_identity or all(
        abs(p - q) <= 1e-6 * reference.res[0]
        for corner in corners
        for p, q in zip(_corner(dataset, *corner), _corner(reference, *corner), strict=True)
    )
    return factor if whole and aligned else 1


def _common_nodata(datasets: Mapping[str, Dataset]) -> float | int | None:
    values = {path: native_nodata(dataset) for path, dataset in datasets.items()}
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
