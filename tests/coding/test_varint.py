import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eocodec.coding.varint import (
    VarintReader,
    decode_varints,
    encode_varints,
    read_varint,
    unzigzag,
    write_varint,
    zigzag,
)
from eocodec.errors import CodecError, MalformedHeader, MalformedSection, TrailingBytes, Truncated

UINT64 = st.integers(0, 2**64 - 1) | st.integers(0, 300)


def test_golden_bytes():
    values = np.array([0, 1, 127, 128, 300, 2**64 - 1], dtype=np.uint64)
    expected = "00 01 7f 8001 ac02 ffffffffffffffffff01"
    assert encode_varints(values) == bytes.fromhex(expected)


@given(st.lists(UINT64, max_size=40))
def test_array_and_scalar_forms_agree(values):
    data = encode_varints(np.array(values, dtype=np.uint64))
    assert data == b"".join(write_varint(value) for value in values)
    assert decode_varints(data, len(values)).tolist() == values
    offset, read = 0, []
    while offset < len(data):
        value, offset = read_varint(data, offset)
        read.append(value)
    assert read == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_zigzag_round_trip(values):
    array = np.array(values, dtype=np.int64)
    assert unzigzag(zigzag(array)).tolist() == values


def test_zigzag_order():
    assert zigzag(np.array([0, -1, 1, -2, 2])).tolist() == [0, 1, 2, 3, 4]


def test_runs_are_read_one_after_the_other():
    reader = VarintReader(encode_varints(np.array([5, 1000, 70000, 3])))
    assert reader.take(1).tolist() == [5]
    assert reader.take(0).size == 0
    assert reader.take(3).tolist() == [1000, 70000, 3]
    reader.finish()


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x01\xff"])
def test_truncated(data):
    with pytest.raises(Truncated):
        decode_varints(data, 2)


def test_truncated_scalar():
    with pytest.raises(Truncated):
        read_varint(b"\x80\x80", 0)


@pytest.mark.parametrize("data", [b"\x01\x02", b"\x01\x80"])
def test_left_over_bytes(data):
    with pytest.raises(TrailingBytes):
        decode_varints(data, 1)


@pytest.mark.parametrize("text", ["8000", "808000", "ff" * 9 + "02", "80" * 10 + "01", "ff" * 12 + "01"])
def test_r27_only_the_shortest_form_of_64_bits(text):
    data = bytes.fromhex(text)
    with pytest.raises(MalformedSection, match="byte 1"):
        decode_varints(b"\x05" + data, 2)
    with pytest.raises(MalformedSection):
        read_varint(data, 0)
    with pytest.raises(MalformedHeader):
        read_varint(data, 0, MalformedHeader)


@pytest.mark.parametrize("value", [-1, 2**64])
def test_values_that_no_varint_holds(value):
    with pytest.raises(CodecError):
        write_varint(value)


def test_negative_arrays_are_refused():
    with pytest.raises(CodecError, match="zigzag"):
        encode_varints(np.array([3, -1]))
