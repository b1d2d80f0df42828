"""What stands inside the sections UNITS, MASK and SATURATED."""

import struct

import numpy as np
import pytest

from eocodec.codestream.units_section import MAX_DN, Units, pack_units, unpack_units
from eocodec.errors import MalformedSection, TrailingBytes, Truncated
from eocodec.raster.masks import decode_mask, encode_mask


def test_golden_bytes_of_units():
    scaled = bytes.fromhex("01 000000000088c340 0000000000408fc0")
    assert pack_units(Units(10_000.0, -1000.0)) == scaled
    assert unpack_units(scaled) == Units(10_000.0, -1000.0)
    unscaled = bytes.fromhex("00 000000000000f03f 0000000000408fc0")
    assert pack_units(Units(None, -1000.0)) == unscaled
    assert unpack_units(unscaled) == Units(None, -1000.0)


@pytest.mark.parametrize("units", [Units(10_000.0, -1000.0), Units(None, 500.0), Units(0.5, 0.0)])
def test_units_there_and_back(units):
    values = np.linspace(-2, 3, 50)
    dn = units.to_dn(values)
    assert dn.dtype == np.float32
    assert dn == pytest.approx(values * (units.scale or 1.0) + units.offset, abs=0.01)
    assert units.from_dn(dn) == pytest.approx(values, abs=2e-4)


def test_only_plain_units_go_without_saying():
    assert Units().plain
    assert not Units(1.0).plain
    assert not Units(None, 1.0).plain


@pytest.mark.parametrize(
    ("flags", "scale", "offset"),
    [
        (2, 1.0, 0.0),
        (0x81, 1.0, 0.0),
        (0, 2.0, 0.0),
        (1, 0.0, 0.0),
        (1, -1.0, 0.0),
        (1, 1e-13, 0.0),
        (1, 1e13, 0.0),
        (1, float("nan"), 0.0),
        (1, float("inf"), 0.0),
        (0, 1.0, float("nan")),
        (0, 1.0, float("-inf")),
        (0, 1.0, -2.0 * MAX_DN),
    ],
)
def test_r32_units_out_of_range(flags, scale, offset):
    with pytest.raises(MalformedSection, match="R32"):
        unpack_units(struct.pack("<Bdd", flags, scale, offset))


@pytest.mark.parametrize("size", [0, 16, 18])
def test_r32_units_of_another_length(size):
    with pytest.raises(MalformedSection, match="R32"):
        unpack_units(bytes(size))


def test_r33_a_body_that_is_not_the_mask():
    shape = (2, 3, 20, 31)
    mask = np.random.default_rng(0).random(shape) < 0.7
    data = encode_mask(mask)
    assert np.array_equal(decode_mask(data, shape), mask)
    with pytest.raises((Truncated, MalformedSection)):
        decode_mask(data[:-1], shape)
    with pytest.raises(TrailingBytes):
        decode_mask(data + b"\0", shape)
    with pytest.raises(MalformedSection):
        decode_mask(data, (2, 3, 20, 33))
    with pytest.raises(MalformedSection):
        decode_mask(bytes([data[0] & ~3]) + data[1:], shape)  # layout 0 says that the flags are the last byte
