"""A STAC item, or one of an item collection, with an asset per band as a scene.

Assets are recognised by their bands' names, their keys ("B02", "B02_10m", "blue") or their files' names.
Layers are the other rasters with data; pictures, previews and coarser copies are left out, and named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin, urlsplit

from eocodec.errors import CodecError, InputError, RasterError
from eocodec.interop.band_files import BandFilesSource, check_found, parse_wanted
from eocodec.interop.bands import parse_band
from eocodec.interop.gdal import RASTER_SUFFIXES, file_layer, open_dataset
from eocodec.interop.remote import fetch, is_url
from eocodec.interop.scene import SceneInfo
from eocodec.sensors import BASELINE_0400_OFFSET, DN_PER_REFLECTANCE, S2_BAND_NAMES

# Keys of assets and common names of the electro-optical extension that mean one band only.
COMMON_NAMES = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge1": "B05",
    "rededge2": "B06",
    "rededge3": "B07",
    "rededge071": "B05",
    "rededge075": "B06",
    "rededge078": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "cirrus": "B10",
    "swir16": "B11",
    "swir22": "B12",
}
PICTURE_ROLES = frozenset({"thumbnail", "overview", "visual", "metadata"})
PICTURES = frozenset(
    {"visual", "preview", "thumbnail", "overview", "rendered_preview", "tilejson", "tci", "pvi"}
)
FIRST_BASELINE_WITH_OFFSET = 4.0
SUFFIXES = (".json", ".geojson")
MAX_ITEMS = 100_000  # of the pages of a search, which could be one for everything


@dataclass(frozen=True)
class Asset:
    """One file of an item, as its JSON describes it; `place` is what GDAL opens."""

    key: str
    place: str
    details: Mapping[str, Any]

    @property
    def file(self) -> str:
        """Name of its file."""
        return PurePosixPath(urlsplit(self.place).path).name

    @property
    def band(self) -> str | None:
        """The Sentinel-2 band that it holds, or None."""
        described = self._bands()
        if len(described) > 1:
            return None
        first = described[0] if described else {}
        by_name = parse_band(first.get("name")) or parse_band(self.key)
        common = first.get("eo:common_name") or first.get("common_name") or ""
        stem = self.key.lower().removesuffix("-jp2")
        return (
            by_name
            or COMMON_NAMES.get(stem)
            or parse_band(PurePosixPath(self.place).stem)
            or COMMON_NAMES.get(common)
        )

    @property
    def is_data(self) -> bool:
        """Whether it is a raster and no picture."""
        roles = set(self.details.get("roles") or ())
        media = str(self.details.get("type") or "")
        suffix = PurePosixPath(self.file).suffix.lower()
        is_raster = suffix in RASTER_SUFFIXES or media.startswith(("image/tiff", "image/jp2"))
        is_picture = bool(roles & PICTURE_ROLES) or self.key.lower().removesuffix("-jp2") in PICTURES
        return is_raster and not is_picture

    @property
    def layer(self) -> str:
        """Its name as a layer."""
        stem = self.key.removesuffix("-jp2").rpartition("_")
        is_sized = stem[0] and stem[2].removesuffix("m").isdigit()
        return (stem[0] if is_sized else self.key.removesuffix("-jp2")).upper()

    def stated(self, name: str) -> float | None:
        """A number of the raster extension (scale, offset, nodata), or None."""
        for holder in (*self.details.get("raster:bands", ()), *self._bands(), self.details):
            value = holder.get(name, holder.get(f"raster:{name}"))
            if isinstance(value, int | float):
                return float(value)
        return None

    def _bands(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.details.get("bands") or self.details.get("eo:bands") or ()
        return found


def is_stac(place: str | Path) -> bool:
    """Whether a name is that of an item or a collection: JSON, or an address of an API, without a suffix."""
    suffix = PurePosixPath(urlsplit(str(place)).path).suffix.lower()
    return suffix in SUFFIXES or (is_url(place) and not suffix)


def open_item(
    path: str | Path,
    *,
    bands: Sequence[str] | None = None,
    nodata: float | int | None = None,
    item: str | None = None,
) -> BandFilesSource:
    """Open an item's assets as a scene on the grid of the finest one.

    Parameters
    ----------
    path : or URL, of an item or of an item collection
    bands : those to take; None: all of the model, and all must be there
    nodata : replaces what item and files say
    item : id of the one to take of a collection of several

    Raises
    ------
    RasterError : the file is no STAC item, or an asset cannot be read
    BandError : a band has no asset
    InputError : which item is meant is not clear
    """
    return open_assets(_choose_item(read_items(path), item, path), path, bands=bands, nodata=nodata)


def open_assets(
    item: Mapping[str, Any],
    base: str | Path,
    *,
    bands: Sequence[str] | None = None,
    nodata: float | int | None = None,
) -> BandFilesSource:
    """Open the assets of an item's content; `base` is the place of its document. Otherwise `open_item`."""
    assets = [asset for asset in item_assets(item, base) if asset.is_data]
    wanted = None if bands is None else parse_wanted(bands)
    with ExitStack() as stack:
        chosen, others = _finest(assets, stack)
        taken = {band: asset for band, asset in chosen.items() if band in (wanted or S2_BAND_NAMES)}
        check_found({band: asset.place for band, asset in taken.items()}, wanted)
        stated = [value for asset in taken.values() if (value := asset.stated("nodata")) is not None]
        if nodata is None and stated:
            nodata = int(stated[0]) if float(stated[0]).is_integer() else stated[0]
        source = BandFilesSource.open({band: asset.place for band, asset in taken.items()}, nodata, stack)
        stack.push(source.stack.pop_all())
        layers = tuple(
            file_layer(open_dataset(asset.place, stack), name, asset.file)
            for name, asset in chosen.items()
            if name not in S2_BAND_NAMES
        )
        skipped = [asset.key for band, asset in chosen.items() if band in S2_BAND_NAMES and band not in taken]
        info = _describe(source.info, item, taken)
        info = replace(info, left_out=(*_pictures(item, assets), *others, *skipped))
        return BandFilesSource(info, source.datasets, stack.pop_all(), layers)


def read_items(path: str | Path) -> list[Mapping[str, Any]]:
    """The items of a file: its own, or those of its collection; behind a URL, of all pages.

    Raises
    ------
    RasterError : the file is not there, or no STAC item
    MissingDependency : fsspec is not there to read a URL
    """
    items: list[Mapping[str, Any]] = []
    page: str | None = str(path)
    while page is not None:
        content = _read_json(page)
        found: list[Any] = content.get("features", [content]) if isinstance(content, dict) else [None]
        if not all(isinstance(item, dict) and isinstance(item.get("assets"), dict) for item in found):
            raise RasterError(f"{page} is no STAC item or item collection: there are no assets")
        items += found
        page = _next_page(content, page) if is_url(page) else None
        if len(items) > MAX_ITEMS:
            raise RasterError(f"{path} gives over {MAX_ITEMS} items; narrow the search")
    return items


def _read_json(place: str) -> Any:
    try:
        return json.loads(fetch(place) if is_url(place) else Path(place).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RasterError(f"{place} does not exist; check the path") from error
    except CodecError:
        raise
    except (OSError, ValueError) as error:
        raise RasterError(f"{place} is no JSON ({error}); give a STAC item or item collection") from error


def _next_page(content: Mapping[str, Any], page: str) -> str | None:
    """Address of the next part of a search's result."""
    for link in content.get("links", ()):
        if isinstance(link, dict) and link.get("rel") == "next" and "href" in link:
            if link.get("method", "GET") != "GET":
                raise RasterError(
                    f"{page} has more pages, but not for GET; save what the search finds, and give the file"
                )
            return urljoin(page, str(link["href"]))
    return None


def item_assets(item: Mapping[str, Any], base: str | Path) -> list[Asset]:
    """An item's assets; relative places are beside the item's document."""
    return [
        Asset(key, _place(str(details["href"]), base), details)
        for key, details in item["assets"].items()
        if isinstance(details, dict) and "href" in details
    ]


def _place(href: str, base: str | Path) -> str:
    parts = urlsplit(href)
    if parts.scheme == "file":
        return parts.path
    if parts.scheme in ("http", "https", "s3", "gs") or href.startswith("/vsi"):
        return href
    return urljoin(str(base), href) if is_url(base) else str(Path(base).parent / href)


def _choose_item(
    items: Sequence[Mapping[str, Any]], wanted: str | None, path: str | Path
) -> Mapping[str, Any]:
    ids = [str(item.get("id")) for item in items]
    if wanted is not None and wanted not in ids:
        raise InputError(f"{path} has no item {wanted}; it has {', '.join(ids[:5])}")
    if wanted is None and len(items) != 1:
        raise InputError(
            f"{path} has {len(items)} items; choose one with --item, such as --item {ids[0] if ids else 'ID'}"
        )
    return items[0] if wanted is None else items[ids.index(wanted)]


def _finest(assets: Sequence[Asset], stack: ExitStack) -> tuple[dict[str, Asset], list[str]]:
    """The asset of each band and layer with the finest pixels, the first of equals; keys of the others."""
    chosen: dict[str, tuple[int, Asset]] = {}
    rivals: dict[str, list[Asset]] = {}
    for asset in assets:
        rivals.setdefault(asset.band or asset.layer, []).append(asset)
    left_out = []
    for name, several in rivals.items():
        for asset in several:
            width = open_dataset(asset.place, stack).width if len(several) > 1 else 1
            if name not in chosen or width > chosen[name][0]:
                left_out += [chosen[name][1].key] if name in chosen else []
                chosen[name] = (width, asset)
            else:
                left_out.append(asset.key)
    return {name: asset for name, (_, asset) in chosen.items()}, left_out


def _pictures(item: Mapping[str, Any], data: Sequence[Asset]) -> list[str]:
    kept = {asset.key for asset in data}
    return [key for key in item["assets"] if key not in kept]


def _describe(info: SceneInfo, item: Mapping[str, Any], taken: Mapping[str, Asset]) -> SceneInfo:
    """Add what the item says."""
    properties = item.get("properties") or {}
    offsets = {band: _dn_offset(asset, properties) for band, asset in taken.items()}
    most = max(set(offsets.values()), key=list(offsets.values()).count)
    product = {
        "name": str(item.get("id")),
        "collection": item.get("collection"),
        "sensing_time": properties.get("datetime"),
        "spacecraft": properties.get("platform"),
        "baseline": properties.get("s2:processing_baseline") or properties.get("processing:version"),
        "offsets": offsets,
        "offset": most,
    }
    notes = list(info.notes)
    if info.absent:
        notes.append(f"{' '.join(info.absent)} not asked for; they stay nodata")
    tags = {"STAC_ITEM": str(item.get("id")), "DATETIME": str(properties.get("datetime") or "")}
    return replace(
        info,
        tags={**info.tags, **{key: value for key, value in tags.items() if value}},
        product={key: value for key, value in product.items() if value is not None},
        notes=tuple(notes),
    )


def _dn_offset(asset: Asset, properties: Mapping[str, Any]) -> float:
    """The radiometric offset in the asset's digital numbers, DN."""
    if properties.get("earthsearch:boa_offset_applied") is True:
        return 0.0  # the files are without it, whatever their description says
    offset, scale = asset.stated("offset"), asset.stated("scale")
    if offset is not None:
        return round(offset / scale, 6) if scale else offset * DN_PER_REFLECTANCE
    baseline = str(properties.get("s2:processing_baseline") or properties.get("processing:version") or "")
    try:
        return float(BASELINE_0400_OFFSET) if float(baseline) >= FIRST_BASELINE_WITH_OFFSET else 0.0
    except ValueError:
        return 0.0
