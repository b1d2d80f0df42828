"""The real Level-2A product in the shared imagery, there and back: what must be kept is compared one by one.

It has four bands and the scene classification at 60 m, 40 % nodata, much cloud, and an offset of 1000 DN.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.errors import RasterError
from eocodec.sensors import S2_BAND_NAMES

pytestmark = pytest.mark.data
BANDS = ("B02", "B04", "B8A", "B11")


@pytest.fixture(scope="module")
def product():
    from eocodec.bench.datasets import require_data

    try:
        return next((require_data() / "product").glob("*.SAFE"))
    except (RasterError, StopIteration):
        pytest.skip("no product in EOCODEC_DATA or ../shared/data")


@pytest.fixture(scope="module")
def folder(product, tmp_path_factory):
    """The encoded product, and what was decoded of it."""
    place = tmp_path_factory.mktemp("real")
    run("encode", product, place / "a.tec", "--quality", 30)
    run("decode", place / "a.tec", place / "back")
    return place


def run(*arguments):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def original(product, band):
    return next(product.glob(f"GRANULE/*/IMG_DATA/R60m/*_{band}_60m.jp2"))


@pytest.mark.parametrize("band", BANDS)
def test_a_band(product, folder, band):
    path = original(product, band)
    with rasterio.open(path) as first, rasterio.open(folder / "back" / f"{path.stem}.tif") as second:
        for name in ("crs", "transform", "shape", "dtypes"):
            assert getattr(first, name) == getattr(second, name), name
        x, y = first.read(1), second.read(1)
    assert np.array_equal(x == 0, y == 0)  # the nodata mask, bit for bit
    error = (y.astype(float) - x)[x > 0]
    assert abs(error.mean()) < 10  # the offset is still in
    assert 10 * np.log10(1e8 / np.mean(error**2)) > 28  # the codec is told to be coarse


def test_only_what_the_product_has_is_written_back(product, folder):
    documents = {"MTD_MSIL2A.xml", "MTD_TL.xml"}
    rasters = {f"{path.stem}.tif" for path in product.rglob("*.jp2")}
    written = {path.name for path in (folder / "back").iterdir() if path.suffix != ".xml"}
    assert written == rasters
    for name in documents:
        (path,) = product.rglob(name)
        assert (folder / "back" / name).read_bytes() == path.read_bytes()


def test_the_scene_classification_bit_for_bit(product, folder):
    path = original(product, "SCL")
    with rasterio.open(path) as first, rasterio.open(folder / "back" / f"{path.stem}.tif") as second:
        assert np.array_equal(first.read(), second.read())
        assert (first.crs, first.transform, first.dtypes) == (second.crs, second.transform, second.dtypes)


def test_what_info_says(product, folder):
    found = json.loads(run("info", folder / "a.tec", "--json").output)
    assert found["bands"] == list(BANDS)
    assert found["absent"] == [band for band in S2_BAND_NAMES if band not in BANDS]
    assert found["product"]["name"] == Path(product).name
    assert found["product"]["baseline"] == "04.00"
    assert found["settings"]["offset"] == -1000
    assert found["nodata"] == 0
    assert [layer["name"] for layer in found["layers"]] == ["SCL"]
    assert found["ratio"] > 50
    assert run("validate", folder / "a.tec").output.endswith("valid, 16 tiles\n")
