"""A `.tec` behind a URL: few requests, the same pixels, and every defect an error of ours."""

import socket
import uuid
import zipfile

import fsspec
import numpy as np
import pytest

from eocodec.bench.range_server import serve
from eocodec.errors import CodecError, CodestreamError, MissingDependency, RasterError
from eocodec.interop import remote
from eocodec.interop.container import Container, pack
from eocodec.interop.scene import ArraySource, SceneInfo
from eocodec.interop.store import StoreSource, write_store
from eocodec.options import EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import TRANSFORM, smooth_scene

TILE = 64


@pytest.fixture
def tec(standin, tmp_path):
    """A scene of 3 x 4 tiles that is larger than what is fetched at first."""
    pixels = smooth_scene(180, 250)
    info = SceneInfo(pixels.shape, pixels.dtype, S2_BAND_NAMES, crs_wkt='X["made up"]', transform=TRANSFORM)
    write_store(tmp_path / "a.tec", ArraySource(info, pixels), EncodeOptions(quality=100), tile=TILE)
    assert (tmp_path / "a.tec").stat().st_size > 2 * remote.END_BYTES
    return tmp_path / "a.tec", pixels


def at_url(path, change=lambda data: data):
    """The file in memory, behind a URL."""
    url = f"memory://{uuid.uuid4()}/{path.name}"
    with fsspec.open(url, "wb") as stream:
        stream.write(change(path.read_bytes()))
    return url


def test_one_request_opens_and_one_more_reads_a_tile(tec):
    path, pixels = tec
    with serve(path.parent) as traffic:
        source = StoreSource(f"{traffic.address}/a.tec")
        assert [asked for _, _, asked in traffic.requests] == [f"bytes=-{remote.END_BYTES}"]
        traffic.clear()
        assert np.array_equal(source.read(slice(70, 120), slice(10, 60)), pixels[:, 70:120, 10:60])
        assert len(traffic.requests) == 1
        tile = source.container.sizes["dn/c/0/1/0"]
        assert tile <= traffic.sent <= tile + 100
        traffic.clear()
        assert np.array_equal(source.read(slice(60, 70), slice(60, 70)), pixels[:, 60:70, 60:70])
        assert len(traffic.requests) == 4
        assert source.container.total_bytes() == path.stat().st_size


@pytest.mark.parametrize("end_bytes", [400, 3000, 10_000_000])
def test_any_part_of_the_directory_may_be_missing_from_the_first_request(tec, monkeypatch, end_bytes):
    monkeypatch.setattr(remote, "END_BYTES", end_bytes)
    path, pixels = tec
    with Container(path) as local, Container(at_url(path)) as far:
        assert far.sizes == local.sizes
        assert all(far.read(key) == local.read(key) for key in local.sizes)
    assert np.array_equal(StoreSource(at_url(path)).read(slice(0, 180), slice(0, 250)), pixels)


def test_a_server_without_ranges_sends_the_file_once(tec):
    path, pixels = tec
    with serve(path.parent, ranges=False) as traffic:
        source = StoreSource(f"{traffic.address}/a.tec")
        assert np.array_equal(source.read(slice(0, 180), slice(0, 250)), pixels)
        assert len(traffic.requests) == 1


@pytest.mark.parametrize("end_bytes", [400, 64 * 1024])
def test_a_directory_with_64_bit_fields(tmp_path, monkeypatch, end_bytes):
    """Above 65 535 entries or 4 GB another record follows the directory, and says where that one begins."""
    path = tmp_path / "many.tec"
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    monkeypatch.setattr(remote, "END_BYTES", end_bytes)
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(50):
            archive.writestr(zipfile.ZipInfo(str(k)), 100 * str(k).encode())
    assert path.read_bytes().count(b"PK\x06\x06") == 1
    with Container(at_url(path)) as far:
        assert [far.read(str(k)) for k in range(50)] == [100 * str(k).encode() for k in range(50)]


def test_what_is_not_there(tec):
    path, _ = tec
    with serve(path.parent) as traffic, pytest.raises(RasterError, match=r"b\.tec does not exist"):
        Container(f"{traffic.address}/b.tec")
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    with pytest.raises(RasterError, match="check address"):
        Container(f"http://127.0.0.1:{port}/a.tec")
    with pytest.raises(RasterError, match="unknown protocol"):
        Container("nonsense://host/a.tec")


def test_without_what_it_takes_to_read_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(MissingDependency, match=r"pip install 'eocodec\[remote\]'"):
        Container("https://example.com/a.tec")


def test_damage_is_named(tec):
    path, pixels = tec
    outcomes = set()
    size = path.stat().st_size
    for position in [*range(0, size - 3000, 9973), *range(size - 3000, size, 31)]:

        def flip(data, position=position):
            return data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :]

        try:
            decoded = StoreSource(at_url(path, flip)).read(slice(0, 180), slice(0, 250))
            assert np.array_equal(decoded, pixels)
        except (CodestreamError, RasterError) as error:
            outcomes.add(type(error).__name__)
    assert {"ChecksumMismatch", "BadMagic"} <= outcomes


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99, 0.9999])
def test_a_file_cut_short_is_named(tec, share):
    path, _ = tec
    with pytest.raises(CodecError):
        StoreSource(at_url(path, lambda data: data[: int(share * len(data))]))


def test_a_packed_folder_has_its_documents_last(tmp_path):
    folder = tmp_path / "a.zarr"
    names = ["zarr.json", "dn/zarr.json", "x/zarr.json", "x/c/0", *(f"dn/c/0/{j}" for j in (10, 9, 0))]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    pack(folder, tmp_path / "a.tec")
    with Container(tmp_path / "a.tec") as packed:
        assert {key: packed.read(key).decode() for key in packed.sizes} == {name: name for name in names}
        order = ["dn/c/0/0", "dn/c/0/9", "dn/c/0/10", "x/c/0", "dn/zarr.json", "x/zarr.json", "zarr.json"]
        assert sorted(packed.sizes) == sorted(order)
        assert list(packed.sizes)[:4] == order[:4]
        assert list(packed.sizes)[-1] == "zarr.json"
