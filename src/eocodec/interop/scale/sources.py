"""What there is to encode: paths, patterns, lists, STAC collections and cubes, as one scene each."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from eocodec.errors import InputError, MissingDependency
from eocodec.interop.cube import timesteps
from eocodec.interop.gdal import RASTER_SUFFIXES
from eocodec.interop.remote import is_url
from eocodec.interop.rio import CUBE_SUFFIXES, ReadOptions, open_scene, part_of
from eocodec.interop.safe import PRODUCT_DOCUMENT
from eocodec.interop.scene import SceneSource
from eocodec.interop.stac import is_stac, open_assets, read_items

LIST_SUFFIX = ".txt"
# What is no part of a scene's name; a folder's name may have dots of its own.
SUFFIXES = (*RASTER_SUFFIXES, *CUBE_SUFFIXES, ".safe", ".zip", ".json", ".geojson")


@dataclass(frozen=True)
class Source:
    """One scene.

    Attributes
    ----------
    path : or URL, as `open_scene` takes it
    name : of its output, without a suffix
    part : id of the item, or timestep; None: the whole
    item : content of the STAC item, where it is one
    """

    path: str
    name: str
    part: str | None = None
    item: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """What tells it from all others."""
        return self.path if self.part is None else f"{self.path}#{self.part}"

    def open(
        self, *, bands: Sequence[str] | None, nodata: float | int | None, read: ReadOptions
    ) -> SceneSource:
        """Open it; arguments and errors of `open_scene`."""
        if self.item is not None:
            return part_of(open_assets(self.item, self.path, bands=bands, nodata=nodata), read)
        return open_scene([self.path], bands=bands, nodata=nodata, read=replace(read, time=self.part))


def find_sources(texts: Sequence[str], *, variable: str | None = None) -> list[Source]:
    """The scenes that texts name, each once.

    Parameters
    ----------
    texts : paths and URLs as `open_scene` takes them; patterns with `*`, `?`, `[...]` and `**`; text files
        (.txt) with one of these a line, `#` before a remark. A STAC collection gives all its items, a cube
        all its timesteps
    variable : of cubes with several

    Raises
    ------
    InputError : a pattern or a list gives nothing, or two scenes would have one name
    """
    found = list(dict.fromkeys(source for text in texts for source in _listed(text, variable)))
    first: dict[str, Source] = {}
    for source in found:
        rival = first.setdefault(source.name, source)
        if rival is not source:
            raise InputError(
                f"{rival.id} and {source.id} would both be called {source.name}; "
                "rename one, or encode them to two folders"
            )
    return found


def _listed(text: str, variable: str | None) -> Iterator[Source]:
    """Sources of a text, or of the lines of the file that it names."""
    if is_url(text) or Path(text).suffix.lower() != LIST_SUFFIX:
        yield from _matching(text, variable)
        return
    try:
        lines = [line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {text} cannot be read ({error}); check the path") from error
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise InputError(f"the list {text} is empty; write a path a line")
    for line in named:
        yield from _matching(line, variable)


def _matching(text: str, variable: str | None) -> Iterator[Source]:
    if is_url(text) or Path(text).exists() or not glob.has_magic(text):
        yield from _parts(text, variable)
        return
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  # as shells do: no hidden files
    if not found:
        raise InputError(f"nothing matches {text}; check the pattern")
    for path in found:
        yield from _parts(path, variable)


def _parts(text: str, variable: str | None) -> Iterator[Source]:
    """The scenes within a path; what cannot be looked into is one, whose encoding will say why."""
    path = text if is_url(text) else str(Path(text).absolute())
    whole = Source(path, _name_of(path))
    try:
        if is_stac(path):
            for item in read_items(path):
                part = str(item.get("id"))
                yield Source(path, _as_name(part), part, item)
        elif Path(path).suffix.lower() in CUBE_SUFFIXES and not is_url(path):
            stamps = timesteps(Path(path), variable=variable)
            yield from (Source(path, f"{whole.name}_{_as_stamp(stamp)}", stamp) for stamp in stamps)
            yield from () if stamps else (whole,)
        else:
            yield whole
    except (InputError, MissingDependency):
        yield whole


def _name_of(path: str) -> str:
    place = PurePosixPath(urlsplit(path).path if is_url(path) else Path(path).as_posix())
    if PRODUCT_DOCUMENT.fullmatch(place.name):
        place = place.parent
    return _as_name(place.stem if place.suffix.lower() in SUFFIXES else place.name)


def _as_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).strip("._") or "scene"


def _as_stamp(text: str) -> str:
    """A date and time that can be part of a name: 20230610 or 20230610T112119, or the position."""
    return re.sub(r"[^0-9T]", "", text.partition(".")[0]).removesuffix("T000000")
