"""Series through the codec with the shipped TEC-TT: any number of dates, nodata, a bound, damage."""

import numpy as np
import pytest
import torch

import eocodec
from eocodec import codec
from eocodec.codestream import read, read_parts, write_parts
from eocodec.errors import BandError, CodecError, InputError, Truncated
from eocodec.models.weights import load_fingerprint
from eocodec.options import EncodeOptions

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


# --- dates added --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "added"), [(1, 1), (2, 3)])
def test_dates_added_leave_the_old_ones_as_they_are(there, added):
    series = fields(there + added, 33, 40)
    data = codec.encode(series[:there], model=MODEL, quality=50)
    longer = codec.extend(data, series[there:])
    assert read_parts(longer)[:there] == read_parts(data)
    assert longer == codec.encode(series, model=MODEL, quality=50)
    back = codec.decode(longer)
    assert back.shape == series.shape
    assert np.array_equal(back[:there], codec.decode(data))


def test_one_date_becomes_a_series():
    series = fields(2, 20, 24)
    data = codec.encode(series[0], model=MODEL, quality=40)
    longer = codec.extend(data, series[1])
    assert codec.decode(data).shape == (12, 20, 24)
    assert np.array_equal(codec.decode(longer)[0], codec.decode(data))


def test_nodata_and_saturated_of_dates_added():
    series = fields(4, 24, 24)
    series[1, :, :5] = 0
    series[2, 3, 4:6] = 65535
    series[3, :, :, 9:] = 0
    data = codec.encode(series[:2], model=MODEL, quality=40, nodata=0)
    longer = codec.extend(data, series[2:])
    back = codec.decode(longer)
    assert np.array_equal(back[:2], codec.decode(data))
    assert np.array_equal(back == 0, series == 0)
    assert np.array_equal(back == 65535, series == 65535)
    assert longer == codec.encode(series, model=MODEL, quality=40, nodata=0)
    mask = np.ones(series[:1].shape, bool)
    mask[..., :7] = False
    assert not codec.decode(codec.extend(data, series[:1], mask=mask))[2, ..., :7].any()


def test_reflectance_with_nan_goes_on():
    series = fields(3, 20, 20).astype(np.float32) / 10_000
    series[:, :, 2:6, 3:9] = np.nan
    data = codec.encode(series[:1], model=MODEL, quality=40, scale=10_000, offset=-50)
    back = codec.decode(codec.extend(data, series[1:]))
    assert np.array_equal(np.isnan(back), np.isnan(series))
    assert np.array_equal(back[:1], codec.decode(data), equal_nan=True)
    whole = codec.encode(np.nan_to_num(series[:1]), model=MODEL, quality=40, scale=10_000)
    with pytest.raises(InputError, match="nodata"):
        codec.extend(whole, series[1:])


def test_dates_that_do_not_fit():
    series = fields(2, 20, 20)
    data = codec.encode(series, model=MODEL, quality=40)
    for wrong, error in (
        (series.astype(np.int16), InputError),
        (series[..., :19], InputError),
        (series[:, :11], BandError),
        (series[:0], InputError),
    ):
        with pytest.raises(error):
            codec.extend(data, wrong)
    with pytest.raises(InputError, match="no nodata"):
        codec.extend(data, series, mask=series > 1000)
    for model, options in (("tec-elic", {"quality": 40}), (MODEL, {"max_error": 5})):
        with pytest.raises(InputError, match="anew"):
            codec.extend(codec.encode(series, model=model, **options), series)
    with pytest.raises(CodecError):
        codec.extend(data[:-1], series)


def test_dates_after_many():
    """One after the other, each on what was decoded: the same as all at once."""
    series = fields(11, 16, 16)
    data = codec.encode(series[:1], model=MODEL, quality=30)
    for date in series[1:]:
        data = codec.extend(data, date)
    assert data == codec.encode(series, model=MODEL, quality=30)


def test_decoding_goes_on_as_far_as_it_is_asked():
    series = fields(3, 16, 16)
    stream = read(codec.encode(series, model=MODEL, quality=30))
    model = load_fingerprint(stream.header.fingerprint)
    frames = codec.decode_frames(stream, model)
    assert len([next(frames), next(frames)]) == 2
    assert len(list(frames)) == 1


def test_a_series_without_its_last_part():
    data = codec.encode(fields(3, 16, 16), model=MODEL, quality=30)
    with pytest.raises(Truncated, match="R73"):
        codec.decode(write_parts(data, read_parts(data)[:2]))


def test_latents_of_a_long_series_are_made_anew_at_every_quality(monkeypatch):
    series, options = fields(3, 33, 50), EncodeOptions(MODEL)
    (held,) = codec.analyse([series], options)
    monkeypatch.setattr(codec, "HELD_DATES", 2)
    (anew,) = codec.analyse([series], options)
    assert held.latents() is held.latents()
    assert anew.latents() is not anew.latents()
    for quality in (70.0, 30.0):
        expected = eocodec.encode(series, model=MODEL, quality=quality)
        assert codec.finish(held, quality) == codec.finish(anew, quality) == expected


def test_threads_change_nothing():
    """Timesteps made ahead, and plans side by side, are those that come one after the other."""
    series, before = fields(4, 33, 50), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        data = eocodec.encode(series, model=MODEL, quality=60)
        alone = eocodec.decode(data)
        torch.set_num_threads(2)
        assert eocodec.encode(series, model=MODEL, quality=60) == data
        assert np.array_equal(eocodec.decode(data), alone)
        assert np.array_equal(codec.decode(data, [0, 2]), alone[[0, 2]])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
