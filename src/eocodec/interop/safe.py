"""Sentinel-2 products in the SAFE format: a `.SAFE` folder or its zip, Level-1C or Level-2A.

Each band is taken at its finest pixel size. What the model does not know (B10, SCL, AOT, WVP, the masks of
QI_DATA) becomes layers; what is derived from the bands (true-colour image, preview, the same band at coarser
pixels) is left out, and named.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rasterio.crs import CRS

from eocodec.errors import BandError, RasterError
from eocodec.interop.band_files import BandFilesSource, check_found, parse_wanted
from eocodec.interop.bands import parse_band
from eocodec.interop.container import ZIP_ERRORS
from eocodec.interop.gdal import FileLayer, as_nodata, file_layer, open_dataset
from eocodec.interop.safe_metadata import ProductMetadata, TileGeocoding, read_product, read_tile
from eocodec.interop.scene import SceneInfo
from eocodec.sensors import S2_BAND_NAMES

PRODUCT_DOCUMENT = re.compile(r"MTD_MSIL(1C|2A)\.xml")
TILE_DOCUMENT = "MTD_TL.xml"
MAX_DOCUMENT_BYTES = 64 << 20
DERIVED = frozenset({"TCI", "PVI"})
RASTERS = (".jp2", ".tif")
_RESOLUTION = re.compile(r"_(\d+)m$")
_LAYER = re.compile(r"(MSK_[A-Z]+(?:_B\w\w)?|[A-Z]{3}|B\w\w)$")


@dataclass(frozen=True)
class ProductFiles:
    """Files of a product by their paths within it (posix), in a folder or in a zip."""

    root: Path
    prefix: str  # of the paths in the zip; empty for a folder
    names: tuple[str, ...]
    is_zip: bool

    def raster(self, name: str) -> str:
        """Path that GDAL opens."""
        if self.is_zip:
            return f"/vsizip/{self.root.absolute()}/{self.prefix}{name}"
        return str(self.root / name)

    def document(self, name: str) -> bytes:
        """Content of a small file."""
        try:
            if not self.is_zip:
                return (self.root / name).read_bytes()
            with zipfile.ZipFile(self.root) as archive:
                if archive.getinfo(self.prefix + name).file_size > MAX_DOCUMENT_BYTES:
                    raise RasterError(
                        f"{self.root}: {name} has over {MAX_DOCUMENT_BYTES} bytes; it is damaged"
                    )
                return archive.read(self.prefix + name)
        except (*ZIP_ERRORS, OSError, KeyError) as error:
            if isinstance(error, RasterError):
                raise
            raise RasterError(
                f"{self.root}: {name} cannot be read ({error}); the product is damaged, fetch it again"
            ) from error


@dataclass(frozen=True)
class Sorted:
    """Paths of a product's rasters by what becomes of them."""

    bands: dict[str, str]
    layers: dict[str, str]
    left_out: tuple[str, ...]


def is_product(path: Path) -> bool:
    """Whether a path is a product: its folder, its zip, or its main document."""
    if path.is_dir():
        return _main_document(path) is not None
    if PRODUCT_DOCUMENT.fullmatch(path.name):
        return True
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    return any(PRODUCT_DOCUMENT.fullmatch(PurePosixPath(name).name) for name in _names_in_zip(path))


def open_product(
    path: Path, *, bands: Sequence[str] | None = None, nodata: float | int | None = None
) -> BandFilesSource:
    """Open a product as a scene on the grid of its finest band, with layers and metadata documents.

    Parameters
    ----------
    bands : those to take; None: all that the product has
    nodata : replaces the product's special value

    Raises
    ------
    RasterError : a document or a raster is missing, damaged, or does not belong to the others
    BandError : a band asked for is not there, or none is
    """
    files = find_files(path)
    main = next(name for name in files.names if PRODUCT_DOCUMENT.fullmatch(name))
    product = read_product(files.document(main), main)
    tile_document = _only_tile(files)
    tile = read_tile(files.document(tile_document), tile_document)
    found = sort_files(files.names)
    wanted = None if bands is None else parse_wanted(bands)
    if wanted is not None:
        check_found(found.bands, wanted)
    chosen = {band: files.raster(name) for band, name in found.bands.items() if not wanted or band in wanted}
    if not chosen:
        raise BandError(
            f"{path} holds no band of the model; it has {', '.join(found.layers) or 'no rasters'}"
        )
    with ExitStack() as stack:
        source = BandFilesSource.open(chosen, product.nodata if nodata is None else nodata, stack)
        stack.push(source.stack.pop_all())
        layers = [_open_layer(files, name, at, product, stack) for name, at in found.layers.items()]
        info = _describe(source.info, product, tile)
        _check_place(info, tile, path, part=tile_document == TILE_DOCUMENT)
        skipped = [name for band, name in found.bands.items() if files.raster(name) not in chosen.values()]
        info = replace(info, left_out=(*found.left_out, *skipped))
        documents = {PurePosixPath(name).name: files.document(name) for name in (main, tile_document)}
        return BandFilesSource(info, source.datasets, stack.pop_all(), tuple(layers), documents)


def find_files(path: Path) -> ProductFiles:
    """The files of a product, given its folder, its zip or its main document.

    Raises
    ------
    RasterError : there is no main document, or the zip cannot be read
    """
    if PRODUCT_DOCUMENT.fullmatch(path.name):
        path = path.parent
    if path.is_dir():
        names = sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())
        if _main_document(path) is None:
            raise RasterError(f"{path} has no MTD_MSIL1C.xml or MTD_MSIL2A.xml; it is no complete product")
        return ProductFiles(path, "", tuple(names), False)
    members = _names_in_zip(path)
    mains = [name for name in members if PRODUCT_DOCUMENT.fullmatch(PurePosixPath(name).name)]
    if len(mains) != 1:
        raise RasterError(f"{path} holds {len(mains)} products; give a zip of one, or unpack it")
    prefix = mains[0][: -len(PurePosixPath(mains[0]).name)]
    names = sorted(
        name[len(prefix) :] for name in members if name.startswith(prefix) and not name.endswith("/")
    )
    return ProductFiles(path, prefix, tuple(names), True)


def sort_files(names: Sequence[str]) -> Sorted:
    """Decide about every file of a product but its two metadata documents."""
    bands: dict[str, str] = {}
    layers: dict[str, str] = {}
    left_out = []
    for name in names:
        path = PurePosixPath(name)
        if PRODUCT_DOCUMENT.fullmatch(path.name) or path.name == TILE_DOCUMENT:
            continue
        layer = _layer_name(path)
        if layer is None:
            left_out.append(name)
            continue
        kept = bands if layer in S2_BAND_NAMES else layers
        rival = kept.get(layer)
        if rival is None or _pixel_size(path) < _pixel_size(PurePosixPath(rival)):
            kept[layer] = name
            name = rival or ""
        if name:
            left_out.append(name)  # the same at coarser pixels
    return Sorted(bands, layers, tuple(sorted(left_out)))


def _layer_name(path: PurePosixPath) -> str | None:
    """'B02', 'SCL', 'MSK_CLDPRB'; None for what is not kept."""
    is_flat = len(path.parts) == 1  # as `decode` writes a product back
    if path.suffix.lower() not in RASTERS or not (is_flat or {"IMG_DATA", "QI_DATA"} & set(path.parts)):
        return None
    found = _LAYER.search(_RESOLUTION.sub("", path.stem))
    if found is None or found[1] in DERIVED:
        return None
    return found[1] if found[1].startswith("MSK_") else parse_band(found[1]) or found[1]


def _pixel_size(path: PurePosixPath) -> int:
    """As in the name; names without one (Level-1C) have no rivals."""
    found = _RESOLUTION.search(path.stem)
    return int(found[1]) if found else 0


def _open_layer(
    files: ProductFiles, name: str, at: str, product: ProductMetadata, stack: ExitStack
) -> FileLayer:
    layer = file_layer(open_dataset(files.raster(at), stack), name, PurePosixPath(at).name)
    info = layer.info
    if name in product.layer_quantification:
        info = replace(info, tags={**info.tags, "quantification": f"{product.layer_quantification[name]:g}"})
    if name == "B10":
        info = replace(info, nodata=as_nodata(product.nodata, info.dtype))
    return replace(layer, info=info)


def _describe(info: SceneInfo, product: ProductMetadata, tile: TileGeocoding) -> SceneInfo:
    """Add what the documents say; they also stand in for georeferencing that the rasters lack."""
    present = [info.bands[k] for k in info.present]
    if info.transform is None:
        size = next((m for m, shape in tile.sizes.items() if shape == info.shape[1:]), None)
        transform = tile.transforms.get(size) if size is not None else None
        info = replace(info, transform=transform, crs_wkt=CRS.from_string(tile.crs).to_wkt())
    notes = list(info.notes)
    if info.absent:
        notes.append(f"the product has no {' '.join(info.absent)} (or not asked for); they stay nodata")
    if len({product.offsets.get(band, 0.0) for band in present}) > 1:
        notes.append("the bands' radiometric offsets differ; that of most is taken off for the network")
    tags = {
        "PRODUCT_URI": product.name,
        "PROCESSING_LEVEL": product.level,
        "PROCESSING_BASELINE": product.baseline,
        "SPACECRAFT_NAME": product.spacecraft,
        "PRODUCT_START_TIME": product.sensing_time,
    }
    return replace(
        info,
        tags={**info.tags, **tags},
        scales=tuple(1 / product.quantification if band in present else 1.0 for band in info.bands),
        offsets=tuple(
            product.offsets.get(band, 0.0) / product.quantification if band in present else 0.0
            for band in info.bands
        ),
        product={**product.to_dict(), "offset": product.offset_of(present)},
        notes=tuple(notes),
    )


def _check_place(info: SceneInfo, tile: TileGeocoding, path: Path, *, part: bool) -> None:
    """The rasters must lie where the granule's document says; `part`: they may be a part of it."""
    sizes = [m for m, shape in tile.sizes.items() if shape == info.shape[1:]]
    if not (sizes or part) or (
        info.crs_wkt is not None and CRS.from_wkt(info.crs_wkt) != CRS.from_string(tile.crs)
    ):
        raise RasterError(
            f"{path}: the bands have {info.shape[1]} x {info.shape[2]} pixels, {TILE_DOCUMENT} says "
            f"{', '.join(f'{rows} x {cols}' for rows, cols in tile.sizes.values())} in {tile.crs}; "
            "files of different products are mixed"
        )


def _only_tile(files: ProductFiles) -> str:
    found = [name for name in files.names if PurePosixPath(name).name == TILE_DOCUMENT]
    if len(found) != 1:
        raise RasterError(f"{files.root} has {len(found)} granules ({TILE_DOCUMENT}); one is expected")
    return found[0]


def _main_document(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return next((item for item in folder.iterdir() if PRODUCT_DOCUMENT.fullmatch(item.name)), None)


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (*ZIP_ERRORS, OSError) as error:
        raise RasterError(f"{path} cannot be read as a zip ({error}); fetch it again") from error
