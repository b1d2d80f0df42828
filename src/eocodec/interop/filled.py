"""Whole jobs of cloud filling on files: a series of scenes opened, filled window by window, written."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.errors import InputError, RasterError
from eocodec.filling import Filler, filler_of, times_of
from eocodec.interop.atomic import atomic_output, check_output
from eocodec.interop.container import TEC_SUFFIX, ZARR_SUFFIX
from eocodec.interop.cube import open_cube, timesteps
from eocodec.interop.files import GEOTIFF_SUFFIXES, open_encoded
from eocodec.interop.geotiff import COMPRESSIONS, write_geotiff
from eocodec.interop.rio import CUBE_SUFFIXES, open_scene
from eocodec.interop.scene import Progress, SceneInfo, SceneSource
from eocodec.interop.views import View, pick_bands
from eocodec.types import AnyArray, BoolArray

TILE = 256  # side of what is decoded and kept at once
KEPT_BYTES = 256 << 20  # of decoded tiles, all dates together
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True, eq=False)
class SceneSeries:
    """Scenes of one grid, date by date.

    Attributes
    ----------
    scenes : in the order of time; names : what a file of each is called, without suffix
    dates : of each, ISO 8601; None where they are not known of all
    """

    scenes: tuple[SceneSource, ...]
    names: tuple[str, ...]
    dates: tuple[str, ...] | None

    def close(self) -> None:
        """Close all scenes."""
        for scene in self.scenes:
            scene.close()

    def position(self, time: str) -> int:
        """Which timestep is meant by a position from 0 or the beginning of a date.

        Raises
        ------
        InputError : none or several
        """
        if time.isdigit() and int(time) < len(self.scenes):
            return int(time)
        found = [k for k, date in enumerate(self.dates or ()) if date.startswith(time)]
        if len(found) != 1:
            raise InputError(
                f"--time {time} fits {len(found)} of the {len(self.scenes)} dates; "
                "give a position from 0 or one date"
            )
        return found[0]


def open_series(
    inputs: Sequence[str | Path],
    *,
    bands: Sequence[str] | None = None,
    nodata: float | int | None = None,
    variable: str | None = None,
) -> SceneSeries:
    """Open a cube with several timesteps, or several scenes, encoded or not, in the order of time.

    Parameters
    ----------
    bands, nodata, variable : as in `open_scene` and `open_cube`; encoded scenes say these themselves

    Raises
    ------
    RasterError : one is unreadable, or they are not of one grid, dtype and set of bands
    InputError : there are fewer than two dates, or they are not in the order of time
    """
    with ExitStack() as stack:
        scenes: list[SceneSource] = []
        if len(inputs) == 1:
            path = Path(inputs[0])
            stamps = timesteps(path, variable=variable) if _is_cube(path) else ()
            for k in range(len(stamps)):
                cube = open_cube(path, bands=bands, nodata=nodata, time=str(k), variable=variable)
                scenes.append(stack.enter_context(closing(cube)))
            names = [f"{k:03d}" for k in range(len(stamps))]
        else:
            for path in map(Path, inputs):
                encoded = path.suffix.lower() in (TEC_SUFFIX, ZARR_SUFFIX)
                scene = open_encoded(path) if encoded else open_scene([path], bands=bands, nodata=nodata)
                stack.enter_context(closing(scene))
                scenes.append(pick_bands(scene, scene.info.present))
            names = [Path(path).stem for path in inputs]
        if len(scenes) < 2:
            raise InputError(
                "a series of at least two dates is needed; give a cube, or one file for each date"
            )
        _check_alike(scenes)
        dates = _dates(scenes)
        if dates is not None and len(inputs) == 1:
            names = [f"{name}_{date[:10]}" for name, date in zip(names, dates, strict=True)]
        if len(set(names)) != len(names):
            raise InputError("two inputs have the same file name; what is written is named by it, rename one")
        stack.pop_all()
        return SceneSeries(tuple(scenes), tuple(names), dates)


def _is_cube(path: Path) -> bool:
    return path.suffix.lower() in (*CUBE_SUFFIXES, TEC_SUFFIX)


def _check_alike(scenes: Sequence[SceneSource]) -> None:
    """Refuse scenes that differ in what filling takes for the same."""
    first = scenes[0].info
    for scene in scenes[1:]:
        info = scene.info
        for name in ("shape", "dtype", "bands", "nodata", "transform"):
            mine, other = getattr(first, name), getattr(info, name)
            if mine != other:
                where = f"{_name(info)} and {_name(first)}"
                raise RasterError(f"{where} differ in {name} ({other} and {mine}); bring them to one grid")


def _name(info: SceneInfo) -> str:
    return info.sources[0] if info.sources else "an input"


def _dates(scenes: Sequence[SceneSource]) -> tuple[str, ...] | None:
    """Dates as the scenes or their file names state them, if all do.

    Raises
    ------
    InputError : they do not ascend
    """
    found = []
    for scene in scenes:
        info = scene.info
        stated = str(info.product.get("sensing_time", "")) or info.tags.get("DATETIME", "")
        match = _DATE.search(stated) or _DATE.search(_name(info))
        if match is None:
            return None
        found.append(stated if _DATE.match(stated) else "-".join(match.groups()))
    times = times_of([date[:19] for date in found], len(found))
    if any(a >= b for a, b in pairwise(times)):
        raise InputError(f"the dates are {', '.join(found)}; give the inputs in the order of time")
    return tuple(found)


@dataclass(frozen=True)
class Filled(View):
    """A scene with its clouds filled; `timestep` is its place in the series."""

    filler: Filler
    timestep: int

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window."""
        return self.filler.fill(self.timestep, rows, cols)


class TileCache:
    """Reads windows of a series by tiles, of which the last ones are kept: decoding is what takes time."""

    def __init__(self, scenes: Sequence[SceneSource]) -> None:
        self._scenes = scenes
        self._kept: OrderedDict[tuple[int, int, int], AnyArray] = OrderedDict()
        info = scenes[0].info
        layout = getattr(scenes[0], "layout", None)
        self._tile = TILE if layout is None else max(layout.tile)
        each = info.shape[0] * self._tile**2 * info.dtype.itemsize
        self._most = max(KEPT_BYTES // each, 4 * len(scenes))

    def read(self, t: int, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window of a date."""
        side = self._tile
        lines = [
            np.concatenate([self._part(t, i, j, rows, cols) for j in _places(cols, side)], 2)
            for i in _places(rows, side)
        ]
        return np.concatenate(lines, 1)

    def _part(self, t: int, i: int, j: int, rows: slice, cols: slice) -> AnyArray:
        key, side = (t, i, j), self._tile
        _, height, width = self._scenes[t].info.shape
        if key not in self._kept:
            window = (
                slice(i * side, min((i + 1) * side, height)),
                slice(j * side, min((j + 1) * side, width)),
            )
            self._kept[key] = self._scenes[t].read(*window)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        tile = self._kept[key]
        return tile[:, _inside(rows, i * side, side), _inside(cols, j * side, side)]


def _places(part: slice, side: int) -> range:
    return range(part.start // side, -(-part.stop // side))


def _inside(part: slice, start: int, side: int) -> slice:
    return slice(max(part.start - start, 0), min(part.stop - start, side))


@dataclass(frozen=True)
class DateReport:
    """One date: `clouded` and `references`, timesteps of the maps in the order in which they were applied."""

    name: str
    clouded: float
    references: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class FillReport:
    """What was filled. dates : those that were written; total_bytes : of the files."""

    dates: tuple[DateReport, ...]
    total_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def fill_series(
    series: SceneSeries,
    clouds: BoolArray,
    output: str | Path,
    *,
    time: str | None = None,
    model: str | None = None,
    compression: str = COMPRESSIONS[0],
    force: bool = False,
    progress: Progress | None = None,
) -> FillReport:
    """Write a series with its clouds filled, a GeoTIFF for each date, a few windows in memory at a time.

    Parameters
    ----------
    clouds : [T, H, W], True = to be filled
    output : a folder; or with `time` a GeoTIFF (.tif) of this date
    model : id of a published TEC-TT that predicts; scenes are then taken less their radiometric offset
    progress : called with (tiles written, tiles in all) of a date

    Raises
    ------
    ModelNotFound : no such model is installed
    InputError, OutputError : about the names, the clouds and the writing
    """
    target = Path(output)
    single = target.suffix.lower() in GEOTIFF_SUFFIXES
    if target.suffix and not single:
        raise InputError(f"{target} is neither a folder's name nor does it end in .tif; name the output so")
    if single and time is None:
        raise InputError(f"{target} holds one date; choose it with --time, or name a folder for all dates")
    check_output(target, force=force)
    wanted = range(len(series.scenes)) if time is None else [series.position(time)]
    read, first = TileCache(series.scenes).read, series.scenes[0].info
    offset = float(first.product.get("offset", 0.0))
    filler = filler_of(read, clouds, _times(series), first.nodata, model=model, offset=offset)
    sources = {t: _filled(series, filler, t) for t in wanted}
    options: dict[str, Any] = {"tile": TILE, "compression": compression, "progress": progress}
    if single:
        total = write_geotiff(target, sources[wanted[0]], force=force, **options)
    else:
        with atomic_output(target, force=force, durable=False) as partial:
            partial.mkdir()
            files = {t: partial / f"{series.names[t]}.tif" for t in wanted}
            total = sum(write_geotiff(files[t], source, **options) for t, source in sources.items())
    dates = tuple(
        DateReport(series.names[t], float(clouds[t].mean()), tuple(m.references for m in filler.maps(t)))
        for t in wanted
    )
    return FillReport(dates, total)


def _times(series: SceneSeries) -> list[float]:
    dates = series.dates and [date[:19] for date in series.dates]
    return times_of(dates or None, len(series.scenes))


def _filled(series: SceneSeries, filler: Filler, t: int) -> Filled:
    scene = series.scenes[t]
    info = replace(scene.info, tags={**scene.info.tags, "EOCODEC_FILLED": "clouds"})
    return Filled(info, scene, (), filler, t)
