"""The tolerances that COMPATIBILITY.md states, decoded in processes with other arithmetic."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eocodec
from eocodec.bench.demo_scene import demo_scene
from eocodec.codestream import read
from eocodec.errors import UnsupportedVersion

ROOT = Path(__file__).resolve().parents[1]
QUALITIES = (20, 60, 100)
SIDE = 192
DECODERS = {
    "float32": {"EOCODEC_PRECISION": "float32", "OMP_NUM_THREADS": "1"},
    "float32 elsewhere": {
        "EOCODEC_PRECISION": "float32",
        "OMP_NUM_THREADS": "2",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
    "bfloat16": {"EOCODEC_PRECISION": "bfloat16", "OMP_NUM_THREADS": "1"},
}
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import eocodec
for path in sorted(Path(sys.argv[1]).glob("*.stream")):
    np.save(Path(sys.argv[2]) / path.stem, eocodec.decode(path.read_bytes()))
"""


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """Pixels by decoder and quality; the streams are written by this process."""
    folder = tmp_path_factory.mktemp("streams")
    scene = demo_scene(SIDE, SIDE)
    for quality in QUALITIES:
        (folder / f"{quality}.stream").write_bytes(eocodec.encode(scene, quality=quality, nodata=0))
    pixels = {}
    for name, environment in DECODERS.items():
        out = tmp_path_factory.mktemp("pixels")
        words = [sys.executable, "-c", PROGRAM, str(folder), str(out)]
        subprocess.run(words, env={**os.environ, **environment}, check=True)
        pixels[name] = {quality: np.load(out / f"{quality}.npy").astype(np.float64) for quality in QUALITIES}
    return scene, pixels


def stated(pattern):
    """Numbers of a row of the table in COMPATIBILITY.md."""
    found = re.search(pattern, (ROOT / "COMPATIBILITY.md").read_text())
    assert found, pattern
    return [float(number) for number in found.groups()]


@pytest.mark.parametrize("quality", QUALITIES)
def test_float32_on_both_sides(decoded, quality):
    _, pixels = decoded
    (tolerance,) = stated(r"\| float32 on both \| at most (\d+) DN \|")
    difference = np.abs(pixels["float32"][quality] - pixels["float32 elsewhere"][quality])
    assert difference.max() <= tolerance


@pytest.mark.parametrize("quality", QUALITIES)
def test_bfloat16_on_one_side(decoded, quality):
    _, pixels = decoded
    percent, least = stated(r"\| bfloat16 [^|]*\| at most ([\d.]+) % of the value or (\d+) DN, ")
    exact = pixels["float32"][quality]
    difference = np.abs(pixels["bfloat16"][quality] - exact)
    assert (difference <= np.maximum(least, percent / 100 * np.abs(exact))).all(), difference.max()
    assert difference.max() > 0  # otherwise the setting does nothing, and this test shows nothing


@pytest.mark.parametrize("quality", QUALITIES)
def test_nodata_is_the_same_everywhere(decoded, quality):
    scene, pixels = decoded
    for found in pixels.values():
        assert ((found[quality] == 0) == (scene == 0)).all()


def test_streams_are_of_version_1():
    stream = eocodec.encode(demo_scene(32, 32), quality=50, nodata=0)
    assert stream[8] == 1  # the version byte
    assert read(stream).header.shape == (1, 12, 32, 32)


def test_experimental_streams_are_refused_by_name():
    stream = bytearray(eocodec.encode(demo_scene(32, 32), quality=50, nodata=0))
    stream[8] = 0
    with pytest.raises(UnsupportedVersion, match="encode the original anew"):
        eocodec.decode(bytes(stream))
