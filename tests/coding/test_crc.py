import numpy as np
import pytest

from eocodec.coding.crc import SymbolsCrc, crc32c, symbols_crc


def test_check_value_of_the_castagnoli_polynomial():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(memoryview(b"123456789")) == 0xE3069283
    assert crc32c(b"") == 0


def test_symbols_are_little_endian_int32():
    symbols = np.array([[1, -2], [3, 70000]])
    data = bytes.fromhex("01000000 feffffff 03000000 70110100")
    assert symbols_crc(symbols) == crc32c(data)


def test_strides_and_byte_order_do_not_matter():
    symbols = np.arange(24, dtype=np.int32).reshape(4, 6)
    assert symbols_crc(symbols[::2, ::3]) == symbols_crc(symbols[::2, ::3].copy())
    assert symbols_crc(np.asfortranarray(symbols)) == symbols_crc(symbols)
    assert symbols_crc(symbols.astype(">i4")) == symbols_crc(symbols)
    assert symbols_crc(symbols.T) != symbols_crc(symbols)


def test_several_arrays_are_their_concatenation():
    crc = SymbolsCrc()
    crc.add(np.array([[1, -2], [3, 4]]))
    crc.add(np.zeros(0, np.int32))
    crc.add(np.array([70000]))
    assert crc.value == symbols_crc(np.array([1, -2, 3, 4, 70000]))


@pytest.mark.parametrize("rows", [[], [0], [6], [0, 1, 2], [2, 3, 6], [0, 2, 4, 6], list(range(7))])
@pytest.mark.parametrize("n", [1, 5, 40_000])
def test_rows_of_zeros_are_not_needed(rows, n):
    symbols = np.random.default_rng(0).integers(-9, 9, (len(rows), n)).astype(np.int32)
    whole = np.zeros((7, n), np.int32)
    whole[rows] = symbols
    crc = SymbolsCrc()
    crc.add_rows(symbols, np.array(rows, np.int64), 7)
    assert crc.value == symbols_crc(whole)


@pytest.mark.parametrize("n", [1, 7, 5000])
@pytest.mark.parametrize("rows", [[], [0], [5, 6, 7], [0, 1, 3, 39], list(range(40))])
def test_rows_of_zeros_need_not_be_in_memory(rows, n):
    dense = np.zeros((40, n), np.int32)
    dense[rows] = np.random.default_rng(1).integers(-(2**31), 2**31, (len(rows), n), dtype=np.int32)
    crc = SymbolsCrc()
    crc.add(np.array([3, -1], np.int16))
    crc.add_rows(dense[rows], np.array(rows, np.int64), 40)
    crc.add(np.zeros((0, 4), np.int32))
    assert crc.value == symbols_crc(np.concatenate([[3, -1], dense.ravel()]))
