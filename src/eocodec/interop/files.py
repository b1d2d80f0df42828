"""Whole jobs on files, as the command line offers them: encode a scene, decode it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eocodec.errors import InputError
from eocodec.interop.atomic import check_output
from eocodec.interop.container import TEC_SUFFIX, ZARR_SUFFIX, check_suffix
from eocodec.interop.export import ExportOptions, write_cog, write_folder, write_zarr
from eocodec.interop.geotiff import COMPRESSIONS, write_geotiff
from eocodec.interop.inspect import is_codestream
from eocodec.interop.layer_store import Beside
from eocodec.interop.layers import layers_of
from eocodec.interop.model_bands import for_model
from eocodec.interop.rio import WHOLE, ReadOptions, check_units, open_scene
from eocodec.interop.scene import ArraySource, Progress, SceneInfo, SceneSource, is_nodata, tile_windows
from eocodec.interop.store import DEFAULT_TILE, StoreSource, overhead_bytes, write_store
from eocodec.interop.views import pick_bands, without_offset
from eocodec.models import registry
from eocodec.sensors import LEVELS
from eocodec.types import AnyArray

if TYPE_CHECKING:
    from eocodec.options import EncodeOptions
    from eocodec.search import SearchResult

SAMPLE_TILES = 9  # for a rate search; more change its outcome less than scenes differ within
SAMPLE_SIDE = 512
GEOTIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class RateTarget:
    """What the user asked for instead of a quality; exactly one is set.

    Attributes
    ----------
    psnr : dB, peak 10 000, over all bands and valid pixels
    ratio : bytes of the uncompressed pixels over bytes of the file
    bpppc : bits of the file per pixel and band
    """

    psnr: float | None = None
    ratio: float | None = None
    bpppc: float | None = None

    def __post_init__(self) -> None:
        stated = [value for value in (self.psnr, self.ratio, self.bpppc) if value is not None]
        if len(stated) != 1:
            raise InputError("give exactly one of --psnr, --ratio and --bpppc")
        if not stated[0] > 0:
            raise InputError(f"the target is {stated[0]}; give a number above 0")


@dataclass(frozen=True)
class EncodeReport:
    """What an encoding came to.

    Attributes
    ----------
    beside_bytes : of layers and documents, which are without loss; no part of ratio and bpppc
    raw_bytes : of the pixels of the bands that are there, each on its own grid, uncompressed
    bpppc : bits of the file per pixel of the grid and band
    psnr : dB on the search's sample tiles, where a PSNR was asked for
    reached : whether a target was met on the sample; True where none was asked for
    notes : what had to be assumed about the input
    quality, max_error : as in `EncodeOptions`; quality is None where there is no base layer
    """

    total_bytes: int
    raw_bytes: int
    bpppc: float
    seconds: float
    quality: float | None
    tiles: int
    psnr: float | None
    reached: bool
    notes: tuple[str, ...]
    beside_bytes: int = 0
    max_error: int | None = None
    layers: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Bytes of the uncompressed pixels over bytes of the file."""
        return self.raw_bytes / (self.total_bytes - self.beside_bytes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "ratio": self.ratio}


def encode_file(
    inputs: Sequence[str | Path],
    output: str | Path,
    options: EncodeOptions,
    *,
    target: RateTarget | None = None,
    tile: int = DEFAULT_TILE,
    bands: Sequence[str] | None = None,
    read: ReadOptions = WHOLE,
    force: bool = False,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode anything that `open_scene` reads as a `.tec` or a `.zarr`.

    Parameters
    ----------
    options : settings; a nodata of None means the one that the files state, an offset of 0 that of the
        product's metadata
    target : searched on sample tiles; its quality then replaces that of `options`
    bands, read : as in `open_scene`

    Raises
    ------
    InputError : about the input or the output's name (see `open_scene`, `check_units`, `write_store`)
    OutputError : the output could not be written
    """
    begin = time.perf_counter()
    path = Path(output)
    check_suffix(path)
    check_output(path, force=force)
    with closing(open_scene(inputs, bands=bands, nodata=options.nodata, read=read)) as source:
        report = encode_scene(source, path, options, target=target, tile=tile, force=force, progress=progress)
    return replace(report, seconds=time.perf_counter() - begin)


def encode_scene(
    source: SceneSource,
    output: str | Path,
    options: EncodeOptions,
    *,
    target: RateTarget | None = None,
    tile: int = DEFAULT_TILE,
    force: bool = False,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode a scene that is open; arguments and errors of `encode_file`."""
    begin = time.perf_counter()
    path = Path(output)
    source = for_model(source, registry.by_id(options.model).bands)
    info = source.info
    options, found = settings_for(source, options, target, tile=tile, suffix=path.suffix)
    written = write_store(path, source, options, tile=tile, force=force, progress=progress)
    return EncodeReport(
        total_bytes=written.total_bytes,
        raw_bytes=info.raw_bytes,
        bpppc=8 * (written.total_bytes - written.beside_bytes) / _values(info),
        seconds=time.perf_counter() - begin,
        quality=options.quality,
        tiles=written.tiles,
        psnr=found.psnr if found else None,
        reached=found.reached if found else True,
        notes=info.notes,
        beside_bytes=written.beside_bytes,
        max_error=options.max_error,
        layers=tuple(layer.info.name for layer in layers_of(source)),
    )


def settings_for(
    source: SceneSource, options: EncodeOptions, target: RateTarget | None, *, tile: int, suffix: str
) -> tuple[EncodeOptions, SearchResult | None]:
    """The options completed by what a scene says of itself, and the search that gave the quality, if any.

    Raises
    ------
    UnitsError : see `check_units`
    """
    info = source.info
    check_units(info, options.scale)
    offset = options.offset or float(info.product.get("offset", 0.0))
    options = replace(options, nodata=info.nodata, offset=offset)
    if target is None:
        return options, None
    found = _search(source, options, target, tile, suffix)
    return replace(options, quality=found.quality), found


def _values(info: SceneInfo) -> int:
    """Pixels of the grid times bands that are there."""
    return len(info.present) * info.shape[1] * info.shape[2]


@dataclass(frozen=True)
class DecodeOptions:
    """What to make of an encoded scene.

    Attributes
    ----------
    compression : within GeoTIFF
    cog : make the GeoTIFF a cloud-optimized one
    native : each band at its own pixel size, else all on the finest grid, as in a GeoTIFF always
    jpeg2000 : the files of a folder are .jp2
    keep_offset : leave the radiometric offset in the digital numbers, as the product has them
    """

    compression: str = COMPRESSIONS[0]
    cog: bool = False
    native: bool = True
    jpeg2000: bool = False
    keep_offset: bool = True


@dataclass(frozen=True)
class DecodeReport:
    """Bytes written, and what the reader should know."""

    total_bytes: int
    notes: tuple[str, ...]


def decode_file(
    path: str | Path,
    output: str | Path,
    options: DecodeOptions = DecodeOptions(),  # frozen
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> DecodeReport:
    """Decode a `.tec`, a `.zarr` or a bare codestream of one timestep.

    Parameters
    ----------
    output : a GeoTIFF (.tif), a Zarr store (.zarr), or a folder for a file per band and layer (no suffix)

    Raises
    ------
    CodestreamError : the file cannot be decoded faithfully
    InputError, OutputError : about the names and the writing
    """
    target = Path(output)
    suffix = target.suffix.lower()
    if suffix not in (*GEOTIFF_SUFFIXES, ZARR_SUFFIX, ""):
        raise InputError(
            f"{target} ends in neither .tif nor .zarr, nor is it a folder's name; a scene is decoded to these"
        )
    if options.cog and suffix not in GEOTIFF_SUFFIXES:
        raise InputError(f"--cog makes a GeoTIFF, but {target} does not end in .tif; name the output so")
    check_output(target, force=force)
    with closing(open_encoded(path)) as source:
        tile = source.layout.tile[0] if isinstance(source, StoreSource) else DEFAULT_TILE
        offset = 0.0 if options.keep_offset else float(source.info.product.get("offset", 0.0))
        given = without_offset(source, offset)
        if suffix in GEOTIFF_SUFFIXES:
            write = write_cog if options.cog else write_geotiff
            total = write(
                target,
                pick_bands(given, given.info.present),
                tile=tile,
                compression=options.compression,
                force=force,
                progress=progress,
            )
            return DecodeReport(total, (*source.info.notes, *_not_in_one_file(source)))
        export = ExportOptions(options.jpeg2000, options.native, options.compression)
        write_each = write_zarr if suffix else write_folder
        total = write_each(target, given, export, tile=tile, force=force, progress=progress)
        return DecodeReport(total, source.info.notes)


def _not_in_one_file(source: SceneSource) -> list[str]:
    """What a single GeoTIFF cannot show of a scene."""
    notes = []
    names = [layer.info.name for layer in layers_of(source)]
    if names:
        notes.append(f"{' '.join(names)} stay in the encoded file; decode to a folder to get them")
    if source.info.factors:
        coarse = [source.info.bands[k] for k in source.info.present if source.info.factors[k] > 1]
        notes.append(f"{' '.join(coarse)} are interpolated; decode to a folder to get their own pixels")
    return notes


def open_encoded(path: str | Path) -> SceneSource:
    """Open a `.tec`, a `.zarr` or a bare codestream of one timestep as a scene.

    Raises
    ------
    CodestreamError, RasterError : it is none of these or cannot be read
    InputError : a codestream with several timesteps
    """
    if not is_codestream(Path(path)):
        return StoreSource(path)
    from eocodec import codec

    pixels = codec.decode(Path(path).read_bytes())
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim != 3:
        raise InputError(
            f"{path} holds {pixels.shape[0]} timesteps; decode it in Python with eocodec.decode(data)"
        )
    bands, height, width = pixels.shape
    known = {len(table): tuple(band.name for band in table) for table in LEVELS.values()}
    names = known.get(bands, tuple(f"{k + 1}" for k in range(bands)))
    info = SceneInfo((bands, height, width), pixels.dtype, names, descriptions=names)
    return ArraySource(info, pixels)


def open_any(path: str | Path) -> SceneSource:
    """Open an encoded file or anything that `open_scene` reads."""
    place = Path(path)
    is_zarr = place.is_dir() and (place / "zarr.json").is_file()
    if is_zarr or place.suffix.lower() in (TEC_SUFFIX, ZARR_SUFFIX):
        return open_encoded(place)
    return open_scene([path])


def _search(
    source: SceneSource, options: EncodeOptions, target: RateTarget, tile: int, suffix: str
) -> SearchResult:
    """The quality that meets the target on sample tiles."""
    from eocodec.search import search_quality

    info = source.info
    samples = sample_tiles(source, tile, valid_only=target.psnr is not None)
    bpppc = target.bpppc
    if target.ratio is not None:
        bpppc = 8 * info.raw_bytes / target.ratio / _values(info)
    if bpppc is not None:
        # The user's figure is of the whole file; the search sees codestreams only, and counts absent bands.
        overhead = overhead_bytes(info, options, tile, suffix, Beside.of(source))
        bpppc = max(bpppc - 8 * overhead / _values(info), 1e-6) * len(info.present) / info.shape[0]
    return search_quality(samples, options, psnr=target.psnr, bpppc=bpppc)


def sample_tiles(source: SceneSource, tile: int, *, valid_only: bool) -> list[AnyArray]:
    """Up to SAMPLE_TILES tiles spread over the scene, at most SAMPLE_SIDE pixels a side.

    Parameters
    ----------
    valid_only : leave out tiles without any valid pixel, unless there are no others
    """
    windows = list(tile_windows(source.info.shape[1:], min(tile, SAMPLE_SIDE)))
    count = min(SAMPLE_TILES, len(windows))
    # Centres of equal parts of the row-major list: neighbours in it rarely share a column.
    picked = [windows[(2 * k + 1) * len(windows) // (2 * count)][2] for k in range(count)]
    tiles = [source.read(rows, cols) for rows, cols in picked]
    if valid_only:
        valid = [pixels for pixels in tiles if not np.all(is_nodata(pixels, source.info.nodata))]
        return valid or tiles
    return tiles
