"""Layers beside the bands: bit for bit, for any Zarr reader, and checked."""

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from eocodec.errors import ChecksumMismatch, InputError, MalformedHeader, Truncated
from eocodec.interop.inspect import describe_file, validate_file
from eocodec.interop.layers import LayerInfo
from eocodec.interop.scene import SceneInfo
from eocodec.interop.store import StoreSource, write_store
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import TRANSFORM, smooth_scene

SIDE = 64
COARSE = (20.0, 0.0, TRANSFORM[2], 0.0, -20.0, TRANSFORM[5])


class Source:
    """A scene in memory with layers and documents."""

    def __init__(self, layers=(), documents=None):
        self.pixels = smooth_scene(SIDE, SIDE)
        self.info = SceneInfo(
            self.pixels.shape, self.pixels.dtype, S2_BAND_NAMES, 0, 'PROJCRS["made up"]', TRANSFORM
        )
        self.layers = tuple(layers)
        self.documents = documents or {}

    def read(self, rows, cols):
        return self.pixels[:, rows, cols]

    def close(self):
        pass


class Layer:
    """A layer in memory."""

    def __init__(self, name, pixels, transform=COARSE, **known):
        self.info = LayerInfo(name, pixels.shape, pixels.dtype, transform, **known)
        self.pixels = pixels

    def read(self, rows, cols):
        return self.pixels[:, rows, cols]


def noise(count, rows, cols, dtype="uint8", seed=0):
    return np.random.default_rng(seed).integers(0, 200, (count, rows, cols)).astype(dtype)


@pytest.fixture(params=["a.tec", "a.zarr"])
def target(request, tmp_path):
    return tmp_path / request.param


def write(target, *layers, documents=None):
    return write_store(target, Source(layers, documents), EncodeOptions(quality=100, nodata=0))


def whole(layer):
    _, rows, cols = layer.info.shape
    return layer.read(slice(0, rows), slice(0, cols))


LAYERS = (
    Layer("SCL", noise(1, 32, 33), source="T_SCL_20m.jp2", tags={"kind": "classes"}),
    Layer("MASKS", noise(3, 32, 33)),
    Layer("WVP", noise(1, 64, 64, "uint16"), TRANSFORM, nodata=7),
    Layer("DEM", noise(1, 10, 11, "float32"), None),
    Layer("big", noise(1, 1100, 1030, "int16"), None),
)


def test_layers_come_back_bit_for_bit(standin, target):
    report = write(target, *LAYERS, documents={"MTD.xml": b"<a>\xc3\xbc</a>"})
    assert 0 < report.beside_bytes < report.total_bytes - report.codestream_bytes
    source = StoreSource(target)
    assert [layer.info for layer in source.layers] == [layer.info for layer in LAYERS]
    for found, given in zip(source.layers, LAYERS, strict=True):
        assert np.array_equal(whole(found), given.pixels)
    big = source.layers[-1]
    window = (slice(1000, 1090), slice(1020, 1030))
    assert np.array_equal(big.read(*window), LAYERS[-1].pixels[(slice(None), *window)])
    assert source.documents == {"MTD.xml": b"<a>\xc3\xbc</a>"}
    assert validate_file(target).ok
    assert validate_file(target).warnings == ()


def test_any_zarr_reader_has_them(standin, target):
    write(target, *LAYERS, documents={"MTD.xml": b"<a/>"})
    group = zarr.open_group(ZipStore(target, mode="r") if target.suffix == ".tec" else target, mode="r")
    assert np.array_equal(group["layers/20m/SCL"][:], LAYERS[0].pixels[0])
    assert np.array_equal(group["layers/20m/MASKS"][:], LAYERS[1].pixels)
    assert np.array_equal(group["layers/1100x1030/big"][:], LAYERS[4].pixels[0])
    assert group["layers/10m/WVP"].attrs["_FillValue"] == 7
    assert group["layers/20m/SCL"].metadata.dimension_names == ("y", "x")
    assert group["layers/20m/spatial_ref"].attrs["crs_wkt"] == 'PROJCRS["made up"]'
    assert group["layers/20m/spatial_ref"].attrs["GeoTransform"].startswith("600000.0 20.0")
    assert group["documents/MTD.xml"][:].tobytes() == b"<a/>"


def test_xarray_opens_a_grid(standin, tmp_path):
    xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
    write(tmp_path / "a.zarr", *LAYERS)
    found = xr.open_zarr(tmp_path / "a.zarr", group="layers/20m", mask_and_scale=False)
    assert np.array_equal(found.SCL.values, LAYERS[0].pixels[0])
    assert np.array_equal(found.MASKS.values, LAYERS[1].pixels)
    # the bands' own group is not disturbed by grids of other sizes
    assert xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False).dn.shape == (12, SIDE, SIDE)


def test_info_counts_them_apart(standin, target):
    write(target, LAYERS[0])
    found = describe_file(target)
    (layer,) = found["layers"]
    assert layer["name"] == "SCL"
    assert layer["bytes"] == found["beside_bytes"] > 0


def damage(target, key, change):
    path = target / key
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data[:-5] + b"\0" + data[-4:], ChecksumMismatch),
        (lambda data: data[:10], Truncated),
    ],
)
def test_damage_is_noticed(standin, tmp_path, change, error):
    target = tmp_path / "a.zarr"
    write(target, LAYERS[0], documents={"MTD.xml": b"<a/>"})
    damage(target, "layers/20m/SCL/c/0/0", change)
    with pytest.raises(error):
        whole(StoreSource(target).layers[0])
    report = validate_file(target)
    assert not report.ok
    assert error.__name__ in report.errors[0]


def test_a_chunk_of_another_layer_is_noticed(standin, tmp_path):
    target = tmp_path / "a.zarr"
    write(target, LAYERS[0], LAYERS[2])
    damage(target, "layers/20m/SCL/c/0/0", lambda _: (target / "layers/10m/WVP/c/0/0").read_bytes())
    with pytest.raises(MalformedHeader, match="does not hold"):
        whole(StoreSource(target).layers[0])
    (target / "layers/20m/SCL/c/0/0").unlink()
    with pytest.raises(Truncated, match="lacks layers/20m/SCL"):
        whole(StoreSource(target).layers[0])


def test_two_layers_of_one_name_are_refused(standin, target):
    with pytest.raises(InputError, match="two layers are called SCL"):
        write(target, LAYERS[0], LAYERS[0])
    assert not target.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.update(shape=[1, 0, 4]),
        lambda layer: layer.update(shape=[1, 4]),
        lambda layer: layer.update(dtype="object"),
        lambda layer: layer.update(path="../elsewhere"),
        lambda layer: layer.update(GeoTransform="1 2"),
        lambda layer: layer.pop("name"),
    ],
)
def test_damaged_descriptions_are_named(standin, tmp_path, change):
    import json

    target = tmp_path / "a.zarr"
    write(target, LAYERS[0])
    document = json.loads((target / "zarr.json").read_text())
    change(document["attributes"]["eocodec"]["layers"][0])
    (target / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(MalformedHeader):
        StoreSource(target)
