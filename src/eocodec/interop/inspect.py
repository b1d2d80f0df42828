"""What a file of this package holds, and whether it is sound. Needs neither a model nor torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eocodec.codestream.header import MAGIC, VERSION, parse_layout
from eocodec.codestream.info import info as codestream_info
from eocodec.codestream.validate import Report
from eocodec.codestream.validate import validate as validate_codestream
from eocodec.errors import BadMagic, CodecError, RasterError
from eocodec.interop.container import TEC_SUFFIX, ZIP_MAGIC, Container
from eocodec.interop.layer_store import DOCUMENTS, LAYERS, StoredLayer, stored_documents, stored_layers
from eocodec.interop.metadata import ARRAY_KEY, GRID_MAPPING_KEY, GROUP_KEY, StoreLayout
from eocodec.interop.scene import SceneInfo, Window
from eocodec.interop.settings import number_to_json
from eocodec.interop.store import load_layout
from eocodec.raster.tiles import Tiles

MOST_LISTED = 20  # errors of a report; a wrecked file has thousands that say the same


@dataclass(frozen=True)
class FileReport:
    """Result of `validate_file`: `errors` and `warnings` are one line each."""

    ok: bool
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    tiles: int


def describe_file(path: str | Path) -> dict[str, Any]:
    """Describe a `.tec`, a `.zarr` or a bare codestream in values that JSON can hold.

    Raises
    ------
    RasterError : nothing is there, or it cannot be read
    CodestreamError : it is none of these, or its header or metadata are damaged
    """
    place = Path(path)
    if is_codestream(place):
        return {"kind": "codestream", **codestream_info(place.read_bytes())}
    with Container(place) as container:
        return _describe_store(container, load_layout(container))


def _describe_store(container: Container, layout: StoreLayout) -> dict[str, Any]:
    info = layout.info
    total = container.total_bytes()
    bands, height, width = info.shape
    beside = _bytes_beside(container)
    first = parse_layout(container.read(layout.chunk_key(0, 0))).header
    return {
        "kind": "tec" if container.path.suffix.lower() == TEC_SUFFIX else "zarr",
        "written_by": layout.written_by,
        "version": VERSION,
        "shape": {"bands": bands, "rows": height, "cols": width},
        "dtype": info.dtype.name,
        "nodata": number_to_json(info.nodata),
        "bands": [info.bands[k] for k in info.present],
        "absent": list(info.absent),
        "native_pixels": _native_pixels(info),
        "layers": [_describe_layer(layer, container) for layer in stored_layers(container, layout.layers)],
        "documents": list(layout.documents),
        "left_out": list(info.left_out),
        "product": dict(info.product),
        "crs": _crs_name(info.crs_wkt),
        "transform": list(info.transform) if info.transform else None,
        "tags": dict(info.tags),
        "sources": list(info.sources),
        "notes": list(info.notes),
        "settings": dict(layout.settings),
        "fingerprint": first.fingerprint.hex(),
        "tile": list(layout.tile),
        "tiles": layout.grid[0] * layout.grid[1],
        "bytes": total,
        "codestream_bytes": sum(size for key, size in container.sizes.items() if key.startswith("dn/c/")),
        "raw_bytes": info.raw_bytes,
        "beside_bytes": beside,
        "ratio": info.raw_bytes / (total - beside),
        "bpppc": 8 * (total - beside) / (len(info.present) * height * width),
    }


def _bytes_beside(container: Container) -> int:
    """Bytes of the chunks of layers and documents."""
    kept = (f"{LAYERS}/", f"{DOCUMENTS}/")
    return sum(size for key, size in container.sizes.items() if key.startswith(kept) and "/c/" in key)


def _native_pixels(info: SceneInfo) -> dict[str, int]:
    """Bands whose own pixels are larger than the grid's, and how many times."""
    return {info.bands[k]: info.native_factors[k] for k in info.present if info.native_factors[k] > 1}


def _describe_layer(layer: StoredLayer, container: Container) -> dict[str, Any]:
    size = sum(size for key, size in container.sizes.items() if key.startswith(f"{layer.key}/c/"))
    return {"name": layer.info.name, "path": layer.key, "shape": list(layer.info.shape), "bytes": size}


def _crs_name(wkt: str | None) -> str | None:
    """Name in a WKT: the first quoted text."""
    parts = (wkt or "").split('"')
    return parts[1] if len(parts) > 1 else None


def is_codestream(place: Path) -> bool:
    """Whether a file begins like a bare codestream; False for a folder or a ZIP.

    Raises
    ------
    RasterError : nothing is there, or it cannot be read
    BadMagic : it begins like none of these
    """
    if place.is_dir():
        return False
    try:
        with place.open("rb") as stream:
            start = stream.read(len(MAGIC))
    except FileNotFoundError as error:
        raise RasterError(f"{place} does not exist; check the path") from error
    except OSError as error:
        raise RasterError(f"{place} cannot be read ({error.strerror}); check its permissions") from error
    if start == MAGIC:
        return True
    if not start.startswith(ZIP_MAGIC):
        raise BadMagic(
            f"{place} is neither a .tec nor a codestream; it is damaged, or eocodec did not write it"
        )
    return False


def validate_file(path: str | Path) -> FileReport:
    """Check structure, checksums and that every tile is there and of the right size.

    Notes
    -----
    Not checked: that the symbols are those of the codestream's symbols CRC, which takes the model.

    Raises
    ------
    RasterError : nothing is there, or it cannot be read
    """
    place = Path(path)
    try:
        if is_codestream(place):
            report = validate_codestream(place.read_bytes())
            return FileReport(report.ok, report.errors, report.warnings, 1)
        with Container(place) as container:
            return _validate_store(container, load_layout(container))
    except RasterError:
        raise
    except CodecError as error:
        return FileReport(False, (_line(error),), (), 0)


def _validate_store(container: Container, layout: StoreLayout) -> FileReport:
    tiles = Tiles(layout.info.shape[1:], layout.tile)
    present = sum(key.startswith("dn/c/") for key in container.sizes)
    if len(tiles) > present:  # also stops a made-up shape from costing time
        return FileReport(
            False, (f"Truncated: {len(tiles) - present} of {len(tiles)} tiles are missing",), (), present
        )
    errors: list[str] = []
    warnings: Counter[str] = Counter()
    fingerprints: set[str] = set()
    expected = {GROUP_KEY, ARRAY_KEY, GRID_MAPPING_KEY}
    for i, j in tiles.indices():
        key = layout.chunk_key(i, j)
        expected.add(key)
        try:
            data = container.read(key)
        except CodecError as error:
            errors.append(_line(error))
            continue
        report = validate_codestream(data)
        errors += [f"{key}: {line}" for line in report.errors or _misfits(data, layout, tiles[i, j])]
        warnings.update(report.warnings)
        fingerprints |= _fingerprint(data, report)
    errors += _layer_errors(container, layout)
    if len(fingerprints) > 1:
        errors.append(f"MalformedHeader: tiles of different models: {', '.join(sorted(fingerprints))}")
    known = (f"{LAYERS}/", f"{DOCUMENTS}/") if layout.layers or layout.documents else ()
    surplus = sorted(key for key in set(container.sizes) - expected if not key.startswith(known))
    if surplus:
        warnings[f"{len(surplus)} entries that do not belong to the scene, such as {surplus[0]}"] += 1
    return FileReport(not errors, _shortened(errors), tuple(warnings), len(tiles))


def _layer_errors(container: Container, layout: StoreLayout) -> list[str]:
    """Decode what is kept without loss: that is the check."""
    try:
        errors = [line for layer in stored_layers(container, layout.layers) for line in layer.check()]
        stored_documents(container, layout.documents)
    except CodecError as error:
        return [_line(error)]
    return errors


def _misfits(data: bytes, layout: StoreLayout, window: Window) -> list[str]:
    """A sound codestream that is not the one to expect at this place."""
    header = parse_layout(data).header
    rows, cols = window
    expected = (1, layout.info.shape[0], rows.stop - rows.start, cols.stop - cols.start)
    if header.shape == expected and header.dtype == layout.info.dtype.name:
        return []
    return [
        f"MalformedHeader: tile of {header.shape} {header.dtype}, "
        f"expected {expected} {layout.info.dtype.name}"
    ]


def _fingerprint(data: bytes, report: Report) -> set[str]:
    return {parse_layout(data).header.fingerprint.hex()} if report.ok else set()


def _shortened(errors: list[str]) -> tuple[str, ...]:
    more = len(errors) - MOST_LISTED
    return tuple(errors[:MOST_LISTED] + ([f"and {more} more"] if more > 0 else []))


def _line(error: CodecError) -> str:
    return f"{type(error).__name__}: {error}"
