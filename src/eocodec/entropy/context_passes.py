"""Passes of the context model: latents quantised and coded, symbols decoded and put in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.context import Request
from eocodec.entropy.context_prior import MAX_SHIFTED, ContextPrior
from eocodec.entropy.family import MAX_HALF_WIDTH
from eocodec.entropy.partition import Partition, empty_blocks
from eocodec.entropy.rdo import MAX_SYMBOL
from eocodec.entropy.spectrum import SIZES
from eocodec.errors import MalformedSection

_MAX_DECODED = 2**31 - 1  # of a magnitude, so that it fits 32 bits too
_WIDTH = MAX_HALF_WIDTH + 1

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Symbols = NDArray[np.int32]
Observer = Callable[[Request, Float, Symbols], None]  # request, latents in steps [K, n], symbols [K, n]


class PassWriter:
    """Quantises latents under the tables of the context model, and codes them."""

    def __init__(
        self,
        latents: Mapping[int, NDArray[Any]],
        kept: Mapping[int, NDArray[Any]],
        encoder: SymbolEncoder,
        prior: ContextPrior,
        worth: np.float32,
        observe: Observer | None,
    ) -> None:
        self.latents, self._kept, self._encoder, self._prior = latents, kept, encoder, prior
        self._worth, self._observe = worth, observe
        self.coded: list[Symbols] = []

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """Quantise and code one pass."""
        taken = [self.wanted(r) for r in requests]
        rows = np.concatenate([r.rows.ravel() for r in requests])
        flat = self.quantise(np.concatenate([v.ravel() for v in taken]), rows)
        self._encoder.encode(flat, rows, self._prior.family)
        self.coded.append(flat)
        found = split(flat, requests)
        if self._kept:
            self.keep(requests, found, split(reconstructed(flat, rows, self._prior), requests))
        if self._observe is not None:
            for request, values, symbols in zip(requests, taken, found, strict=True):
                self._observe(request, values, symbols)
        return found

    def wanted(self, request: Request) -> Float:
        """Latents of a request, in steps."""
        v = self.latents[request.size][request.component, request.place]
        return v if request.expected is None else (v - request.expected.shift).astype(np.float32)

    def keep(self, requests: Sequence[Request], symbols: Sequence[Symbols], values: Sequence[Float]) -> None:
        """Put what symbols stand for in place."""
        put(values, requests, self._kept)

    def rounded(self, v: Float) -> Float:
        """Latents as whole numbers, rate left aside."""
        return np.rint(np.clip(v, -MAX_SYMBOL, MAX_SYMBOL))

    def quantise(self, v: Float, rows: Index) -> Symbols:
        """Symbols nearest to v [n], or one step towards zero where that saves more bits than it costs."""
        nearest = self.rounded(v)
        at = np.flatnonzero(nearest != 0)  # of flags it takes a quarter of the time
        k, value, row = nearest[at], v[at], rows[at]
        saved = self._prior.savings[row, np.clip(k, -_WIDTH, _WIDTH).astype(np.int64) + _WIDTH]
        magnitude, shift = np.abs(k).astype(np.int64), self._prior.shift_from_zero
        here = magnitude + shift[row, np.minimum(magnitude, MAX_SHIFTED)]
        below = magnitude - 1 + shift[row, np.minimum(magnitude - 1, MAX_SHIFTED)]
        size = np.abs(value)
        added = (size - below) ** 2 - (size - here) ** 2
        lower = self._worth * added < saved
        nearest[at[lower]] -= np.sign(k[lower])
        return nearest.astype(np.int32)


class PassReader:
    """Decodes symbols, and puts what they stand for in place."""

    def __init__(
        self, values: Mapping[int, NDArray[Any]], decoder: SymbolDecoder, prior: ContextPrior
    ) -> None:
        self._decoder, self._prior, self.values = decoder, prior, values
        self.coded: list[Symbols] = []

    def symbols(self, requests: Sequence[Request]) -> list[Symbols]:
        """Decode one pass."""
        rows = np.concatenate([r.rows.ravel() for r in requests])
        flat = self._decoder.decode(rows, self._prior.family)
        if int(flat.min()) < -_MAX_DECODED:
            raise MalformedSection("SYMBOLS: a symbol is outside +-(2^31 - 1) (R62)")
        self.coded.append(flat)
        found = split(flat, requests)
        self.keep(requests, found, split(reconstructed(flat, rows, self._prior), requests))
        return found

    def keep(self, requests: Sequence[Request], symbols: Sequence[Symbols], values: Sequence[Float]) -> None:
        """Put what symbols stand for in place."""
        put(values, requests, self.values)


def empty_values(part: Partition, bands: int, wide: bool) -> dict[int, NDArray[Any]]:
    """Zeros for decoded values; wide: as precise as the part of a prediction that is in them."""
    dtype = np.float64 if wide else np.float32
    return {size: empty_blocks(size, bands, len(part.corners(size)), dtype) for size in SIZES}


def put(values: Sequence[NDArray[Any]], requests: Sequence[Request], out: Mapping[int, NDArray[Any]]) -> None:
    """What was decoded of one pass, in its place; the gain's part of a prediction added."""
    for request, own in zip(requests, values, strict=True):
        at = out[request.size]
        expected = request.expected
        at[request.component, request.place] = own if expected is None else own + expected.shift


def reconstructed(symbols: Symbols, rows: Index, prior: ContextPrior) -> Float:
    """What symbols [n] of tables [n] stand for, in steps."""
    values = symbols.astype(np.float32)
    at = np.flatnonzero(symbols != 0)
    k = symbols[at]
    magnitude = np.minimum(np.abs(k.astype(np.int64)), MAX_SHIFTED)
    values[at] += np.sign(k) * prior.shift_from_zero[rows[at], magnitude]
    return values


def split(flat: NDArray[Any], requests: Sequence[Request]) -> list[NDArray[Any]]:
    """What belongs to each request, of the shape of its rows."""
    ends = np.cumsum([r.rows.size for r in requests]).tolist()
    return [
        flat[end - r.rows.size : end].reshape(r.rows.shape) for end, r in zip(ends, requests, strict=True)
    ]
