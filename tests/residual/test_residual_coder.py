"""Whatever comes in comes out within the bound, and damage is named."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_support import by_hand, image

from eocodec.coding.geometric import geometric_tables, uniform_tables
from eocodec.errors import ChecksumMismatch, CodestreamError, InputError, MalformedSection, Truncated
from eocodec.residual import decode_residual, encode_residual

BOUNDS = (0, 1, 5, 50)
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 21), st.integers(1, 21))


def round_trip(values, coded, max_error, **options):
    frame = encode_residual(values, coded, max_error, **options)
    options.pop("edges", None)
    return decode_residual(frame, coded, max_error, **options)


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.sampled_from(BOUNDS), st.integers(0, 2**32 - 1), st.sampled_from([1, 30, 2000, 2**24]))
def test_any_noise_within_the_bound(shape, max_error, seed, spread):
    rng = np.random.default_rng(seed)
    values = rng.integers(-spread, spread + 1, shape)
    coded = rng.random(shape) < rng.choice([0.0, 0.3, 1.0])
    found = round_trip(values, coded, max_error)
    assert np.abs(found - values)[coded].max(initial=0) <= max_error


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.sampled_from(BOUNDS), st.integers(0, 999), st.booleans())
def test_images_within_the_bound(shape, max_error, seed, with_base):
    values = image(shape, seed)
    coded = np.ones(shape, bool)
    coded[..., : shape[-1] // 3] = False
    base = values // 8 * 8 if with_base else None
    found = round_trip(values, coded, max_error, base=base)
    assert np.abs(found - values)[coded].max(initial=0) <= max_error


@pytest.mark.parametrize("max_error", BOUNDS)
def test_nodata_never_comes_back(max_error):
    values = image((1, 2, 24, 24), high=60)
    coded = values != 30
    found = round_trip(values, coded, max_error, nodata=30)
    assert not (found[coded] == 30).any()
    assert np.abs(found - values)[coded].max() <= max_error


def test_what_is_not_coded_costs_nothing():
    values = image((1, 4, 40, 40))
    coded = np.zeros(values.shape, bool)
    coded[:, :, :20] = True
    noise = np.where(coded, values, np.random.default_rng(0).integers(0, 60_000, values.shape))
    one, other = (encode_residual(array, coded, 5) for array in (values, noise))
    assert one == other
    nothing = encode_residual(values, np.zeros_like(coded), 5)
    assert len(nothing.stream) + len(nothing.escapes) < 30


def test_a_wider_bound_takes_fewer_bytes():
    values, coded = image((1, 2, 48, 48)), np.ones((1, 2, 48, 48), bool)
    sizes = [len(encode_residual(values, coded, bound).stream) for bound in (0, 3, 15, 60)]
    assert all(more > 1.25 * less for more, less in itertools.pairwise(sizes))


def test_the_rate_of_noise_is_its_entropy():
    """White Laplacian noise has nothing to be predicted from: the coder must come near its entropy."""
    rng = np.random.default_rng(1)
    noise = np.rint(rng.laplace(0, 10, (1, 2, 128, 128))).astype(np.int64)
    _, counts = np.unique(noise, return_counts=True)
    share = counts / noise.size
    entropy = -(share * np.log2(share)).sum()
    frame = encode_residual(noise, np.ones(noise.shape, bool), 0)
    bits = 8 * (len(frame.stream) + len(frame.escapes)) / noise.size
    assert 0.97 * entropy < bits < 1.03 * entropy


def test_interpolated_pixels_are_nearly_free():
    """A band that was brought to half the pixel size bilinearly has a quarter of the information."""
    noise = np.random.default_rng(0).normal(0, 60, (33, 33))
    coarse = image((1, 1, 33, 33), seed=3)[0, 0] + noise
    rows = 0.75 * coarse[:-1].repeat(2, 0) + 0.25 * coarse[1:].repeat(2, 0)
    rows[1::2] = 0.25 * coarse[:-1] + 0.75 * coarse[1:]
    full = 0.75 * rows[:, :-1].repeat(2, 1) + 0.25 * rows[:, 1:].repeat(2, 1)
    full[:, 1::2] = 0.25 * rows[:, :-1] + 0.75 * rows[:, 1:]
    values = np.rint(full).astype(np.int64)[None, None]
    sizes = [
        len(encode_residual(v, np.ones(v.shape, bool), 0).stream)
        for v in (values, np.rint(coarse).astype(np.int64)[None, None])
    ]
    assert sizes[0] < 2.2 * sizes[1]  # four times the pixels


def test_values_out_of_range():
    with pytest.raises(InputError, match="33554433"):
        encode_residual(np.full((1, 1, 2, 2), 2**25 + 1), np.ones((1, 1, 2, 2), bool), 0)


@pytest.mark.parametrize("max_error", [0, 9])
def test_a_flipped_bit_never_gives_another_image(max_error):
    values, coded = image((1, 2, 9, 9)), np.ones((1, 2, 9, 9), bool)
    frame = encode_residual(values, coded, max_error)
    right = decode_residual(frame, coded, max_error)
    rng, named = np.random.default_rng(5), 0
    positions = range(0, len(frame.stream), 5)
    for position in positions:
        damaged = bytearray(frame.stream)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            found = decode_residual(dataclasses.replace(frame, stream=bytes(damaged)), coded, max_error)
        except CodestreamError as error:
            assert type(error) is not CodestreamError
            named += 1
        else:  # a symbol that is clipped to the same pixel
            assert np.array_equal(found, right)
    assert named > len(positions) / 2


ONE, TWO = np.ones((1, 1, 1, 1), bool), np.ones((1, 2, 1, 1), bool)
BOUNDS_OF_ONE = ([0, 9], 57)


def refused(frame, coded=ONE):
    with pytest.raises(MalformedSection) as caught:
        decode_residual(frame, coded, 0)
    return str(caught.value)


def test_r53_bounds_and_centres():
    assert "(R53)" in refused(by_hand(([5, -1], 57)))
    assert "(R53)" in refused(by_hand(([0, 2**31], 57)))
    assert "(R53)" in refused(by_hand(BOUNDS_OF_ONE, ([0], 26), ([2**31], 45)))


def test_r54_order_of_bands():
    assert "(R54)" in refused(by_hand(BOUNDS_OF_ONE, ([1], 26)))
    assert "(R54)" in refused(by_hand(BOUNDS_OF_ONE, ([0, -1], 26)), TWO)


def test_r55_references():
    silent = ([3], 21)
    start = (BOUNDS_OF_ONE, ([0, 0], 26), ([0, 0], 45), silent)
    assert "(R55)" in refused(by_hand(*start, ([1], 26)), TWO)
    assert "(R55)" in refused(by_hand(*start, ([-1], 26)), TWO)


def test_r56_numbers_of_a_pass():
    start = (BOUNDS_OF_ONE, ([0], 26), ([0], 45))
    assert "(R56)" in refused(by_hand(*start, ([4], 21)))  # shape
    assert "(R56)" in refused(by_hand(*start, ([0], 21), ([-9], 21)))  # slope
    assert "(R56)" in refused(by_hand(*start, ([0], 21), ([0], 21), ([300], 21)))  # offset
    assert "(R56)" in refused(by_hand(*start, ([0], 21), ([0], 21), ([0], 21), ([-11], 21)))  # gain
    second = (BOUNDS_OF_ONE, ([0, 0], 26), ([0, 0], 45), ([3], 21), ([0], 26))
    assert "(R56)" in refused(by_hand(*second, ([6], 26)), TWO)  # 13 features there, 14 weights
    assert "(R56)" in refused(by_hand(*second, ([0], 26), ([9], 21)), TWO)  # shift


def test_r57_low_bits():
    def low_bits(encoder):
        encoder.encode(np.array([0, 0]), np.full(2, 40 + 39), geometric_tables())
        encoder.encode(np.array([0, 500]), np.full(2, 5), uniform_tables())

    assert "(R57)" in refused(by_hand(last=low_bits))


def test_r59_crc_of_the_pixels():
    values = image((1, 2, 9, 9))
    coded = np.ones(values.shape, bool)
    frame = encode_residual(values, coded, 3)
    with pytest.raises(ChecksumMismatch, match="R59"):
        decode_residual(dataclasses.replace(frame, pixels_crc=frame.pixels_crc ^ 1), coded, 3)


def test_escapes_must_be_there():
    values = image((1, 1, 40, 40))
    values[0, 0, 7, 7] = 30_000
    coded = np.ones(values.shape, bool)
    frame = encode_residual(values, coded, 0)
    assert frame.escapes
    with pytest.raises(Truncated):
        decode_residual(dataclasses.replace(frame, escapes=b""), coded, 0)
