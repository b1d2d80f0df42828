"""The benchmark of series: what is measured of which codec, on which dates."""

import numpy as np
import pytest

from eocodec import codec
from eocodec.bench import series
from eocodec.bench.base import BenchCodec
from eocodec.bench.tokens import TokenCodec, plot_series

BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]


class Raw(BenchCodec):
    """Keeps every second bit plane or all of them."""

    name = "raw"
    settings = (1.0, 8.0)

    def encode(self, image, setting):
        self.shape = image.shape
        return bytes(repr(image.shape), "ascii") + (image // int(setting)).astype(np.int16).tobytes()

    def decode(self, data):
        body = data[data.index(b")") + 1 :]
        return np.frombuffer(body, np.int16).reshape(self.shape).copy()


def test_bands_first_gives_the_series_back():
    image = np.arange(3 * 2 * 4 * 5, dtype=np.int16).reshape(3, 2, 4, 5)
    codec = series.Reordered(Raw())
    data = codec.encode(image, 1)
    assert codec.name == "raw-by-band"
    assert data.startswith(b"(2, 3, 4, 5)")
    assert np.array_equal(codec.decode(data), image)


@pytest.fixture
def folder(tmp_path):
    """A folder with one long series: 20 dates, some clouded, one not whole."""
    rng = np.random.default_rng(0)
    data = rng.integers(100, 900, (20, len(BANDS), 30, 30)).astype(np.int16)
    data[:, 0] = 100 * np.arange(20)[:, None, None] // 2 + 50
    data[17] = 8000
    mask = np.ones((20, 30, 30), bool)
    mask[3, 0, 0] = False
    (tmp_path / "train" / "series").mkdir(parents=True)
    np.savez(tmp_path / "train" / "series" / "there.npz", data=data, bands=BANDS, mask=mask)
    np.savez(tmp_path / "train" / "series" / "four.npz", data=data[:, :4], bands=BANDS[:4], mask=mask)
    return tmp_path


def test_dense_series_are_the_clear_dates_held_back(folder):
    found = series.dense_series(folder, 0.2)
    assert list(found) == ["there"]
    dates = found["there"]
    assert dates.shape == (3, 12, 30, 30)
    assert dates.dtype == np.int16
    assert dates[:, 1, 0, 0].tolist() == [850, 950, 1000]  # of 19 whole dates the last 4, but for the cloud
    assert np.array_equal(dates[:, 0], dates[:, 1])  # B01 as B02, which is flat here
    assert abs(float(dates[:, 9].mean()) - float(dates[:, 8].mean())) < 20  # B09 as B8A at 60 m
    assert dates[:, 9].std() < 0.5 * dates[:, 8].std()


def test_all_dates_are_held_back_if_asked(folder):
    assert len(series.dense_series(folder, 1.0)["there"]) == series.DENSE_DATES


def test_rows_of_the_tables():
    entry = {
        "codec": "tec-tt",
        "anchor": "tec-elic",
        "mean_percent": -12.34,
        "of_average_curve_percent": None,
        "worst_tile": "there",
        "worst_percent": 1.0,
    }
    steps = [{"place": "there", "timestep": 1, "bits": 80, "bits_alone": 100}]
    result = {"summary": {"dense": [entry]}, "meta": {"by_timestep": steps}}
    assert series.table_rows(result)[1] == [["dense", "tec-tt", "tec-elic", "-12.3", "-", "there", "+1.0"]]
    assert series.timestep_rows(result)[1] == [["there", "1", "80", "100", "-20.0"]]


def test_token_codec_cuts_one_codestream():
    made = []

    def encode(array, model, quality):
        made.append(quality)
        return codec.encode(array, model=model, quality=quality)

    tokens = TokenCodec("flextec", 70.0)
    tokens._encode = encode
    image = np.random.default_rng(0).integers(300, 3000, (1, 12, 48, 48)).astype(np.uint16)
    sizes = [len(tokens.encode(image, k)) for k in (2.0, 5.0, 16.0)]
    assert made == [70.0]
    assert sizes == sorted(set(sizes))
    assert tokens.name == "flextec-tokens-70"
    assert tokens.decode(tokens.encode(image, 5.0)).shape == image.shape


def test_plot_of_series(tmp_path):
    row = {"set": "dense", "tile": "there", "codec": "flextec", "setting": 1.0, "bits": 100, "psnr": 35.0}
    better = {**row, "setting": 2.0, "bits": 300, "psnr": 38.0}
    result = {"points": [row, better], "meta": {"sets": {"dense": {"there": [2, 12, 8, 8]}}}}
    path = plot_series(result, "dense", tmp_path)
    assert path.read_bytes()[:4] == b"\x89PNG"
