"""Codestreams and files of the shipped FlexTEC cut to fewer tokens: coarser, and nothing else changes."""

import json
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

import eocodec
from eocodec import codec
from eocodec.cli.main import cli
from eocodec.codestream import read, read_parts
from eocodec.errors import InputError, ModelNotFound
from eocodec.interop.inspect import describe_file, validate_file
from eocodec.interop.truncate import truncate_file
from eocodec.interop.zarr import TecCodec
from eocodec.models import registry
from eocodec.options import MAX_TOKENS, EncodeOptions
from eocodec.search import search_quality
from eocodec.truncating import token_count
from test_codec_series import fields, psnr

MODEL = "flextec"


@pytest.fixture(scope="module")
def series():
    """[3, 12, 80, 96], with nodata in a corner of the second date."""
    made = fields(3)
    made[1, :, :20, :30] = 0
    return made


@pytest.fixture(scope="module")
def stream(series):
    """It, encoded with all tokens."""
    return eocodec.encode(series, model=MODEL, quality=75, nodata=0)


def test_every_number_of_tokens_decodes_and_more_are_better(series, stream):
    sizes, quality = [], []
    for tokens in range(1, MAX_TOKENS + 1):
        cut = eocodec.truncate(stream, tokens)
        assert token_count(read(cut)) == tokens
        back = eocodec.decode(cut)
        assert np.array_equal(back == 0, series == 0)
        sizes.append(len(cut))
        quality.append(psnr(series, back))
    assert sizes == sorted(sizes)
    assert quality == sorted(quality)
    assert sizes[-1] > 2 * sizes[0]
    assert quality[-1] > quality[0] + 4


def test_cut_is_what_encoding_fewer_tokens_gives(series, stream):
    assert eocodec.encode(series, model=MODEL, quality=75, nodata=0, tokens=6) == eocodec.truncate(stream, 6)


def test_cutting_twice_is_cutting_once(stream):
    assert eocodec.truncate(eocodec.truncate(stream, 9), 4) == eocodec.truncate(stream, 4)
    few = eocodec.truncate(stream, 4)
    assert eocodec.truncate(few, 10) == few


def test_parts_that_stay_are_the_same_bytes(stream):
    assert read_parts(eocodec.truncate(stream, 5)) == read_parts(stream)[: 3 + 4]


def test_some_dates_alone(series, stream):
    whole = eocodec.decode(stream)
    assert np.array_equal(eocodec.decode(stream, dates=[0, 2]), whole[[0, 2]])


@pytest.mark.parametrize("tokens", [0, 17, 2.5, True, "3"])
def test_there_is_no_such_number_of_tokens(stream, tokens):
    with pytest.raises(InputError, match="1 to 16"):
        eocodec.truncate(stream, tokens)


def test_other_models_have_no_tokens(series):
    data = eocodec.encode(series, model="tec-tt", quality=40, nodata=0)
    with pytest.raises(InputError, match="no tokens"):
        eocodec.truncate(data, 3)
    with pytest.raises(InputError, match="no tokens"):
        eocodec.encode(series[0], model="tec-elic", nodata=0, tokens=3)


def test_a_bound_takes_all_tokens(series):
    data = eocodec.encode(series[0], model=MODEL, quality=40, nodata=0, max_error=20)
    assert np.abs(eocodec.decode(data).astype(int) - series[0]).max() <= 20
    with pytest.raises(InputError, match="bound"):
        eocodec.truncate(data, 3)


def test_a_bound_on_few_tokens_holds(series):
    data = eocodec.encode(series[0], model=MODEL, quality=60, nodata=0, max_error=30, tokens=2)
    assert np.abs(eocodec.decode(data).astype(int) - series[0]).max() <= 30


def test_dates_cannot_be_added(series, stream):
    with pytest.raises(InputError, match="anew"):
        codec.extend(stream, series[0])


def test_an_unknown_model_is_named(stream, monkeypatch):
    def nothing(fingerprint):
        raise ModelNotFound("no model has this fingerprint")

    monkeypatch.setattr(registry, "by_fingerprint", nothing)
    with pytest.raises(ModelNotFound):
        eocodec.truncate(stream, 3)


def test_a_target_with_tokens_is_met_by_what_is_kept(series):
    options = EncodeOptions(MODEL, nodata=0, tokens=6)
    found = search_quality([series[0]], options, psnr=36.0)
    assert found.reached
    data = eocodec.encode(series[0], model=MODEL, nodata=0, quality=found.quality, tokens=6)
    assert psnr(series[0], eocodec.decode(data)) == pytest.approx(36.0, abs=0.1)


@pytest.fixture
def store(tmp_path, series):
    """A Zarr array of two tiles."""
    path = tmp_path / "series.zarr"
    array = zarr.create_array(
        path,
        shape=(3, 12, 80, 96),
        chunks=(3, 12, 80, 48),
        dtype="uint16",
        serializer=TecCodec(model=MODEL, quality=70),
        filters=None,
        compressors=None,
        fill_value=0,
    )
    array[:] = series
    return path


def test_a_store_is_cut_tile_by_tile(store, series, tmp_path):
    target = tmp_path / "small.zarr"
    report = truncate_file(store, target, 4)
    assert report.tiles == 2
    assert report.bytes_after < 0.7 * report.bytes_before
    whole, cut = zarr.open_array(store), zarr.open_array(target)
    assert 30 < psnr(series, cut[:]) < psnr(series, whole[:])
    codec_json = json.loads((target / "zarr.json").read_text())["codecs"][0]
    assert codec_json["configuration"]["tokens"] == 4


def test_a_damaged_store_leaves_nothing(store, tmp_path):
    chunk = next(path for path in store.rglob("c/0/0/0/1"))
    data = bytearray(chunk.read_bytes())
    data[-3] ^= 0xFF
    chunk.write_bytes(bytes(data))
    target = tmp_path / "small.zarr"
    with pytest.raises(eocodec.errors.CodestreamError):
        truncate_file(store, target, 4)
    assert not target.exists()


def test_scene_files_by_command(tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    scene = fields(1)[0]
    source, full, small = (tmp_path / name for name in ("a.tif", "a.tec", "b.tec"))
    profile = {"driver": "GTiff", "count": 12, "height": 80, "width": 96, "dtype": "uint16"}
    with rasterio.open(source, "w", **profile) as out:
        out.write(scene)
    run = CliRunner().invoke
    assert run(cli, ["encode", str(source), str(full), "--model", MODEL, "--quality", "70"]).exit_code == 0
    done = run(cli, ["truncate", str(full), str(small), "--tokens", "5"])
    assert done.exit_code == 0, done.output
    assert "5 tokens" in done.output
    assert validate_file(small).ok
    assert describe_file(small)["settings"]["tokens"] == 5
    assert small.stat().st_size < full.stat().st_size
    again = run(cli, ["truncate", str(full), str(small), "--tokens", "5"])
    assert again.exit_code == 2
    assert "exists" in again.output
    straight = tmp_path / "c.tec"
    arguments = ["encode", str(source), str(straight), "--model", MODEL, "--quality", "70", "--tokens", "5"]
    assert run(cli, arguments).exit_code == 0
    back = [tmp_path / "b.tif", tmp_path / "c.tif"]
    for name, path in zip((small, straight), back, strict=True):
        assert run(cli, ["decode", str(name), str(path)]).exit_code == 0
    with rasterio.open(back[0]) as one, rasterio.open(back[1]) as other:
        assert np.array_equal(one.read(), other.read())


def test_a_bare_codestream_by_file(stream, tmp_path):
    path, target = tmp_path / "a.bin", tmp_path / "b.bin"
    path.write_bytes(stream)
    report = truncate_file(path, target, 2)
    assert target.read_bytes() == eocodec.truncate(stream, 2)
    assert (report.bytes_before, report.bytes_after, report.tiles) == (len(stream), target.stat().st_size, 1)


def test_what_the_command_says(stream, tmp_path):
    path, run = tmp_path / "a.bin", CliRunner().invoke
    path.write_bytes(stream)

    def said(name, *words):
        done = run(cli, ["truncate", str(path), str(tmp_path / name), "--tokens", "3", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    cut = len(eocodec.truncate(stream, 3))
    expected = {"output": str(tmp_path / "b.bin"), "tokens": 3, "bytes_before": len(stream)}
    assert json.loads(said("b.bin", "--json")) == expected | {"bytes_after": cut, "tiles": 1}
    assert said("c.bin", "--quiet", "--no-progress") == ""
    assert (tmp_path / "c.bin").stat().st_size == cut


def test_a_file_of_another_model_is_refused(tmp_path, store):
    other = tmp_path / "other.zarr"
    shutil.copytree(store, other)
    zarr.create_array(
        other, shape=(12, 32, 32), chunks=(12, 32, 32), dtype="uint16", overwrite=True,
        serializer=TecCodec(quality=40), filters=None, compressors=None, fill_value=0,
    )[:] = fields(1)[0, :, :32, :32]  # fmt: skip
    with pytest.raises(InputError, match="no tokens"):
        truncate_file(other, tmp_path / "small.zarr", 3)
