"""A made-up Sentinel-2 product in the real folder structure, with the metadata fields that real ones have."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from eocodec.sensors import S2_L2A
from interop_support import smooth_scene

ULX, ULY = 499_980, 5_900_040
CRS = "EPSG:32629"
SIDE = 240  # pixels of 10 m; real ones have 10980
NODATA_COLS = 60  # at 10 m, at the left: the swath's edge
SATURATED = (slice(60, 66), slice(120, 126))  # one pixel of 60 m
L2A_NAME = "S2B_MSIL2A_20230610T112119_N0509_R037_T29UNU_20230610T140312.SAFE"
L1C_NAME = "S2B_MSIL1C_20230610T112119_N0509_R037_T29UNU_20230610T131203.SAFE"
STAMP = "T29UNU_20230610T112119"
# Which bands a Level-2A product repeats at coarser pixels.
L2A_BANDS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"),
}
L1C_BANDS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09", "B10"),
}
PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")

PRODUCT_XML = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-06-10T11:21:19.024Z</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>2023-06-10T11:21:19.024Z</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{name}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>
      <GENERATION_TIME>2023-06-10T14:03:12.000000Z</GENERATION_TIME>
      <Datatake datatakeIdentifier="GS2B_20230610T112119_032697_N05.09">
        <SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>
        <DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>
        <SENSING_ORBIT_NUMBER>37</SENSING_ORBIT_NUMBER>
        <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
      </Datatake>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      {quantification}
      <{kind}_Offset_List>{offsets}</{kind}_Offset_List>
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-{level}_User_Product>
"""
QUANTIFICATION = {
    "2A": """<QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
        <WVP_QUANTIFICATION_VALUE unit="cm">1000.0</WVP_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>""",
    "1C": '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>',
}
TILE_XML = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level}_Tile_Metadata.xsd">
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone 29N</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>EPSG:32629</HORIZONTAL_CS_CODE>
      {grids}
    </Tile_Geocoding>
  </n1:Geometric_Info>
</n1:Level-{level}_Tile_ID>
"""


def make_product(parent, level="2A", *, offset=-1000, side=SIDE, seed=0):
    """Write a product below `parent`; gives its folder and {(name, pixel size): pixels [n, H, W]}."""
    name = L2A_NAME if level == "2A" else L1C_NAME
    root = Path(parent) / name
    granule = root / "GRANULE" / f"L{level}_T29UNU_A032697_20230610T112118"
    quality = granule / "QI_DATA"
    quality.mkdir(parents=True)
    (root / f"MTD_MSIL{level}.xml").write_text(_product_xml(level, name, offset))
    (root / "manifest.safe").write_text("<xfdu:XFDU/>")
    (granule / "MTD_TL.xml").write_text(_tile_xml(level, side))
    pixels = {}
    bands = _bands(side, -offset, seed)
    for size, names in (L2A_BANDS if level == "2A" else L1C_BANDS).items():
        folder = granule / "IMG_DATA" / (f"R{size}m" if level == "2A" else "")
        for band in names:
            plane = _at(bands[band] if band in bands else bands["B09"] // 9, size)
            suffix = f"_{size}m" if level == "2A" else ""
            _write(folder / f"{STAMP}_{band}{suffix}.jp2", plane[None], size)
            pixels[band, size] = plane[None]
    for layer, size, planes in _layers(level, side):
        where = quality if layer.startswith("MSK") or layer == "PVI" else granule / "IMG_DATA"
        if level == "2A" and where != quality:
            where = where / f"R{size}m"
        stem = layer if layer.startswith("MSK") else f"{STAMP}_{layer}"
        _write(where / (f"{stem}_{size}m.jp2" if level == "2A" else f"{stem}.jp2"), planes, size)
        pixels[layer, size] = planes
    return root, pixels


def zipped(root):
    """The product's zip, beside it."""
    target = root.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root.parent))
    return target


def band_path(root, band, size):
    """Path of a band's file of a Level-2A product."""
    (path,) = root.glob(f"GRANULE/*/IMG_DATA/R{size}m/{STAMP}_{band}_{size}m.jp2")
    return path


def _bands(side, offset, seed):
    """Each band at 10 m with the offset in, a swath's edge and a saturated roof."""
    scene = smooth_scene(side, side, seed=seed).astype(np.uint16) + np.uint16(offset)
    scene[(slice(None), *SATURATED)] = 65_535
    scene[:, :, :NODATA_COLS] = 0
    return {band.name: plane for band, plane in zip(S2_L2A, scene, strict=True)}


def _at(plane, size):
    """A plane at a pixel size: what the pixel in the middle is, so that marks stay marks."""
    factor = size // 10
    return np.ascontiguousarray(plane[factor // 2 :: factor, factor // 2 :: factor])


def _layers(level, side):
    """(name, pixel size, pixels [n, H, W]) of what is no band."""
    rng = np.random.default_rng(7)

    def classes(size, most, count=1):
        coarse = rng.integers(0, most, (count, side // size + 1, side // size + 1))
        n = side * 10 // size
        return np.repeat(np.repeat(coarse, 10, 1), 10, 2)[:, :n, :n].astype(np.uint8)

    def measures(size):
        n = side * 10 // size
        return np.add.outer(np.arange(n), np.arange(n))[None].astype(np.uint16) + 100

    yield "TCI", 10, classes(10, 255, 3)
    if level == "2A":
        for size in (10, 20, 60):
            yield "AOT", size, measures(size)
            yield "WVP", size, measures(size) * 3
        for size in (20, 60):
            yield "SCL", size, classes(size, 12)
            yield "MSK_CLDPRB", size, classes(size, 101)
    else:
        yield "MSK_CLASSI_B00", 60, classes(60, 2, 3)
    yield "PVI", 320, classes(40, 255, 3)


def _product_xml(level, name, offset):
    kind = "BOA" if level == "2A" else "RADIO"
    key = "band_id"
    tag = f"{kind}_ADD_OFFSET"
    offsets = "".join(f'<{tag} {key}="{k}">{offset}</{tag}>' for k in range(len(PHYSICAL))) if offset else ""
    return PRODUCT_XML.format(
        level=level, name=name, kind=kind, offsets=offsets, quantification=QUANTIFICATION[level]
    )


def _tile_xml(level, side):
    sizes = (10, 20, 60)
    grids = "".join(
        f'<Size resolution="{m}"><NROWS>{side * 10 // m}</NROWS><NCOLS>{side * 10 // m}</NCOLS></Size>'
        for m in sizes
    )
    grids += "".join(
        f'<Geoposition resolution="{m}"><ULX>{ULX}</ULX><ULY>{ULY}</ULY>'
        f"<XDIM>{m}</XDIM><YDIM>-{m}</YDIM></Geoposition>"
        for m in sizes
    )
    return TILE_XML.format(level=level, grids=grids)


def _write(path, planes, size):
    """A lossless JPEG 2000 file without a nodata tag, as in real products."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, cols = planes.shape
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        count=count,
        height=rows,
        width=cols,
        dtype=planes.dtype.name,
        crs=CRS,
        transform=Affine(size, 0, ULX, 0, -size, ULY),
        QUALITY="100",
        REVERSIBLE="YES",
        YCBCR420="NO",
    ) as dataset:
        dataset.write(planes)
