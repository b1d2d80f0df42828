"""Bad input through the command: one line with cause and remedy, exit code 2, no file touched or left."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eocodec.cli.main import cli
from interop_support import smooth_scene, write_band, write_band_folder, write_stack


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def contents():
    """Bytes of every file below the working folder."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def refused(*arguments):
    """Run, check the form of the refusal and that no file came, went or changed; gives the line."""
    before = contents()
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    after = contents()
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    cause, separator, remedy = lines[0].partition("; ")
    assert cause.startswith("error: ")
    assert separator and remedy
    assert after == before
    return lines[0]


def mentions(line, *words):
    assert all(word in line for word in words), line


def test_missing_file():
    mentions(refused("encode", "no.tif", "a.tec"), "no.tif does not exist", "check the path")


def test_unreadable_file():
    Path("a.tif").write_text("not\na raster")
    mentions(refused("encode", "a.tif", "a.tec"), "a.tif cannot be read as a raster")
    mentions(refused("decode", "a.tif", "b.tif"), "neither a .tec nor a codestream")
    mentions(refused("decode", "no.tec", "b.tif"), "does not exist")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_file_without_permission():
    write_stack("a.tif", smooth_scene(20, 20))
    Path("a.tif").chmod(0)
    mentions(refused("encode", "a.tif", "a.tec"), "a.tif cannot be read")


def test_wrong_number_of_bands():
    write_stack("rgb.tif", smooth_scene(20, 20, 3), ["red", "green", "blue"])
    mentions(refused("encode", "rgb.tif", "a.tec"), "has 3 bands", "takes 12", "--bands", "folder")


def test_missing_bands_need_a_value_to_stand_for_them():
    write_stack("rgb.tif", smooth_scene(20, 20, 3), ["B04", "B03", "B02"])
    mentions(refused("encode", "rgb.tif", "a.tec"), "bands are missing", "--nodata 0")


def test_unknown_band_order():
    write_stack("a.tif", smooth_scene(20, 20), [f"layer {k}" for k in range(12)])
    mentions(refused("encode", "a.tif", "a.tec"), "band order is unknown", "--bands")


def test_a_band_is_missing():
    write_band_folder("bands")
    Path("bands/T33UXP_20200701T100031_B11_20m.tif").unlink()
    mentions(refused("encode", "bands", "a.tec"), "no file for B11")


def test_float_reflectance_without_a_scale():
    write_stack("a.tif", (smooth_scene(20, 20) / 10_000).astype("float32"))
    mentions(refused("encode", "a.tif", "a.tec"), "float32", "digital numbers", "--scale 10000")


def test_extents_that_disagree():
    write_band_folder("bands")
    write_band("bands/T33UXP_20200701T100031_B09_60m.tif", smooth_scene(21, 30, 1)[0], 60)
    mentions(refused("encode", "bands", "a.tec"), "extents", "half a pixel", "crop")


@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_an_output_that_exists(name):
    write_stack("a.tif", smooth_scene(20, 20))
    CliRunner().invoke(cli, ["encode", "a.tif", name], catch_exceptions=False)
    mentions(refused("encode", "a.tif", name, "--quality", "1"), f"{name} exists already", "--force")
    mentions(refused("decode", name, "a.tif"), "a.tif exists already", "--force")


def test_an_output_of_another_kind():
    write_stack("a.tif", smooth_scene(20, 20))
    mentions(refused("encode", "a.tif", "a.zip"), ".tec or .zarr")
    CliRunner().invoke(cli, ["encode", "a.tif", "a.tec"])
    mentions(refused("decode", "a.tec", "b.png"), ".tif")


def test_an_output_in_a_folder_that_is_not_there():
    write_stack("a.tif", smooth_scene(20, 20))
    mentions(refused("encode", "a.tif", "out/a.tec"), "does not exist", "create it")


@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_a_full_disk_while_encoding(name, monkeypatch):
    write_stack("a.tif", smooth_scene(64, 64))
    puts = []

    def fill_up(put):
        def limited(self, key, data):
            puts.append(key)
            if len(puts) > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            put(self, key, data)

        return limited

    from eocodec.interop.container import FolderSink, ZipSink

    for sink in (FolderSink, ZipSink):
        monkeypatch.setattr(sink, "put", fill_up(sink.put))
    mentions(
        refused("encode", "a.tif", name, "--tile", "32"), f"cannot write {name}", "No space left", "free"
    )
    assert len(puts) == 5


@contextmanager
def largest_file(size):
    """The system stops files from growing beyond `size`, as a full disk does: also the log of the tests."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_a_file_that_cannot_grow_while_encoding(name):
    write_stack("a.tif", smooth_scene(64, 64))
    with largest_file(10_000):
        line = refused("encode", "a.tif", name)
    mentions(line, f"cannot write {name}", "File too large")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_file_that_cannot_grow_while_decoding(share, compression):
    """GDAL writes at its own times: early, when a block leaves its cache, and when the file is closed."""
    write_stack("a.tif", smooth_scene(64, 64))
    CliRunner().invoke(cli, ["encode", "a.tif", "a.tec"])
    CliRunner().invoke(cli, ["decode", "a.tec", "whole.tif", "--compress", compression])
    with largest_file(int(share * Path("whole.tif").stat().st_size)):
        line = refused("decode", "a.tec", "b.tif", "--compress", compression)
    mentions(line, "cannot write b.tif", "free space")


def test_a_damaged_file_gives_no_image():
    write_stack("a.tif", smooth_scene(64, 64))
    CliRunner().invoke(cli, ["encode", "a.tif", "a.tec", "--tile", "32"])
    data = bytearray(Path("a.tec").read_bytes())
    data[len(data) // 2] ^= 1
    Path("a.tec").write_bytes(data)
    mentions(refused("decode", "a.tec", "b.tif"), "a.tec", "damaged")


def test_memory_that_runs_out(monkeypatch):
    write_stack("a.tif", smooth_scene(20, 20))

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("eocodec.interop.scene._read_tiles", fail)
    mentions(refused("encode", "a.tif", "a.tec"), "out of memory", "--tile")


def test_compare_scenes_of_two_sizes():
    write_stack("a.tif", smooth_scene(20, 20))
    write_stack("b.tif", smooth_scene(20, 21))
    mentions(refused("compare", "a.tif", "b.tif"), "(12, 20, 20)", "(12, 20, 21)")


@pytest.mark.parametrize(
    "arguments", [["--debug", "encode", "no.tif", "a.tec"], ["encode", "no.tif", "a.tec", "--debug"]]
)
def test_debug_shows_the_traceback_as_well(arguments):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: no.tif does not exist")


def test_an_error_of_ours_in_the_program_is_not_hidden(monkeypatch):
    """Only what is raised on purpose becomes one line; a defect must show itself."""
    write_stack("a.tif", smooth_scene(20, 20))
    monkeypatch.setattr("eocodec.interop.scene._read_tiles", lambda *_: np.zeros(3)[7])
    assert isinstance(CliRunner().invoke(cli, ["encode", "a.tif", "a.tec"]).exception, IndexError)
    assert list(contents()) == ["a.tif"]
