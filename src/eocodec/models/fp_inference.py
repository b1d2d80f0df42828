"""TEC-FP made ready to run: the same transforms as `models/fp.py`, arranged for speed on a CPU.

What differs from the modules that are trained:

- Input and output are DN. Means are taken off and put back as planes; standard deviations are folded into
  weights.
- The linear path works on patches of a few blocks, which stay in the cache, with blocks as the fastest axis:
  spectral matrices, then one axis of the DCT, are products with long contiguous rows; the product that does
  the other axis turns blocks into pixels, so that only runs of whole image rows are left to be copied. These
  products are tiny; NumPy's BLAS does them in half of torch's time.
- All of the linear path is float32: it carries the signal. Convolutions, which correct it, run in bfloat16
  where that is native, on weights converted once; four neighbouring pixels move as one element.
- Channels that are zero are never touched, and the image is handed out in strips that are in the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from eocodec.models.elic import TecElic
from eocodec.models.fp import CompactAnalysis, CompactSynthesis, TecFp
from eocodec.nn.blocks import Double, Halve, ResidualBlock
from eocodec.nn.spectral import BLOCK, BlockTransform, dct_matrix

QUARTER = 4  # convolutions see 4 x 4 pixels as channels
# Of the linear path: its buffers stay in a second-level cache, and BLAS does not start threads.
VALUES_PER_PATCH = 200_000
Float = NDArray[np.float32]
Index = NDArray[np.int64]
_QUAD = {2: torch.int64, 4: torch.complex128}  # bytes of a value -> dtype of four of them, for copies


class Inference:
    """A loaded TEC-FP of the compact transform.

    Parameters
    ----------
    network : its weights are copied, later changes are not seen
    means, stds : [C], DN, of the bands: network units are (DN - mean) / std
    dtype : of the convolutions, float32 or bfloat16

    Raises
    ------
    TypeError : the published transform, which has no fast path
    """

    def __init__(
        self, network: TecFp | TecElic, means: Sequence[float], stds: Sequence[float], dtype: torch.dtype
    ) -> None:
        g_a, g_s = network.g_a, network.g_s
        if not isinstance(g_a, CompactAnalysis) or not isinstance(g_s, CompactSynthesis):
            raise TypeError("only the compact transform has a fast path")
        scale = torch.tensor(stds, dtype=torch.float32)
        self.means = torch.tensor(means, dtype=torch.float32)[:, None, None]
        self.dtype = dtype
        self.linear = _LinearPath(g_a.linear, scale)
        self._bend = _AnalysisBranch(g_a, scale, dtype)
        self._correct = _SynthesisBranch(g_s, scale, dtype)

    def analysis(self, dn: Tensor) -> Tensor:
        """DN [C, H, W], float32, sides multiples of 16 -> y [M, n], float32; n blocks in row-major order.

        `dn` is used as scratch: it comes back with the means taken off.
        """
        dn -= self.means
        y = torch.from_numpy(self.linear.analysis(dn.numpy()))
        y.index_add_(0, self._bend.lead, self._bend(dn))
        return y

    def synthesis(
        self, values: Tensor, live: Tensor, bases: Tensor, rows: int, cols: int, quality: float = 0.0
    ) -> Reconstruction:
        """Latents that are not zero -> DN.

        Parameters
        ----------
        values : [L, rows * cols], float32, dequantised, still turned into the tile's axes
        live : [L], int64, ascending: their channels
        bases : [RINGS, C, C], float32, the tile's axes (see `nn/spectral.py`)
        rows, cols : blocks of the tile
        quality : 0 to 1, where the synthesis is told of it
        """
        dn = torch.empty(len(self.means), rows * BLOCK, cols * BLOCK)
        quads = _new_quads(dn, self.dtype)
        self.linear.synthesis(values.numpy(), live.numpy(), bases.numpy(), dn, quads)
        correction = self._correct(values, live, bases, quads, rows, cols, quality)
        return Reconstruction(dn, correction, self.means)


class Reconstruction:
    """A decoded tile, strip by strip: linear image [C, H, W], correction [1, H/4, W/4, 16 C], means [C]."""

    def __init__(self, linear: Tensor, correction: Tensor, means: Tensor) -> None:
        self._linear, self._correction, self._means = linear, correction, means

    def strips(self) -> Iterator[tuple[int, Tensor]]:
        """(first row, [C, h, W]) from top to bottom; float32, DN, neither rounded nor clipped.

        To be asked for once: they are made in place.
        """
        bands, rows, cols = self._linear.shape
        step = max(QUARTER, VALUES_PER_PATCH // (bands * cols) // QUARTER * QUARTER)
        for top in range(0, rows, step):
            strip = self._linear[:, top : top + step]
            strip += _spread_quads(self._correction[0, top // QUARTER : (top + step) // QUARTER])
            strip += self._means
            yield top, strip


class _LinearPath:
    """`BlockTransform` between mean-free DN and latents."""

    def __init__(self, linear: BlockTransform, stds: Tensor) -> None:
        self.bands = linear.bands
        self.dct = dct_matrix(BLOCK).numpy()
        self.inverse_dct = np.ascontiguousarray(self.dct.T)
        self.ring = linear.ring.numpy()
        # one [C, C] matrix a ring, to be multiplied from the left: coefficients as rows, blocks as columns
        basis, weight = linear.basis.detach().float(), linear.root_weight.detach().float() / stds
        self.forward_spectral = (basis.transpose(1, 2) * weight).numpy()[self.ring]
        self.inverse_spectral = (basis / weight[:, None]).numpy()

    def analysis(self, x: Float) -> Float:
        """[C, H, W] -> y [256 C, n]."""
        rows, cols = x.shape[1] // BLOCK, x.shape[2] // BLOCK
        y = np.empty((BLOCK**2, self.bands, rows, cols), np.float32)
        for at in _patches(rows, cols, self.bands):
            patch = x[(slice(None), *at.pixels)]
            split = patch.reshape(self.bands, at.rows, BLOCK, at.cols * BLOCK)
            pixels = np.ascontiguousarray(split.transpose(2, 0, 1, 3))  # (i, c, h, w j)
            pixels = pixels.reshape(BLOCK, -1, BLOCK)  # (i, c n, j)
            u = np.matmul(self.dct, pixels.transpose(0, 2, 1))  # (i, v, c n)
            u = np.matmul(self.dct, u.transpose(1, 0, 2))  # (v, u, c n)
            u = np.ascontiguousarray(u.transpose(1, 0, 2)).reshape(BLOCK**2, self.bands, -1)  # (u v, c, n)
            u = np.matmul(self.forward_spectral, u)
            y[(..., *at.blocks)] = u.reshape(*u.shape[:2], at.rows, at.cols)
        return y.reshape(BLOCK**2 * self.bands, -1)

    def synthesis(self, values: Float, live: Index, bases: Float, dn: Tensor, quads: Tensor) -> None:
        """values [L, n] of channels live [L] -> dn [C, H, W], and its 4 x 4 pixels as channels in `quads`."""
        rows, cols = dn.shape[1] // BLOCK, dn.shape[2] // BLOCK
        spectral = np.matmul(self.inverse_spectral, bases)[self.ring]
        by_place, image = values.reshape(-1, rows, cols), dn.numpy()
        for at in _patches(rows, cols, self.bands):
            n = at.rows * at.cols
            z = np.zeros((BLOCK**2 * self.bands, n), np.float32)
            z[live] = by_place[(slice(None), *at.blocks)].reshape(-1, n)
            u = np.matmul(spectral, z.reshape(BLOCK**2, self.bands, n))
            u = u.reshape(BLOCK, BLOCK, -1)  # (u, v, c n)
            w = z.reshape(u.shape)  # (i, v, c n), in memory that is no longer needed
            np.matmul(self.inverse_dct, u.transpose(1, 0, 2), out=w.transpose(1, 0, 2))
            pixels = np.matmul(w.transpose(0, 2, 1), self.dct, out=u.reshape(BLOCK, -1, BLOCK))  # (i, c n, j)
            pixels = pixels.reshape(BLOCK, self.bands, at.rows, at.cols * BLOCK).transpose(1, 2, 0, 3)
            image[(slice(None), *at.pixels)].reshape(pixels.shape)[...] = pixels
            _gather_quads(dn[(slice(None), *at.pixels)], quads[at.quads])


class _Convolution:
    """A convolution on converted weights, between channels-last tensors [1, C, H, W].

    in_scale, out_scale : factors of the input and output channels, folded into the weights
    out_order : permutation of the output channels
    """

    def __init__(
        self,
        layer: nn.Conv2d,
        dtype: torch.dtype,
        *,
        in_scale: Tensor | None = None,
        out_scale: Tensor | None = None,
        out_order: Tensor | None = None,
    ) -> None:
        weight = layer.weight.detach().float()
        bias = layer.bias.detach().float() if layer.bias is not None else weight.new_zeros(len(weight))
        if in_scale is not None:
            weight = weight * in_scale[None, :, None, None]
        if out_scale is not None:
            weight, bias = weight * out_scale[:, None, None, None], bias * out_scale
        if out_order is not None:
            weight, bias = weight[out_order], bias[out_order]
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = bias.to(dtype)
        self.stride, self.padding = layer.stride, layer.padding

    def __call__(self, x: Tensor, bias: Tensor | None = None, in_gain: Tensor | None = None) -> Tensor:
        """bias : [out], on top of its own; in_gain : [in], of the input channels."""
        own = self.bias if bias is None else self.bias + bias.to(self.bias.dtype)
        weight = self.weight
        if in_gain is not None:
            weight = (weight * in_gain[:, None, None]).to(weight.dtype)
        return functional.conv2d(x, weight, own, self.stride, self.padding)


class _Residuals:
    """A chain of `ResidualBlock`s."""

    def __init__(self, chain: Iterable[nn.Module], dtype: torch.dtype) -> None:
        blocks = [block for block in chain if isinstance(block, ResidualBlock)]
        self.blocks = [
            (_Convolution(b.inner, dtype), b.act.negative_slope, _Convolution(b.outer, dtype)) for b in blocks
        ]

    def __call__(self, x: Tensor, biases: Sequence[Tensor] = ()) -> Tensor:
        """biases : [1, C] of each block, or none."""
        for (inner, slope, outer), bias in zip_longest(self.blocks, biases):
            h = inner(x, None if bias is None else bias[0])
            x = outer(functional.leaky_relu_(h, slope)).add_(x)
        return x


class _Halve:
    """`Halve`."""

    def __init__(self, layer: Halve, dtype: torch.dtype) -> None:
        convolution, act = layer
        if not isinstance(convolution, nn.Conv2d) or not isinstance(act, nn.LeakyReLU):
            raise TypeError(f"not what is expected of {type(layer).__name__}: {layer}")
        self.convolution = _Convolution(convolution, dtype)
        self.slope = act.negative_slope

    def __call__(self, x: Tensor) -> Tensor:
        return functional.leaky_relu_(self.convolution(x), self.slope)


class _Double:
    """`Double`; its convolution gives the channels of a pixel in a row, so that whole rows are moved."""

    def __init__(self, layer: Double, dtype: torch.dtype) -> None:
        convolution, _, act = layer
        if not isinstance(convolution, nn.Conv2d) or not isinstance(act, nn.LeakyReLU):
            raise TypeError(f"not what is expected of {type(layer).__name__}: {layer}")
        order = torch.arange(convolution.out_channels).view(-1, 4).t().reshape(-1)
        self.convolution = _Convolution(convolution, dtype, out_order=order)
        self.slope = act.negative_slope

    def __call__(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu_(self.convolution(x), self.slope)
        rows, cols = h.shape[2:]
        h = h.permute(0, 2, 3, 1).reshape(rows, cols, 2, -1)  # (h, w, di, dj c)
        h = h.transpose(1, 2).reshape(1, 2 * rows, 2 * cols, -1)
        return h.permute(0, 3, 1, 2)


class _AnalysisBranch:
    """The convolutions of `CompactAnalysis`: mean-free DN [C, H, W] -> addition to the leading latents."""

    def __init__(self, g_a: CompactAnalysis, stds: Tensor, dtype: torch.dtype) -> None:
        self.lead, self.dtype = g_a.lead, dtype
        pixels = QUARTER**2
        self.stem = _Convolution(g_a.stem, dtype, in_scale=(1 / stds).repeat_interleave(pixels))
        self.at_quarter = _Residuals(g_a.at_quarter, dtype)
        self.to_eighth = _Halve(g_a.to_eighth, dtype)
        self.at_eighth = _Residuals(g_a.at_eighth, dtype)
        self.to_sixteenth = _Halve(g_a.to_sixteenth, dtype)
        head = _Convolution(g_a.head, dtype, out_scale=g_a.latent_std)
        self.head, self.head_bias = head.weight.flatten(1), head.bias.float()

    def __call__(self, x: Tensor) -> Tensor:
        quads = _new_quads(x, self.dtype)
        _gather_quads(x, quads)
        h = self.at_quarter(self.stem(_as_channels(quads, self.dtype)))
        h = self.to_sixteenth(self.at_eighth(self.to_eighth(h)))
        h = h.permute(0, 2, 3, 1).reshape(-1, h.shape[1])  # (n, sixteenth)
        return torch.mm(self.head, h.t()).float() + self.head_bias[:, None]  # (bent, n)


class _SynthesisBranch:
    """The convolutions of `CompactSynthesis`: leading latents and linear image -> correction in DN."""

    def __init__(self, g_s: CompactSynthesis, stds: Tensor, dtype: torch.dtype) -> None:
        self.dtype = dtype
        bands = len(stds)
        by_pixel = stds.repeat_interleave(QUARTER**2)
        first = _Convolution(g_s.from_latents, torch.float32, in_scale=1 / g_s.latent_std)
        self.latents_bias = first.bias.to(dtype)
        self.ring = g_s.linear[0].ring
        all_latents = first.weight.new_zeros(len(first.weight), BLOCK**2 * bands)
        all_latents.index_add_(1, g_s.lead, first.weight.flatten(1))
        # [256, C, sixteenth]: what each latent adds, by frequency and component
        self.from_latents = all_latents.t().reshape(BLOCK**2, bands, -1).contiguous()
        self.seen = self.from_latents.any(2).any(1)  # [256]: frequencies that have leading latents
        self.to_eighth = _Double(g_s.to_eighth, dtype)
        self.at_eighth = _Residuals(g_s.at_eighth, dtype)
        self.to_quarter = _Double(g_s.to_quarter, dtype)
        self.from_quarter = _Convolution(g_s.from_quarter, dtype, in_scale=1 / by_pixel)
        self.at_quarter = _Residuals(g_s.at_quarter, dtype)
        self.head = _Convolution(g_s.head, dtype, out_scale=by_pixel)
        self.told = g_s.told

    def __call__(
        self,
        values: Tensor,
        live: Tensor,
        bases: Tensor,
        quads: Tensor,
        rows: int,
        cols: int,
        quality: float,
    ) -> Tensor:
        turned = torch.bmm(bases[self.ring].transpose(1, 2), self.from_latents).flatten(0, 1)
        chosen = torch.nonzero(self.seen[live // len(bases[0])])[:, 0]
        lead, weight = values[chosen].to(self.dtype), turned[live[chosen]].to(self.dtype)
        h = torch.addmm(self.latents_bias, lead.t(), weight)  # (n, sixteenth)
        h = h.view(1, rows, cols, -1).permute(0, 3, 1, 2)
        eighth, at_quarter, gain = self.told(torch.tensor([quality]))
        h = self.to_quarter(self.at_eighth(self.to_eighth(h), eighth))
        h = self.at_quarter(self.from_quarter(_as_channels(quads, self.dtype)).add_(h), at_quarter)
        h = self.head(h, in_gain=None if gain is None else gain[0])
        return h.permute(0, 2, 3, 1)  # (1, H/4, W/4, 16 C), contiguous


@dataclass(frozen=True)
class _Patch:
    """Some neighbouring blocks of a tile: first row and column, and how many."""

    top: int
    left: int
    rows: int
    cols: int

    def _slices(self, unit: int) -> tuple[slice, slice]:
        rows = slice(self.top * unit, (self.top + self.rows) * unit)
        return rows, slice(self.left * unit, (self.left + self.cols) * unit)

    blocks = property(lambda self: self._slices(1))
    pixels = property(lambda self: self._slices(BLOCK))
    quads = property(lambda self: self._slices(BLOCK // QUARTER))


def _patches(rows: int, cols: int, bands: int) -> Iterator[_Patch]:
    """Cover a tile of rows x cols blocks with patches of VALUES_PER_PATCH at most."""
    blocks = max(1, VALUES_PER_PATCH // (bands * BLOCK**2))
    wide = min(cols, blocks)
    tall = min(rows, blocks // wide)
    for top in range(0, rows, tall):
        for left in range(0, cols, wide):
            yield _Patch(top, left, min(tall, rows - top), min(wide, cols - left))


def _new_quads(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Room for [C, H, W] in `dtype` as [H/4, W/4, C, 4] elements of four pixels side by side."""
    bands, rows, cols = x.shape
    quad = _QUAD[dtype.itemsize]
    return torch.empty(rows // QUARTER, cols // QUARTER, bands, QUARTER, dtype=quad, device=x.device)


def _gather_quads(x: Tensor, quads: Tensor) -> None:
    """Pixel unshuffle by 4 of x [C, H, W] into `quads` [H/4, W/4, C, 4]."""
    dtype = torch.bfloat16 if quads.dtype == torch.int64 else torch.float32
    source = x.to(dtype).contiguous().view(quads.dtype)  # (C, H, W/4)
    quads.copy_(source.unflatten(1, (-1, QUARTER)).permute(1, 3, 0, 2))


def _as_channels(quads: Tensor, dtype: torch.dtype) -> Tensor:
    """The same memory as a channels-last tensor [1, 16 C, H/4, W/4]."""
    return quads.view(dtype).flatten(2)[None].permute(0, 3, 1, 2)


def _spread_quads(channels: Tensor) -> Tensor:
    """Pixel shuffle by 4: [h, w, 16 C] -> [C, 4 h, 4 w], float32."""
    quads = channels.view(_QUAD[channels.dtype.itemsize]).unflatten(2, (-1, QUARTER))  # (h, w, C, 4)
    rows = quads.permute(2, 0, 3, 1).contiguous()  # (C, h, 4, w)
    plane: Tensor = rows.view(channels.dtype)
    return plane.flatten(1, 2).float()
