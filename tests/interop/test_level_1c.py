"""Models of thirteen bands, from files of Level-1C to files."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray

import eocodec
from eocodec.errors import BandError
from eocodec.interop.compare import compare_files
from eocodec.interop.files import DecodeOptions, decode_file, encode_file, open_any, open_encoded
from eocodec.interop.layers import layers_of
from eocodec.interop.model_bands import for_model
from eocodec.interop.published import import_checkpoint
from eocodec.interop.rio import ReadOptions, open_scene
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_L1C
from interop_support import names_in, smooth_scene, write_stack
from published_support import small_tt
from safe_support import STAMP, ULX, ULY, make_product

MODEL = "published/tec-tt-l1c@20"
BANDS = tuple(band.name for band in S2_L1C)
CIRRUS = BANDS.index("B10")
SIDE = 132
CALM = np.ones(
    (SIDE // 6, SIDE // 6), bool
)  # away from a peak, beside which a mean cannot be kept: DN end at 0
CALM[6:15, 16:] = False


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("l1c") / "model.pt"
    torch.save(small_tt(bands=13).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def model(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("EOCODEC_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return import_checkpoint(checkpoint, MODEL)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """Folder of a product and its pixels."""
    return make_product(tmp_path_factory.mktemp("safe"), "1C", side=SIDE)


def whole(source):
    return source.read(*(slice(0, side) for side in source.info.shape[1:]))


def test_a_product_becomes_a_scene_of_thirteen_bands(product):
    root, pixels = product
    source = open_scene([root])
    scene = for_model(source, BANDS)
    info = scene.info
    assert info.bands == BANDS
    assert info.shape == (13, SIDE, SIDE)
    assert info.factors == (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)
    assert info.scales == (1e-4,) * 13
    assert info.offsets == (-0.1,) * 13
    assert info.order == (*range(10), 12, 10, 11)
    assert info.sources[CIRRUS] == f"{STAMP}_B10.jp2"
    assert [layer.info.name for layer in layers_of(scene)] == ["MSK_CLASSI_B00"]
    found = whole(scene)
    assert np.array_equal(np.delete(found, CIRRUS, 0), whole(source))
    native = pixels["B10", 60][0]
    fine = found[CIRRUS].reshape(SIDE // 6, 6, SIDE // 6, 6)
    assert np.abs(fine.mean((1, 3)) - native)[CALM].max() <= 0.5
    assert np.array_equal((fine == 0).all((1, 3)), native == 0)


def test_a_model_of_twelve_bands_leaves_the_layer_where_it_is(product):
    source = open_scene([product[0]])
    assert for_model(source, source.info.bands) is source


def test_a_window_of_a_product(product):
    box = (ULX + 5.0, ULY - 1315.0, ULX + 1195.0, ULY - 425.0)
    scene = for_model(open_scene([product[0]], read=ReadOptions(bbox=box)), BANDS)
    part = (slice(42, 132), slice(0, 120))
    assert scene.info.shape[1:] == (90, 120) == whole(scene).shape[1:]
    full = whole(for_model(open_scene([product[0]]), BANDS))
    assert np.array_equal(
        np.delete(whole(scene), CIRRUS, 0), np.delete(full, CIRRUS, 0)[(slice(None), *part)]
    )
    apart = whole(scene)[CIRRUS].astype(int) - full[CIRRUS][part]
    assert np.abs(apart[48:-12, 72:-24]).max() <= 1  # a layer is interpolated from what is in the window


def test_the_network_gets_all_bands_without_the_offset(product):
    report = encode_file([product[0]], "a.tec", EncodeOptions(MODEL))
    assert report.layers == ("MSK_CLASSI_B00",)
    pixels = whole(for_model(open_scene([product[0]]), BANDS))
    expected = eocodec.decode(eocodec.encode(pixels, model=MODEL, nodata=0, offset=-1000))
    found = open_encoded("a.tec")
    assert found.info.bands == BANDS
    assert np.array_equal(whole(found), expected)


def test_a_product_comes_back_without_loss(product):
    root, pixels = product
    path = "a.zarr"
    encode_file([root], path, EncodeOptions(MODEL, max_error=0))
    decode_file(path, "out", DecodeOptions())
    with rasterio.open(f"out/{STAMP}_B10.tif") as dataset:
        assert dataset.shape == (SIDE // 6, SIDE // 6)
        assert np.array_equal(dataset.read(1)[CALM], pixels["B10", 60][0][CALM])
    assert sum("_B" in name for name in names_in("out")) >= 13
    assert compare_files(root, path).metrics.max_error == 0
    assert compare_files(path, root).metrics.max_error == 0
    decode_file(path, "back.tif", DecodeOptions())
    with rasterio.open("back.tif") as dataset:
        assert set(dataset.descriptions) == set(BANDS)
    assert np.array_equal(whole(for_model(open_any("back.tif"), BANDS)), whole(open_encoded(path)))


@pytest.mark.parametrize("names", [BANDS, (*BANDS[:10], *BANDS[11:], "B10"), None])
def test_stacks_of_thirteen_bands(names):
    """In any order that they name, or in the one that is stated."""
    pixels = smooth_scene(40, 50, 13)
    write_stack("in.tif", pixels, names or [None] * 13, nodata=0)
    encode_file(["in.tif"], "a.tec", EncodeOptions(MODEL, max_error=0), bands=None if names else BANDS)
    order = [(names or BANDS).index(band) for band in BANDS]
    assert np.array_equal(whole(open_encoded("a.tec")), pixels[order])


def test_cubes_and_xarray():
    pixels = smooth_scene(40, 50, 13)
    scene = xarray.DataArray(pixels, dims=("band", "y", "x"), coords={"band": list(BANDS)}, name="dn")
    scene.to_dataset().to_netcdf("in.nc", engine="h5netcdf")
    encode_file(["in.nc"], "a.tec", EncodeOptions(MODEL, max_error=0))
    assert np.array_equal(whole(open_encoded("a.tec")), pixels)
    scene.eocodec.to_zarr("b.zarr", model=MODEL, max_error=0)
    back = xarray.open_dataset("b.zarr", engine="eocodec")
    assert np.array_equal(back["dn"].values, pixels)
    assert back["wavelength"].values[CIRRUS] == 1374
    with pytest.raises(BandError, match="isel"):
        scene[::-1].eocodec.to_zarr("c.zarr", model=MODEL, max_error=0)


def test_a_bare_codestream_has_names():
    pixels = smooth_scene(20, 20, 13)
    Path("a.bin").write_bytes(eocodec.encode(pixels, model=MODEL, max_error=0))
    assert open_encoded("a.bin").info.bands == BANDS


def test_what_does_not_fit_is_named(tmp_path):
    root, _ = make_product(tmp_path, "2A", side=60)
    with pytest.raises(BandError, match=r"takes B01 .* B12; the input has no B10"):
        encode_file([root], "a.tec", EncodeOptions(MODEL))
    with pytest.raises(BandError, match="codes the 13 bands"):
        eocodec.encode(smooth_scene(20, 20), model=MODEL)
