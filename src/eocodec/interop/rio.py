"""Scenes from anything that rasterio reads: a stack, band files, a Sentinel-2 product, a STAC item, a cube.

Pixels are read by windows and never held as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eocodec.errors import BandError, InputError, RasterError, UnitsError
from eocodec.interop.band_files import BandFilesSource, choose_finest, parse_wanted
from eocodec.interop.bands import parse_band, stack_bands
from eocodec.interop.gdal import (
    RASTER_SUFFIXES,
    Dataset,
    describe,
    file_layer,
    open_dataset,
    read_window,
)
from eocodec.interop.layers import Layer
from eocodec.interop.scene import SceneInfo, SceneSource
from eocodec.interop.views import crop_to, fill_absent, pick_layers
from eocodec.sensors import S2_BAND_NAMES
from eocodec.types import AnyArray

CUBE_SUFFIXES = (".nc", ".nc4", ".h5", ".zarr")


@dataclass(frozen=True)
class ReadOptions:
    """Which part of an input is meant.

    Attributes
    ----------
    bbox : left, bottom, right, top in the scene's reference system, or in degrees (longitude, latitude)
    layers : names of the layers that travel beside the bands; None: all
    item : id of the item in a STAC collection of several
    time : timestep of a cube of several, its position or its date (ISO 8601)
    variable : of a cube with several
    """

    bbox: tuple[float, float, float, float] | None = None
    layers: tuple[str, ...] | None = None
    item: str | None = None
    time: str | None = None
    variable: str | None = None


WHOLE = ReadOptions()


def open_scene(
    inputs: Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    nodata: float | int | None = None,
    read: ReadOptions = WHOLE,
) -> SceneSource:
    """Open an input as one scene on its finest grid.

    Parameters
    ----------
    inputs : one stack, of all bands or of some with names; or one file per band, in any order, their names
        containing B01 ... B12; or a folder of such; or a Sentinel-2 product (.SAFE folder or zip); a STAC
        item or item collection (.json or URL); a cube (NetCDF or Zarr, through xarray)
    bands : the stack's band names in the file's order, where its descriptions do not give them; of all
        others, the bands to take
    nodata : replaces what the files say
    read : which part is meant

    Raises
    ------
    RasterError : a file is missing or unreadable, or files disagree in extent, system, type or nodata
    BandError : the bands are not those of the model, or their order is unknown
    InputError : the part asked for is not there
    """
    return part_of(_open_whole(inputs, bands, nodata, read), read)


def part_of(source: SceneSource, read: ReadOptions) -> SceneSource:
    """A source that is open as `open_scene` gives it: with absent bands, layers and area as asked for.

    Raises
    ------
    InputError : the part asked for is not there; the source is closed
    """
    try:
        return crop_to(pick_layers(fill_absent(source), read.layers), read.bbox)
    except InputError:
        source.close()
        raise


def _open_whole(
    inputs: Sequence[str | Path], bands: Sequence[str] | None, nodata: float | int | None, read: ReadOptions
) -> SceneSource:
    from eocodec.interop.cube import open_cube
    from eocodec.interop.safe import is_product, open_product
    from eocodec.interop.stac import is_stac, open_item

    if not inputs:
        raise RasterError("no input was given; name a raster, a folder or one file per band")
    first = Path(inputs[0])
    if len(inputs) == 1:
        if is_product(first):
            return open_product(first, bands=bands, nodata=nodata)
        if is_stac(inputs[0]):
            return open_item(inputs[0], bands=bands, nodata=nodata, item=read.item)
        if first.suffix.lower() in CUBE_SUFFIXES:
            return open_cube(first, bands=bands, nodata=nodata, time=read.time, variable=read.variable)
    with ExitStack() as stack:
        source: SceneSource
        if len(inputs) == 1 and not first.is_dir():
            path = str(inputs[0])
            source = StackSource.open(open_dataset(path, stack), path, bands, nodata, stack)
        else:
            source = _open_band_files(_expand(inputs), bands, nodata, stack)
        stack.pop_all()
        return source


def _open_band_files(
    paths: Sequence[str], bands: Sequence[str] | None, nodata: float | int | None, stack: ExitStack
) -> BandFilesSource:
    wanted = None if bands is None else parse_wanted(bands)
    with ExitStack() as only_to_look:
        chosen = choose_finest(paths, only_to_look, wanted)
    return BandFilesSource.open(chosen, nodata, stack)


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
    """One raster with all bands or some, and perhaps others; `places` are the bands' positions in it."""

    info: SceneInfo
    dataset: Dataset
    places: tuple[int, ...]
    stack: ExitStack
    layers: tuple[Layer, ...] = ()

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
        found = stack_bands(path, dataset.descriptions, bands)
        info = describe(dataset, path, found.places, nodata)
        notes = (found.note,) if found.note else ()
        info = replace(info, bands=found.present, order=found.order, notes=notes)
        layers = tuple(
            file_layer(dataset, name, Path(path).name, (k + 1,)) for k, name in found.extra.items()
        )
        return cls(info, dataset, found.places, stack.pop_all(), layers)

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window, in the model's band order."""
        return read_window(self.dataset, [place + 1 for place in self.places], rows, cols)

    def close(self) -> None:
        """Close the file."""
        self.stack.close()


def _expand(inputs: Sequence[str | Path]) -> list[str]:
    """Paths of the rasters meant; a folder gives its files that name a band."""
    if not (len(inputs) == 1 and Path(inputs[0]).is_dir()):
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
