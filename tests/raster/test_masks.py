"""Masks from arrays; masks to bytes and back."""

from __future__ import annotations

import contextlib
import lzma
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.errors import CodestreamError, InputError, MalformedSection, TrailingBytes, Truncated
from eocodec.raster import mask_layouts
from eocodec.raster.masks import bands_once, decode_mask, encode_mask, valid_mask

YY, XX = np.mgrid[:512, :512]
EDGE = YY * 0.31 + XX


def _all_bands(plane: np.ndarray, n_bands: int = 12) -> np.ndarray:
    return np.broadcast_to(plane, (1, n_bands, *plane.shape)).copy()


# --- valid_mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_nodata_value_is_invalid(dtype: type) -> None:
    array = np.array([0, 1, 7, 100], dtype).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(valid_mask(array, 7).ravel(), [True, True, False, True])
    np.testing.assert_array_equal(valid_mask(array, 0.0).ravel(), [False, True, True, True])
    assert valid_mask(array, None).all()


@pytest.mark.parametrize("nodata", [None, np.nan, -9999.0])
def test_nan_is_invalid_whatever_nodata_is(nodata: float | None) -> None:
    array = np.array([[1.0, np.nan], [2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(valid_mask(array, nodata), [[True, False], [True, True]])


@pytest.mark.parametrize("nodata", [-9999, 65536, 1.5, np.nan, np.inf, -1e300])
def test_nodata_outside_an_integer_dtype_masks_nothing(nodata: float) -> None:
    assert valid_mask(np.arange(4, dtype=np.uint16), nodata).all()


def test_float32_nodata_written_as_double_is_found() -> None:
    array = np.array([-3.4028235e38, -9999.1, 0.5], np.float32)
    np.testing.assert_array_equal(valid_mask(array, -3.4028234663852886e38), [False, True, True])
    np.testing.assert_array_equal(valid_mask(array, -9999.1), [True, False, True])


def test_infinite_values_are_refused_unless_they_are_nodata() -> None:
    array = np.array([1.0, np.inf], np.float32)
    with pytest.raises(InputError, match="infinite"):
        valid_mask(array, None)
    np.testing.assert_array_equal(valid_mask(array, np.inf), [True, False])


# --- round trip

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None, max_examples=150)
@given(shape=SHAPES, share=st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]), seed=st.integers(0, 2**16))
def test_any_mask_comes_back(shape: tuple[int, int, int, int], share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    back = decode_mask(encode_mask(mask), shape)
    assert back.dtype == bool
    assert not back.flags.writeable  # what is shared is there once
    np.testing.assert_array_equal(back, mask)


def test_what_bands_share_is_there_once() -> None:
    plane = np.random.default_rng(0).random((5, 1, 40, 30)) < 0.5
    for mask in (np.broadcast_to(plane, (5, 12, 40, 30)), np.repeat(plane, 12, 1)):
        back, kept = decode_mask(encode_mask(mask), (5, 12, 40, 30)), bands_once(mask[2])
        assert np.array_equal(back, mask)
        assert back.strides[1] == kept.strides[0] == 0
        assert np.array_equal(kept, mask[2])
    differing = np.random.default_rng(1).random((2, 8, 8)) < 0.5
    assert bands_once(differing) is differing


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), seed=st.integers(0, 2**16))
def test_every_layout_comes_back(shape: tuple[int, int, int, int], share: float, seed: int) -> None:
    planes = (np.random.default_rng(seed).random(shape) < share).reshape(-1, *shape[2:])
    for layout, variant, raw in mask_layouts.encode_planes(planes):
        assert len(raw) <= mask_layouts.max_raw_size(planes.shape)
        np.testing.assert_array_equal(mask_layouts.decode_planes(raw, layout, variant, planes.shape), planes)


def test_all_layouts_are_tried_on_a_plain_edge() -> None:
    planes = (XX + YY < 400)[None]
    tried = {(layout, variant) for layout, variant, _ in mask_layouts.encode_planes(planes[:, ::8, ::8])}
    assert tried >= {(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)}


USUAL = {
    "all valid": (_all_bands(YY >= 0), 0),
    "all invalid": (_all_bands(YY < 0), 1),
    "half plane": (_all_bands(XX < 200), 40),
    "slanted edge": (_all_bands(YY * 0.31 + XX < 300), 64),
    "flat slanted edge": (_all_bands(YY + XX * 0.2679 < 300), 64),
    "slanted edge at 20 m": (_all_bands(YY // 2 * 0.31 + XX // 2 < 150), 64),
    "swath between two edges": (_all_bands((YY * 0.31 + XX < 400) & (YY * 0.29 + XX > 200)), 128),
    "one pixel": (_all_bands((YY != 3) | (XX != 300)), 12),
    "edge that differs by band": (np.stack([300 + 3 * b > EDGE for b in range(12)])[None], 160),
    "one dead band": (np.stack([(300 if b != 4 else 0) > EDGE for b in range(12)])[None], 140),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_masks_are_small(name: str) -> None:
    mask, most = USUAL[name]
    data = encode_mask(mask)
    assert len(data) <= most
    np.testing.assert_array_equal(decode_mask(data, mask.shape), mask)


def test_scattered_pixels_cost_near_their_entropy() -> None:
    rng = np.random.default_rng(0)
    for share in (0.001, 0.01):
        mask = _all_bands(rng.random((512, 512)) >= share)
        p = 1 - mask[0, 0].mean()
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) * mask[0, 0].size / 8
        assert len(encode_mask(mask)) < 1.15 * entropy + 16


def test_noise_costs_no_more_than_its_bits() -> None:
    mask = _all_bands(np.random.default_rng(0).random((512, 512)) < 0.5)
    assert len(encode_mask(mask)) <= 512 * 512 // 8 + 16


def test_timesteps_with_one_mask_cost_as_one() -> None:
    one = _all_bands(YY * 0.31 + XX < 300, 3)
    assert len(encode_mask(np.repeat(one, 5, axis=0))) == len(encode_mask(one))


def test_usual_masks_code_fast() -> None:
    start = time.perf_counter()
    encode_mask(USUAL["swath between two edges"][0])
    assert time.perf_counter() - start < 0.5  # 5 ms on a quiet machine


def test_only_bool_masks_with_four_axes() -> None:
    for mask in (np.ones((2, 3, 3), bool), np.ones((1, 2, 3, 3), np.uint8), np.ones((1, 0, 3, 3), bool)):
        with pytest.raises(InputError):
            encode_mask(mask)


# --- golden bytes: these are part of the format


def test_golden_bytes() -> None:
    """Three bodies written by hand from the description of the layouts."""
    shape = (1, 2, 2, 3)
    mask = np.ones(shape, bool)
    mask[:, :, 1, 2] = False

    def body(raw: bytes) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(raw) + packer.flush()

    bits = bytes([0b0011_0001]) + body(bytes([0b0000_0000, 0b0010_0000]))
    # changes in each row: 0, 1; column 2 as zigzag 4
    runs = bytes([0b0011_0010]) + body(bytes(9) + bytes([0, 1, 4]))
    gaps = bytes([0b0011_0011]) + body(bytes([0, 0, 0, 5]))
    for data in (bits, runs, gaps):
        np.testing.assert_array_equal(decode_mask(data, shape), mask)
    assert len(encode_mask(mask)) <= len(gaps)


def test_golden_lzma_and_xored_planes() -> None:
    raw = bytes(
        [0b1000_0000, 0b0100_0000]
    )  # one row of two pixels, two bands, the second XORed with the first
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 0, "pb": 0}]
    data = bytes([0b1100_0001]) + lzma.compress(raw, format=lzma.FORMAT_RAW, filters=filters)
    expected = ~np.array([[[[True, False]], [[True, True]]]])
    np.testing.assert_array_equal(decode_mask(data, (1, 2, 1, 2)), expected)


# --- untrusted bytes


def _deflated(raw: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(raw) + packer.flush()


CODED = {
    name: encode_mask(np.ascontiguousarray(mask))
    for name, mask in {
        "runs": _all_bands(YY * 0.31 + XX < 300, 2)[:, :, :64, :384],
        "gaps": _all_bands((YY * 7919 + XX * 104729) % 97 > 0, 2)[:, :, :64, :64],
        "bits": _all_bands(np.random.default_rng(3).random((512, 512)) < 0.5, 2)[:, :, :32, :32],
        "invalid": _all_bands(YY < 0, 2)[:, :, :32, :32],
    }.items()
}
CODED_SHAPES = {
    "runs": (1, 2, 64, 384),
    "gaps": (1, 2, 64, 64),
    "bits": (1, 2, 32, 32),
    "invalid": (1, 2, 32, 32),
}


@pytest.mark.parametrize("name", CODED)
def test_truncation_anywhere_is_named(name: str) -> None:
    data = CODED[name]
    for size in range(1, len(data)):
        with pytest.raises((Truncated, MalformedSection)):
            decode_mask(data[:size], CODED_SHAPES[name])


@pytest.mark.parametrize("name", CODED)
def test_trailing_bytes_are_named(name: str) -> None:
    with pytest.raises(TrailingBytes):
        decode_mask(CODED[name] + b"\0", CODED_SHAPES[name])


@pytest.mark.parametrize("name", CODED)
def test_flipped_bytes_give_a_mask_or_a_named_error(name: str) -> None:
    data = CODED[name]
    refused = 0
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            try:
                mask = decode_mask(bytes(flipped), CODED_SHAPES[name])
            except CodestreamError:
                refused += 1
            else:
                assert mask.shape == CODED_SHAPES[name]
    assert refused > 0


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=60))
def test_garbage_gives_a_mask_or_a_named_error(data: bytes) -> None:
    shape = (2, 3, 9, 10)
    with contextlib.suppress(CodestreamError):
        assert decode_mask(data, shape).shape == shape


@pytest.mark.parametrize("use_lzma", [False, True])
def test_bombs_stop_at_the_size_of_the_mask(use_lzma: bool) -> None:
    raw = bytes(64 << 20)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20, "lc": 0, "pb": 0}]
    bomb = lzma.compress(raw, format=lzma.FORMAT_RAW, filters=filters) if use_lzma else _deflated(raw)
    flags = 0b0000_0010 | (0x80 if use_lzma else 0)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedSection, match="more than"):
            decode_mask(bytes([flags]) + bomb, (1, 1, 64, 64))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def _integers(*numbers: int) -> bytes:
    return np.array(numbers, ">u4").view(np.uint8).reshape(-1, 4).T.tobytes()


MALFORMED = {
    "no layout, but flags": bytes([0b0001_0000]),
    "bits of variant 3": bytes([0b0000_1101]) + _deflated(bytes(4)),
    "runs of variant 2": bytes([0b0000_1010]) + _deflated(_integers(0, 0, 0, 0)),
    "gaps of variant 3": bytes([0b0000_1111]) + _deflated(b""),
    "too few bits": bytes([1]) + _deflated(bytes(3)),
    "too many bits": bytes([1]) + _deflated(bytes(5)),
    "padding bit set": bytes([1]) + _deflated(bytes([0, 0, 1, 0])),
    "no whole integers": bytes([3]) + _deflated(bytes(5)),
    "fewer counts than rows": bytes([2]) + _deflated(_integers(0, 0, 0)),
    "counts beyond the columns": bytes([2]) + _deflated(_integers(5, 0, 0, 0, 0, 0, 0, 0, 0)),
    "counts without columns": bytes([2]) + _deflated(_integers(1, 0, 0, 1, 2)),
    "a column beyond the row": bytes([2]) + _deflated(_integers(1, 0, 0, 0, 8)),
    "a column before the row": bytes([2]) + _deflated(_integers(1, 0, 0, 0, 1)),
    "columns not in order": bytes([2]) + _deflated(_integers(2, 0, 0, 0, 4, 4)),
    "a gap beyond the plane": bytes([3]) + _deflated(_integers(16)),
    "a huge gap": bytes([3]) + _deflated(_integers(2**32 - 1, 2**32 - 1)),
    "not deflate": bytes([1]) + b"\xff\xff\xff",
    "not LZMA2": bytes([0x81]) + b"\x7f" * 8,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies_are_named(name: str) -> None:
    with pytest.raises((MalformedSection, Truncated) if name.startswith("no layout") else MalformedSection):
        decode_mask(MALFORMED[name], (1, 1, 4, 4))
