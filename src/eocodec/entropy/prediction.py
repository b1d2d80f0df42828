"""The latents of a timestep predicted from earlier ones, by a map across the spectrum that the stream states.

Along the axes of the nearest reference, z are the DCT coefficients of what is known of the references: their
components and what else is made of these (entropy/sources.py), all without tile means. Component c of the
current timestep is expected to be

    p[c] = sum over references r and sources j of weight[r, c, j] * z[r, j]

at every frequency and place; its tile mean is stated as a difference to the nearest reference's. How a scene
has changed between two dates is mostly a matter of its spectra: fields and woods change each in their way,
which products of pixels tell apart. So few numbers a tile say it. They are integers in the stream, in
units that follow from the references; nothing of this decides a table by itself, so that machines may differ
by rounding errors here (docs/exactness.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, from_pmfs
from eocodec.entropy.family import table_costs
from eocodec.entropy.sources import BENT, Sources
from eocodec.entropy.spectrum import BANDS, CELL, layout
from eocodec.errors import MalformedSection

MAX_REFERENCES = 2
WINDOW = 8  # timesteps back that a reference may be
MEAN_UNIT = 0.25  # of stated means, in quantisation steps
WEIGHT_UNIT = 1.5  # of stated weights: an error of 1 would cost about so many bits squared
MAX_WEIGHT = 1 << 20  # of a stated integer
_PART = 256  # columns of a product of matrices: more, and BLAS would start threads
_SNR = 0.3  # share of a component that is expected to be left after prediction
_NOISE = 1 / 3  # squared steps that quantisation adds to what is left

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reference:
    """A decoded timestep.

    u : [256, C, n], float64, DCT coefficients of bands by frequency, in network units
    bases : [RINGS, C, C], float64, its axes, columns in terms of bands
    """

    u: Float
    bases: Float


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is stated.

    back : [R], timesteps from the current one to each reference, nearest in kind first; empty: none
    means : [C], int64; weights : [R, C, sources], int64, as entropy/sources.py lists them
    """

    back: Index
    means: Index
    weights: Index

    def add_to(self, crc: SymbolsCrc) -> None:
        """Extend a CRC by all that is stated."""
        for part in (self.back, self.means, self.weights):
            crc.add(part.astype(np.int32))


def no_prediction(components: int, sources: Sources = Sources.BENT) -> Prediction:
    """Of a timestep that stands by itself."""
    weights = np.zeros((0, components, sources.count(components)), np.int64)
    return Prediction(np.zeros(0, np.int64), np.zeros(components, np.int64), weights)


@lru_cache(maxsize=1)
def cell_bands() -> Index:
    """[256]: band of each frequency of a 16-pixel block, row-major (entropy/spectrum.py)."""
    shape, out = layout(CELL), np.empty(CELL * CELL, np.int64)
    out[shape.order] = shape.bands
    return out


class Regressors:
    """What is known of references along the axes of the first of them; made where it is asked for.

    means : [C], of the first reference
    sources : of each reference
    """

    def __init__(
        self,
        references: Sequence[Reference],
        ring: Index,
        step: float,
        sources: Sources = Sources.BENT,
    ) -> None:
        self._bases, self._ring, self._step = references[0].bases, ring, step
        self._references, self.sources = references, sources
        self.means: Float = self.turn(references[0].u, slice(1))[0].mean(1)

    @cached_property
    def z(self) -> Float:
        """[256, R sources, n], without tile means."""
        frequencies, components, n = self._references[0].u.shape
        count = self.sources.count(components)
        out = np.empty((frequencies, len(self._references) * count, n))
        for number, reference in enumerate(self._references):
            own = out[:, number * count : (number + 1) * count]
            z = own[:, :components]
            z[...] = self.turn(reference.u)
            z[0] -= z[0].mean(1, keepdims=True)
            self.sources.fill(components, self._ring, own)
        return out

    @cached_property
    def unit(self) -> Float:
        """[R sources], what a weight of 1 means."""
        energy = np.einsum("fkn,fkn->fk", self.z, self.z)
        count = np.bincount(cell_bands(), minlength=BANDS)[:, None] * self.z.shape[2]
        by_band = np.zeros((BANDS, energy.shape[1]))
        np.add.at(by_band, cell_bands(), energy)
        left = _SNR * by_band / np.maximum(count, 1) + _NOISE * self._step**2
        return np.asarray(WEIGHT_UNIT / np.sqrt((by_band / left).sum(0) + 1e-9))

    def turn(self, u: Float, frequencies: slice = slice(None)) -> Float:
        """[256, C, n] of bands -> components along the axes, of some frequencies."""
        turned = self._bases.transpose(0, 2, 1)[self._ring[frequencies]]
        return np.asarray(np.matmul(turned, u[frequencies]))

    def turn_back(self, p: Float) -> Float:
        """Inverse of `turn`."""
        return np.asarray(np.matmul(self._bases[self._ring], p))

    def map_of(self, stated: Prediction, step: float) -> Map:
        """What is stated, in network units; step: that it is stated in."""
        weights = stated.weights.transpose(1, 0, 2).reshape(len(stated.means), -1).astype(np.float64)
        if weights.any():
            weights *= self.unit
        return Map(stated.back, self.sources, weights, self.means + stated.means * (MEAN_UNIT * step))

    def predict(self, stated: Prediction, step: float) -> Float:
        """Expected coefficients of bands, [256, C, n]."""
        return self.applied(self.map_of(stated, step))

    def applied(self, own: Map) -> Float:
        """Coefficients of bands that a map of these references makes expect, [256, C, n]."""
        u = self._references[0].u
        p = self._weighted(own.weights) if own.weights.any() else np.zeros_like(u)
        p[0] += own.offset[:, None]
        return self.turn_back(p)

    def _weighted(self, weights: Float) -> Float:
        """Weighted sums of sources, [256, C, n]."""
        out = np.empty_like(self._references[0].u)
        for start in range(0, out.shape[2], _PART):
            part = (..., slice(start, start + _PART))
            np.matmul(weights, self.z[part], out=out[part])
        return out


@dataclass(frozen=True, eq=False)
class Map:
    """A stated prediction in network units: it holds for its references however well they are known.

    back : [R], timesteps to each reference
    sources : of each reference
    weights : [C, R sources], float64; offset : [C], of tile means
    """

    back: Index
    sources: Sources
    weights: Float
    offset: Float

    def predict(self, references: Sequence[Reference], ring: Index) -> Float:
        """Expected coefficients of bands, [256, C, n], from references as they are known now."""
        return Regressors(references, ring, 1.0, self.sources).applied(self)  # a step is for stating alone


class Window:
    """Timesteps that the next one can refer to, as they are known, the latest last."""

    def __init__(self) -> None:
        self._known: list[Reference] = []

    def __len__(self) -> int:
        return len(self._known)

    def add(self, reference: Reference) -> None:
        """The next timestep."""
        self._known.append(reference)
        del self._known[:-WINDOW]

    def every(self) -> list[Reference]:
        """All that can be referred to."""
        return list(self._known)

    def at(self, back: Sequence[int] | Index) -> list[Reference]:
        """Those so many timesteps back."""
        return [self._known[-int(number)] for number in back]


# --- coding -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _uniform(count: int) -> CdfTables:
    return from_pmfs([np.append(np.ones(count), 1e-9)], [0])


def _groups(references: int, components: int, sources: int) -> Iterator[tuple[Index, Index, Index]]:
    """Reference, target and source of weights that share a table: the component itself, others, the rest."""
    r, c, j = np.indices((references, components, sources)).reshape(3, -1)
    own, plain, leading = c == j, j < components, c < BENT
    for chosen in (own, plain & ~own & leading, plain & ~own & ~leading, ~plain & leading, ~plain & ~leading):
        yield r[chosen], c[chosen], j[chosen]


def encode_prediction(encoder: SymbolEncoder, stated: Prediction, family: CdfTables, timestep: int) -> None:
    """Append what is stated; the first timestep states nothing."""
    if timestep == 0:
        return
    _encode_one(encoder, len(stated.back), MAX_REFERENCES + 1)
    for back in stated.back:
        _encode_one(encoder, int(back) - 1, WINDOW)
    if len(stated.back):
        _encode_integers(encoder, stated.means, family)
        for r, c, j in _groups(*stated.weights.shape):
            _encode_integers(encoder, stated.weights[r, c, j], family)


def decode_prediction(
    decoder: SymbolDecoder,
    family: CdfTables,
    timestep: int,
    components: int,
    sources: Sources = Sources.BENT,
) -> Prediction:
    """What is stated of the next timestep.

    Raises
    ------
    MalformedSection : a reference, table or weight does not exist
    """
    none = no_prediction(components, sources)
    if timestep == 0:
        return none
    count = _decode_one(decoder, MAX_REFERENCES + 1)
    back = np.array([_decode_one(decoder, WINDOW) + 1 for _ in range(count)], np.int64)
    if (back > timestep).any() or len(np.unique(back)) < count:
        raise MalformedSection("SYMBOLS: a reference does not exist, or twice (R65)")
    if not count:
        return none
    means = _decode_integers(decoder, components, family)
    weights = np.zeros((count, components, sources.count(components)), np.int64)
    for r, c, j in _groups(*weights.shape):
        weights[r, c, j] = _decode_integers(decoder, len(r), family)
    return Prediction(back, means, weights)


def _costs(values: Index, family: CdfTables) -> NDArray[np.float32]:
    costs = table_costs(family)
    width = costs.shape[1] // 2
    return np.asarray(costs[:, np.clip(values, -width, width) + width].sum(1))


def _encode_integers(encoder: SymbolEncoder, values: Index, family: CdfTables) -> None:
    row = int(_costs(values, family).argmin())
    _encode_one(encoder, row, family.count)
    encoder.encode(values.astype(np.int32), np.full(values.size, row), family)


def _decode_integers(decoder: SymbolDecoder, count: int, family: CdfTables) -> Index:
    row = _decode_one(decoder, family.count)
    values = decoder.decode(np.full(count, row), family).astype(np.int64)
    if (np.abs(values) > MAX_WEIGHT).any():
        raise MalformedSection("SYMBOLS: a number of a prediction is outside +-2^20 (R66)")
    return values


def _encode_one(encoder: SymbolEncoder, value: int, count: int) -> None:
    encoder.encode(np.array([value]), np.zeros(1, np.int64), _uniform(count))


def _decode_one(decoder: SymbolDecoder, count: int) -> int:
    value = int(decoder.decode(np.zeros(1, np.int64), _uniform(count))[0])
    if not 0 <= value < count:
        raise MalformedSection("SYMBOLS: a choice of a prediction does not exist (R65)")
    return value
