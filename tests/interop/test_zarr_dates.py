"""Chunks of several dates: one of them read, further ones written after those that are there."""

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

import eocodec.interop.xarray  # noqa: F401  the accessor
from eocodec import codec
from eocodec.codestream import read_header, read_parts
from eocodec.errors import ChecksumMismatch, InputError
from eocodec.interop.zarr import TecCodec
from eocodec.interop.zarr_chunks import covers, dates_wanted, is_later
from eocodec.models.fp_inference import Inference
from eocodec.sensors import S2_BAND_NAMES
from interop_support import smooth_scene

SERIES = TecCodec(model="tec-tt", quality=30)


def scenes(dates, rows=32, cols=32):
    return np.stack([smooth_scene(rows, cols, seed=k) for k in range(dates)])


def create(store, dates, serializer=SERIES, size=(32, 32), **more):
    return zarr.create_array(
        store,
        shape=(dates, 12, *size),
        chunks=(4, 12, 32, 32),
        dtype="uint16",
        serializer=serializer,
        filters=None,
        compressors=None,
        fill_value=0,
        **more,
    )


def stream(store, key="c/0/0/0/0"):
    return sync(store.get(key, default_buffer_prototype())).to_bytes()


SHAPE = (5, 2, 3, 4)
ALL = (slice(0, 2), slice(0, 3), slice(0, 4))


@pytest.mark.parametrize(
    ("at", "dates"),
    [
        (slice(1, 3, 1), [1, 2]),
        (slice(0, 5, 2), [0, 2, 4]),
        (slice(3, None, -2), [1, 3]),
        (2, [2]),
        (np.array([4, 0, 4]), [0, 4]),
    ],
)
def test_what_a_selection_wants(at, dates):
    array = np.arange(5 * 2 * 3 * 4).reshape(SHAPE)
    found, among = dates_wanted((at, *ALL), SHAPE)
    assert found == dates
    assert np.array_equal(array[found][among], array[(at, *ALL)])


def test_what_a_selection_wants_along_several_axes_at_once():
    array = np.arange(5 * 2 * 3 * 4).reshape(SHAPE)
    selection = np.ix_([3, 1], [0], [2, 0], [1, 3])
    found, among = dates_wanted(selection, SHAPE)
    assert np.array_equal(array[found][among], array[selection])
    points = tuple(np.array(axis) for axis in ([4, 1, 4], [0, 1, 1], [2, 2, 0], [3, 0, 0]))
    found, among = dates_wanted(points, SHAPE)
    assert np.array_equal(array[found][among], array[points])


@pytest.mark.parametrize("selection", [(slice(0, 5), *ALL), (slice(None), *ALL), slice(None), (0, 0), ()])
def test_selections_of_all_dates(selection):
    assert dates_wanted(selection, SHAPE) is None


def test_axes_of_dates():
    assert dates_wanted((0, *ALL[1:]), (2, 3, 4)) is None
    assert dates_wanted((0, 1, *ALL), (1, *SHAPE))[0] == [1]
    assert is_later((slice(2, 4), *ALL), SHAPE, 2)
    assert not is_later((slice(1, 4), *ALL), SHAPE, 2)
    assert covers((slice(0, 5), *ALL), SHAPE)
    assert not covers((slice(0, 5, 2), *ALL), SHAPE)
    assert not covers((0, *ALL), SHAPE)


def test_one_date_is_made_an_image_alone(monkeypatch):
    store = MemoryStore()
    create(store, 4)[:] = scenes(4)
    array, whole = zarr.open_array(store, mode="r"), zarr.open_array(store, mode="r")[:]
    made, synthesis = [], Inference.synthesis
    monkeypatch.setattr(Inference, "synthesis", lambda *args: made.append(1) or synthesis(*args))
    assert np.array_equal(array[1], whole[1])
    assert len(made) == 1
    assert np.array_equal(array[1:3, 2:4, 7:20], whole[1:3, 2:4, 7:20])
    assert len(made) == 3
    assert np.array_equal(array.oindex[[0, 3], :, 3], whole[[0, 3], :, 3])
    assert len(made) == 5
    assert np.array_equal(array[:], whole)


def test_dates_of_any_model(standin):
    store = MemoryStore()
    create(store, 6, TecCodec(quality=100))[:] = scenes(6)
    array = zarr.open_array(store, mode="r")
    assert np.array_equal(array[5], scenes(6)[5])
    assert np.array_equal(array[2:5, 3], scenes(6)[2:5, 3])
    points = [5, 0], [1, 2], [3, 4], [5, 6]
    assert np.array_equal(array.vindex[points], scenes(6)[points])


def test_a_chunk_holds_no_dates_that_are_not_there():
    store = MemoryStore()
    create(store, 5)[:] = scenes(5)
    assert read_header(stream(store)).shape[0] == 4
    assert read_header(stream(store, "c/1/0/0/0")).shape[0] == 1
    array = zarr.open_array(store, mode="r")
    assert np.array_equal(array[4], codec.decode(stream(store, "c/1/0/0/0"))[0])


@pytest.mark.parametrize("shards", [None, (4, 12, 64, 32)])
def test_dates_go_on_in_a_chunk_that_is_not_full(shards):
    pixels = scenes(6, 40, 32)
    array = create(MemoryStore(), 2, size=(40, 32), shards=shards)
    array[:] = pixels[:2]
    before = array[:]
    for date in pixels[2:]:
        array.append(date[None], axis=0)
    assert array.shape[0] == 6
    assert np.array_equal(array[:2], before)
    assert np.abs(array[:].astype(int) - pixels).mean() < 60


def test_the_old_parts_stay():
    store = MemoryStore()
    array = create(store, 2)
    array[:] = scenes(2)
    parts = read_parts(stream(store))
    array.append(scenes(4)[2:], axis=0)
    assert read_parts(stream(store))[:2] == parts
    assert len(read_parts(stream(store))) == 4
    full = stream(store)
    array.append(scenes(5)[4:], axis=0)
    assert stream(store) == full
    assert len(read_parts(stream(store, "c/1/0/0/0"))) == 1


def test_dates_with_pixels_where_the_first_has_none():
    pixels = scenes(3)
    pixels[0, :, 10:] = 0
    pixels[0, :, :, 20:] = 0
    pixels[1, :, :5] = 0
    array = create(MemoryStore(), 1)
    array[:] = pixels[:1]
    before = array[0]
    array.append(pixels[1:], axis=0)
    assert np.array_equal(array[0], before)
    assert np.array_equal(array[:] == 0, pixels == 0)


def test_dates_left_out_on_the_way():
    array = create(MemoryStore(), 4)
    array[0] = scenes(1)[0]
    before = array[0]
    array[3] = scenes(2)[1]
    assert np.array_equal(array[0], before)
    assert not array[1:3].any()
    assert array[3].any()


def test_dates_that_are_there_are_encoded_anew():
    store = MemoryStore()
    array = create(store, 4)
    array[:2] = scenes(2)
    parts = read_parts(stream(store))
    array[1:3] = scenes(3)[1:]
    assert np.abs(array[:3].astype(int) - scenes(3)).mean() < 60
    assert read_parts(stream(store))[:2] != parts


def test_other_settings_encode_anew():
    store, finer = MemoryStore(), MemoryStore()
    array = create(store, 4)
    array[:1] = scenes(1)
    there = create(finer, 4, TecCodec(model="tec-tt", quality=80))
    sync(finer.set("c/0/0/0/0", default_buffer_prototype().buffer.from_bytes(stream(store))))
    there[1] = scenes(2)[1]
    assert read_header(stream(finer)).quality == 80


def test_a_chunk_at_the_edge_is_written_over_unread():
    store = MemoryStore()
    array = create(store, 4, size=(40, 32))
    array[:] = scenes(4, 40, 32)
    damaged = stream(store, "c/0/0/1/0")[:-1] + b"?"
    sync(store.set("c/0/0/1/0", default_buffer_prototype().buffer.from_bytes(damaged)))
    with pytest.raises(ChecksumMismatch):
        array[:, :, 32:]
    with pytest.raises(ChecksumMismatch):
        array[2, :, 32:] = 7
    array[:] = scenes(4, 40, 32)
    assert array[:, :, 32:].all()


def cube(dates, first=0):
    times = np.datetime64("2023-05-01", "ns") + np.arange(first, first + dates) * np.timedelta64(5, "D")
    return xr.Dataset(
        {"dn": (("time", "band", "y", "x"), scenes(first + dates, 40, 32)[first:], {"_FillValue": 0})},
        coords={"time": times, "band": list(S2_BAND_NAMES)},
    )


def read(path):
    return xr.open_dataset(path, engine="eocodec", mask_and_scale=False)


@pytest.mark.parametrize("chunked", [False, True])
def test_appended_with_xarray(tmp_path, chunked):
    path = tmp_path / "a.zarr"
    cube(1).eocodec.to_zarr(path, model="tec-tt", quality=30, tile=32, timesteps=4)
    first = read(path).dn.values
    for start, dates in ((1, 2), (3, 3)):
        new = cube(dates, start)
        (new.chunk({"time": 1, "x": 16}) if chunked else new).eocodec.to_zarr(path, append_dim="time")
    found = read(path)
    assert found.dn.encoding["chunks"][0] == 4
    assert found.sizes["time"] == 6
    assert np.array_equal(found.dn.values[:1], first)
    parts = [len(read_parts(p.read_bytes())) for p in sorted((path / "dn" / "c").rglob("*")) if p.is_file()]
    assert parts == [4, 4, 2, 2]


@pytest.mark.parametrize("settings", [{"model": "tec-elic"}, {"model": "tec-tt", "max_error": 20}])
def test_chunks_that_cannot_go_on_are_refused(tmp_path, settings):
    path = tmp_path / "a.zarr"
    cube(1).eocodec.to_zarr(path, tile=32, timesteps=2, **settings)
    with pytest.raises(InputError, match="timesteps=1"):
        cube(1, 1).eocodec.to_zarr(path, append_dim="time")
    assert read(path).sizes["time"] == 1
