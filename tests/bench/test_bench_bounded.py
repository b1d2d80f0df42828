"""The bounded benchmark: every codec keeps its bound on odd shapes, and one that does not is named."""

import numpy as np
import pytest
import rasterio

from eocodec.bench.bounded import (
    BoundedCodec,
    BoundedOptions,
    JpegXlBands,
    LercZstd,
    Ours,
    Sperr,
    Sz3,
    run_bounded,
    table_rows,
)
from eocodec.errors import BoundError

pytest.importorskip("imagecodecs")


class Rounding(BoundedCodec):
    """Rounds to multiples of 2 E + 1, and of `excess` more."""

    name = "rounding"

    def __init__(self, excess=0):
        self.excess = excess

    def encode(self, series, setting):
        step = 2 * int(setting) + 1 + self.excess
        self.decoded = np.rint(series / step).astype(np.int64) * step
        return bytes(100 - int(setting))

    def decode(self, data):
        return self.decoded


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "dev" / "ssl4eo"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 5000, (12, 256, 256)).astype("int16")
    options = {"driver": "GTiff", "count": 12, "height": 256, "width": 256, "dtype": "int16"}
    with rasterio.open(folder / "a.tif", "w", **options) as target:
        target.write(pixels)
    return tmp_path


def test_rows_means_and_table(data):
    options = BoundedOptions("tec-fp", bounds=(0, 20), data=data)
    result = run_bounded(options, codecs=[Rounding()])
    assert [(row["max_error"], row["worst"]) for row in result["rows"]] == [(0, 0), (20, 20)]
    assert result["rows"][1]["bits"] == 640
    assert result["mean"] == {"rounding": {"0": 0.001, "20": 0.0008}}
    header, rows = table_rows(result)
    assert header[1:] == ["lossless", "+-20 DN"]
    assert rows == [["rounding", "0.001", "0.001"]]


def test_a_broken_bound_is_named(data):
    with pytest.raises(BoundError, match="rounding is off by 21 DN on a"):
        run_bounded(BoundedOptions("tec-fp", bounds=(20,), data=data), codecs=[Rounding(excess=2)])


@pytest.mark.parametrize("codec", [Sperr, Sz3, LercZstd, JpegXlBands, lambda: Ours("tec-fp")])
def test_codecs_keep_their_bounds(codec):
    codec = codec()
    rng = np.random.default_rng(1)
    hills = 2000 + 800 * np.sin(np.mgrid[0:36, 0:44][0] / 5)
    image = (hills + rng.normal(0, 30, (12, 36, 44))).astype(np.int16)
    for bound in {0, 7} & set(codec.settings) | {0}:
        found = codec.decode(codec.encode(image, bound))
        assert found.shape == image.shape
        assert np.abs(found.astype(int) - image).max() <= bound
