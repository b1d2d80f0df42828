"""The published TEC-ELIC at work: latents <-> range coder, group by group, anchors first.

All networks that decide a symbol run in float64, and their outputs are snapped to integers per tile
(`entropy/exact.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from eocodec.coding.crc import SymbolsCrc
from eocodec.coding.geometric import geometric_tables
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import CdfTables, cost_bits
from eocodec.entropy.exact import Cells, EdgeReader, EdgeWriter
from eocodec.entropy.gaussian import MAX_MEAN, MEAN_STEPS, SCALES, snap
from eocodec.errors import InputError, MalformedSection
from eocodec.models.elic_published import ElicPublishedConfig, GroupCodec, TecElicPublished, is_anchor
from eocodec.models.published import Family
from eocodec.models.published_image import PublishedImageModel
from eocodec.models.published_state import with_tables
from eocodec.models.registry import ModelCard
from eocodec.nn.winograd import WinogradConv

HALO = 9  # latents: g_a sees 132 pixels around a block, g_s 8.25 latents
SHIFTS = (0, -1, 1, -2, 2, -3, 3)  # of all scales of a pass, which in one image are a little off: 13 % a step
COSTED = 64  # largest magnitude that the choice of a shift tells from others
SHIFT_TABLE = 18  # geometric table: mean magnitude 1/2
_INT32_MAX = 2**31 - 1
_REACH = 2  # of the 5 x 5 kernel of the context in space

Positions = NDArray[np.int64]
# (pass, mean, table) -> y_hat in 1 / MEAN_STEPS; all but the first [g, n]
_CodePass = Callable[["_Pass", Cells, Cells], Cells]


@dataclass(frozen=True)
class _Pass:
    """One colour of one group: group number, its channels, positions [n] in row-major order."""

    group: int
    channels: slice
    at: Positions


@dataclass(frozen=True, eq=False)
class ElicSymbols:
    """What is coded of a timestep, in the order in which it is.

    z : [N, ceil(h / 4), ceil(w / 4)], int32, symbols
    y : [M, h, w], int32, y_hat in units of 1 / MEAN_STEPS: symbol and mean at once
    """

    z: NDArray[np.int32]
    y: NDArray[np.int32]


class ElicCoder:
    """See `entropy/coder.py`.

    Parameters
    ----------
    model : with tables; its entropy networks are copied to float64

    Raises
    ------
    WeightsError, TableError : the model has no tables, or malformed ones
    """

    def __init__(self, model: TecElicPublished) -> None:
        self.bands, self.channels = model.config.bands, model.config.M
        self._hyper_analysis = model.latent_codec.hyper.h_a
        codec = copy.deepcopy(model.latent_codec).double().eval()
        self._latents = model.latent_codec.y
        self._medians = codec.hyper.entropy_bottleneck.medians[:, None, None]
        self._z_tables = codec.hyper.entropy_bottleneck.tables()
        self._z_index = np.arange(model.config.N)
        *upsampling, last = codec.hyper.h_s
        self._hyper_layers = nn.Sequential(*upsampling), WinogradConv(cast(nn.Conv2d, last))
        groups = [codec.y.group(k) for k in range(len(codec.y.groups))]
        self._groups = [_Group(group) for group in groups]
        self._tables = [group.y.gaussian_conditional.tables() for group in groups]
        self._costs = _costs(self._tables[0])
        self._channel_contexts = {
            k: [
                WinogradConv(layer)
                for layer in cast(nn.Sequential, codec.y.channel_context[f"y{k}"])
                if isinstance(layer, nn.Conv2d)
            ]
            for k in range(1, len(groups))
        }

    @torch.inference_mode()
    def encode(
        self,
        y: NDArray[np.float32],
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
    ) -> ElicSymbols:
        """Round and append y [M, h, w], any h, w >= 1.

        Raises
        ------
        InputError : latents, or parameters that follow from them, are not finite
        """
        if not np.isfinite(y).all():
            raise InputError("latents: found values that are not finite")
        # With means bounded likewise, symbols and y_hat fit 32 bits.
        target = np.clip(y.astype(np.float64), -MAX_MEAN, MAX_MEAN).reshape(len(y), -1)
        z = self._hyper_analysis(torch.from_numpy(y)[None])[0].double() - self._medians
        z_symbols = torch.round(z.clamp(-MAX_MEAN, MAX_MEAN)).numpy().astype(np.int32)
        encoder.encode_channels(z_symbols, self._z_index, self._z_tables)

        def code(now: _Pass, mean: Cells, table: Cells) -> Cells:
            symbols = np.rint(target[now.channels][:, now.at] - mean / MEAN_STEPS).astype(np.int64)
            shift = self._best_shift(symbols, table)
            encoder.encode(np.array([shift]), np.array([SHIFT_TABLE]), geometric_tables())
            encoder.encode(symbols, _shifted(table, shift), self._tables[now.group])
            return symbols * MEAN_STEPS + mean

        return ElicSymbols(z_symbols, self._walk(z_symbols, y.shape[1], y.shape[2], edges, code))

    @torch.inference_mode()
    def decode(
        self, decoder: SymbolDecoder, edges: EdgeReader, rows: int, cols: int, quality_steps: int
    ) -> ElicSymbols:
        """The next timestep, latents of rows x cols.

        Raises
        ------
        MalformedSection, Truncated : a stream is invalid; ExactnessError : see `entropy/exact.py`
        """
        z_rows, z_cols = -(-rows // 4), -(-cols // 4)
        flat = decoder.decode_channels(self._z_index, z_rows * z_cols, self._z_tables)
        z_symbols = flat.reshape(-1, z_rows, z_cols)

        def code(now: _Pass, mean: Cells, table: Cells) -> Cells:
            shift = int(decoder.decode(np.array([SHIFT_TABLE]), geometric_tables())[0])
            symbols = decoder.decode(_shifted(table, shift), self._tables[now.group]).reshape(mean.shape)
            cells = symbols.astype(np.int64) * MEAN_STEPS + mean
            if cells.size and int(np.abs(cells).max()) > _INT32_MAX:
                raise MalformedSection("SYMBOLS: a latent is outside 32 bits")
            return cells

        return ElicSymbols(z_symbols, self._walk(z_symbols, rows, cols, edges, code))

    def crc(self, frames: Sequence[ElicSymbols]) -> int:
        """CRC32C timestep by timestep: z, then y with its means, which the symbols alone would not cover."""
        crc = SymbolsCrc()
        for frame in frames:
            crc.add(frame.z)
            crc.add(frame.y)
        return crc.value

    def latents(
        self, frame: ElicSymbols, quality_steps: int, dtype: type[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        """y_hat [M, n]."""
        y_hat = frame.y.reshape(len(frame.y), -1).astype(dtype)
        y_hat /= MEAN_STEPS
        return y_hat

    def _best_shift(self, symbols: Cells, table: Cells) -> int:
        """That of `SHIFTS` with which symbols take the fewest bits."""
        places = np.clip(symbols, -COSTED, COSTED) + COSTED
        bits = [self._costs[_shifted(table, shift), places].sum(dtype=np.float64) for shift in SHIFTS]
        return SHIFTS[int(np.argmin(bits))]

    def _walk(
        self,
        z_symbols: NDArray[np.int32],
        rows: int,
        cols: int,
        edges: EdgeWriter | EdgeReader,
        code: _CodePass,
    ) -> NDArray[np.int32]:
        """y_hat in 1 / MEAN_STEPS, [M, rows, cols]: what encoder and decoder do alike."""
        hyper = self._hyper_parameters(torch.from_numpy(z_symbols) + self._medians, rows, cols)
        cells = np.zeros((self.channels, rows * cols), np.int32)
        y_hat = torch.zeros(rows, cols, self.channels, dtype=torch.float64)
        for k, part in enumerate(self._latents.slices()):
            group = self._groups[k]
            support = torch.cat([*self._channel_context(k, y_hat), hyper], 2).flatten(0, 1)
            for spatial, at in group.passes(y_hat[..., part]):
                parameters = group.parameters(spatial, support[torch.from_numpy(at)])
                means, scales = np.split(parameters.t().contiguous().numpy(), 2)
                mean, table = snap(means, scales, edges)
                cells[part, at] = now = code(_Pass(k, part, at), mean, table)
                y_hat.flatten(0, 1)[torch.from_numpy(at), part] = torch.from_numpy(now.T / MEAN_STEPS)
        return cells.reshape(-1, rows, cols)

    def _hyper_parameters(self, z_hat: Tensor, rows: int, cols: int) -> Tensor:
        """[N, ceil(rows / 4), ceil(cols / 4)] -> [rows, cols, 2 M]."""
        upsampling, last = self._hyper_layers
        return last(upsampling(z_hat[None])[0].permute(1, 2, 0))[:rows, :cols]

    def _channel_context(self, k: int, y_hat: Tensor) -> list[Tensor]:
        """What group k knows of earlier ones, [rows, cols, 2 g]; nothing for the first.

        y_hat : [rows, cols, M]
        """
        if k == 0:
            return []
        x = torch.cat([y_hat[..., part] for part in self._latents.seen(k)], 2)
        first, *others = self._channel_contexts[k]
        x = first(x)
        for layer in others:
            x = layer(torch.relu_(x))
        return [x]


def _costs(tables: CdfTables) -> NDArray[np.float32]:
    """Bits of the symbols -COSTED .. COSTED under each table, [tables, 2 COSTED + 1]."""
    symbols, rows = np.arange(-COSTED, COSTED + 1), []
    for bits, first in zip(cost_bits(tables), tables.first.tolist(), strict=True):
        bins = symbols - first
        rows.append(bits[np.where((bins < 0) | (bins >= bits.size), bits.size - 1, bins)])
    return np.stack(rows)


def _shifted(table: Cells, shift: int) -> Cells:
    """Tables of scales larger by so many steps."""
    return np.clip(table + shift, 0, SCALES - 1)


class _Group:
    """Context in space and aggregation of one group, for some positions at a time, channels last."""

    def __init__(self, group: GroupCodec) -> None:
        context = group.context_prediction
        size = 2 * _REACH + 1
        taps = [(i, j) for i in range(size) for j in range(size) if (i + j) % 2]  # of the other colour
        weight = (context.weight * context.mask)[:, :, [i for i, _ in taps], [j for _, j in taps]]
        self._taps, self._weight = np.array(taps), weight.detach().permute(2, 1, 0).flatten(0, 1)
        self._bias = cast(Tensor, context.bias).detach()
        first, *others = (
            (layer.weight[:, :, 0, 0].t().contiguous(), cast(Tensor, layer.bias))
            for layer in group.entropy_parameters
            if isinstance(layer, nn.Conv2d)
        )
        weight, self._first_bias = first
        self._of_spatial, self._of_support = weight[: len(self._bias)], weight[len(self._bias) :]
        self._others = others

    def passes(self, y_hat: Tensor) -> Iterator[tuple[Tensor | None, Positions]]:
        """Spatial context [n, 2 g] and positions [n] of the anchors, which have none, then of the others.

        y_hat : [rows, cols, g], in which the anchors have arrived when the second pass is asked for
        """
        anchor = is_anchor(*y_hat.shape[:2]).flatten().numpy()
        yield None, np.flatnonzero(anchor)
        second = np.flatnonzero(~anchor)
        if second.size:
            yield self._spatial_context(y_hat, second), second

    def _spatial_context(self, y_hat: Tensor, at: Positions) -> Tensor:
        """[n, 2 g] at positions whose neighbours of the other colour are there."""
        pad, (rows, cols) = _REACH, y_hat.shape[:2]
        padded = functional.pad(y_hat, (0, 0, pad, pad, pad, pad)).flatten(0, 1)
        places = np.ravel_multi_index(
            (self._taps[:, 0] + at[:, None] // cols, self._taps[:, 1] + at[:, None] % cols),
            (rows + 2 * pad, cols + 2 * pad),
        )  # (n, taps)
        return torch.addmm(self._bias, padded[torch.from_numpy(places)].flatten(1), self._weight)

    def parameters(self, spatial: Tensor | None, support: Tensor) -> Tensor:
        """All contexts of some positions, [n, 2 g] and [n, 2 M + 2 g] -> means and scales [n, 2 g]."""
        x = torch.addmm(self._first_bias, support, self._of_support)
        if spatial is not None:
            x.addmm_(spatial, self._of_spatial)
        for weight, bias in self._others:
            x = torch.addmm(bias, torch.relu_(x), weight)
        return x


def _ready(card: ModelCard, network: nn.Module) -> PublishedImageModel:
    return PublishedImageModel(card, network, ElicCoder(cast(TecElicPublished, network)), HALO)


FAMILY = Family(
    read=lambda state: with_tables(TecElicPublished.from_state(state)),
    build=lambda config: TecElicPublished(ElicPublishedConfig.from_dict(config)),
    ready=_ready,
)
