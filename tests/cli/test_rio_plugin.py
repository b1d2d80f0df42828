"""`rio eocodec`: found by rasterio, and the same commands as `eocodec`."""

from importlib.metadata import entry_points

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.rio.main import main_group

from eocodec.cli.main import cli
from eocodec.cli.rio_plugin import eocodec
from interop_support import smooth_scene, write_stack


@pytest.fixture(autouse=True)
def inside(standin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(main_group, ["eocodec", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def test_the_entry_point_leads_here():
    (found,) = (e for e in entry_points(group="rasterio.rio_plugins") if e.name == "eocodec")
    assert found.load() is eocodec
    assert main_group.commands["eocodec"] is eocodec


def test_the_same_commands():
    import click

    context = click.Context(eocodec)
    names = eocodec.list_commands(context)
    assert names == ["encode", "decode", "info", "validate"]
    for name in names:
        assert eocodec.get_command(context, name) is cli.get_command(context, name)
    assert eocodec.get_command(context, "train") is None


def test_there_and_back():
    pixels = smooth_scene(40, 50)
    write_stack("a.tif", pixels)
    assert run("encode", "a.tif", "a.tec", "--quality", 100).stdout.startswith("a.tec: ")
    assert run("validate", "a.tec").stdout == "a.tec: valid, 1 tiles\n"
    assert "tec-elic" in run("info", "a.tec").stdout
    run("decode", "a.tec", "b.tif", "--quiet", "--no-progress")
    with rasterio.open("b.tif") as dataset:
        assert np.array_equal(dataset.read(), pixels)


def test_errors_are_one_line_here_too():
    assert run("encode", "no.tif", "a.tec", code=2).stderr == "error: no.tif does not exist; check the path\n"
    assert "Traceback" in run("--debug", "info", "no.tec", code=2).stderr
