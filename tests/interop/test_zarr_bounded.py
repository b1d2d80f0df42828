"""A bound on the error through Zarr and through files, with the real codec."""

import json

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from zarr.storage import MemoryStore

from eocodec.cli.main import cli
from eocodec.errors import UnitsError
from eocodec.interop.zarr import TecCodec
from interop_support import smooth_scene, write_stack


def create(dtype="uint16", **settings):
    return zarr.create_array(
        MemoryStore(),
        shape=(12, 40, 50),
        chunks=(12, 32, 32),
        dtype=dtype,
        serializer=TecCodec(**settings),
        filters=None,
        compressors=None,
        fill_value=0,
    )


@pytest.mark.parametrize("max_error", [0, 12])
def test_arrays(max_error):
    pixels = smooth_scene(40, 50)
    pixels[:, :5] = 0
    array = create(max_error=max_error)
    array[...] = pixels
    found = array[...]
    assert np.abs(found.astype(int) - pixels).max() <= max_error
    assert np.array_equal(found == 0, pixels == 0)
    assert "quality" not in array.metadata.to_dict()["codecs"][0]["configuration"]


def test_floats_are_refused():
    with pytest.raises(UnitsError, match="max_error"):
        create("float32", max_error=3, scale=1.0)


def test_files(tmp_path):
    pixels = smooth_scene(30, 40)
    pixels[:, 20:, 30:] = 0
    scene = write_stack(tmp_path / "a.tif", pixels, nodata=0)
    for max_error, said in ((0, "lossless"), (9, "every pixel within 9")):
        out, back = tmp_path / f"{max_error}.tec", tmp_path / f"{max_error}.tif"
        for words in (
            ("encode", scene, out, "--max-error", max_error, "--tile", 32),
            ("decode", out, back, "--grid", "finest"),
        ):
            result = CliRunner().invoke(cli, [str(word) for word in words])
            assert result.exit_code == 0, result.output
            assert said in result.output or words[0] == "decode"
        import rasterio

        with rasterio.open(back) as source:
            found = source.read()
        assert np.abs(found.astype(int) - pixels).max() <= max_error
        info = json.loads(CliRunner().invoke(cli, ["info", str(out), "--json"]).output)
        assert info["settings"]["max_error"] == max_error


def test_targets_exclude_a_bound(tmp_path):
    scene = write_stack(tmp_path / "a.tif", smooth_scene(40, 40), nodata=0)
    words = ["encode", str(scene), str(tmp_path / "a.tec"), "--max-error", "5", "--psnr", "40"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code != 0
    assert "--max-error" in result.output
