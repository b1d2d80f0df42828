"""What TEC-ELIC's coder makes of latents, differentiable, under decisions that it took before.

The decisions are those of one tile at one quality: blocks, axes, and which table codes each coefficient. They
are held still while latents move a little: at its optimum, a rate does not depend on them in first order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocodec.coding.range_coder import SymbolEncoder
from eocodec.entropy.axes import bases
from eocodec.entropy.context import Request
from eocodec.entropy.context_coder import MAX_SHIFTED, ContextCoder, ContextPrior
from eocodec.entropy.exact import EdgeWriter
from eocodec.entropy.family import MAX_HALF_WIDTH, table_costs
from eocodec.entropy.partition import Partition
from eocodec.entropy.rdo import RDO_STRENGTH
from eocodec.entropy.spectrum import CELL, SIZES, layout, merge_matrix

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Decisions:
    """What the coder decided of one tile at one quality.

    partition, quality_steps : see there
    bases : [RINGS, C, C], float32, the tile's axes, columns in terms of bands
    rows : int16, table of every coefficient, size by size of block [N * N, C, n], all in one; -1 where dead
    bits : of the symbols and all side information
    """

    partition: Partition
    quality_steps: int
    bases: Float
    rows: NDArray[np.int16]
    bits: int


def decide(coder: ContextCoder, y: Float, quality_steps: int, lmbda: float) -> Decisions:
    """Code a tile and keep what was decided; arguments of `ContextCoder.encode`."""
    seen: list[Request] = []

    def observe(request: Request, values: Float, symbols: NDArray[np.int32]) -> None:
        seen.append(request)

    encoder = SymbolEncoder()
    frame = coder.encode(y, encoder, EdgeWriter(), quality_steps, lmbda, observe)
    part = frame.partition
    rows = {
        size: np.full((size * size, coder.bands, len(part.corners(size))), -1, np.int16) for size in SIZES
    }
    for request in seen:
        rows[request.size][request.place, request.component] = request.rows
    flat = np.concatenate([rows[size].ravel() for size in SIZES])
    bits = 8 * sum(map(len, encoder.finish()))
    own = bases(frame.axes.counts, frame.axes.entries, coder.bands)
    return Decisions(part, quality_steps, np.asarray(coder.basis @ own, np.float32), flat, bits)


class CoderTwin:
    """Latents -> dequantised latents and bits.

    Parameters
    ----------
    prior : whose tables, steps and shifts are used
    basis : [RINGS, C, C]; ring : [256], of each frequency
    """

    def __init__(self, prior: ContextPrior, basis: Tensor, ring: Tensor) -> None:
        self._prior, self._basis = prior, basis[ring]  # [256, C, C]
        costs = table_costs(prior.family)[:, MAX_HALF_WIDTH + 1 :]  # of magnitudes 0 ..
        self._costs = torch.from_numpy(np.ascontiguousarray(costs))
        self._shift = torch.from_numpy(prior.shift_from_zero)
        self._order = {size: torch.from_numpy(layout(size).order) for size in SIZES}
        self._place = {size: torch.argsort(order) for size, order in self._order.items()}
        self._ring = {size: torch.from_numpy(layout(size).ring) for size in SIZES}
        self._merge = {size: torch.from_numpy(merge_matrix(size)).float() for size in SIZES}

    def __call__(self, y: Tensor, tile: Decisions, lmbda: float) -> tuple[Tensor, Tensor]:
        """Latents y [256 C, rows, cols], float32, lmbda at the quality -> the same, dequantised, and bits."""
        step = self._prior.step(tile.quality_steps)
        axes = torch.from_numpy(tile.bases)
        values = self._in_blocks(y, tile.partition, axes / step)
        flat = torch.cat([part.reshape(-1) for part in values])
        live = torch.nonzero(torch.from_numpy(tile.rows >= 0))[:, 0]
        rows = torch.from_numpy(tile.rows).long()[live]
        found, bits = self.quantise(flat[live], rows, RDO_STRENGTH * lmbda * step**2)
        dense = torch.zeros_like(flat).index_copy(0, live, found)
        parts = torch.split(dense, [part.numel() for part in values])
        shaped = [part.view(like.shape) for part, like in zip(parts, values, strict=True)]
        return self._from_blocks(shaped, tile.partition, axes * step), bits

    def quantise(self, v: Tensor, rows: Tensor, worth: float) -> tuple[Tensor, Tensor]:
        """Latents in steps [n] under tables [n] -> what their symbols stand for [n], and bits.

        Symbols are those of the coder. What they stand for passes its gradient where it is not zero
        (nn/quantise.py). The gradient of bits is what a step towards zero saves.
        """
        nearest = torch.round(v.detach().abs()).clamp(max=MAX_HALF_WIDTH).long()
        at = torch.nonzero(nearest)[:, 0]
        k, row, value = nearest[at], rows[at], v[at]
        size = value.abs()
        saved = self._costs[row, k] - self._costs[row, k - 1]
        here, below = self._stands_for(k, row), self._stands_for(k - 1, row)
        # where a step towards zero begins to cost as much as it saves
        threshold = (saved / worth + here**2 - below**2) / (2 * (here - below))
        lower = size.detach() < threshold
        k = k - lower.long()
        stands_for = torch.sign(value.detach()) * torch.where(lower, below, here)
        alive = (k > 0).float()
        found = stands_for * alive + (value - value.detach()) * alive
        soft = (saved * size).sum()
        zeros = (
            self._costs[rows, torch.zeros_like(rows)].sum() - self._costs[row, torch.zeros_like(row)].sum()
        )
        bits = zeros + self._costs[row, k].sum() + (soft - soft.detach())
        return torch.zeros_like(v).index_copy(0, at, found), bits

    def _stands_for(self, magnitude: Tensor, row: Tensor) -> Tensor:
        return magnitude + self._shift[row, magnitude.clamp(max=MAX_SHIFTED)]

    def _in_blocks(self, y: Tensor, part: Partition, turned: Tensor) -> list[Tensor]:
        """Values [N * N, C, n] of the blocks of each size, in steps and in the tile's axes."""
        bands = self._basis.shape[1]
        u = torch.bmm(self._basis, y.reshape(CELL * CELL, bands, -1))
        out = []
        for size in SIZES:
            cells = size // CELL
            rows, cols = part.rows // cells, part.cols // cells
            x = u.view(CELL, CELL, bands, part.rows, part.cols)[..., : rows * cells, : cols * cells]
            x = x.reshape(CELL, CELL, bands, rows, cells, cols, cells)
            x = x.permute(4, 0, 6, 1, 2, 3, 5).reshape(size, size, bands, rows * cols)
            x = _along_both(self._merge[size], x[..., _numbers(part, size)])
            x = x.reshape(size * size, bands, -1)[self._order[size]]
            out.append(torch.bmm(turned[self._ring[size]].transpose(1, 2), x))
        return out

    def _from_blocks(self, values: list[Tensor], part: Partition, turned: Tensor) -> Tensor:
        """Inverse of `_in_blocks`: [256 C, rows, cols]."""
        bands = self._basis.shape[1]
        u = turned.new_zeros(CELL, CELL, bands, part.rows, part.cols)
        for size, v in zip(SIZES, values, strict=True):
            cells = size // CELL
            rows, cols = part.rows // cells, part.cols // cells
            x = torch.bmm(turned[self._ring[size]], v)[self._place[size]].reshape(size, size, bands, -1)
            x = _along_both(self._merge[size].T, x)
            every = x.new_zeros(size, size, bands, rows * cols)
            every = every.index_copy(3, _numbers(part, size), x)
            every = every.view(cells, CELL, cells, CELL, bands, rows, cols).permute(1, 3, 4, 5, 0, 6, 2)
            every = every.reshape(CELL, CELL, bands, rows * cells, cols * cells)
            lack = (0, part.cols - cols * cells, 0, part.rows - rows * cells)
            u = u + torch.nn.functional.pad(every, lack)
        y = torch.bmm(self._basis.transpose(1, 2), u.view(CELL * CELL, bands, -1))
        return y.view(-1, part.rows, part.cols)


def _numbers(part: Partition, size: int) -> Tensor:
    """[n]: which of all blocks of a size that fit the partition has, row-major."""
    cells = size // CELL
    at = part.corners(size) // cells
    return torch.from_numpy(at[:, 0] * (part.cols // cells) + at[:, 1])


def _along_both(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix [N, N] along the first two axes of [N, N, C, n]."""
    if len(matrix) == CELL:  # blocks of one cell have nothing to merge
        return x
    down = (matrix @ x.reshape(len(matrix), -1)).view(len(matrix), len(matrix), -1)
    return torch.matmul(matrix, down).view(x.shape)
