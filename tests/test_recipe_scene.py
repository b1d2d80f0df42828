"""The recipe on scenes does what it says: its lines run in their order, on a made-up product."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.rio.main import main_group

sys.path.insert(0, str(Path(__file__).resolve().parent))

from eocodec.cli.main import cli
from safe_support import STAMP, make_product

RECIPE = Path(__file__).resolve().parents[1] / "docs" / "recipes" / "scene.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"eocodec": cli, "rio": main_group}


def expanded(word):
    """File names that a word with a star stands for, as the shell has it."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def run(line):
    """Run a command's line in this process, which has the model loaded; returns what it prints."""
    program, *words = shlex.split(line, comments=True)
    arguments = [name for word in words for name in expanded(word)]
    result = CliRunner().invoke(PROGRAMS[program], arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The product's pixels and all that was printed, in a folder where all blocks ran."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, pixels = make_product(folder)
        said = []
        for kind, text in BLOCK.findall(RECIPE.read_text()):
            if kind == "python":
                exec(compile(text, RECIPE.name, "exec"), {"print": said.append})
            else:
                assert kind == "shell"
                said += [run(line) for line in text.splitlines()]
        yield pixels, said


def test_it_says_what_the_product_is(followed):
    pixels, said = followed
    assert "beside the bands AOT WVP SCL MSK_CLDPRB" in said[0]
    assert "left_out" in said[1]
    (line,) = (text for text in said if "of the pixels are cloud" in text)
    assert line.startswith(f"{(pixels['SCL', 20] >= 8).mean():.0%} ")


@pytest.mark.parametrize("name", [f"bands/{STAMP}_B09_60m.jp2", f"again/{STAMP}_B09_60m.tif"])
def test_bands_come_back_at_their_own_pixels(followed, name):
    native = followed[0]["B09", 60][0]
    with rasterio.open(name) as dataset:
        found = dataset.read(1)
    assert np.array_equal(found == 0, native == 0)
    valid = (native > 0) & (native < 65_535)
    assert np.sqrt(np.mean((found.astype(float) - native)[valid] ** 2)) < 100


def test_one_file_on_one_grid(followed):
    with rasterio.open("scene.tif") as dataset:
        assert dataset.count == 12
        assert dataset.res == (10, 10)


def test_the_part_is_a_part(followed):
    found = json.loads(run("eocodec info part.tec --json"))
    assert found["shape"] == {"bands": 12, "rows": 60, "cols": 120}
    assert found["bands"] == ["B02", "B03", "B04", "B08"]
    assert [layer["name"] for layer in found["layers"]] == ["SCL"]
