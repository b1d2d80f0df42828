"""A published image model ready to code: transforms of fixed weights, on images of any size.

Large images go through the transforms in blocks, with as much of their surroundings as the transforms see: so
memory stays bounded, and the result is that of the whole image. Symbols do not depend on any of this. What
decides them is in the coders.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.entropy.coder import LatentCoder, SeriesCoder
from eocodec.models.fp import STRIDE
from eocodec.models.registry import ModelCard
from eocodec.nn.attention import Attention, AttentionUnit, Bottleneck
from eocodec.nn.precision import inference_dtype
from eocodec.raster.tiles import Roi, Tiles

BLOCK = 64  # latents a side of what goes through a transform at once: 1024 pixels, some 0.6 GB of activations
EXACT_BLOCK = 32  # in float64, whose convolutions take more memory

Transform = Callable[[Tensor], Tensor]


class Transforms(Protocol):
    """What of a network is used here; [B, C, H, W] in network units, [B, M, H / 16, W / 16]."""

    g_a: nn.Module
    g_s: nn.Module


@dataclass(frozen=True)
class _Block:
    """A part of a grid of latents: `core` is wanted; `seen`, with the surroundings, is what it takes."""

    core: Roi
    seen: Roi

    def inner(self, unit: int) -> Roi:
        """Where the core is within what was seen, a latent being `unit` wide."""
        rows, cols = (
            slice((c.start - s.start) * unit, (c.stop - s.start) * unit)
            for c, s in zip(self.core, self.seen, strict=True)
        )
        return rows, cols


def _blocks(rows: int, cols: int, side: int, halo: int) -> Iterator[_Block]:
    """Cover rows x cols latents, row by row."""
    for core in Tiles((rows, cols), (side, side)):
        ends = zip(core, (rows, cols), strict=True)
        tall, wide = (slice(max(c.start - halo, 0), min(c.stop + halo, end)) for c, end in ends)
        yield _Block(core, (tall, wide))


def _in_pixels(roi: Roi) -> Roi:
    rows, cols = (slice(part.start * STRIDE, part.stop * STRIDE) for part in roi)
    return rows, cols


class _Image:
    """A decoded timestep that is made as it is asked for: a row of blocks at a time."""

    def __init__(self, transform: Transform, y_hat: Tensor, bands: int, side: int, halo: int) -> None:
        self._transform, self._y_hat, self._bands = transform, y_hat, bands
        self._side, self._halo = side, halo

    def strips(self) -> Iterator[tuple[int, Tensor]]:
        """(first row, [C, h, W]); float, DN, neither rounded nor clipped."""
        rows, cols = self._y_hat.shape[1:]
        strip = self._y_hat.new_empty(0)
        for block in _blocks(rows, cols, self._side, self._halo):
            tall, wide = _in_pixels(block.core)
            if wide.start == 0:
                strip = self._y_hat.new_empty(self._bands, tall.stop - tall.start, cols * STRIDE)
            part = self._transform(self._y_hat[(slice(None), *block.seen)])
            strip[:, :, wide] = part[(slice(None), *block.inner(STRIDE))]
            if wide.stop == cols * STRIDE:
                yield tall.start, strip


class _Arithmetic:
    """The transforms of a network between DN and latents, in one dtype; channels last, for speed.

    branches : dtype in which the synthesis computes what its blocks add to their input
    """

    def __init__(
        self,
        network: Transforms,
        means: Sequence[float],
        stds: Sequence[float],
        dtype: torch.dtype,
        branches: torch.dtype,
    ) -> None:
        self.dtype = dtype
        self.outer = torch.float64 if dtype == torch.float64 else torch.float32  # of DN and latents
        self.g_a, self.g_s = (
            copy.deepcopy(part).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for part in (network.g_a, network.g_s)
        )
        for block in self.g_s.modules():
            if isinstance(block, (Attention, AttentionUnit, Bottleneck)):
                block.to(branches)
        self.means, self.stds = (
            torch.tensor(values, dtype=self.outer)[:, None, None] for values in (means, stds)
        )

    def analysis(self, dn: Tensor) -> Tensor:
        """[C, H, W] -> [M, h, w]."""
        x = (dn - self.means) / self.stds
        return self._run(self.g_a, x)

    def synthesis(self, y_hat: Tensor) -> Tensor:
        """[M, h, w] -> [C, 16 h, 16 w]."""
        return self._run(self.g_s, y_hat) * self.stds + self.means

    def _run(self, part: nn.Module, x: Tensor) -> Tensor:
        given = x[None].to(self.dtype).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, part(given))[0].to(self.outer)


@dataclass(frozen=True, eq=False)
class PublishedImageModel:
    """See `models/model.py`; latents are arrays y_hat [M, n].

    halo : latents around a block that its transforms see, at most
    """

    card: ModelCard
    network: nn.Module
    coder: LatentCoder | SeriesCoder
    halo: int

    def arithmetic(self, dtype: torch.dtype, branches: torch.dtype) -> _Arithmetic:
        """The transforms in a dtype, and branches of the synthesis in one, kept for the next call."""
        if (dtype, branches) not in self._prepared:
            table = self.card.band_table
            means, stds = [band.mean for band in table], [band.std for band in table]
            network = cast(Transforms, self.network)
            self._prepared[dtype, branches] = _Arithmetic(network, means, stds, dtype, branches)
        return self._prepared[dtype, branches]

    @cached_property
    def _prepared(self) -> dict[tuple[torch.dtype, torch.dtype], _Arithmetic]:
        return {}

    def _usual(self) -> _Arithmetic:
        """In float32, unless the environment asks for less: these transforms carry all of the signal.

        What the synthesis adds to it on the way is in bfloat16 where that is native: a third of the error
        that all of it in bfloat16 has, and none of its steps in bright pixels.
        """
        cpu = torch.device("cpu")
        return self.arithmetic(inference_dtype(cpu, auto=torch.float32), inference_dtype(cpu))

    def analysis(self, dn: Tensor) -> Tensor:
        """DN [C, H, W], sides multiples of 16 -> y [M, n]."""
        run = self._usual()
        rows, cols = dn.shape[1] // STRIDE, dn.shape[2] // STRIDE
        y = torch.empty(self.coder.channels, rows, cols)
        for block in _blocks(rows, cols, BLOCK, self.halo):
            part = run.analysis(dn[(slice(None), *_in_pixels(block.seen))])
            y[(slice(None), *block.core)] = part[(slice(None), *block.inner(1))]
        return y.flatten(1)

    def synthesis(self, latents: NDArray[np.float32], rows: int, cols: int) -> _Image:
        """y_hat [M, n], float32 -> DN."""
        y_hat = torch.from_numpy(latents).view(-1, rows, cols)
        return _Image(self._usual().synthesis, y_hat, len(self.card.bands), BLOCK, self.halo)

    def exact_image(self, latents: NDArray[np.float64], rows: int, cols: int) -> NDArray[np.float64]:
        """y_hat [M, n], float64 -> DN [C, 16 rows, 16 cols]."""
        run = self.arithmetic(torch.float64, torch.float64)
        y_hat = torch.from_numpy(latents).view(-1, rows, cols)
        image = _Image(run.synthesis, y_hat, len(self.card.bands), EXACT_BLOCK, self.halo)
        with torch.inference_mode():
            return np.concatenate([strip.numpy() for _, strip in image.strips()], axis=1)

    def lmbda(self, quality_steps: int) -> float:
        """None: published models round, whatever it costs."""
        return 0.0
