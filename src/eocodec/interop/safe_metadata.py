"""What the metadata documents of a Sentinel-2 product say (MTD_MSIL1C.xml, MTD_MSIL2A.xml, MTD_TL.xml).

Elements are found by their names whatever namespace or schema version they are in: those change from one
processing baseline to the next, the names that are read here have not since 2016.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

from eocodec.errors import RasterError
from eocodec.sensors import DN_PER_REFLECTANCE, SATURATED_DN

Element = ElementTree.Element
# Order of the physical bands, by which documents number them (bandId, band_id).
PHYSICAL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
LAYER_UNITS = {"AOT": "AOT_QUANTIFICATION_VALUE", "WVP": "WVP_QUANTIFICATION_VALUE"}


@dataclass(frozen=True)
class ProductMetadata:
    """A product's own description.

    Attributes
    ----------
    name : of the product, ending in .SAFE
    level : L1C or L2A
    baseline : of the processing, such as 04.00; spacecraft : such as Sentinel-2A
    sensing_time, generation_time : ISO 8601, UTC
    relative_orbit, orbit_direction, tile : of the acquisition
    quantification : digital numbers per unit of reflectance
    offsets : of each band, DN, to be added before division by `quantification`; empty before baseline 04.00
    nodata, saturated : the special values
    layer_quantification : numbers per unit of the layers that have one (AOT, WVP)
    """

    name: str
    level: str
    baseline: str
    spacecraft: str
    sensing_time: str
    generation_time: str
    relative_orbit: str
    orbit_direction: str
    tile: str
    quantification: float
    offsets: Mapping[str, float]
    nodata: int
    saturated: int
    layer_quantification: Mapping[str, float]

    def offset_of(self, bands: Sequence[str]) -> float:
        """The offset of most of these bands, DN: one number is taken off for the network."""
        counts = Counter(self.offsets.get(band, 0.0) for band in bands)
        return counts.most_common(1)[0][0] if counts else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self)
        return {**values, "offsets": dict(self.offsets)}


@dataclass(frozen=True)
class TileGeocoding:
    """Where a granule lies.

    Attributes
    ----------
    crs : such as EPSG:32629
    sizes : (rows, cols) by pixel size [m]
    transforms : affine a, b, c, d, e, f by pixel size [m]
    """

    crs: str
    sizes: Mapping[int, tuple[int, int]]
    transforms: Mapping[int, tuple[float, ...]]


def read_product(data: bytes, where: str) -> ProductMetadata:
    """Read the product's document.

    Raises
    ------
    RasterError : it is no XML, or lacks what every product has
    """
    root = _parse(data, where)
    level = _text(root, "PROCESSING_LEVEL", where).replace("Level-", "L")
    kind = "BOA" if level == "L2A" else "RADIO"
    offsets = {
        PHYSICAL_BANDS[_number(element.get("band_id"), where)]: float(element.text or 0)
        for element in root.iter(f"{kind}_ADD_OFFSET")
        if _number(element.get("band_id"), where) < len(PHYSICAL_BANDS)
    }
    special = {
        (item.findtext("SPECIAL_VALUE_TEXT") or "").strip(): item.findtext("SPECIAL_VALUE_INDEX")
        for item in root.iter("Special_Values")
    }
    name = _text(root, "PRODUCT_URI", where)
    default = str(DN_PER_REFLECTANCE)
    quantification = _text(root, "BOA_QUANTIFICATION_VALUE", where, None) or _text(
        root, "QUANTIFICATION_VALUE", where, default
    )
    return ProductMetadata(
        name=name,
        level=level,
        baseline=_text(root, "PROCESSING_BASELINE", where, ""),
        spacecraft=_text(root, "SPACECRAFT_NAME", where, ""),
        sensing_time=_text(root, "PRODUCT_START_TIME", where, ""),
        generation_time=_text(root, "GENERATION_TIME", where, ""),
        relative_orbit=_text(root, "SENSING_ORBIT_NUMBER", where, ""),
        orbit_direction=_text(root, "SENSING_ORBIT_DIRECTION", where, ""),
        tile=next((part[1:] for part in name.split("_") if len(part) == 6 and part[0] == "T"), ""),
        quantification=_float(quantification, where),
        offsets=offsets,
        nodata=_number(special.get("NODATA", "0"), where),
        saturated=_number(special.get("SATURATED", str(SATURATED_DN)), where),
        layer_quantification={
            layer: _float(_text(root, element, where), where)
            for layer, element in LAYER_UNITS.items()
            if next(root.iter(element), None) is not None
        },
    )


def read_tile(data: bytes, where: str) -> TileGeocoding:
    """Read the granule's document.

    Raises
    ------
    RasterError : it is no XML, or lacks the geocoding
    """
    root = _parse(data, where)
    sizes = {
        _number(item.get("resolution"), where): (
            _number(item.findtext("NROWS"), where),
            _number(item.findtext("NCOLS"), where),
        )
        for item in root.iter("Size")
    }
    transforms = {}
    for item in root.iter("Geoposition"):
        ulx, uly, xdim, ydim = (
            _float(item.findtext(name) or "", where) for name in ("ULX", "ULY", "XDIM", "YDIM")
        )
        transforms[_number(item.get("resolution"), where)] = (xdim, 0.0, ulx, 0.0, ydim, uly)
    return TileGeocoding(_text(root, "HORIZONTAL_CS_CODE", where), sizes, transforms)


def _parse(data: bytes, where: str) -> Element:
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise RasterError(f"{where} is no XML ({error}); the product is damaged, fetch it again") from error


def _text(root: Element, name: str, where: str, default: str | None = "\0") -> str:
    """Text of the first element of a name; without one, the default, or an error if there is none."""
    found = next(root.iter(name), None)
    text = (found.text or "").strip() if found is not None else ""
    if text or default != "\0":
        return text or default or ""
    raise RasterError(f"{where} has no {name}; it is not the metadata of a Sentinel-2 product, or damaged")


def _number(text: str | None, where: str) -> int:
    try:
        return int(text or "")
    except ValueError as error:
        raise RasterError(f"{where} has {text!r} where a whole number belongs; it is damaged") from error


def _float(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise RasterError(f"{where} has {text!r} where a number belongs; it is damaged") from error
