import numpy as np

from eocodec.coding.crc import crc32c, symbols_crc


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
