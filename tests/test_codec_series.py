"""Series through the codec with the shipped TEC-TT: any number of dates, nodata, a bound, damage."""

import numpy as np
import pytest

import eocodec
from eocodec.errors import CodecError

MODEL = "tec-tt"


def fields(dates, rows=80, cols=96, seed=0):
    """[T, 12, rows, cols], uint16: fields of three crops, each with its own course of the year, and noise."""
    rng = np.random.default_rng(seed)
    crop = rng.integers(0, 3, (rows // 8 + 1, cols // 12 + 1)).repeat(8, 0).repeat(12, 1)[:rows, :cols]
    y, x = np.mgrid[0:rows, 0:cols]
    soil = 300 * np.sin(y / 19) * np.cos(x / 23)
    spectra = rng.uniform(400, 3500, (dates, 3, 12))
    frames = [spectra[t][crop].transpose(2, 0, 1) + soil * spectra[t].mean() / 2000 for t in range(dates)]
    return np.clip(np.stack(frames) + rng.normal(0, 15, (dates, 12, rows, cols)), 1, 65000).astype(np.uint16)


def psnr(one, other):
    return 10 * np.log10(1e8 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("dates", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (33, 50), (80, 96)])
def test_any_number_of_dates_and_any_size(dates, size):
    series = fields(dates)[..., : size[0], : size[1]]
    data = eocodec.encode(series, model=MODEL, quality=60)
    back = eocodec.decode(data)
    assert back.shape == series.shape
    assert back.dtype == series.dtype
    assert psnr(series, back) > 36


def test_dates_are_predicted():
    """A further date of a scene costs far less than the scene alone."""
    series = fields(3)
    bits = [len(eocodec.encode(series[: t + 1], model=MODEL, quality=60)) for t in range(3)]
    alone = [len(eocodec.encode(frame, model="tec-elic", quality=60)) for frame in series]
    assert bits[0] == pytest.approx(alone[0], rel=0.05)
    assert bits[2] - bits[1] < 0.6 * alone[2]


def test_quality_is_that_of_images():
    series = fields(3)
    found = eocodec.decode(eocodec.encode(series, model=MODEL, quality=50))
    images = eocodec.decode(eocodec.encode(series, model="tec-elic", quality=50))
    assert psnr(series, found) > psnr(series, images) - 0.5


def test_nodata_of_each_date_comes_back():
    series = fields(3)
    series[0, :, :20, :30] = 0
    series[1] = 0
    series[2, :, 40:, :] = 0
    back = eocodec.decode(eocodec.encode(series, model=MODEL, quality=50, nodata=0))
    assert np.array_equal(back == 0, series == 0)
    assert psnr(series[2, :, :40], back[2, :, :40]) > 34


def test_a_bound_holds_for_every_date():
    series = fields(2, 24, 32)
    for quality in (None, 30):
        back = eocodec.decode(eocodec.encode(series, model=MODEL, quality=quality, max_error=9))
        assert np.abs(back.astype(int) - series).max() <= 9
    lossless = eocodec.decode(eocodec.encode(series, model=MODEL, quality=30, max_error=0))
    assert np.array_equal(lossless, series)


def test_decoding_is_repeatable():
    data = eocodec.encode(fields(4, 48, 64), model=MODEL, quality=40)
    assert np.array_equal(eocodec.decode(data), eocodec.decode(data))


def test_damage_is_always_noticed():
    series = fields(2, 16, 16)
    data = eocodec.encode(series, model=MODEL, quality=20)
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x55
        with pytest.raises(CodecError):
            eocodec.decode(bytes(broken))
    for length in range(0, len(data), 7):
        with pytest.raises(CodecError):
            eocodec.decode(data[:length])
