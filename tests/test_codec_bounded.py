"""`max_error` through the codec: every dtype, with and without a base layer; damage and misuse are named."""

import dataclasses

import numpy as np
import pytest

from codec_support import tile
from eocodec import codec
from eocodec.codec import decode, encode
from eocodec.codestream import Header, Section, SectionType, info, read, validate, write
from eocodec.codestream.residual_section import ResidualFrame, pack_residual, unpack_residual
from eocodec.errors import (
    BoundError,
    CodestreamError,
    InputError,
    MalformedSection,
    ModelNotFound,
    UnitsError,
)
from eocodec.options import EncodeOptions
from eocodec.residual import encode_residual

BASES = (None, 40)


def worst(one, other):
    return int(np.abs(one.astype(np.int64) - other).max())


@pytest.mark.parametrize("quality", BASES)
@pytest.mark.parametrize(
    ("dtype", "max_error"), [("uint16", 0), ("uint16", 60), ("int16", 3), ("int32", 60), ("uint32", 0)]
)
def test_every_pixel_within_the_bound(tiny_model, dtype, max_error, quality):
    array = tile(21, 18).astype(dtype)
    data = encode(array, model=tiny_model, quality=quality, max_error=max_error)
    decoded = decode(data)
    assert (decoded.dtype, decoded.shape) == (array.dtype, array.shape)
    assert worst(decoded, array) <= max_error
    assert info(data)["max_error"] == max_error
    assert validate(data).ok
    assert (SectionType.SYMBOLS in read(data).sections) == (quality is not None)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_narrow_dtypes_do_not_wrap(tiny_model, dtype):
    limits = np.iinfo(dtype)
    array = np.random.default_rng(0).integers(limits.min, limits.max, (12, 17, 16), dtype, endpoint=True)
    for max_error in (0, 300):
        assert worst(decode(encode(array, model=tiny_model, max_error=max_error)), array) <= max_error


@pytest.mark.parametrize("quality", BASES)
def test_nodata_and_saturated_pixels_are_exact(tiny_model, quality):
    array = tile(24, 20)
    array[:, :6, :7] = 0
    array[3, 10:12, 10:12] = 65535
    mask = array > 0
    for nodata, max_error in ((0, 100), (1500, 9)):
        array[~mask] = nodata
        array[mask & (array == nodata)] += 1
        decoded = decode(encode(array, model=tiny_model, quality=quality, nodata=nodata, max_error=max_error))
        assert np.array_equal(decoded == nodata, ~mask)
        assert np.array_equal(decoded == 65535, array == 65535)
        assert worst(decoded, array) <= max_error


@pytest.mark.parametrize("quality", BASES)
def test_an_offset_does_not_matter(tiny_model, quality):
    array = tile(16, 17) + np.uint16(1000)
    data = encode(array, model=tiny_model, quality=quality, offset=-1000.5, max_error=7)
    assert worst(decode(data), array) <= 7


def test_timesteps(tiny_model):
    array = tile(16, 17, timesteps=2)
    for quality in BASES:
        assert worst(decode(encode(array, model=tiny_model, quality=quality, max_error=4)), array) <= 4


def test_without_a_base_layer_no_model_is_needed(tiny_model):
    array = tile(16, 16)
    stream = read(encode(array, model=tiny_model, max_error=5))
    header = dataclasses.replace(stream.header, fingerprint=b"unheard!")
    data = write(header, [Section(kind, content) for kind, content in stream.sections.items()])
    assert worst(decode(data), array) <= 5
    with_base = read(encode(array, model=tiny_model, quality=30, max_error=5))
    header = dataclasses.replace(with_base.header, fingerprint=b"unheard!")
    with pytest.raises(ModelNotFound):
        decode(write(header, [Section(kind, content) for kind, content in with_base.sections.items()]))


@pytest.mark.parametrize("quality", BASES)
def test_damage_is_named(tiny_model, quality):
    data = encode(tile(16, 16), model=tiny_model, quality=quality, max_error=30)
    for position in range(0, len(data), 11):
        damaged = data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :]
        with pytest.raises((CodestreamError, ModelNotFound)):
            decode(damaged)
        with pytest.raises(CodestreamError):
            decode(data[:position])


def test_r52_symbols_need_a_base_layer(tiny_model):
    stream = read(encode(tile(16, 16), model=tiny_model, quality=30, max_error=30))
    frame = unpack_residual(stream.sections[SectionType.RESIDUAL])
    sections = dict(stream.sections)
    sections[SectionType.RESIDUAL] = pack_residual(dataclasses.replace(frame, has_base=False, edges=b""))
    with pytest.raises(MalformedSection, match="R52"):
        decode(write(stream.header, [Section(kind, content) for kind, content in sections.items()]))


def test_r58_values_of_the_dtype():
    values = np.full((1, 2, 3, 3), 300)
    frame = encode_residual(values, np.ones(values.shape, bool), 0)
    assert isinstance(frame, ResidualFrame)
    section = Section(SectionType.RESIDUAL, pack_residual(frame))
    header = Header(bytes(8), values.shape, "uint16", 0, max_error=0)
    assert np.array_equal(decode(write(header, [section])), values)
    with pytest.raises(MalformedSection, match="R58"):
        decode(write(dataclasses.replace(header, dtype="uint8"), [section]))


def test_a_broken_bound_is_not_released(tiny_model, monkeypatch):
    array = tile(16, 16)
    wrong = array.copy()
    wrong[5, 5, 5] += 7
    monkeypatch.setattr(codec, "decode", lambda data: wrong)
    with pytest.raises(BoundError, match="off by 7, the bound is 6"):
        encode(array, model=tiny_model, max_error=6)


@pytest.mark.parametrize("max_error", [-1, 0.5, 2**24 + 1, "5", True, float("nan")])
def test_bounds_that_are_none(max_error):
    with pytest.raises(InputError, match="max_error"):
        EncodeOptions(max_error=max_error)


def test_floats_are_refused(tiny_model):
    with pytest.raises(UnitsError, match="max_error"):
        encode(tile(16, 16).astype("float32"), model=tiny_model, max_error=5)


def test_quality_that_is_not_stated():
    assert EncodeOptions().quality == 50
    assert EncodeOptions(max_error=5).quality is None
    assert EncodeOptions(quality=30, max_error=5).quality == 30
