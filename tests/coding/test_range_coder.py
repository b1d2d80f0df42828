import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.coding import (
    CdfTables,
    SymbolDecoder,
    SymbolEncoder,
    decode_channels,
    decode_symbols,
    encode_channels,
    encode_symbols,
    estimate_bits,
    from_pmfs,
)
from eocodec.coding.reference import decode_symbols_reference
from eocodec.coding.tables import TOTAL
from eocodec.coding.varint import write_varint
from eocodec.errors import InputError, MalformedSection, TableError, TrailingBytes, Truncated

# The tables and symbols of the worked example in docs/codestream.md.
EXAMPLE = CdfTables(
    np.array([0, 8192, 57344, 65535, 65536, 0, 65000, 65536], dtype=np.uint32),
    np.array([0, 5, 8]),
    np.array([-1, 0], dtype=np.int32),
)
EXAMPLE_SYMBOLS = np.array([[0, 0, 1, -1], [0, 0, 0, 0], [7, 0, 0, -3]])
EXAMPLE_INDEX = np.array([0, 1, 0])
UNIFORM = CdfTables(np.arange(TOTAL + 1, dtype=np.uint32), np.array([0, TOTAL + 1]), np.zeros(1, np.int32))
DECODERS = pytest.mark.parametrize("decode", [decode_symbols, decode_symbols_reference])


def laplace_tables(count=40, half=60):
    steps = np.abs(np.arange(-half, half + 1))
    return from_pmfs(
        [np.append(np.exp(-steps / (0.1 + 0.2 * t)), 1e-5) for t in range(count)], [-half] * count
    )


@st.composite
def coded(draw, most_symbols=80):
    """(symbols, table_index, tables) with random tables, some bins tiny, and symbols in and out of range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(2, 300), min_size=1, max_size=5))
    sharp = draw(st.sampled_from([0.02, 0.3, 5.0]))
    low = [draw(st.integers(-200, 50)) for _ in sizes]
    tables = from_pmfs([rng.dirichlet(np.full(size, sharp)) + 1e-9 for size in sizes], low)
    symbols = draw(st.lists(st.integers(-150, 150) | st.integers(-(2**31), 2**31 - 1), max_size=most_symbols))
    index = rng.integers(0, len(sizes), len(symbols))
    return np.array(symbols, dtype=np.int32), index, tables


@settings(deadline=None, max_examples=150)
@given(coded())
def test_round_trip_through_both_decoders_within_the_estimate(case):
    symbols, index, tables = case
    stream, escapes = encode_symbols(symbols, index, tables)
    for decode in (decode_symbols, decode_symbols_reference):
        decoded = decode(stream, escapes, index, tables)
        assert decoded.dtype == np.int32
        assert np.array_equal(decoded, symbols)
    assert 8 * len(stream) <= 1.01 * estimate_bits(symbols, index, tables) + 64


def test_golden_bytes():
    stream, escapes = encode_channels(EXAMPLE_SYMBOLS, EXAMPLE_INDEX, EXAMPLE)
    assert stream == bytes.fromhex("b8 3f ed 81 ff")
    assert escapes == bytes.fromhex("0b 02")


@pytest.mark.parametrize(
    ("symbols", "stream"),
    [
        ([32767, 32767, 256, 32768, 128], "7fff7fff000081ff"),
        ([32767, 32767, 256, 32768, 128, 5], "7fff7fff000081ff0000000480"),
        ([32767, 65279, 65280, 256, 1], "7ffffefffd810201"),
        ([32767, 255, 1, 0, 256], "7fff00feff8001ffffffffff"),
        ([32767, 255, 1, 0, 256, 5], "7fff00feff80020000000003fffffc"),
    ],
)
@DECODERS
def test_golden_bytes_where_a_carry_is_pending_at_the_end(symbols, stream, decode):
    index = np.zeros(len(symbols), dtype=np.int64)
    assert encode_symbols(np.array(symbols), index, UNIFORM) == (bytes.fromhex(stream), b"")
    assert decode(bytes.fromhex(stream), b"", index, UNIFORM).tolist() == symbols


def test_r24_ascending_tables_then_positions():
    symbols = np.array([0, 1, 0, -1, 0, 0])
    mixed, sorted_index = np.array([1, 0, 1, 0, 1, 0]), np.array([0, 0, 0, 1, 1, 1])
    grouped = symbols[[1, 3, 5, 0, 2, 4]]
    assert encode_symbols(symbols, mixed, EXAMPLE) == encode_symbols(grouped, sorted_index, EXAMPLE)
    assert encode_symbols(symbols, mixed, EXAMPLE) != encode_symbols(symbols, sorted_index, EXAMPLE)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 20))
def test_channels_are_the_same_bytes(seed, channels, n):
    rng = np.random.default_rng(seed)
    tables = laplace_tables(8)
    symbols, index = rng.integers(-70, 70, (channels, n)), rng.integers(0, 8, channels)
    coded_channels = encode_channels(symbols, index, tables)
    assert coded_channels == encode_symbols(symbols.reshape(-1), np.repeat(index, n), tables)
    assert np.array_equal(decode_channels(*coded_channels, index, n, tables), symbols)


def test_channels_may_have_several_axes():
    symbols = np.arange(-6, 6).reshape(2, 2, 3)
    index = np.array([1, 0])
    assert encode_channels(symbols, index, EXAMPLE) == encode_channels(symbols.reshape(2, 6), index, EXAMPLE)


def test_groups_share_one_stream():
    tables = laplace_tables(3)
    hyper, hyper_index = np.array([[3, -2], [0, 100]]), np.array([2, 0])
    latents, latents_index = np.array([1, 0, -1, 0, 0, 9]), np.array([1, 0, 1, 0, 1, 0])
    encoder = SymbolEncoder()
    encoder.encode_channels(hyper, hyper_index, tables)
    encoder.encode(latents, latents_index, EXAMPLE)
    stream, escapes = encoder.finish()
    decoder = SymbolDecoder(stream, escapes)
    assert np.array_equal(decoder.decode_channels(hyper_index, 2, tables), hyper)
    assert np.array_equal(decoder.decode(latents_index, EXAMPLE), latents)
    decoder.finish()


def test_no_symbols_no_bytes():
    empty = np.zeros(0, dtype=np.int32)
    assert encode_symbols(empty, empty, EXAMPLE) == (b"", b"")
    assert decode_symbols(b"", b"", empty, EXAMPLE).shape == (0,)
    assert decode_symbols_reference(b"", b"", empty, EXAMPLE).shape == (0,)


@DECODERS
def test_probable_symbols_may_need_no_bytes(decode):
    tables = CdfTables(np.array([0, TOTAL - 1, TOTAL], np.uint32), np.array([0, 3]), np.zeros(1, np.int32))
    index = np.zeros(1000, dtype=np.int64)
    assert encode_symbols(index, index, tables) == (b"", b"")
    assert not decode(b"", b"", index, tables).any()


@DECODERS
def test_two_bins_and_the_whole_range_of_int32(decode):
    symbols = np.array([0, -1, 1, 2**31 - 1, -(2**31), 0])
    index = np.ones(6, dtype=np.int64)
    stream, escapes = encode_symbols(symbols, index, EXAMPLE)
    assert decode(stream, escapes, index, EXAMPLE).tolist() == symbols.tolist()


def test_a_million_symbols_within_one_percent_of_the_estimate():
    tables = laplace_tables()
    index = np.arange(256) % tables.count
    rng = np.random.default_rng(5)
    scale = 0.1 + 0.2 * index
    symbols = np.round(rng.laplace(0, 1, (256, 4096)) * scale[:, None]).astype(np.int32)
    stream, escapes = encode_channels(symbols, index, tables)
    assert np.array_equal(decode_channels(stream, escapes, index, 4096, tables), symbols)
    bits = estimate_bits(symbols, index[:, None], tables)
    assert bits - 64 < 8 * len(stream) < 1.001 * bits + 64


def test_another_thread_uses_the_same_tables():
    stream, escapes = encode_channels(EXAMPLE_SYMBOLS, EXAMPLE_INDEX, EXAMPLE)
    results = []
    worker = threading.Thread(
        target=lambda: results.append(decode_channels(stream, escapes, EXAMPLE_INDEX, 4, EXAMPLE))
    )
    worker.start()
    worker.join()
    assert np.array_equal(results[0], EXAMPLE_SYMBOLS)


@DECODERS
def test_r25_no_zero_byte_at_the_end(decode):
    with pytest.raises(MalformedSection, match="R25"):
        decode(b"\xb8\x00", b"", np.zeros(2, dtype=np.int64), EXAMPLE)


@DECODERS
def test_r26_a_point_outside_the_interval(decode):
    with pytest.raises(MalformedSection, match="R26"):
        decode(b"\xff" * 8, b"", np.zeros(1, dtype=np.int64), UNIFORM)


@DECODERS
def test_r28_escaped_symbols_fit_int32(decode):
    stream, _ = encode_symbols(np.array([9]), np.array([0]), EXAMPLE)
    for code in (2**32, 2**33, 2**64 - 1):
        with pytest.raises(MalformedSection, match="R28"):
            decode(stream, write_varint(code), np.array([0]), EXAMPLE)
    highest = 2 * (2**31 - 1 - 1) - 1
    assert decode(stream, write_varint(highest), np.array([0]), EXAMPLE)[0] == 2**31 - 1


@DECODERS
def test_r29_as_many_escape_values_as_escapes(decode):
    index = np.repeat(EXAMPLE_INDEX, 4)
    stream, escapes = encode_symbols(EXAMPLE_SYMBOLS.reshape(-1), index, EXAMPLE)
    with pytest.raises(Truncated):
        decode(stream, escapes[:1], index, EXAMPLE)
    with pytest.raises(TrailingBytes):
        decode(stream, escapes + b"\1", index, EXAMPLE)


def test_bad_arguments():
    with pytest.raises(InputError, match="expected 2"):
        encode_symbols(np.array([1, 2]), np.array([0]), EXAMPLE)
    with pytest.raises(InputError, match="table_index"):
        encode_channels(np.zeros((2, 3), dtype=np.int32), np.array([0]), EXAMPLE)
    with pytest.raises(InputError, match="int32"):
        encode_symbols(np.array([2**31]), np.array([0]), EXAMPLE)
    with pytest.raises(InputError, match="integers"):
        encode_symbols(np.array([1.0]), np.array([0]), EXAMPLE)
    with pytest.raises(TableError, match="R23"):
        decode_symbols(b"", b"", np.array([2]), EXAMPLE)
