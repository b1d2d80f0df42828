"""The published TEC-FP: its state dict, and real coding of its latents.

The network is `TecFp` with the `gdn` transforms (`models/fp.py`). Its integer tables come with the
checkpoint, so nothing that decides a symbol is a float. What the published coder does not do: each tile takes
powers of the channels' tables (`entropy/tempered.py`), which cost a few bits to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.geometric import geometric_tables, uniform_tables
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import cost_bits
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.tempered import QUARTERS, Costs, tempered
from eocodec.errors import InputError, MalformedSection, WeightsError
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.published import Family
from eocodec.models.published_image import PublishedImageModel
from eocodec.models.published_state import State, empty, fill, sizes_of, with_tables, without_prefix
from eocodec.models.registry import ModelCard

NAME = "published TEC-FP"
HALO = 2  # latents: a transform of four 5 x 5 convolutions sees 30 pixels around a block
MAX_SYMBOL = 2.0**30  # keeps symbols inside 32 bits
_STATED = 2  # uniform table of 3 bits: for the power that most have, and the scale of differences from it
_SCALES = tuple(range(0, 24, 3))  # of these differences, geometric tables of shape 0

Powers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FpSymbols:
    """What is coded of a timestep: power of the table of each channel [M]; symbols [M, n], int32."""

    powers: Powers
    symbols: NDArray[np.int32]


class FpPublishedCoder:
    """See `entropy/coder.py`.

    Parameters
    ----------
    network : with tables

    Raises
    ------
    WeightsError, TableError : it has no tables, or malformed ones
    """

    def __init__(self, network: TecFp) -> None:
        bottleneck = network.entropy_bottleneck
        tables = bottleneck.tables()
        if tables.count != network.config.M:
            raise WeightsError(f"{NAME}: {tables.count} tables for {network.config.M} latent channels")
        self.bands, self.channels = network.config.bands, network.config.M
        self._medians = bottleneck.medians.double().numpy()[:, None]
        self._tables = tempered(tables)
        self._costs = Costs(tables, self._tables)

    def encode(
        self,
        y: NDArray[np.float32],
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
    ) -> FpSymbols:
        """Round and append y [M, rows, cols].

        Raises
        ------
        InputError : latents are not finite
        """
        if not np.isfinite(y).all():
            raise InputError("latents: found values that are not finite")
        centred = y.reshape(len(y), -1) - self._medians.astype(np.float32)
        symbols = np.rint(np.clip(centred, -MAX_SYMBOL, MAX_SYMBOL)).astype(np.int32)
        powers = _encode_powers(encoder, self._costs.of(symbols))
        encoder.encode_channels(symbols, self._rows(powers), self._tables)
        return FpSymbols(powers, symbols)

    def decode(
        self, decoder: SymbolDecoder, edges: EdgeReader, rows: int, cols: int, quality_steps: int
    ) -> FpSymbols:
        """The next timestep; integers only."""
        powers = _decode_powers(decoder, self.channels)
        return FpSymbols(powers, decoder.decode_channels(self._rows(powers), rows * cols, self._tables))

    def crc(self, frames: Sequence[FpSymbols]) -> int:
        """CRC32C of powers and symbols, timestep by timestep."""
        crc = SymbolsCrc()
        for frame in frames:
            crc.add(frame.powers)
            crc.add(frame.symbols)
        return crc.value

    def latents(
        self, frame: FpSymbols, quality_steps: int, dtype: type[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        """y_hat [M, n]."""
        return frame.symbols.astype(dtype) + self._medians.astype(dtype)

    def _rows(self, powers: Powers) -> Powers:
        return powers * self.channels + np.arange(self.channels)


def _encode_powers(encoder: SymbolEncoder, costs: NDArray[np.float64]) -> Powers:
    """Choose powers by bits [M, powers], append the choice."""
    centre = int(costs.sum(0).argmin())
    prices = _prices()[:, len(QUARTERS) - centre :][:, : len(QUARTERS)]  # (scales, powers)
    scale = int((costs[:, None] + prices).min(2).sum(0).argmin())
    powers = (costs + prices[scale]).argmin(1)
    encoder.encode(np.array([centre, scale]), np.full(2, _STATED), uniform_tables())
    encoder.encode(powers - centre, np.full(len(powers), _SCALES[scale]), geometric_tables())
    return np.asarray(powers)


@cache
def _prices() -> NDArray[np.float64]:
    """Bits of differences from -7 to 7 at each of `_SCALES`: [scales, 15]."""
    tables = geometric_tables()
    reach = len(QUARTERS)
    rows = []
    for bits, first in zip(cost_bits(tables)[: _SCALES[-1] + 1], tables.first.tolist(), strict=False):
        bins = np.arange(-reach, reach + 1) - first
        outside = (bins < 0) | (bins >= bits.size - 1)
        rows.append(np.where(outside, np.inf, bits[np.clip(bins, 0, bits.size - 1)]))
    return np.stack(rows)[list(_SCALES)]


def _decode_powers(decoder: SymbolDecoder, channels: int) -> Powers:
    centre, scale = decoder.decode(np.full(2, _STATED), uniform_tables()).tolist()
    if not (0 <= centre < len(QUARTERS) and 0 <= scale < len(_SCALES)):
        raise MalformedSection(f"SYMBOLS: found centre {centre}, scale {scale} of the powers (R64)")
    differences = decoder.decode(np.full(channels, _SCALES[scale]), geometric_tables())
    powers = np.asarray(differences.astype(np.int64) + centre)
    if powers.min() < 0 or powers.max() >= len(QUARTERS):
        raise MalformedSection(f"SYMBOLS: a power of a table is not of 0 to {len(QUARTERS) - 1} (R64)")
    return powers


def from_state(state: State) -> TecFp:
    """A model in eval mode from a published state dict; N, M and the bands follow from its shapes.

    Parameters
    ----------
    state : the tensors of a checkpoint, which become those of the model; a leading `model.` of a name is
        dropped

    Raises
    ------
    WeightsError : tensors are missing, unknown, or of another shape or dtype
    """
    state = without_prefix(state)
    n, bands, *_ = sizes_of(state, "g_a.0.weight", NAME)
    m, *_ = sizes_of(state, "g_a.6.weight", NAME)
    return fill(empty(lambda: _network({"N": n, "M": m, "bands": bands})), state, NAME)


def _network(config: dict[str, Any]) -> TecFp:
    return TecFp(FpConfig.from_dict({**config, "transform": "gdn"}))


def _ready(card: ModelCard, network: nn.Module) -> PublishedImageModel:
    return PublishedImageModel(card, network, FpPublishedCoder(cast(TecFp, network)), HALO)


FAMILY = Family(read=lambda state: with_tables(from_state(state)), build=_network, ready=_ready)
