"""Describing and validating files without a model."""

import json
import subprocess
import sys

import pytest

from eocodec.errors import BadMagic, RasterError
from eocodec.interop.inspect import describe_file, validate_file
from eocodec.interop.scene import ArraySource, SceneInfo
from eocodec.interop.store import write_store
from eocodec.options import DEFAULT_MODEL, EncodeOptions
from eocodec.sensors import S2_BAND_NAMES
from interop_support import TRANSFORM, smooth_scene, standin_encode


def write(path):
    pixels = smooth_scene(40, 70)
    info = SceneInfo(
        pixels.shape,
        pixels.dtype,
        S2_BAND_NAMES,
        nodata=0,
        crs_wkt='PROJCRS["WGS 84 / UTM zone 33N",X["y"]]',
        transform=TRANSFORM,
        tags={"a": "b"},
        sources=("a.tif",),
    )
    write_store(path, ArraySource(info, pixels), EncodeOptions(quality=40, nodata=0), tile=32)
    return path


@pytest.fixture(params=["a.tec", "a.zarr"])
def stored(request, standin, tmp_path):
    return write(tmp_path / request.param)


@pytest.fixture
def folder(standin, tmp_path):
    """Only a folder's parts can be changed one by one; damage to a ZIP is tested in test_store."""
    return write(tmp_path / "a.zarr")


@pytest.fixture
def bare(tmp_path):
    path = tmp_path / "tile.bin"
    path.write_bytes(standin_encode(smooth_scene(20, 30), EncodeOptions()))
    return path


def test_a_store_describes_itself(stored):
    found = describe_file(stored)
    json.dumps(found, allow_nan=False)
    assert found["kind"] == stored.suffix[1:]
    assert found["shape"] == {"bands": 12, "rows": 40, "cols": 70}
    assert found["crs"] == "WGS 84 / UTM zone 33N"
    assert found["tiles"] == 6
    assert found["settings"] == {"model": DEFAULT_MODEL, "quality": 40, "nodata": 0}
    assert found["fingerprint"] == b"standin!".hex()
    assert found["raw_bytes"] == 12 * 40 * 70 * 2
    assert found["ratio"] == found["raw_bytes"] / found["bytes"]
    assert found["bpppc"] == 8 * found["bytes"] / (12 * 40 * 70)
    assert found["bytes"] > found["codestream_bytes"] > 0


def test_a_codestream_describes_itself(bare):
    found = describe_file(bare)
    assert found["kind"] == "codestream"
    assert found["shape"] == {"timesteps": 1, "bands": 12, "rows": 20, "cols": 30}


def test_sound_files_are_valid(stored, bare):
    assert validate_file(stored) == validate_file(stored).__class__(True, (), (), 6)
    assert validate_file(bare).ok


def test_other_files_are_refused(tmp_path):
    with pytest.raises(RasterError, match="does not exist"):
        describe_file(tmp_path / "a.tec")
    (tmp_path / "a.tec").write_bytes(b"")
    with pytest.raises(BadMagic):
        describe_file(tmp_path / "a.tec")
    assert validate_file(tmp_path / "a.tec").errors[0].startswith("BadMagic")
    with pytest.raises(RasterError, match="does not exist"):
        validate_file(tmp_path / "b.tec")


def test_damage_is_listed_tile_by_tile(folder):
    for name in ("0/0", "1/2"):
        tile = folder / "dn/c/0" / name
        data = bytearray(tile.read_bytes())
        data[-3] ^= 1
        tile.write_bytes(data)
    report = validate_file(folder)
    assert not report.ok
    assert len(report.errors) == 2
    assert report.errors[1].startswith("dn/c/0/1/2: ChecksumMismatch")


def test_missing_foreign_and_misplaced_tiles(folder):
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt" in validate_file(folder).warnings[0]
    edge = folder / "dn/c/0/1/2"
    whole = folder / "dn/c/0/0/0"
    edge.write_bytes(whole.read_bytes())
    assert "tile of (1, 12, 32, 32)" in validate_file(folder).errors[0]
    edge.unlink()
    assert "1 of 6 tiles are missing" in validate_file(folder).errors[0]


def test_tiles_of_two_models(folder, monkeypatch):
    monkeypatch.setattr("interop_support.FINGERPRINT", b"another!")
    (folder / "dn/c/0/0/0").write_bytes(standin_encode(smooth_scene(32, 32), EncodeOptions(nodata=0)))
    assert "different models" in validate_file(folder).errors[0]


def test_a_made_up_size_costs_no_time(folder):
    document = folder / "dn/zarr.json"
    document.write_text(document.read_text().replace("[12,40,70]", "[12,999999999,999999999]"))
    assert "missing" in validate_file(folder).errors[0]


def test_nothing_of_it_imports_torch(stored):
    code = (
        "import sys; from eocodec.interop.inspect import describe_file, validate_file;"
        f"describe_file({str(stored)!r}); assert validate_file({str(stored)!r}).ok;"
        "assert not {'torch', 'zarr', 'rasterio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
