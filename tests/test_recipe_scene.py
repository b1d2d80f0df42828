"""The recipe on scenes does what it says: its lines run in their order, on a made-up product."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

sys.path.insert(0, str(Path(__file__).resolve().parent))

from recipe_support import follow, run
from safe_support import STAMP, make_product


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The product's pixels and all that was printed, in a folder where all blocks ran."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, pixels = make_product(folder)
        yield pixels, follow("scene.md")


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
