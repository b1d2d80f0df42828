"""`.tec` and `.zarr`: what is written is a Zarr store, streams by tiles, and comes back."""

import json
import zipfile

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from eocodec.errors import (
    BadMagic,
    ChecksumMismatch,
    CodestreamError,
    InputError,
    MalformedHeader,
    OutputExists,
    RasterError,
    Truncated,
)
from eocodec.interop.rio import open_scene
from eocodec.interop.scene import ArraySource, SceneInfo, tile_batches, tile_windows
from eocodec.interop.store import StoreSource, overhead_bytes, write_store
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import TRANSFORM, names_in, smooth_scene, write_stack

LOSSLESS = EncodeOptions(quality=100)


def in_memory(pixels, **known):
    info = SceneInfo(pixels.shape, pixels.dtype, S2_BAND_NAMES, **known)
    return ArraySource(info, pixels)


def read_all(source):
    _, height, width = source.info.shape
    return source.read(slice(0, height), slice(0, width))


@pytest.fixture(params=["a.tec", "a.zarr"])
def target(request, tmp_path):
    return tmp_path / request.param


def test_round_trip(standin, tmp_path, target):
    pixels = smooth_scene(100, 150)
    path = write_stack(tmp_path / "a.tif", pixels[::-1], S2_BAND_NAMES[::-1], nodata=0)
    first = open_scene([path])
    report = write_store(target, first, EncodeOptions(quality=100, nodata=0), tile=64)
    second = StoreSource(target)
    assert np.array_equal(read_all(second), pixels)
    assert second.info == first.info
    assert report.tiles == 6
    assert 0 < report.codestream_bytes < report.total_bytes


def test_windows_decode_only_the_tiles_they_touch(standin, target):
    pixels = smooth_scene(100, 150)
    write_store(target, in_memory(pixels), LOSSLESS, tile=32)
    source = StoreSource(target)
    standin.calls.clear()
    assert np.array_equal(source.read(slice(30, 70), slice(64, 90)), pixels[:, 30:70, 64:90])
    assert standin.calls == [1, 1, 1]


@pytest.mark.parametrize("tile", [32, 48])
def test_tiles_are_read_as_they_are_and_other_windows_too(standin, target, tile):
    pixels = smooth_scene(100, 150)
    write_store(target, in_memory(pixels), LOSSLESS, tile=32)
    source = StoreSource(target)
    standin.calls.clear()
    for batch in tile_batches(tile_windows((100, 150), tile), tile):
        for (_, _, (rows, cols)), found in zip(batch, source.read_tiles(batch), strict=True):
            assert np.array_equal(found, pixels[:, rows, cols])
    if tile == 32:
        assert standin.calls == [5] * 4  # a row of tiles at a time, none of them twice


def test_neighbouring_tiles_go_through_the_network_together(standin, target):
    write_store(target, in_memory(smooth_scene(64, 512)), LOSSLESS, tile=32)
    assert standin.calls == [16, 16]


def test_sizes_in_one_call_are_bounded(standin, target, monkeypatch):
    monkeypatch.setattr("eocodec.interop.scene.PIXELS_PER_BATCH", 3 * 32 * 32)
    write_store(target, in_memory(smooth_scene(64, 130)), LOSSLESS, tile=32)
    assert standin.calls == [3, 2, 3, 2]


def test_zarr_opens_it(standin, tmp_path, target):
    """Another program finds the pixels, through the registered codec, and the georeferencing."""
    pixels = smooth_scene(100, 150)
    known = {"crs_wkt": 'PROJCRS["made up"]', "transform": TRANSFORM, "nodata": 0}
    write_store(target, in_memory(pixels, **known), EncodeOptions(quality=100, nodata=0), tile=64)
    store = ZipStore(target, mode="r") if target.suffix == ".tec" else target
    group = zarr.open_group(store, mode="r")
    array = group["dn"]
    assert np.array_equal(array[:], pixels)
    assert np.array_equal(array[3, 60:70, 140:], pixels[3, 60:70, 140:])
    assert array.metadata.dimension_names == ("band", "y", "x")
    assert array.fill_value == 0
    assert array.attrs["grid_mapping"] == "spatial_ref"
    assert array.attrs["band_names"] == list(S2_BAND_NAMES)
    assert array.attrs["wavelengths_nm"][8] == 865
    assert group["spatial_ref"].attrs["crs_wkt"] == known["crs_wkt"]
    transform = [float(value) for value in group["spatial_ref"].attrs["GeoTransform"].split()]
    assert transform == [600_000.0, 10.0, 0.0, 5_300_040.0, 0.0, -10.0]
    assert group["spatial_ref"][()] == 0


def test_the_zip_is_stored_and_depends_on_its_content_only(standin, tmp_path):
    for name in ("a.tec", "b.tec"):
        write_store(tmp_path / name, in_memory(smooth_scene(70, 70)), LOSSLESS, tile=32)
    assert (tmp_path / "a.tec").read_bytes() == (tmp_path / "b.tec").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.tec") as archive:
        entries = archive.infolist()
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert len(entries) == len({entry.filename for entry in entries}) == 2 + 9


@pytest.mark.parametrize("suffix", [".tec", ".zarr"])
def test_overhead_is_what_it_says(standin, tmp_path, suffix):
    source = in_memory(smooth_scene(70, 40), transform=TRANSFORM, crs_wkt='X["ü"]')
    report = write_store(tmp_path / f"a{suffix}", source, LOSSLESS, tile=32)
    expected = overhead_bytes(source.info, LOSSLESS, 32, suffix)
    assert report.total_bytes - report.codestream_bytes == expected


def test_float_scene_with_nan(standin, target):
    pixels = (smooth_scene(40, 40) / 10_000).astype("float32")
    pixels[:, 3:5] = np.nan
    known = {"nodata": float("nan")}
    write_store(target, in_memory(pixels, **known), EncodeOptions(nodata=float("nan"), scale=10_000.0))
    source = StoreSource(target)
    assert np.isnan(source.info.nodata)
    decoded = read_all(source)
    assert np.array_equal(np.isnan(decoded), np.isnan(pixels))
    assert np.nanmax(np.abs(decoded - pixels)) < 30 / 10_000


@pytest.mark.parametrize(("name", "tile"), [("a.zip", 64), ("a", 64), ("a.tec", 8), ("a.tec", 100_000)])
def test_names_and_tiles_that_are_refused(standin, tmp_path, name, tile):
    with pytest.raises(InputError):
        write_store(tmp_path / name, in_memory(smooth_scene(20, 20)), LOSSLESS, tile=tile)
    assert names_in(tmp_path) == []


def test_a_failure_half_way_leaves_the_old_output(standin, target):
    write_store(target, in_memory(smooth_scene(64, 64)), LOSSLESS, tile=32)
    before = StoreSource(target).read(slice(0, 64), slice(0, 64))

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(OutputExists):
        write_store(target, in_memory(smooth_scene(64, 64, seed=1)), LOSSLESS, tile=32)
    with pytest.raises(KeyboardInterrupt):
        write_store(
            target, in_memory(smooth_scene(64, 64, seed=1)), LOSSLESS, tile=32, force=True, progress=fail
        )
    assert names_in(target.parent) == [target.name]
    assert np.array_equal(StoreSource(target).read(slice(0, 64), slice(0, 64)), before)


def test_no_store_at_all(tmp_path):
    with pytest.raises(RasterError, match="does not exist"):
        StoreSource(tmp_path / "a.tec")
    (tmp_path / "a.tec").write_bytes(b"PK but no archive")
    with pytest.raises(BadMagic):
        StoreSource(tmp_path / "a.tec")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(Truncated, match=r"lacks zarr\.json"):
        StoreSource(tmp_path / "a.zarr")


@pytest.fixture
def small_zarr(standin, tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, in_memory(smooth_scene(40, 40), transform=TRANSFORM), LOSSLESS, tile=32)
    return path


def test_a_missing_tile_is_an_error_not_a_hole(small_zarr):
    (small_zarr / "dn/c/0/1/1").unlink()
    source = StoreSource(small_zarr)
    source.read(slice(0, 32), slice(0, 32))
    with pytest.raises(Truncated, match="dn/c/0/1/1"):
        read_all(source)


def test_tiles_in_each_others_place_are_noticed(small_zarr):
    tile = small_zarr / "dn/c/0/1/1"
    tile.write_bytes((small_zarr / "dn/c/0/0/0").read_bytes())
    with pytest.raises(MalformedHeader, match=r"tile \(1, 1\) decodes to \(12, 32, 32\)"):
        read_all(StoreSource(small_zarr))


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("document", "change"),
    [
        ("zarr.json", lambda d: d["attributes"].pop("eocodec")),
        ("zarr.json", lambda d: d["attributes"]["eocodec"].update(layout=9)),
        ("zarr.json", lambda d: d["attributes"]["eocodec"]["scene"].update(order=[0] * 12)),
        ("dn/zarr.json", lambda d: d.update(shape=[12, 40])),
        ("dn/zarr.json", lambda d: d.update(shape=[12, -40, 40])),
        ("dn/zarr.json", lambda d: d.update(shape="large")),
        ("dn/zarr.json", lambda d: d.update(data_type="nonsense")),
        ("dn/zarr.json", lambda d: d.update(codecs=[{"name": "bytes"}])),
        ("dn/zarr.json", lambda d: d["attributes"].update(band_names=["B01"])),
        ("spatial_ref/zarr.json", lambda d: d["attributes"].update(GeoTransform="1 2 3")),
    ],
)
def test_damaged_documents_are_named(small_zarr, document, change):
    edit(small_zarr / document, change)
    with pytest.raises(MalformedHeader):
        StoreSource(small_zarr)


def test_every_flipped_byte_of_a_tec_is_noticed_or_harmless(standin, tmp_path):
    """The ZIP has a CRC of each entry, so what is read is what was written, or an error of ours."""
    pixels = smooth_scene(16, 16)
    path = tmp_path / "a.tec"
    write_store(path, in_memory(pixels), EncodeOptions(quality=0), tile=16)
    whole = path.read_bytes()
    expected = read_all(StoreSource(path))
    outcomes = set()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        try:
            assert np.array_equal(read_all(StoreSource(path)), expected)
            outcomes.add("harmless")  # such as a date
        except (CodestreamError, RasterError) as error:
            outcomes.add(type(error))
    assert {ChecksumMismatch, BadMagic} <= outcomes


def test_a_tec_cut_short_is_noticed(standin, tmp_path):
    path = tmp_path / "a.tec"
    write_store(path, in_memory(smooth_scene(16, 16)), EncodeOptions(quality=0), tile=16)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CodestreamError):
            StoreSource(path)


def test_a_compressed_zip_is_refused(standin, small_zarr, tmp_path):
    """Its sizes could promise anything; a stored entry cannot be larger than the file."""
    path = tmp_path / "bomb.tec"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("zarr.json", "dn/zarr.json"):
            archive.write(small_zarr / name, name)
    with pytest.raises(MalformedHeader, match="compressed"):
        StoreSource(path)
