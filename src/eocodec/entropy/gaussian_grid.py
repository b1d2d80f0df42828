"""Latents that are whole numbers, under a Gaussian of any mean and scale.

Unlike in `entropy/gaussian.py`, what is coded is the latent less the whole number nearest to its mean: y_hat
does not depend on the mean. So there is a table for each scale and each fraction of a mean, in steps that are
finer the narrower the Gaussian is. That of a negative fraction is that of the positive one mirrored.

The published models have 100 fractions x 256 scales, and round both down. Under the true mean and scale, a
symbol here costs at most 0.0001 bits more than there (at scales of 0.2 to 0.5, where both cost 0.0004 more
than the entropy) and, above 2 or below 0.03, 0.005 to 0.016 bits less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocodec.coding.crc import symbols_crc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, from_pmfs
from eocodec.entropy.exact import Cells, EdgeReader, EdgeWriter, Values
from eocodec.entropy.gaussian import LIKELIHOOD_FLOOR, MAX_MEAN, _upper_tail
from eocodec.errors import MalformedSection, TableError
from eocodec.nn.quantise import lower_bound

SCALE_MIN, SCALE_MAX, SCALES = 0.01, 256.0, 160  # the range of the published models, 6.6 % apart
MAX_FRACTIONS = 64  # tables a unit of the mean, for the narrowest Gaussians
FRACTIONS_A_SIGMA = 16
TAIL_SIGMAS = 4.2  # a table reaches so far from 0; the rest, 2e-5 of the mass, is left to the escape
TABLES_CRC = 0xC59F1677  # of all entries: they come from floats, and must be the same on every machine

_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)
_INT32_MAX = 2**31 - 1


def scale_table() -> NDArray[np.float64]:
    """[SCALES], the standard deviations that have tables, ascending."""
    return np.exp(np.linspace(math.log(SCALE_MIN), math.log(SCALE_MAX), SCALES))


@cache
def _fractions() -> tuple[Cells, Cells]:
    """Of each scale: fractions a unit of the mean (powers of 2), and its first table, that of fraction 0."""
    wanted = np.ceil(np.log2(FRACTIONS_A_SIGMA / scale_table()))
    fractions = 2 ** np.clip(wanted, 0, math.log2(MAX_FRACTIONS)).astype(np.int64)
    return fractions, np.cumsum(fractions // 2 + 1) - (fractions // 2 + 1)


@cache
def grid_tables() -> CdfTables:
    """Tables for each scale, of the fractions 0 to 1/2 of the mean.

    Raises
    ------
    TableError : the arithmetic of this machine makes others
    """
    pmfs, first = [], []
    for scale, fractions in zip(scale_table().tolist(), _fractions()[0].tolist(), strict=True):
        width = math.ceil(TAIL_SIGMAS * scale + 0.5)
        for fraction in range(fractions // 2 + 1):
            k = torch.arange(-width, width + 1, dtype=torch.float64) - fraction / fractions
            mass = _mass(k.abs(), scale)
            pmfs.append(torch.cat([mass, (1 - mass.sum()).clamp_min(0)[None]]).numpy())
            first.append(-width)
    tables = from_pmfs(pmfs, first)
    found = symbols_crc(tables.cdf)
    if found != TABLES_CRC:
        raise TableError(f"Gaussian tables: CRC {found:#010x}, expected {TABLES_CRC:#010x} on every machine")
    return tables


def likelihoods(centred: Tensor, scales: Tensor) -> Tensor:
    """P of the unit-wide bin about y - mean under each scale; same shape, differentiable."""
    mass = _mass(centred.abs(), lower_bound(scales, SCALE_MIN).clamp(max=SCALE_MAX))
    return lower_bound(mass, LIKELIHOOD_FLOOR)


def _mass(distance: Tensor, scale: Tensor | float) -> Tensor:
    return _upper_tail((distance - 0.5) / scale) - _upper_tail((distance + 0.5) / scale)


@dataclass(frozen=True)
class Placed:
    """Where latents are expected, in integers; all of one shape, int64.

    whole : the whole number nearest to the mean; sign : -1 where the table is the mirrored one's, else 1
    table : of `grid_tables`
    """

    whole: Cells
    sign: Cells
    table: Cells

    def encode(self, values: Cells, encoder: SymbolEncoder) -> None:
        """Append latents, whole numbers within +- MAX_MEAN."""
        encoder.encode((values - self.whole) * self.sign, self.table, grid_tables())

    def decode(self, decoder: SymbolDecoder) -> Cells:
        """The next latents.

        Raises
        ------
        MalformedSection, Truncated : the stream is invalid
        """
        symbols = decoder.decode(self.table, grid_tables()).astype(np.int64).reshape(self.whole.shape)
        values = symbols * self.sign + self.whole
        if values.size and int(np.abs(values).max()) > _INT32_MAX:
            raise MalformedSection("SYMBOLS: a latent is outside 32 bits")
        return values


def snap(means: Values, scales: Values, edges: EdgeWriter | EdgeReader) -> Placed:
    """Integers from the network's parameters.

    Parameters
    ----------
    means, scales : any shape, the same, float64; scales outside the range count as its ends
    edges : of the tile; scales are resolved first
    """
    # Clipped to the centres of the outermost cells, so no edge is there.
    scale = edges.resolve(np.log(np.clip(scales, SCALE_MIN, SCALE_MAX) / SCALE_MIN) / _LOG_STEP)
    of_scale, first = _fractions()
    fractions = of_scale[scale]
    cell = edges.resolve(np.clip(means, -MAX_MEAN, MAX_MEAN) * fractions)
    whole = (cell + fractions // 2) // fractions
    fraction = cell - whole * fractions
    return Placed(whole, np.where(fraction < 0, -1, 1), first[scale] + np.abs(fraction))


def snap_whole(means: Values, edges: EdgeWriter | EdgeReader) -> Cells:
    """Whole numbers nearest to means, for latents that are not sent: [same shape], int64."""
    return edges.resolve(np.clip(means, -MAX_MEAN, MAX_MEAN))
