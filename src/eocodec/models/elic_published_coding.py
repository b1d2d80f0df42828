"""Real coding of the published TEC-ELIC: latents <-> range coder, group by group, anchors first.

All networks that decide a symbol run in float64, and their outputs are snapped to integers per tile
(`entropy/exact.py`); tiles of one size are batched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.exact import Cells, EdgeReader, EdgeWriter
from eocodec.entropy.gaussian import MAX_MEAN, MEAN_STEPS, snap
from eocodec.errors import InputError, MalformedSection
from eocodec.models.elic_published import TecElicPublished, is_anchor

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class _Pass:
    """One colour of one group: group number, its channels, positions [n] in row-major order."""

    group: int
    channels: slice
    at: NDArray[np.int64]


# (tile, pass, mean, table) -> y_hat in 1 / MEAN_STEPS; all but the first two [g, n]
_CodePass = Callable[[int, _Pass, Cells, Cells], Cells]


@dataclass(frozen=True)
class ElicSymbols:
    """What is coded of a batch of tiles, in the order in which it is.

    z : [B, N, ceil(h / 4), ceil(w / 4)], int32, symbols
    y : [B, M, h, w], int32, y_hat in units of 1 / MEAN_STEPS: symbol and mean at once
    """

    z: NDArray[np.int32]
    y: NDArray[np.int32]

    def y_hat(self) -> Tensor:
        """[B, M, h, w], float32, for the synthesis."""
        return torch.from_numpy(self.y).float() / MEAN_STEPS

    def crc(self, tile: int) -> int:
        """CRC32C of one tile: z, then y with its means, which the symbols alone would not cover."""
        crc = SymbolsCrc()
        crc.add(self.z[tile])
        crc.add(self.y[tile])
        return crc.value


class ElicCoder:
    """The coding half of a model, ready to run.

    Parameters
    ----------
    model : with tables; its entropy networks are copied to float64

    Raises
    ------
    WeightsError, TableError : the model has no tables, or malformed ones
    """

    def __init__(self, model: TecElicPublished) -> None:
        self._hyper_analysis = model.latent_codec.hyper.h_a
        codec = copy.deepcopy(model.latent_codec).double().eval()
        self._latents, self._hyper = codec.y, codec.hyper
        self._medians = codec.hyper.entropy_bottleneck.medians[:, None, None]
        self._z_tables = codec.hyper.entropy_bottleneck.tables()
        self._z_index = np.arange(model.config.N)
        self._groups = [codec.y.group(k) for k in range(len(codec.y.groups))]
        self._tables = [group.y.gaussian_conditional.tables() for group in self._groups]

    @torch.inference_mode()
    def encode_latents(
        self, y: Tensor, encoders: Sequence[SymbolEncoder], edges: Sequence[EdgeWriter]
    ) -> ElicSymbols:
        """Append a batch of tiles to their streams.

        Parameters
        ----------
        y : [B, M, h, w], float32, any h, w >= 1
        encoders, edges : one a tile

        Raises
        ------
        InputError : latents, or parameters that follow from them, are not finite
        """
        if not torch.isfinite(y).all():
            raise InputError("latents: found values that are not finite")
        # With means bounded likewise, symbols and y_hat fit 32 bits.
        target = y.double().clamp(-MAX_MEAN, MAX_MEAN).cpu().flatten(2).numpy()
        z = self._hyper_analysis(y).double() - self._medians
        z_symbols = torch.round(z.clamp(-MAX_MEAN, MAX_MEAN)).cpu().numpy().astype(np.int32)
        for tile, encoder in enumerate(encoders):
            encoder.encode_channels(z_symbols[tile], self._z_index, self._z_tables)

        def code(tile: int, now: _Pass, mean: Cells, table: Cells) -> Cells:
            symbols = np.rint(target[tile, now.channels][:, now.at] - mean / MEAN_STEPS).astype(np.int64)
            encoders[tile].encode(symbols, table, self._tables[now.group])
            return symbols * MEAN_STEPS + mean

        return ElicSymbols(z_symbols, self._walk(z_symbols, y.shape[2], y.shape[3], edges, code))

    @torch.inference_mode()
    def decode_latents(
        self, decoders: Sequence[SymbolDecoder], edges: Sequence[EdgeReader], rows: int, cols: int
    ) -> ElicSymbols:
        """Inverse of `encode_latents` for latents of rows x cols; `finish` of decoders and edges is left.

        Raises
        ------
        MalformedSection, Truncated : a stream is invalid; ExactnessError : see `entropy/exact.py`

        Notes
        -----
        Compare `ElicSymbols.crc` with the encoder's before using the result.
        """
        z_rows, z_cols = -(-rows // 4), -(-cols // 4)
        flat = [d.decode_channels(self._z_index, z_rows * z_cols, self._z_tables) for d in decoders]
        z_symbols = np.stack(flat).reshape(len(flat), -1, z_rows, z_cols)

        def code(tile: int, now: _Pass, mean: Cells, table: Cells) -> Cells:
            symbols = decoders[tile].decode(table, self._tables[now.group]).reshape(mean.shape)
            cells = symbols.astype(np.int64) * MEAN_STEPS + mean
            if cells.size and int(np.abs(cells).max()) > _INT32_MAX:
                raise MalformedSection("SYMBOLS: a latent is outside 32 bits")
            return cells

        return ElicSymbols(z_symbols, self._walk(z_symbols, rows, cols, edges, code))

    def _walk(
        self,
        z_symbols: NDArray[np.int32],
        rows: int,
        cols: int,
        edges: Sequence[EdgeWriter | EdgeReader],
        code: _CodePass,
    ) -> NDArray[np.int32]:
        """y_hat in 1 / MEAN_STEPS, [B, M, rows, cols]: what encoder and decoder do alike."""
        device = self._medians.device
        z_hat = torch.from_numpy(z_symbols).to(device) + self._medians
        hyper = self._hyper.parameters_of(z_hat, rows, cols)
        batch, channels = len(z_symbols), hyper.shape[1] // 2
        cells = np.zeros((batch, channels, rows * cols), np.int32)
        y_hat = torch.zeros(batch, channels, rows, cols, dtype=torch.float64, device=device)
        for k, part in enumerate(self._latents.slices()):
            support = self._latents.support(k, y_hat, hyper).flatten(2)
            y_part = y_hat[:, part]
            for spatial, at in self._passes(k, y_part):
                given = torch.cat([spatial, support[..., at]], 1)
                parameters = _at_points(self._groups[k].entropy_parameters, given).cpu().numpy()
                for tile, (of_tile, edge) in enumerate(zip(parameters, edges, strict=True)):
                    mean, table = snap(of_tile[: y_part.shape[1]], of_tile[y_part.shape[1] :], edge)
                    cells[tile, part][:, at] = code(tile, _Pass(k, part, at), mean, table)
                values = torch.from_numpy(cells[:, part][..., at]).to(device)
                y_part.view(*cells[:, part].shape)[..., at] = values.double() / MEAN_STEPS
        return cells.reshape(batch, channels, rows, cols)

    def _passes(self, k: int, y_hat: Tensor) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Spatial context [B, 2 g, n] and positions [n] of the anchors, then of the others.

        y_hat : [B, g, rows, cols], a view in which the anchors have arrived when the second pass is asked for
        """
        batch, channels, rows, cols = y_hat.shape
        anchor = is_anchor(rows, cols).flatten().numpy()
        first, second = np.flatnonzero(anchor), np.flatnonzero(~anchor)
        yield y_hat.new_zeros(batch, 2 * channels, first.size), first
        if second.size:
            yield self._groups[k].context_prediction(y_hat).flatten(2)[..., second], second


def _at_points(layers: nn.Sequential, x: Tensor) -> Tensor:
    """1 x 1 convolutions and activations of `layers` on points: [B, in, n] -> [B, out, n]."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight[:, :, 0, 0].expand(len(x), -1, -1)
            x = torch.baddbmm(cast(Tensor, layer.bias)[:, None], weight, x)
        else:
            x = layer(x)
    return x
