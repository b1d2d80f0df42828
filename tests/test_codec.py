"""array -> bytes -> array: shapes, dtypes, nodata, masks, saturation, units, quality."""

import numpy as np
import pytest
import torch

from codec_support import psnr, tile
from eocodec import codestream
from eocodec.codec import decode, decode_batch, encode, encode_batch
from eocodec.errors import BandError, InputError, ModelNotFound, UnitsError
from eocodec.options import EncodeOptions

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 17), (15, 16), (33, 50)])
@pytest.mark.parametrize("timesteps", [None, 1, 2])
def test_any_size_comes_back(tiny_model, rows, cols, timesteps):
    array = tile(rows, cols, timesteps=timesteps)
    decoded = decode(encode(array, model=tiny_model, quality=80))
    assert decoded.shape == array.shape
    assert decoded.dtype == array.dtype
    assert psnr(array, decoded) > 40


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_dtype(tiny_model, dtype):
    info = np.iinfo(dtype)
    wide = tile(20, 23).astype(np.int64)
    array = (wide if info.bits > 8 else wide % 40 + info.min + 100).astype(dtype)
    decoded = decode(encode(array, model=tiny_model, quality=100))
    assert decoded.dtype == array.dtype
    assert psnr(array, decoded) > 47


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reflectance_with_scale_and_offset(tiny_model, dtype):
    dn = tile(33, 20, dtype=dtype)
    reflectance = ((dn + 1000) / 10_000).astype(dtype)
    options = {"scale": 10_000.0, "offset": -1000.0}
    decoded = decode(encode(reflectance, model=tiny_model, quality=80, **options))
    assert decoded.dtype == np.dtype(dtype)
    assert psnr(reflectance * 10_000, decoded * 10_000) > 40
    plain = decode(encode(dn.astype(dtype), model=tiny_model, quality=80))
    assert decoded * 10_000 - 1000 == pytest.approx(plain, abs=1.0)


def test_offset_of_integers(tiny_model):
    shifted = decode(encode(tile(20, 20) + 1000, model=tiny_model, offset=-1000))
    plain = decode(encode(tile(20, 20), model=tiny_model))
    assert np.array_equal(shifted, plain + 1000)


def test_byte_order_and_strides_do_not_matter(tiny_model):
    array = tile(20, 30)
    data = encode(array, model=tiny_model)
    assert encode(array.astype(">u2"), model=tiny_model) == data
    assert encode(np.asfortranarray(array), model=tiny_model) == data


@pytest.mark.parametrize("quality", [0, 60])
def test_nodata_is_exact_and_the_mask_bit_for_bit(tiny_model, quality):
    array = tile(33, 50, timesteps=2, dtype="int16")
    rng = np.random.default_rng(1)
    absent = rng.random(array.shape) < 0.1  # differs from band to band and date to date
    absent[:, :, 5:20, 8:30] = True
    array[absent] = -9999
    decoded = decode(encode(array, model=tiny_model, quality=quality, nodata=-9999))
    assert np.array_equal(decoded == -9999, absent)
    assert psnr(array, decoded, ~absent) > (20 if quality == 0 else 35)


def test_what_lies_under_a_mask_is_replaced_by_nodata(tiny_model):
    array = tile(20, 20)
    mask = np.random.default_rng(2).random((20, 20)) < 0.5  # one plane for all bands
    array[:, ~mask] = 61_234
    data = encode(array, model=tiny_model, nodata=0, mask=mask)
    assert np.array_equal(decode(data) == 0, np.broadcast_to(~mask, array.shape))
    other = np.where(mask, array, 7)
    assert encode(other.astype("uint16"), model=tiny_model, nodata=0, mask=mask) == data


def test_masks_of_several_dates(tiny_model):
    array = tile(10, 12, timesteps=2)
    mask = np.ones(array.shape, bool)
    mask[1, 3, 2:5] = False
    decoded = decode(encode(array, model=tiny_model, nodata=0, mask=mask))
    assert np.array_equal(decoded != 0, mask)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", 0), ("uint16", 65535), ("int16", -9999), ("float32", -1.5)]
)
def test_nothing_but_nodata(tiny_model, dtype, nodata):
    array = np.full((12, 17, 40), nodata, dtype)
    data = encode(array, model=tiny_model, nodata=nodata)
    assert np.array_equal(decode(data), array)
    assert len(data) < 1500


def test_nan_becomes_nodata(tiny_model):
    array = tile(20, 20, dtype="float64").astype("float32")
    array[:, 3:6] = np.nan
    decoded = decode(encode(array, model=tiny_model))
    assert np.array_equal(np.isnan(decoded), np.isnan(array))
    decoded = decode(encode(array, model=tiny_model, nodata=-1))
    assert np.array_equal(decoded == -1, np.isnan(array))
    assert decode(encode(np.full((12, 5, 5), np.nan), model=tiny_model)) == pytest.approx(np.nan, nan_ok=True)


def test_infinity_under_the_mask_only(tiny_model):
    array = tile(20, 20, dtype="float64")
    array[:, 4, 4] = np.inf
    with pytest.raises(InputError, match="infinite"):
        encode(array, model=tiny_model)
    decoded = decode(encode(array, model=tiny_model, mask=np.isfinite(array)))
    assert np.array_equal(np.isnan(decoded), np.isinf(array))


def test_a_nodata_value_that_float32_rounds(tiny_model):
    array = tile(20, 20, dtype="float64").astype("float32")
    array[:, 0] = np.float32(0.1)
    decoded = decode(encode(array, model=tiny_model, nodata=0.1))
    assert np.array_equal(decoded == np.float32(0.1), array == np.float32(0.1))
    array[:, 0] = -np.inf
    decoded = decode(encode(array, model=tiny_model, nodata=-1.7976931348623157e308))
    assert np.array_equal(np.isneginf(decoded), np.isneginf(array))


def test_valid_pixels_never_become_nodata(tiny_model):
    array = np.random.default_rng(3).integers(1490, 1511, (12, 32, 32)).astype("uint16")
    array[array == 1500] = 1501
    assert (decode(encode(array, model=tiny_model)) == 1500).any()
    assert not (decode(encode(array, model=tiny_model, nodata=1500)) == 1500).any()
    array[:, :4] = 1500
    decoded = decode(encode(array, model=tiny_model, nodata=1500))
    assert np.array_equal(decoded == 1500, array == 1500)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "float32"])
def test_saturated_pixels_are_exact(tiny_model, dtype):
    array = tile(33, 20).astype(dtype)
    saturated = np.random.default_rng(4).random(array.shape) < 0.02
    array[saturated] = 65535
    decoded = decode(encode(array, model=tiny_model, quality=30))
    assert np.array_equal(decoded == 65535, saturated)
    assert psnr(array, decoded, ~saturated) > 30


def test_saturated_beside_nodata(tiny_model):
    array = tile(20, 20)
    array[:, :5], array[:, 5:9] = 0, 65535
    decoded = decode(encode(array, model=tiny_model, nodata=0))
    assert np.array_equal(decoded[:, :9], array[:, :9])
    everywhere = np.full((12, 16, 16), 65535, "uint16")
    assert np.array_equal(decode(encode(everywhere, model=tiny_model)), everywhere)


def test_negative_dn(tiny_model):
    array = (tile(20, 20).astype("int32") - 1500).astype("int16")
    assert (array < 0).mean() > 0.1
    assert psnr(array, decode(encode(array, model=tiny_model, quality=90))) > 44


@pytest.mark.parametrize("quality", [0, 50, 100])
@pytest.mark.parametrize(("dtype", "low", "high"), [("int16", -32768, 32767), ("uint16", 0, 65534)])
def test_extreme_dn(tiny_model, dtype, low, high, quality):
    rng = np.random.default_rng(5)
    coins = np.where(rng.random((12, 18, 16)) < 0.5, low, high).astype(dtype)
    bright = rng.integers(high - 6000, high, (12, 18, 16)).astype(dtype)
    for array in (coins, bright, np.full_like(coins, low), np.full_like(coins, high)):
        decoded = decode(encode(array, model=tiny_model, quality=quality))
        error = np.abs(decoded.astype(np.int64) - array)
        assert error.max() < (6000 if quality == 0 else 900)


def test_quality_buys_bytes_and_decibels(tiny_model):
    array = tile(48, 64)
    streams = [encode(array, model=tiny_model, quality=q) for q in np.linspace(0, 100, 11)]
    sizes = np.array([len(data) for data in streams])
    decibels = np.array([psnr(array, image) for image in decode_batch(streams)])
    assert (np.diff(sizes) > 0).all()
    assert (np.diff(decibels) > 0).all()
    assert decibels[-1] - decibels[0] > 15


def test_quality_is_continuous(tiny_model):
    array = tile(32, 32)
    data = encode(array, model=tiny_model, quality=50.25)
    assert codestream.read_header(data).quality_steps == 5025
    data = encode(array, model=tiny_model, quality=np.float32(50))
    assert data == encode(array, model=tiny_model, quality=50)


def test_a_batch_of_mixed_sizes_is_each_tile_by_itself(tiny_model):
    shapes = [(33, 20), (16, 16), (33, 20), (1, 5), (16, 16)]
    arrays = [tile(*shape, seed=i) for i, shape in enumerate(shapes)]
    arrays.append(tile(16, 16, timesteps=2))
    options = EncodeOptions(tiny_model, 60.0)
    together = encode_batch(arrays, options)
    alone = [encode(array, model=tiny_model, quality=60) for array in arrays]
    for array, data, image, other in zip(arrays, together, decode_batch(together), alone, strict=True):
        assert image.shape == array.shape
        assert image.astype(int) == pytest.approx(decode(data).astype(int), abs=1)  # float noise of pixels
        assert image.astype(int) == pytest.approx(decode(other).astype(int), abs=200)  # a symbol on an edge
        assert psnr(decode(other), image) > 60
        assert len(data) == pytest.approx(len(other), abs=16)


def test_masks_of_a_batch(tiny_model):
    arrays = [tile(16, 16, seed=i) for i in range(3)]
    masks = [None, np.arange(256).reshape(16, 16) % 3 > 0, np.zeros((16, 16), bool)]
    decoded = decode_batch(encode_batch(arrays, EncodeOptions(tiny_model, nodata=0), masks))
    assert [(image == 0).mean() for image in decoded] == pytest.approx([0, 86 / 256, 1])


def test_threads_change_nothing(tiny_model):
    arrays = [tile(16, 32, seed=i) for i in range(5)]
    before = torch.get_num_threads()
    coded, decoded = {}, {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        coded[threads] = encode_batch(arrays, EncodeOptions(tiny_model))
        decoded[threads] = decode_batch(coded[1])
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert [len(data) for data in coded[2]] == pytest.approx([len(data) for data in coded[1]], abs=16)
    for one, two in zip(decoded[1], decoded[2], strict=True):
        assert two.astype(int) == pytest.approx(one.astype(int), abs=1)


GOOD = tile(8, 8)


@pytest.mark.parametrize(
    ("array", "options", "error", "words"),
    [
        (GOOD[0], {}, InputError, "[C, H, W]"),
        (GOOD[None, None], {}, InputError, "[C, H, W]"),
        (GOOD[:, :0], {}, InputError, "not empty"),
        (GOOD[:10], {}, BandError, "12 bands"),
        (np.concatenate([GOOD, GOOD[:1]]), {}, BandError, "has 13"),
        (GOOD.astype("int64"), {}, InputError, "int64"),
        (GOOD.astype("float16"), {}, InputError, "float16"),
        (GOOD > 1000, {}, InputError, "bool"),
        (GOOD, {"quality": 101}, InputError, "quality"),
        (GOOD, {"quality": -0.1}, InputError, "quality"),
        (GOOD, {"quality": float("nan")}, InputError, "quality"),
        (GOOD, {"quality": "high"}, InputError, "quality"),
        (GOOD, {"scale": 10_000}, UnitsError, "leave scale out"),
        (GOOD / 10_000, {}, UnitsError, "scale=10000"),
        (GOOD / 10_000, {"scale": 0}, InputError, "scale"),
        (GOOD / 10_000, {"scale": 1e-300}, InputError, "scale"),
        (GOOD / 10_000, {"scale": float("inf")}, InputError, "scale"),
        (GOOD, {"offset": float("nan")}, InputError, "offset"),
        (GOOD, {"nodata": "none"}, InputError, "nodata"),
        (GOOD, {"mask": GOOD > 1000}, InputError, "state nodata"),
        (GOOD, {"mask": GOOD > 1000, "nodata": -1}, InputError, "uint16"),
        (GOOD, {"mask": np.ones((3, 8), bool), "nodata": 0}, InputError, "mask"),
        (GOOD * 1e6, {}, UnitsError, "16777216"),
        (GOOD.astype("uint32") * 65536, {}, UnitsError, "16777216"),
        (GOOD / 10_000, {"scale": 1e12}, UnitsError, "16777216"),
    ],
)
def test_bad_input(tiny_model, array, options, error, words):
    with pytest.raises(error) as caught:
        encode(array, model=tiny_model, **options)
    assert words in str(caught.value)


def test_reflectance_is_seen_through_nodata(tiny_model):
    array = GOOD / 10_000
    array[:, :4] = -9999
    with pytest.raises(UnitsError, match="scale=10000"):
        encode(array, model=tiny_model, nodata=-9999)


def test_models_that_are_not_there(tmp_path):
    for model in ("tec-nothing", str(tmp_path / "missing.safetensors")):
        with pytest.raises(ModelNotFound, match="installed"):
            encode(GOOD, model=model)
