"""Sentinel-2 products: what is read of them, and that it comes back."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from eocodec.cli.main import cli
from eocodec.errors import BandError, InputError, RasterError
from eocodec.interop.rio import ReadOptions, open_scene
from eocodec.interop.safe import sort_files
from eocodec.sensors import S2_BAND_NAMES, S2_L2A
from safe_support import CRS, L2A_NAME, SIDE, ULX, ULY, band_path, make_product, zipped

FACTORS = tuple(band.pixel_size // 10 for band in S2_L2A)


@pytest.fixture(scope="module")
def l2a(tmp_path_factory):
    return make_product(tmp_path_factory.mktemp("l2a"))


@pytest.fixture(scope="module")
def l1c(tmp_path_factory):
    return make_product(tmp_path_factory.mktemp("l1c"), "1C")


def read_all(source):
    _, rows, cols = source.info.shape
    return source.read(slice(0, rows), slice(0, cols))


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def pixels_of(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_what_a_level_2a_product_says(l2a):
    root, _ = l2a
    info = open_scene([root]).info
    assert info.shape == (12, SIDE, SIDE)
    assert info.bands == S2_BAND_NAMES
    # Level-2A has B01 at 20 m too
    assert info.factors == (2, *FACTORS[1:])
    assert info.absent == ()
    assert info.nodata == 0
    assert info.transform == (10, 0, ULX, 0, -10, ULY)
    assert rasterio.crs.CRS.from_wkt(info.crs_wkt) == rasterio.crs.CRS.from_string(CRS)
    assert info.product["level"] == "L2A"
    assert info.product["baseline"] == "05.09"
    assert info.product["spacecraft"] == "Sentinel-2B"
    assert info.product["sensing_time"] == "2023-06-10T11:21:19.024Z"
    assert info.product["offset"] == -1000
    assert info.product["offsets"]["B8A"] == -1000
    assert info.product["tile"] == "29UNU"
    assert info.offsets == (-0.1,) * 12
    assert info.scales == (1e-4,) * 12
    assert info.tags["PRODUCT_URI"] == L2A_NAME
    assert info.notes == ()


def test_layers_are_taken_at_their_finest_and_the_rest_is_named(l2a):
    root, pixels = l2a
    source = open_scene([root])
    layers = {layer.info.name: layer for layer in source.layers}
    assert sorted(layers) == ["AOT", "MSK_CLDPRB", "SCL", "WVP"]
    assert layers["AOT"].info.group == "10m"
    assert layers["SCL"].info.group == "20m"
    assert layers["WVP"].info.tags["quantification"] == "1000"
    scl = layers["SCL"].read(slice(0, SIDE // 2), slice(0, SIDE // 2))
    assert np.array_equal(scl, pixels["SCL", 20])
    left_out = " ".join(source.info.left_out)
    for name in ("TCI_10m", "PVI", "manifest.safe", "B02_20m", "B01_60m", "SCL_60m"):
        assert name in left_out, name
    assert set(source.documents) == {"MTD_MSIL2A.xml", "MTD_TL.xml"}


def test_a_level_1c_product_and_its_cirrus_band(l1c):
    root, pixels = l1c
    source = open_scene([root])
    assert source.info.factors == FACTORS
    assert source.info.product["level"] == "L1C"
    assert source.info.product["offset"] == -1000
    layers = {layer.info.name: layer for layer in source.layers}
    assert sorted(layers) == ["B10", "MSK_CLASSI_B00"]
    n = SIDE // 6
    assert np.array_equal(layers["B10"].read(slice(0, n), slice(0, n)), pixels["B10", 60])
    assert layers["B10"].info.nodata == 0
    assert layers["MSK_CLASSI_B00"].info.shape == (3, n, n)


def test_coarse_bands_keep_their_means_and_marks(l2a):
    root, pixels = l2a
    found = read_all(open_scene([root]))
    for k, band in enumerate(S2_L2A):
        size = 20 if band.name == "B01" else band.pixel_size
        factor = size // 10
        native = pixels[band.name, size][0]
        fine = found[k].reshape(SIDE // factor, factor, SIDE // factor, factor)
        assert np.abs(fine.mean((1, 3)) - native).max() <= 0.5, band.name
        for mark in (0, 65_535):
            assert np.array_equal((fine == mark).all((1, 3)), native == mark), band.name


def test_a_zip_and_the_document_are_the_same_product(l2a, tmp_path):
    root, _ = l2a
    expected = read_all(open_scene([root]))
    archive = shutil.move(zipped(root), tmp_path)
    for other in (archive, root / "MTD_MSIL2A.xml"):
        source = open_scene([other])
        assert np.array_equal(read_all(source), expected)
        assert sorted(source.documents) == ["MTD_MSIL2A.xml", "MTD_TL.xml"]
        source.close()


def test_before_baseline_4_there_is_no_offset(tmp_path):
    root, _ = make_product(tmp_path, offset=0, side=60)
    info = open_scene([root]).info
    assert info.product["offset"] == 0
    assert info.offsets == (0.0,) * 12


def test_some_bands(l2a):
    root, _ = l2a
    source = open_scene([root], bands=["B4", "b02", "B8A"])
    info = source.info
    assert [info.bands[k] for k in info.present] == ["B02", "B04", "B8A"]
    assert "B03_10m" in " ".join(info.left_out)
    assert "no B01 B03" in info.notes[0]
    found = read_all(source)
    assert (found[list(S2_BAND_NAMES).index("B03")] == 0).all()
    with pytest.raises(BandError, match="B99 is no band"):
        open_scene([root], bands=["B99"])


def test_an_area_in_metres_and_in_degrees(l2a):
    root, _ = l2a
    whole = open_scene([root])
    metres = (ULX + 615, ULY - 1190, ULX + 1190, ULY - 610)
    part = open_scene([root], read=ReadOptions(bbox=metres))
    # to whole pixels of 60 m: from 600 to 1200
    assert part.info.shape == (12, 60, 60)
    assert part.info.transform == (10, 0, ULX + 600, 0, -10, ULY - 600)
    assert np.array_equal(read_all(part), read_all(whole)[:, 60:120, 60:120])
    scl = next(layer for layer in part.layers if layer.info.name == "SCL")
    assert scl.info.transform == (20, 0, ULX + 600, 0, -20, ULY - 600)
    full = next(layer for layer in whole.layers if layer.info.name == "SCL")
    assert np.array_equal(scl.read(slice(0, 30), slice(0, 30)), full.read(slice(30, 60), slice(30, 60)))
    degrees = rasterio.warp.transform_bounds(CRS, "EPSG:4326", *metres)
    by_degrees = open_scene([root], read=ReadOptions(bbox=degrees)).info
    assert by_degrees.shape == part.info.shape
    assert by_degrees.transform == part.info.transform


@pytest.mark.parametrize(
    ("bbox", "words"),
    [
        ((ULX, ULY, ULX - 5, ULY + 5), "is empty"),
        ((ULX - 500, ULY + 100, ULX - 100, ULY + 500), "does not touch the input, which covers 499980"),
    ],
)
def test_areas_that_are_refused(l2a, bbox, words):
    with pytest.raises(InputError, match=words):
        open_scene([l2a[0]], read=ReadOptions(bbox=bbox))


def test_layers_can_be_chosen_and_those_left_out_are_named(l2a):
    root, _ = l2a
    source = open_scene([root], read=ReadOptions(layers=("SCL",)))
    assert [layer.info.name for layer in source.layers] == ["SCL"]
    assert "AOT" in " ".join(source.info.left_out)
    with pytest.raises(InputError, match="no layer DEM in the input; it has AOT"):
        open_scene([root], read=ReadOptions(layers=("DEM",)))


def damaged(l2a, tmp_path):
    return shutil.copytree(l2a[0], tmp_path / "broken.SAFE")


def test_damaged_products_are_named(l2a, tmp_path):
    root = damaged(l2a, tmp_path)
    (tile,) = root.glob("GRANULE/*/MTD_TL.xml")
    text = tile.read_text()
    tile.write_text(text.replace("<NROWS>240", "<NROWS>250"))
    with pytest.raises(RasterError, match="files of different products are mixed"):
        open_scene([root])
    tile.write_text(text.replace("<ULX>", "<ULX>x"))
    with pytest.raises(RasterError, match=r"MTD_TL\.xml has 'x499980' where a number belongs"):
        open_scene([root])
    tile.unlink()
    with pytest.raises(RasterError, match="has 0 granules"):
        open_scene([root])
    (root / "MTD_MSIL2A.xml").write_text("<a>")
    with pytest.raises(RasterError, match=r"MTD_MSIL2A\.xml is no XML"):
        open_scene([root])
    (root / "MTD_MSIL2A.xml").write_text("<a><PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL></a>")
    with pytest.raises(RasterError, match="has no PRODUCT_URI"):
        open_scene([root])


def test_a_zip_of_several_products_is_refused(l2a, tmp_path):
    for name in ("a.SAFE", "b.SAFE"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "MTD_MSIL2A.xml").write_text("<a/>")
    archive = shutil.make_archive(tmp_path / "two", "zip", tmp_path / "in")
    with pytest.raises(RasterError, match="holds 2 products"):
        open_scene([archive])


def test_every_file_is_either_kept_or_named(l2a):
    root, _ = l2a
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    found = sort_files(names)
    kept = {*found.bands.values(), *found.layers.values(), *found.left_out}
    assert set(names) - kept == {name for name in names if name.endswith(("MTD_TL.xml", "MTD_MSIL2A.xml"))}


@pytest.mark.parametrize("kind", ["jp2", "tif"])
@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_there_and_back_at_native_pixels(standin, l2a, tmp_path, name, kind):
    root, pixels = l2a
    encoded = tmp_path / name
    run("encode", root, encoded, "--quality", 100, "--tile", 100)
    run("decode", encoded, tmp_path / "back", "--format", kind)
    for band in S2_L2A:
        size = 20 if band.name == "B01" else band.pixel_size
        path = tmp_path / "back" / band_path(root, band.name, size).with_suffix(f".{kind}").name
        with rasterio.open(path) as dataset:
            found = dataset.read(1).astype(int)
            assert dataset.crs == rasterio.crs.CRS.from_string(CRS)
            assert tuple(dataset.transform)[:6] == (size, 0, ULX, 0, -size, ULY)
            assert dataset.nodata == 0
        native = pixels[band.name, size][0].astype(int)
        for mark in (0, 65_535):
            assert np.array_equal(found == mark, native == mark), band.name
        assert np.abs(found - native).max() <= (0 if size == 10 else 1), band.name
    for layer, size in (("SCL", 20), ("AOT", 10), ("WVP", 10), ("MSK_CLDPRB", 20)):
        stem = layer if layer.startswith("MSK") else f"T29UNU_20230610T112119_{layer}"
        assert np.array_equal(pixels_of(tmp_path / "back" / f"{stem}_{size}m.{kind}"), pixels[layer, size])
    for document in ("MTD_MSIL2A.xml", "MTD_TL.xml"):
        (original,) = root.rglob(document)
        assert (tmp_path / "back" / document).read_bytes() == original.read_bytes()


def test_the_offset_is_for_the_network_only_and_can_be_taken_off(standin, l2a, tmp_path):
    root, pixels = l2a
    run("encode", root, tmp_path / "a.tec", "--quality", 100)
    found = json.loads(run("info", tmp_path / "a.tec", "--json").output)
    assert found["settings"]["offset"] == -1000
    run("decode", tmp_path / "a.tec", tmp_path / "without", "--without-offset")
    native = pixels["B02", 10][0]
    marks = (native == 0) | (native == 65_535)
    expected = np.where(marks, native, native - 1000)
    with rasterio.open(tmp_path / "without" / "T29UNU_20230610T112119_B02_10m.tif") as dataset:
        assert np.array_equal(dataset.read(1), expected)
        assert dataset.offsets == (0.0,)


def test_info_lists_layers_bands_and_what_was_left_out(standin, l2a, tmp_path):
    root, _ = l2a
    line = run("encode", root, tmp_path / "a.tec", "--bands", "B02,B05").stdout
    assert "beside the bands AOT WVP SCL MSK_CLDPRB in" in line
    found = json.loads(run("info", tmp_path / "a.tec", "--json").output)
    assert found["bands"] == ["B02", "B05"]
    assert len(found["absent"]) == 10
    assert found["native_pixels"] == {"B05": 2}
    assert {layer["name"]: layer["path"] for layer in found["layers"]}["SCL"] == "layers/20m/SCL"
    assert all(layer["bytes"] > 0 for layer in found["layers"])
    assert any("TCI" in name for name in found["left_out"])
    assert found["product"]["name"] == L2A_NAME
    # 240 x 240 of B02, 120 x 120 of B05, two bytes each
    assert found["raw_bytes"] == 2 * (240 * 240 + 120 * 120)
    assert found["ratio"] == pytest.approx(found["raw_bytes"] / (found["bytes"] - found["beside_bytes"]))
    assert "valid" in run("validate", tmp_path / "a.tec").output


def test_a_rate_target_is_of_the_bands_that_are_there(standin, l2a, tmp_path):
    root, _ = l2a
    run("encode", root, tmp_path / "a.tec", "--bands", "B02,B03,B04,B08", "--ratio", 4, "--layers", "none")
    found = json.loads(run("info", tmp_path / "a.tec", "--json").output)
    assert found["ratio"] == pytest.approx(4, rel=0.1)
    assert found["layers"] == []
