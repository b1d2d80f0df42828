"""`info`, `validate`, `models`, and the command as a whole."""

import json

import pytest
from click.testing import CliRunner

from eocodec.cli.main import COMMANDS, cli
from interop_support import smooth_scene, write_stack


@pytest.fixture
def encoded(standin, tmp_path):
    write_stack(tmp_path / "a.tif", smooth_scene(40, 70), nodata=0)
    for name in ("a.tec", "a.zarr"):
        run("encode", tmp_path / "a.tif", tmp_path / name, "--tile", 32)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_info(encoded, name):
    found = json.loads(run("info", encoded / name, "--json").output)
    assert found["kind"] == name[2:]
    lines = run("info", encoded / name).output.splitlines()
    assert [line.split()[0] for line in lines] == list(found)


def test_info_of_a_codestream(encoded):
    found = json.loads(run("info", encoded / "a.zarr/dn/c/0/1/2", "--json").output)
    assert found["kind"] == "codestream"
    assert found["shape"] == {"timesteps": 1, "bands": 12, "rows": 8, "cols": 6}


@pytest.mark.parametrize("name", ["a.tec", "a.zarr", "a.zarr/dn/c/0/1/2"])
def test_validate_sound_files(encoded, name):
    assert "valid" in run("validate", encoded / name).output
    assert json.loads(run("validate", encoded / name, "--json").output)["ok"] is True


@pytest.mark.parametrize("name", ["a.tec", "a.zarr/dn/c/0/1/2"])
def test_validate_damaged_files(encoded, name):
    path = encoded / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = run("validate", path, code=1)
    assert "ChecksumMismatch" in result.stderr
    assert "INVALID" in result.stdout
    assert json.loads(run("validate", path, "--json", code=1).output)["ok"] is False


def test_validate_a_missing_file_is_an_error_of_use(tmp_path):
    assert "does not exist" in run("validate", tmp_path / "no.tec", code=2).stderr


def test_info_of_another_file(tmp_path):
    (tmp_path / "a.tec").write_text("text")
    assert run("info", tmp_path / "a.tec", code=2).stderr.startswith("error: ")


def test_models(monkeypatch, tmp_path):
    from eocodec.models import registry

    details = {"id": "tec-x", "family": "tec-fp", "parameters": 1234, "bands": ["B01", "B02"]}
    card = registry.ModelCard("tec-x", "tec-fp", tmp_path, bytes(range(8)), details)
    monkeypatch.setattr(registry, "installed", lambda: (card,))
    header, row = run("models").output.splitlines()
    assert header.split() == ["id", "parameters", "bands", "fingerprint", "source"]
    assert row.split() == ["tec-x", "1234", "2", "0001020304050607", "package"]
    assert json.loads(run("models", "--json").output) == [details]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_help_page(name):
    output = run(name, "--help").output
    assert output.startswith("Usage: cli " + name)


def test_the_group_lists_them_and_knows_no_others():
    output = run("--help").output
    assert all(f"\n  {name} " in output for name in COMMANDS)
    assert "No such command" in run("compress", code=2).stderr
