"""Integer CDF tables: what the range coder is driven by, and all it is driven by.

A table gives every bin an integer frequency of at least 1 with a total of `1 << PRECISION`. Its first bin is
the symbol value `first`, the next one `first + 1` and so on; its last bin is the escape, which stands for
every other symbol. Tables are made once (from floats, when a model is trained) and stored as integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eocodec.errors import TableError
from eocodec.types import FloatArray, IntArray

PRECISION = 16  # bits; 64 tables at 16 bits cost 0.2 % over exact Gaussians, and 65 536 fits float32 exactly
TOTAL = 1 << PRECISION
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, eq=False)
class CdfTables:
    """`n` integer CDF tables, packed end to end.

    Parameters
    ----------
    cdf : [total], uint32; each table starts at 0, ends at `1 << PRECISION` and increases strictly
    start : [n + 1], int64; table i is `cdf[start[i] : start[i + 1]]` and has one bin less than entries
    first : [n], int32; symbol value of the first bin of each table

    Raises
    ------
    TableError : any of the above does not hold, or a table has fewer than 2 bins

    Notes
    -----
    Instances compare by identity. `models` is the range coder's cache and no part of the value.
    """

    cdf: NDArray[np.uint32]
    start: NDArray[np.int64]
    first: NDArray[np.int32]
    models: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_form("cdf", self.cdf, np.uint32)
        _check_form("start", self.start, np.int64)
        _check_form("first", self.first, np.int32)
        _check_starts(self.start, self.first.size, self.cdf.size)
        _check_values(self.cdf, self.start)
        highest = self.first.astype(np.int64) + self.sizes - 2
        if highest.size and int(highest.max()) > _INT32_MAX:
            raise TableError(f"first: a table covers {int(highest.max())}, above int32 (R22)")

    @property
    def count(self) -> int:
        """Number of tables."""
        return int(self.first.size)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """[n], int64: bins of each table, its escape included."""
        return np.diff(self.start) - 1

    def table(self, index: int) -> NDArray[np.uint32]:
        """[bins + 1], uint32: cumulative frequencies of table `index`."""
        return self.cdf[int(self.start[index]) : int(self.start[index + 1])]

    def checked_index(self, table_index: IntArray) -> IntArray:
        """`table_index`, flat; raises `TableError` where it names no table."""
        index = np.asarray(table_index).reshape(-1)
        if index.size and index.dtype.kind not in "iu":
            raise TableError(f"table_index: found dtype {index.dtype}, expected integers")
        if index.size and (int(index.min()) < 0 or int(index.max()) >= self.count):
            found = f"{int(index.min())} .. {int(index.max())}"
            raise TableError(f"table_index: found {found}, expected 0 .. {self.count - 1} (R23)")
        return index.astype(np.int64, copy=False) if index.dtype.itemsize > 4 else index


def from_pmfs(pmfs: Sequence[FloatArray], first: ArrayLike) -> CdfTables:
    """Quantise float distributions to integer tables.

    Parameters
    ----------
    pmfs : n arrays [bins], floats >= 0 in any normalisation; the last entry is the escape's mass
    first : [n], integers, symbol value of each first bin

    Returns
    -------
    tables : every bin >= 1, exact totals

    Raises
    ------
    TableError : a distribution is empty, too long, negative, not finite or all zero

    Notes
    -----
    Deterministic for equal floats: bins worth less than one unit get one, the rest is shared in proportion
    by largest remainder, ties to the lower bin.
    """
    lows = np.asarray(first, dtype=np.int32).reshape(-1)
    if lows.size != len(pmfs):
        raise TableError(f"first: found {lows.size} values, expected {len(pmfs)}")
    parts = []
    for number, pmf in enumerate(pmfs):
        frequencies = _quantise(np.asarray(pmf, dtype=np.float64), number)
        parts.append(np.concatenate([[0], np.cumsum(frequencies)]).astype(np.uint32))
    start = np.concatenate([[0], np.cumsum([part.size for part in parts], dtype=np.int64)])
    cdf = np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint32)
    return CdfTables(cdf=cdf, start=start.astype(np.int64), first=lows)


def cost_bits(tables: CdfTables) -> tuple[NDArray[np.float32], ...]:
    """Ideal cost of every bin of every table.

    Returns
    -------
    costs : one array [bins] float32 a table, bits = PRECISION - log2(frequency); the escape is last, its
        value in the escape list not counted
    """
    widths = (np.diff(tables.table(index).astype(np.int64)) for index in range(tables.count))
    return tuple((PRECISION - np.log2(width)).astype(np.float32) for width in widths)


def estimate_bits(symbols: IntArray, table_index: IntArray, tables: CdfTables) -> float:
    """Ideal size of a stream: sum of -log2(frequency / 2^PRECISION) over the symbols, in bits.

    Parameters
    ----------
    symbols : [n] integers
    table_index : [n] integers, or broadcastable to `symbols`

    Notes
    -----
    Escape values (section ESCAPES) are not counted.
    """
    values = np.asarray(symbols)
    index = np.broadcast_to(table_index, values.shape)
    flat = tables.checked_index(index)
    last = tables.sizes[flat] - 1
    bins = values.reshape(-1).astype(np.int64) - tables.first[flat]
    bins = np.where((bins < 0) | (bins > last), last, bins)
    position = tables.start[flat] + bins
    width = tables.cdf[position + 1] - tables.cdf[position]
    return float(np.sum(PRECISION - np.log2(width.astype(np.float64))))


def _quantise(pmf: FloatArray, number: int) -> NDArray[np.int64]:
    if pmf.ndim != 1 or not 2 <= pmf.size <= TOTAL:
        raise TableError(f"pmf {number}: found shape {pmf.shape}, expected [2 .. {TOTAL}] bins")
    if not np.isfinite(pmf).all() or (pmf < 0).any() or not pmf.sum() > 0:
        raise TableError(f"pmf {number}: found negative, non-finite or all-zero mass")
    pmf = pmf / pmf.sum()
    small = np.zeros(pmf.size, dtype=np.bool_)
    scale = float(TOTAL)
    while not small.all():  # each pass fixes at least one more bin at 1, so it ends
        scale = (TOTAL - int(small.sum())) / pmf[~small].sum()
        smaller = small | (pmf * scale < 1)
        if (smaller == small).all():
            break
        small = smaller
    ideal = np.where(small, 1.0, pmf * scale)
    frequencies = np.maximum(np.floor(ideal), 1.0).astype(np.int64)
    missing = TOTAL - int(frequencies.sum())
    by_remainder = np.argsort(frequencies - ideal, kind="stable")
    frequencies[by_remainder[:missing]] += 1
    return frequencies


def _check_form(name: str, array: NDArray[Any], dtype: type[np.integer[Any]]) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != np.dtype(dtype):
        found = getattr(array, "dtype", type(array).__name__)
        raise TableError(f"{name}: found {found}, expected a 1-D array of {np.dtype(dtype)}")


def _check_starts(start: NDArray[np.int64], count: int, total: int) -> None:
    if start.size != count + 1 or start[0] != 0 or start[-1] != total:
        raise TableError(f"start: expected {count + 1} offsets from 0 to {total}")
    if count and int(np.diff(start).min()) < 3:
        raise TableError("start: a table has fewer than 2 bins (R22)")


def _check_values(cdf: NDArray[np.uint32], start: NDArray[np.int64]) -> None:
    if start.size == 1:
        return
    if (cdf[start[:-1]] != 0).any() or (cdf[start[1:] - 1] != TOTAL).any():
        raise TableError(f"cdf: a table does not run from 0 to {TOTAL} (R22)")
    rising = np.diff(cdf.astype(np.int64)) > 0
    rising[start[1:-1] - 1] = True  # from one table's end to the next one's start
    if not rising.all():
        raise TableError(f"cdf: does not increase at entry {int(np.argmin(rising)) + 1} (R22)")
