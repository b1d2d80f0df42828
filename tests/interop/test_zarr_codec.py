"""`TecCodec` within Zarr: creation, batches, sharding, errors at creation."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from zarr.abc.codec import SupportsSyncCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.dtype import UInt16
from zarr.registry import get_codec_class
from zarr.storage import MemoryStore

from eocodec.codestream.header import parse_layout
from eocodec.errors import BandError, ConfigError, InputError, MalformedHeader, ModelNotFound, UnitsError
from eocodec.interop.zarr import TecCodec
from eocodec.options import EncodeOptions
from interop_support import smooth_scene, standin_encode


def create(store, shape=(12, 40, 70), chunks=(12, 32, 32), dtype="uint16", codec=None, **more):
    settings = {"filters": None, "compressors": None, "fill_value": 0, **more}
    codec = codec or TecCodec(quality=100)
    return zarr.create_array(store, shape=shape, chunks=chunks, dtype=dtype, serializer=codec, **settings)


def test_registered_by_entry_point():
    assert get_codec_class("eocodec.tec") is TecCodec


@pytest.mark.parametrize(
    "codec",
    [
        TecCodec(),
        TecCodec("tec-elic", 12.5, 0, 10_000.0, -1000.0),
        TecCodec(nodata=math.nan, scale=1.0),
        TecCodec(max_error=0),
        TecCodec(quality=30, max_error=25),
    ],
)
def test_configuration_survives_json(codec):
    text = json.dumps(codec.to_dict(), allow_nan=False)
    assert TecCodec.from_dict(json.loads(text)).to_dict() == codec.to_dict()
    assert TecCodec.from_options(codec.options()).to_dict() == codec.to_dict()


@pytest.mark.parametrize(
    "data",
    [
        {"name": "bytes"},
        {"name": "eocodec.tec", "configuration": {"qualty": 3}},
        {"name": "eocodec.tec", "configuration": {"quality": 101}},
        {"name": "eocodec.tec", "configuration": {"max_error": -1}},
    ],
)
def test_bad_configurations_are_named(data):
    with pytest.raises(ConfigError):
        TecCodec.from_dict(data)


def test_round_trip_and_reopening(standin):
    pixels = smooth_scene(40, 70)
    store = MemoryStore()
    create(store)[:] = pixels
    array = zarr.open_array(store, mode="r")
    assert np.array_equal(array[:], pixels)
    assert np.array_equal(array[2:5, 30:34, 60:], pixels[2:5, 30:34, 60:])


def test_partial_write_reads_back_what_was_there(standin):
    pixels = smooth_scene(40, 70)
    array = create(MemoryStore())
    array[:] = pixels
    array[:, 10:20, 10:50] = 7
    pixels[:, 10:20, 10:50] = 7
    assert np.array_equal(array[:], pixels)


@pytest.mark.parametrize("batch", [1, 4])
def test_chunks_go_through_the_network_together(standin, batch):
    with zarr.config.set({"codec_pipeline.batch_size": batch}):
        array = create(MemoryStore(), shape=(12, 64, 64))
        array[:] = smooth_scene(64, 64)
        array[:]
    assert sum(standin.calls) == 8  # four to write, four to read
    assert min(standin.calls) >= batch


def test_a_large_batch_is_cut(standin, monkeypatch):
    monkeypatch.setattr("eocodec.interop.zarr.PIXELS_PER_CALL", 3 * 32 * 32)
    with zarr.config.set({"codec_pipeline.batch_size": 100}):
        create(MemoryStore(), shape=(12, 64, 128))[:] = smooth_scene(64, 128)
    assert standin.calls == [3, 3, 2]


def test_time_series_and_more_axes(standin):
    series = np.stack([smooth_scene(32, 32, seed=k) for k in range(4)])
    array = create(MemoryStore(), shape=(4, 12, 32, 32), chunks=(2, 12, 32, 32))
    array[:] = series
    assert np.array_equal(array[:], series)
    array = create(MemoryStore(), shape=(1, 4, 12, 32, 32), chunks=(1, 2, 12, 32, 32))
    array[:] = series[None]
    assert np.array_equal(array[:], series[None])


def test_in_shards(standin):
    pixels = smooth_scene(64, 64)
    array = create(MemoryStore(), shape=(12, 64, 64), chunks=(12, 32, 32), shards=(12, 64, 64))
    array[:] = pixels
    assert np.array_equal(array[:], pixels)
    assert np.array_equal(array[:, 40:50, 3:9], pixels[:, 40:50, 3:9])


def test_float_with_a_scale(standin):
    pixels = (smooth_scene(32, 32) / 10_000).astype("float32")
    array = create(
        MemoryStore(), shape=(12, 32, 32), dtype="float32", codec=TecCodec(quality=100, scale=10_000.0)
    )
    array[:] = pixels
    assert np.abs(array[:] - pixels).max() < 1e-4


def test_big_endian_arrays(standin):
    pixels = smooth_scene(32, 32)
    array = create(MemoryStore(), shape=(12, 32, 32), dtype=">u2")
    array[:] = pixels
    assert np.array_equal(array[:], pixels)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"dtype": "float32"}, UnitsError, "scale=10000"),
        ({"dtype": "complex64"}, UnitsError, "complex64"),
        ({"shape": (3, 40, 70), "chunks": (3, 32, 32)}, BandError, "has 3 bands"),
        ({"chunks": (6, 32, 32)}, BandError, "cut the bands"),
        ({"shape": (40, 70), "chunks": (32, 32)}, BandError, "axes"),
        ({"chunks": (12, 8, 8)}, InputError, "smaller than 16"),
        ({"shape": (2, 4, 12, 32, 32), "chunks": (2, 4, 12, 32, 32)}, InputError, "size 1"),
    ],
)
def test_refused_when_the_array_is_created(arguments, error, words):
    with pytest.raises(error, match=words):
        create(MemoryStore(), **arguments)


def test_a_chunk_of_another_array_is_an_error(standin):
    store = MemoryStore()
    array = create(store)
    array[:] = smooth_scene(40, 70)
    alien = standin_encode(smooth_scene(40, 40), EncodeOptions())
    buffer = default_buffer_prototype().buffer.from_bytes(alien)
    zarr.core.sync.sync(store.set("c/0/0/0", buffer))
    with pytest.raises(MalformedHeader, match="do not belong together"):
        array[:]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"dtype": "float32"}, UnitsError, "scale=10000"),
        ({"shape": (6, 64, 64), "chunks": (6, 32, 32), "shards": (6, 64, 64)}, BandError, "has 6 bands"),
        ({"chunks": (6, 32, 32), "shards": (12, 64, 64)}, BandError, "has 6 bands"),
    ],
)
def test_refused_in_shards_too(arguments, error, words):
    settings = {"shape": (12, 64, 64), "chunks": (12, 32, 32), "shards": (12, 64, 64), **arguments}
    with pytest.raises(error, match=words):
        create(MemoryStore(), **settings)


def stated_nodata(array):
    return array.metadata.to_dict()["codecs"][0]["configuration"].get("nodata")


def test_the_fill_value_is_nodata():
    assert stated_nodata(create(MemoryStore())) == 0
    assert stated_nodata(create(MemoryStore(), fill_value=7)) == 7
    assert stated_nodata(create(MemoryStore(), fill_value=7, codec=TecCodec(nodata=7.0))) == 7
    scaled = TecCodec(scale=10_000.0)
    assert stated_nodata(create(MemoryStore(), dtype="float32", codec=scaled, fill_value=math.nan)) is None
    minus = TecCodec(scale=10_000.0, nodata=-9999.0)
    assert stated_nodata(create(MemoryStore(), dtype="float32", codec=minus, fill_value=-9999)) == -9999
    with pytest.raises(InputError, match="nodata is 3, the array's fill value 0"):
        create(MemoryStore(), codec=TecCodec(nodata=3))


def test_what_was_never_written_is_exactly_the_fill_value(standin):
    pixels = smooth_scene(40, 70)
    array = create(MemoryStore(), codec=TecCodec(quality=0), fill_value=9)
    array[:, :20, :20] = pixels[:, :20, :20]
    found = array[:]
    assert (found[:, 20:] == 9).all()
    assert (found[:, :, 20:] == 9).all()
    assert np.abs(found[:, :20, :20].astype(int) - pixels[:, :20, :20]).max() <= 51


@pytest.mark.parametrize("fill", [0, 5])
def test_padding_at_the_edge_is_not_encoded(standin, fill):
    """Zarr hands out whole chunks; what it pads would cost bits, and ring into the pixels beside it."""
    store = MemoryStore()
    pixels = smooth_scene(40, 70)
    create(store, fill_value=fill)[:] = pixels
    stream = zarr.core.sync.sync(store.get("c/0/1/2", default_buffer_prototype())).to_bytes()
    assert parse_layout(stream).header.shape == (1, 12, 8, 6)
    assert np.array_equal(zarr.open_array(store, mode="r")[:], pixels)


def test_a_chunk_of_nothing_but_fill_values(standin):
    store = MemoryStore()
    array = create(store, config={"write_empty_chunks": True})
    array[:] = 0
    assert (zarr.open_array(store, mode="r")[:] == 0).all()
    stream = zarr.core.sync.sync(store.get("c/0/0/0", default_buffer_prototype())).to_bytes()
    assert parse_layout(stream).header.shape == (1, 12, 1, 1)


def test_nan_as_fill_value(standin):
    pixels = (smooth_scene(40, 40) / 10_000).astype("float32")
    pixels[:, 30:] = np.nan
    codec = TecCodec(quality=100, scale=10_000.0, nodata=math.nan)
    array = create(MemoryStore(), shape=(12, 40, 40), dtype="float32", codec=codec, fill_value=math.nan)
    array[:] = pixels
    assert np.array_equal(np.isnan(array[:]), np.isnan(pixels))


def test_a_missing_package_is_named():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, zarr\n"
        "array = zarr.create_array({}, shape=(12, 16, 16), chunks=(12, 16, 16), dtype='uint16',\n"
        "    serializer={'name': 'eocodec.tec', 'configuration': {}}, filters=None, compressors=None)\n"
        "array[:] = 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingDependency: torch is needed" in done.stderr
    assert "pip install" in done.stderr


def test_a_missing_model_is_named():
    array = create(MemoryStore(), codec=TecCodec(model="tec-nowhere"))
    with pytest.raises(ModelNotFound, match=r"no model 'tec-nowhere'.*pip install"):
        array[:] = 1


def test_the_synchronous_protocol(standin):
    codec = TecCodec(quality=100)
    assert isinstance(codec, SupportsSyncCodec)
    spec = SimpleNamespace(
        shape=(12, 32, 32), dtype=UInt16(), fill_value=0, prototype=default_buffer_prototype()
    )
    pixels = smooth_scene(32, 32)
    chunk = spec.prototype.nd_buffer.from_numpy_array(pixels)
    assert np.array_equal(codec._decode_sync(codec._encode_sync(chunk, spec), spec).as_numpy_array(), pixels)


def test_importing_it_imports_no_torch():
    code = "import sys, eocodec.interop.zarr; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
