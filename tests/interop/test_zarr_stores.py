"""The codec in every kind of store, without an import of eocodec, and a `.tec` as a store of Zarr."""

import asyncio
import pickle
import subprocess
import sys
import uuid

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore

from eocodec.errors import OutputError, RasterError
from eocodec.interop.scene import ArraySource, SceneInfo
from eocodec.interop.store import write_store
from eocodec.interop.zarr import TecCodec
from eocodec.interop.zarr_store import TecStore
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import smooth_scene

SERIES = np.stack([smooth_scene(40, 50, seed=k) for k in range(2)])
SETTINGS = {
    "serializer": {"name": "eocodec.tec", "configuration": {"quality": 100}},
    "filters": None,
    "compressors": None,
}


@pytest.fixture(scope="module")
def s3():
    """Options for a bucket `stores` on a server of this process."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (extra remote)")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "anyone", "secret": "anything", "endpoint_url": f"http://{host}:{port}"}
    import s3fs

    s3fs.S3FileSystem(**options, skip_instance_cache=True).mkdir("stores")
    yield options
    server.stop()


@pytest.fixture(params=["memory", "folder", "zip", "memory://", "file://", "s3://"])
def place(request, tmp_path):
    """(what to give to Zarr to write, what to read)."""
    name = f"{uuid.uuid4()}.zarr"
    if request.param == "memory":
        store = MemoryStore()
        return store, store
    if request.param == "folder":
        return LocalStore(tmp_path / name), str(tmp_path / name)
    if request.param == "zip":
        return ZipStore(tmp_path / "a.zip", mode="w"), ZipStore(tmp_path / "a.zip", mode="r")
    if request.param == "s3://":
        options = request.getfixturevalue("s3")
        return (FsspecStore.from_url(f"s3://stores/{name}", storage_options=options),) * 2
    if request.param == "file://":
        url, options = f"file://{tmp_path}/{name}", {"auto_mkdir": True}
    else:
        url, options = f"memory://{name}", {}
    return (FsspecStore.from_url(url, storage_options=options),) * 2


@pytest.mark.parametrize("shards", [None, (1, 12, 64, 64)])
def test_a_series_in_every_store(standin, place, shards):
    into, out_of = place
    group = zarr.create_group(into)
    array = group.create_array(
        "dn", shape=SERIES.shape, chunks=(1, 12, 32, 32), dtype="uint16", shards=shards, **SETTINGS
    )
    array[:] = SERIES
    if isinstance(into, ZipStore):
        into.close()
    found = zarr.open_group(out_of, mode="r")["dn"]
    assert np.array_equal(found[:], SERIES)
    assert np.array_equal(found[1, 3:5, 30:35, 45:], SERIES[1, 3:5, 30:35, 45:])


def test_asynchronously(standin):
    async def go():
        from zarr.api import asynchronous as zarr_async

        array = await zarr_async.create_array(
            MemoryStore(), shape=SERIES.shape, chunks=(1, 12, 32, 32), dtype="uint16", **SETTINGS
        )
        await array.setitem(slice(None), SERIES)
        return await asyncio.gather(*(array.getitem((k, slice(None), slice(20, 40))) for k in range(2)))

    assert np.array_equal(np.stack(asyncio.run(go())), SERIES[:, :, 20:40])


def test_a_window_decodes_only_what_it_touches(standin):
    array = zarr.create_array(
        MemoryStore(), shape=SERIES.shape, chunks=(1, 12, 16, 16), dtype="uint16", **SETTINGS
    )
    array[:] = SERIES
    standin.calls.clear()
    array[0, :, 10:20, 20:30]
    assert sum(standin.calls) == 2


def test_chunks_of_one_read_go_together_though_zarr_asks_one_by_one(standin, monkeypatch):
    """Zarr's default batch is a single chunk; what waits for the network is taken along."""
    import time

    slow = standin.decode_batch

    def decode_batch(streams):
        time.sleep(0.05)
        return slow(streams)

    monkeypatch.setattr(standin, "decode_batch", decode_batch)
    array = zarr.create_array(
        MemoryStore(), shape=(12, 64, 256), chunks=(12, 32, 32), dtype="uint16", **SETTINGS
    )
    array[:] = smooth_scene(64, 256)
    standin.calls.clear()
    array[:]
    assert sum(standin.calls) == 16
    assert len(standin.calls) < 16


@pytest.fixture
def tec(standin, tmp_path):
    pixels = smooth_scene(40, 50)
    info = SceneInfo(pixels.shape, pixels.dtype, S2_BAND_NAMES)
    write_store(tmp_path / "a.tec", ArraySource(info, pixels), EncodeOptions(quality=100), tile=32)
    return tmp_path / "a.tec", pixels


def test_a_tec_is_a_store(tec):
    path, pixels = tec
    store = TecStore(path)
    assert np.array_equal(zarr.open_group(store, mode="r")["dn"][:], pixels)
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert np.array_equal(zarr.open_array(again, path="dn", mode="r")[2:4, 30:, 30:], pixels[2:4, 30:, 30:])


def test_a_tec_is_listed_like_any_store(tec, tmp_path):
    async def listed(store):
        found = [key async for key in store.list()]
        under = [key async for key in store.list_prefix("dn/c/0/1")]
        names = []
        for prefix in ("", "dn", "dn/c/0/"):
            names.append({name async for name in store.list_dir(prefix)})
        sizes = [await store.getsize(key) for key in sorted(found)]
        return sorted(found), sorted(under), names, sizes, await store.exists("dn/c/0/0/0")

    path, _ = tec
    zipped = ZipStore(path, mode="r")
    zipped._sync_open()
    assert asyncio.run(listed(TecStore(path))) == asyncio.run(listed(zipped))


def test_parts_of_a_key(tec):
    from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

    store, prototype = TecStore(tec[0]), default_buffer_prototype()

    async def parts():
        asked = [None, RangeByteRequest(2, 5), OffsetByteRequest(3), SuffixByteRequest(4)]
        found = await store.get_partial_values(prototype, [("zarr.json", part) for part in asked])
        return [part.to_bytes() for part in found], await store.get("nothing", prototype)

    (whole, *found), nothing = asyncio.run(parts())
    assert found == [whole[2:5], whole[3:], whole[-4:]]
    assert nothing is None


def test_a_tec_is_read_only(tec):
    store = TecStore(tec[0])
    with pytest.raises((OutputError, ValueError), match="read"):
        zarr.open_group(store, mode="r+")["dn"][:] = 0
    with pytest.raises(OutputError, match="read-only"):
        store.with_read_only(False)
    with pytest.raises(RasterError, match="does not exist"):
        TecStore("nowhere.tec")


USER = """
import sys, zarr, xarray
assert not [name for name in sys.modules if name.startswith("eocodec")]
array = zarr.open("a.zarr")["dn"]
assert array.shape == (12, 40, 50), array.shape
assert "torch" not in sys.modules
ds = xarray.open_zarr("a.zarr")
window = ds.dn[:, :20, :20].values
assert window.shape == (12, 20, 20) and abs(window - array[:, :20, :20]).max() == 0
print(float(window.mean()))
"""


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_no_import_of_eocodec_is_needed(tmp_path):
    """In a process of its own, with the networks: what a user types after `pip install`."""
    pytest.importorskip("dask")
    pixels = smooth_scene(40, 50)
    array = zarr.create_group(tmp_path / "a.zarr").create_array(
        "dn",
        shape=pixels.shape,
        chunks=(12, 40, 50),
        dtype="uint16",
        serializer=TecCodec(quality=80),
        filters=None,
        compressors=None,
        dimension_names=["band", "y", "x"],
    )
    array[:] = pixels
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    done = subprocess.run([sys.executable, "-c", USER], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(pixels[:, :20, :20].mean(), rel=0.01)
