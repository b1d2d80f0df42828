"""What only a process of its own shows: imports and signals."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interop_support import names_in, smooth_scene, write_stack

TESTS = Path(__file__).resolve().parents[1]
# The command with the stand-in for its networks. Where the tests run in the background of a shell, SIGINT is
# ignored, and so it would be in their children.
COMMAND = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(TESTS)!r})
import eocodec, interop_support
interop_support.install_standin()
"""
# A network that takes longer than anyone waits, and says when it begins.
SLOW = """
def slowly(arrays, options):
    print("encoding", flush=True)
    time.sleep(60)
eocodec.codec.encode_batch = slowly
"""
RUN = "from eocodec.cli.main import main; main()"


def start(*arguments, slow=False, before=""):
    code = COMMAND + (SLOW if slow else "") + before + RUN
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes)


@pytest.fixture
def scene(tmp_path):
    return write_stack(tmp_path / "a.tif", smooth_scene(64, 64))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["a.tec", "a.zarr"])
def test_interrupted(scene, tmp_path, sent, name):
    process = start("encode", scene, tmp_path / name, slow=True)
    assert process.stdout.readline() == "encoding\n"
    assert len(names_in(tmp_path)) == 2  # the scene and the place where the output grows
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 2
    assert stderr == "error: interrupted, nothing written; run the command again\n"
    assert names_in(tmp_path) == ["a.tif"]


def test_a_full_disk_is_one_line_even_if_libtiff_has_more_to_say(scene, tmp_path):
    assert start("encode", scene, tmp_path / "a.tec").wait(20) == 0
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
    process = start("decode", tmp_path / "a.tec", tmp_path / "b.tif", before=limit)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 2
    assert stderr.startswith(f"error: cannot write {tmp_path / 'b.tif'}: File too large; ")
    assert stderr.count("\n") == 1
    assert names_in(tmp_path) == ["a.tec", "a.tif"]


def imported_by(code):
    """Modules that a fresh interpreter has after some code, and the seconds that it took."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(' '.join(sys.modules), file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split()), time.perf_counter() - begin


HEAVY = {"torch", "zarr", "rasterio", "rich"}


@pytest.mark.parametrize(
    "code",
    [
        "import eocodec",
        "from eocodec.cli.main import cli; cli(['--help'], standalone_mode=False)",
        "from eocodec.cli.main import cli; cli(['--version'], standalone_mode=False)",
    ],
)
def test_quick_to_start(code):
    modules, _ = imported_by(code)
    assert not HEAVY & modules
    assert min(imported_by(code)[1] for _ in range(3)) < 0.5  # the best of some: others use the machine too


@pytest.mark.parametrize("command", ["info", "validate"])
def test_reading_a_file_needs_no_network(scene, tmp_path, command):
    assert start("encode", scene, tmp_path / "a.tec").wait(20) == 0
    arguments = [command, str(tmp_path / "a.tec")]
    modules, _ = imported_by(f"from eocodec.cli.main import cli; cli({arguments!r}, standalone_mode=False)")
    assert not HEAVY & modules


def test_the_help_of_encode_needs_no_network():
    modules, _ = imported_by(
        "from eocodec.cli.main import cli; cli(['encode', '--help'], standalone_mode=False)"
    )
    assert "torch" not in modules
