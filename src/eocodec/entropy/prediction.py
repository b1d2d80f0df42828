"""The latents of a timestep predicted from earlier ones, by a map across the spectrum that the stream states.

Along the axes of the nearest reference, z are the DCT coefficients of what is known of the references: their
components, the coarse part of the leading ones, and for these the magnitudes and products of their pixels,
all without tile means. Component c of the current timestep is expected to be

    p[c] = sum over references r and sources j of weight[r, c, j] * z[r, j]

at every frequency and place; its tile mean is stated as a difference to the nearest reference's. How a scene
has changed between two dates is mostly a matter of its spectra: fields and woods change each in their way,
which magnitudes and products tell apart. So few numbers a tile say it. They are integers in the stream, in
units that follow from the references; nothing of this decides a table by itself, so that machines may differ
by rounding errors here (docs/exactness.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, from_pmfs
from eocodec.entropy.family import table_costs
from eocodec.entropy.spectrum import BANDS, CELL, layout
from eocodec.errors import MalformedSection
from eocodec.nn.spectral import dct_matrix

MAX_REFERENCES = 2
WINDOW = 8  # timesteps back that a reference may be
MEAN_UNIT = 0.25  # of stated means, in quantisation steps
WEIGHT_UNIT = 1.5  # of stated weights: an error of 1 would cost about so many bits squared
MAX_WEIGHT = 1 << 20  # of a stated integer
BENT = 4  # leading components with sources beside themselves
_COARSE = 1  # ring up to which a coarse part goes (nn/spectral.py)
_CLIP = 3.0  # standard deviations at which factors of a product are cut off
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
    means : [C], int64; weights : [R, C, sources], int64, sources as `Regressors` has them
    """

    back: Index
    means: Index
    weights: Index

    def add_to(self, crc: SymbolsCrc) -> None:
        """Extend a CRC by all that is stated."""
        for part in (self.back, self.means, self.weights):
            crc.add(part.astype(np.int32))


def no_prediction(components: int) -> Prediction:
    """Of a timestep that stands by itself."""
    weights = np.zeros((0, components, source_count(components)), np.int64)
    return Prediction(np.zeros(0, np.int64), np.zeros(components, np.int64), weights)


def source_count(components: int) -> int:
    """Sources of a reference: components, and of the leading ones coarse parts, magnitudes, products."""
    bent = min(BENT, components)
    return components + 2 * bent + bent * (bent + 1) // 2


@lru_cache(maxsize=1)
def cell_bands() -> Index:
    """[256]: band of each frequency of a 16-pixel block, row-major (entropy/spectrum.py)."""
    shape, out = layout(CELL), np.empty(CELL * CELL, np.int64)
    out[shape.order] = shape.bands
    return out


class Regressors:
    """What is known of references along the axes of the first of them.

    z : [256, R sources, n], float64, without tile means; unit : [R sources], what a weight of 1 means
    means : [C], of the first reference
    """

    def __init__(
        self, references: Sequence[Reference], ring: Index, step: float, *, bend: bool = True
    ) -> None:
        self._bases, self._ring = references[0].bases, ring
        parts: list[Float] = []
        for reference in references:
            z = self.turn(reference.u)
            means = z[0].mean(1)
            z[0] -= means[:, None]
            if not parts:
                self.means = means
            parts += [z, *bent_sources(z[:, :BENT], ring)] if bend else [z]
        self.z = np.concatenate(parts, 1)
        energy = np.einsum("fkn,fkn->fk", self.z, self.z)
        count = np.bincount(cell_bands(), minlength=BANDS)[:, None] * self.z.shape[2]
        by_band = np.zeros((BANDS, energy.shape[1]))
        np.add.at(by_band, cell_bands(), energy)
        left = _SNR * by_band / np.maximum(count, 1) + _NOISE * step**2
        self.unit = WEIGHT_UNIT / np.sqrt((by_band / left).sum(0) + 1e-9)

    def turn(self, u: Float) -> Float:
        """[256, C, n] of bands -> components along the axes."""
        return np.asarray(np.matmul(self._bases.transpose(0, 2, 1)[self._ring], u))

    def turn_back(self, p: Float) -> Float:
        """Inverse of `turn`."""
        return np.asarray(np.matmul(self._bases[self._ring], p))

    def predict(self, stated: Prediction, step: float) -> Float:
        """Expected coefficients of bands, [256, C, n]."""
        components = len(stated.means)
        weights = stated.weights.transpose(1, 0, 2).reshape(components, -1) * self.unit
        p = np.matmul(weights, self.z)
        p[0] += (self.means + stated.means * (MEAN_UNIT * step))[:, None]
        return self.turn_back(p)


@lru_cache(maxsize=1)
def _dct() -> Float:
    return np.asarray(dct_matrix(CELL, torch.float64).numpy())


def _both(matrix: Float, blocks: Float) -> Float:
    """A matrix [16, 16] along rows and columns of blocks [256, c, n]."""
    shape = (CELL, CELL, *blocks.shape[1:])
    down = np.tensordot(matrix, blocks.reshape(shape), (1, 0))
    return np.ascontiguousarray(np.tensordot(matrix, down, (1, 1)).swapaxes(0, 1)).reshape(blocks.shape)


def bent_sources(z: Float, ring: Index) -> list[Float]:
    """Coarse parts, magnitudes and products of leading components, as DCT coefficients without tile means.

    z : [256, c, n], without tile means
    """
    coarse = z * (ring <= _COARSE)[:, None, None]
    pixels = _both(_dct().T, z)
    spread = np.sqrt((pixels**2).mean((0, 2), keepdims=True)) + 1e-9
    cut = np.clip(pixels / spread, -_CLIP, _CLIP)
    pairs = combinations_with_replacement(range(z.shape[1]), 2)
    products = np.stack([cut[:, i] * cut[:, j] for i, j in pairs], 1)
    bent = _both(_dct(), np.concatenate([np.abs(pixels), products * spread[:, :1]], 1))
    bent[0] -= bent[0].mean(1, keepdims=True)
    return [coarse, bent]


# --- coding -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _uniform(count: int) -> CdfTables:
    return from_pmfs([np.append(np.ones(count), 1e-9)], [0])


def _groups(components: int, references: int) -> Iterator[tuple[Index, Index, Index]]:
    """Reference, target and source of weights that share a table: the component itself, others, bent ones."""
    r, c, j = np.indices((references, components, source_count(components))).reshape(3, -1)
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
        for r, c, j in _groups(len(stated.means), len(stated.back)):
            _encode_integers(encoder, stated.weights[r, c, j], family)


def decode_prediction(
    decoder: SymbolDecoder, family: CdfTables, timestep: int, components: int
) -> Prediction:
    """What is stated of the next timestep.

    Raises
    ------
    MalformedSection : a reference, table or weight does not exist
    """
    none = no_prediction(components)
    if timestep == 0:
        return none
    count = _decode_one(decoder, MAX_REFERENCES + 1)
    back = np.array([_decode_one(decoder, WINDOW) + 1 for _ in range(count)], np.int64)
    if (back > timestep).any() or len(np.unique(back)) < count:
        raise MalformedSection("SYMBOLS: a reference does not exist, or twice (R65)")
    if not count:
        return none
    means = _decode_integers(decoder, components, family)
    weights = np.zeros((count, components, source_count(components)), np.int64)
    for r, c, j in _groups(components, count):
        weights[r, c, j] = _decode_integers(decoder, len(r), family)
    return Prediction(back, means, weights)


def integer_bits(values: Index, family: CdfTables) -> float:
    """Bits of integers under the table of the family that suits them best, that table stated too."""
    return float(_costs(values, family).min() + np.log2(family.count))


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
