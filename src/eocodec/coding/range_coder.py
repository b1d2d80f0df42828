"""Symbols <-> range coder stream, through constriction, one call a table and never a loop over symbols.

Format (normative: docs/codestream.md, "Entropy coding"): symbols are coded grouped by table, tables in
ascending order, symbols of one table in their order in the array. A symbol that its table does not cover is
coded as the table's escape bin; its distance from the table goes to a second byte string, in coding order.

constriction derives a 24-bit table from float probabilities p as
`left[i] = floor(sum(p[:i]) * (2^24 - n) / sum(p)) + i`. It is given p[i] = 256 * frequency[i] - 1:
all sums are integers below 2^24 (exact in float32), the factor is exactly 1, and `left[i] = 256 * cdf[i]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import PRECISION, CdfTables
from eocodec.coding.varint import VarintReader, encode_varints, unzigzag, zigzag
from eocodec.errors import InputError, MalformedSection
from eocodec.types import IntArray

CODER_PRECISION = 24  # constriction's default coder; our tables are scaled up to it
WORD_BYTES = 4
_WORD_BITS = 32
_STATE = 1 << 64
_INT32 = np.iinfo(np.int32)
_HALF = 1 << 30  # differences of smaller values fit 32 bits
_MAX_ESCAPE_CODE = 1 << 33  # distances between two int32 values, zigzagged, stay below it

SymbolArray = NDArray[np.int32]


def encode_symbols(symbols: IntArray, table_index: IntArray, tables: CdfTables) -> tuple[bytes, bytes]:
    """Code symbols, each with its own table.

    Parameters
    ----------
    symbols : [n], integers within int32
    table_index : [n], integers, row of `tables` for each symbol

    Returns
    -------
    stream, escapes : contents of the sections SYMBOLS and ESCAPES; both empty for n = 0

    Raises
    ------
    InputError : lengths differ, or a symbol is outside int32
    TableError : an index names no table
    """
    encoder = SymbolEncoder()
    encoder.encode(symbols, table_index, tables)
    return encoder.finish()


def decode_symbols(stream: bytes, escapes: bytes, table_index: IntArray, tables: CdfTables) -> SymbolArray:
    """Inverse of `encode_symbols`.

    Returns
    -------
    symbols : [n], int32, n = len(table_index)

    Raises
    ------
    MalformedSection : the stream is invalid for these tables, or an escape value is out of range
    Truncated, TrailingBytes : fewer or more escape values than escape bins
    TableError : an index names no table

    Notes
    -----
    A damaged stream usually decodes to something: compare `symbols_crc` of the result.
    """
    decoder = SymbolDecoder(stream, escapes)
    symbols = decoder.decode(table_index, tables)
    decoder.finish()
    return symbols


def encode_channels(symbols: IntArray, table_index: IntArray, tables: CdfTables) -> tuple[bytes, bytes]:
    """`encode_symbols` where a whole channel shares a table: the same bytes, without sorting symbols.

    Parameters
    ----------
    symbols : [channels, ...], integers within int32
    table_index : [channels], integers
    """
    encoder = SymbolEncoder()
    encoder.encode_channels(symbols, table_index, tables)
    return encoder.finish()


def decode_channels(
    stream: bytes, escapes: bytes, table_index: IntArray, n: int, tables: CdfTables
) -> SymbolArray:
    """Inverse of `encode_channels`: [channels, n] int32. Errors of `decode_symbols`."""
    decoder = SymbolDecoder(stream, escapes)
    symbols = decoder.decode_channels(table_index, n, tables)
    decoder.finish()
    return symbols


class SymbolEncoder:
    """One stream from several groups of symbols, one after the other (hyper-latents, then latents ...)."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self._escapes: list[NDArray[np.uint64]] = []

    def encode(self, symbols: IntArray, table_index: IntArray, tables: CdfTables) -> None:
        """Append a group; arguments and errors of `encode_symbols`."""
        values = _as_symbols(symbols).reshape(-1)
        index = tables.checked_index(table_index)
        if index.size != values.size:
            raise InputError(f"table_index: found {index.size} values, expected {values.size}")
        order, runs = _stable_order(index, tables.count), _Runs(index, tables)
        bins = self._to_bins(values[order], tables, runs.low, runs.escape)
        for table, begin, end in runs:
            self._coder.encode(bins[begin:end], _model(tables, table))

    def encode_channels(self, symbols: IntArray, table_index: IntArray, tables: CdfTables) -> None:
        """Append a group; arguments and errors of `encode_channels`."""
        values = _as_symbols(symbols)
        index = tables.checked_index(table_index)
        if values.ndim < 1 or index.size != values.shape[0]:
            raise InputError(f"table_index: found {index.size} values, expected one of {values.shape[:1]}")
        values = values.reshape(index.size, -1) if values.size else values.reshape(index.size, 0)
        order = _stable_order(index, tables.count)
        for table, begin, end in _Runs(index, tables):
            bins = self._to_bins(values[order[begin:end]].reshape(-1), tables, *_bounds(tables, [table]))
            if bins.size:
                self._coder.encode(bins, _model(tables, table))

    def finish(self) -> tuple[bytes, bytes]:
        """(stream, escapes) of all groups; the encoder must not be used after it."""
        codes = np.concatenate(self._escapes) if self._escapes else np.zeros(0, dtype=np.uint64)
        return _seal(self._coder), encode_varints(codes)

    def _to_bins(
        self, values: SymbolArray, tables: CdfTables, low: SymbolArray, escape: SymbolArray
    ) -> SymbolArray:
        """Bins of symbols in coding order; distances of those that are outside are kept for ESCAPES.

        low, escape : [n], or [1] where all symbols have the same table; see `_bounds`
        """
        bins = np.subtract(values, low, dtype=np.int32 if _small(values, tables.first) else np.int64)
        unsigned = np.dtype(f"u{bins.itemsize}")  # in which a bin below 0 is beyond all tables
        outside = np.flatnonzero(bins.view(unsigned) >= escape.astype(unsigned))
        if outside.size:
            lost, last = bins[outside].astype(np.int64), np.broadcast_to(escape, bins.shape)[outside] - 1
            distance = lost - np.clip(lost, 0, last)  # never 0, so that the code can leave 0 out
            self._escapes.append(zigzag(distance) - np.uint64(1))
            bins[outside] = last + 1
        return bins.astype(np.int32, copy=False)


class SymbolDecoder:
    """Reads the groups of one stream in the order in which `SymbolEncoder` wrote them."""

    def __init__(self, stream: bytes, escapes: bytes) -> None:
        if stream.endswith(b"\0"):
            raise MalformedSection("SYMBOLS: the stream ends in a zero byte (R25)")
        padded = stream + bytes(-len(stream) % WORD_BYTES)
        self._coder = constriction.stream.queue.RangeDecoder(
            np.frombuffer(padded, dtype=">u4").astype(np.uint32)
        )
        self._escapes = VarintReader(escapes)

    def decode(self, table_index: IntArray, tables: CdfTables) -> SymbolArray:
        """Next group, [n] int32; arguments and errors of `decode_symbols`."""
        index = tables.checked_index(table_index)
        order, runs = _stable_order(index, tables.count), _Runs(index, tables)
        bins = np.empty(index.size, dtype=np.int32)
        for table, begin, end in runs:
            bins[begin:end] = self._decode_run(end - begin, table, tables)
        symbols = np.empty(index.size, dtype=np.int32)
        symbols[order] = self._to_symbols(bins, runs.low, runs.escape)
        return symbols

    def decode_channels(self, table_index: IntArray, n: int, tables: CdfTables) -> SymbolArray:
        """Next group, [channels, n] int32; arguments and errors of `decode_channels`."""
        index = tables.checked_index(table_index)
        order = _stable_order(index, tables.count)
        symbols = np.empty((index.size, n), dtype=np.int32)
        for table, begin, end in _Runs(index, tables):
            rows = order[begin:end]
            bins = self._decode_run(rows.size * n, table, tables)
            symbols[rows] = self._to_symbols(bins, *_bounds(tables, [table])).reshape(rows.size, n)
        return symbols

    def finish(self) -> None:
        """Raise `TrailingBytes` if escape values are left over (R29)."""
        self._escapes.finish()

    def _decode_run(self, count: int, table: int, tables: CdfTables) -> SymbolArray:
        try:
            bins: SymbolArray = self._coder.decode(_model(tables, table), count)
        except AssertionError as error:  # constriction's report of a state that no encoder can produce
            raise MalformedSection(f"SYMBOLS: invalid for table {table} (R26)") from error
        return bins

    def _to_symbols(self, bins: SymbolArray, low: SymbolArray, escape: SymbolArray) -> SymbolArray:
        """Symbols of bins in coding order, made in place; low, escape as in `SymbolEncoder`."""
        outside = np.flatnonzero(bins == escape)
        bins += low
        if outside.size:
            codes = self._escapes.take(outside.size)
            lows, escapes = (np.broadcast_to(b, bins.shape)[outside].astype(np.int64) for b in (low, escape))
            bins[outside] = _escaped(codes, lows, escapes)
        return bins


def _small(*arrays: SymbolArray) -> bool:
    """Whether no difference between values overflows."""
    return all(a.size and int(a.min()) > -_HALF and int(a.max()) < _HALF for a in arrays)


def _escaped(codes: NDArray[np.uint64], low: NDArray[np.int64], escape: NDArray[np.int64]) -> SymbolArray:
    if int(codes.max()) >= _MAX_ESCAPE_CODE:
        raise MalformedSection(f"ESCAPES: found code {int(codes.max())}, expected < 2^33 (R28)")
    distance = unzigzag(codes + np.uint64(1))
    values = distance + np.where(distance > 0, low + escape - 1, low)
    if int(values.min()) < _INT32.min or int(values.max()) > _INT32.max:
        raise MalformedSection("ESCAPES: a symbol is outside int32 (R28)")
    return values.astype(np.int32)


def _as_symbols(symbols: IntArray) -> SymbolArray:
    values = np.asarray(symbols)
    if values.dtype.kind not in "iu":
        raise InputError(f"symbols: found dtype {values.dtype}, expected integers")
    if (
        values.size
        and values.dtype != np.int32
        and not (_INT32.min <= int(values.min()) and int(values.max()) <= _INT32.max)
    ):
        raise InputError("symbols: a value is outside int32")
    return values.astype(np.int32, copy=False)


def _stable_order(index: IntArray, count: int) -> NDArray[np.intp]:
    """Coding order (R24): by table, then by position."""
    narrow = index.astype(np.uint16, copy=False) if count <= 1 << 16 else index  # radix sort up to 16 bits
    return np.argsort(narrow, kind="stable")


class _Runs:
    """Runs of equal tables in coding order: iterates over (table, begin, end).

    index : [n], table of each value, in any order
    low, escape : [n], int32, first symbol and escape bin of each value's table, in coding order
    """

    def __init__(self, index: IntArray, tables: CdfTables) -> None:
        length = np.bincount(index, minlength=1)
        self._table = np.flatnonzero(length)
        length = length[self._table]
        self._edges = np.concatenate([[0], np.cumsum(length)])
        self.low, self.escape = (np.repeat(b, length) for b in _bounds(tables, self._table))

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        edges = self._edges.tolist()
        return zip(self._table.tolist(), edges[:-1], edges[1:], strict=True)


def _bounds(tables: CdfTables, index: Sequence[int] | NDArray[np.int64]) -> tuple[SymbolArray, SymbolArray]:
    """First symbol and escape bin of tables."""
    return tables.first[index], (tables.sizes[index] - 1).astype(np.int32)


def _model(tables: CdfTables, table: int) -> Any:
    """constriction model of one table, built at first use and kept with the tables."""
    found = tables.models.get(table)
    if found is None:
        frequencies = np.diff(tables.table(table)).astype(np.int64)
        scaled = frequencies * (1 << (CODER_PRECISION - PRECISION)) - 1  # see the module's docstring
        found = constriction.stream.model.Categorical(scaled.astype(np.float32), lazy=False, perfect=False)
        tables.models[table] = found
    return found


def _seal(coder: Any) -> bytes:
    """End the stream in as few bytes as possible: big-endian words, trailing zero bytes left out.

    Any 64-bit value in [lower, lower + width) ends the stream; a decoder reads zeros after its last byte, so
    the value with the most trailing zero bits is taken. Where the interval wraps, constriction's own ending
    tells whether the carry has gone into the words before it.
    """
    words = coder.get_compressed()
    position, (lower, width) = coder.pos()
    if width == _STATE - 1 and position == 0:
        return b""
    ending = [*words[position:].tolist(), 0, 0]
    wrapped = (int(ending[0]) << _WORD_BITS | int(ending[1])) < lower
    value = 0
    if not wrapped:
        top = min(lower + width, _STATE)
        value = next(v for bits in range(64, -1, -1) if (v := -(-lower >> bits) << bits) < top)
    head: bytes = words[:position].astype(">u4").tobytes()
    return (head + value.to_bytes(8, "big")).rstrip(b"\0")
