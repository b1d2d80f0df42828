"""Convolutions in float64 with fewer multiplications (Winograd 1980; Lavin and Gray, CVPR 2016, section 4).

Entropy networks run in float64, for which PyTorch has no fast convolutions on a CPU. A patch of 4 x 4 outputs
of a 5 x 5 kernel takes 64 products a pair of channels in transformed space instead of 400. What transforms
add to the rounding noise is stated in docs/exactness.md. Channels are last throughout, for speed.
"""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 4  # side of a patch of outputs
# At which polynomials are evaluated; infinity is one more.
POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
MAX_PATCHES = 512  # at a time: bounds what a large image takes, 1.5 kB a channel and patch

_Row = list[Fraction]


def _times_root(polynomial: _Row, root: Fraction) -> _Row:
    """Coefficients, lowest first, of a polynomial times (x - root)."""
    shifted, scaled = [Fraction(0), *polynomial], [*(-root * c for c in polynomial), Fraction(0)]
    return [a + b for a, b in zip(shifted, scaled, strict=True)]


def _powers(point: Fraction, count: int) -> _Row:
    return [point**power for power in range(count)]


def transforms(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices of F(PATCH, size) in one dimension, float64.

    Returns
    -------
    before [n, n], kernel [n, size], after [PATCH, n], with n = size + PATCH - 1 :
        `after @ ((kernel @ g) * (before @ d))` is d [n] correlated with g [size]

    Notes
    -----
    Toom and Cook's algorithm transposed: interpolation at n - 1 points and at infinity.
    """
    points = [Fraction(point) for point in POINTS[: size + PATCH - 2]]
    before, kernel = [], []
    for point in points:
        basis, norm = [Fraction(1)], Fraction(1)
        for other in points:
            if other != point:
                basis, norm = _times_root(basis, other), norm * (point - other)
        before.append([*basis, Fraction(0)])
        kernel.append([power / norm for power in _powers(point, size)])
    last = [Fraction(1)]
    for point in points:
        last = _times_root(last, point)
    before.append(last)
    kernel.append([Fraction(power == size - 1) for power in range(size)])
    columns = [_powers(point, PATCH) for point in points] + [[Fraction(i == PATCH - 1) for i in range(PATCH)]]
    return _tensor(before), _tensor(kernel), _tensor(columns).t().contiguous()


def _tensor(rows: list[_Row]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


class WinogradConv:
    """A convolution of stride 1 that pads with zeros, on weights made ready.

    Parameters
    ----------
    layer : kernel of 3 x 3 or 5 x 5, padding of 1 or 2; its weights are copied
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        self._before, kernel, self._after = transforms(layer.kernel_size[0])
        self._pad = layer.kernel_size[0] // 2
        weight = kernel @ layer.weight.detach().double() @ kernel.t()  # (out, in, rows, cols)
        self._weight = weight.permute(3, 2, 0, 1).flatten(0, 1).contiguous()  # (cols rows, out, in)
        self._bias = cast(Tensor, layer.bias).detach().double()

    def __call__(self, x: Tensor) -> Tensor:
        """[h, w, in], float64 -> [h, w, out]."""
        rows, cols, _ = x.shape
        tall, wide, pad = -(-rows // PATCH), -(-cols // PATCH), self._pad
        x = functional.pad(x, (0, 0, pad, wide * PATCH - cols + pad, pad, tall * PATCH - rows + pad))
        step = max(1, MAX_PATCHES // wide)
        strips = [
            self._strip(x[top * PATCH : min(top + step, tall) * PATCH + 2 * pad])
            for top in range(0, tall, step)
        ]
        return torch.cat(strips)[:rows, :cols] + self._bias

    def _strip(self, x: Tensor) -> Tensor:
        """Padded rows [4 tall + 2 pad, 4 wide + 2 pad, in] -> [4 tall, 4 wide, out], without the bias."""
        n = len(self._before)
        d = x.unfold(0, n, PATCH).permute(3, 0, 1, 2)  # (rows, tall, W, in)
        v = (self._before @ d.reshape(n, -1)).view(d.shape)
        v = v.unfold(2, n, PATCH).permute(4, 0, 1, 2, 3)  # (cols, rows, tall, wide, in)
        tall, wide = v.shape[2:4]
        v = (self._before @ v.reshape(n, -1)).view(n * n, tall * wide, -1)
        m = torch.bmm(v, self._weight.transpose(1, 2))  # (cols rows, patches, out)
        y = (self._after @ m.view(n, -1)).view(PATCH, n, -1)  # (j, rows, patches out)
        y = torch.matmul(self._after, y).view(PATCH, PATCH, tall, wide, -1)  # (j, i, tall, wide, out)
        return y.permute(2, 1, 3, 0, 4).reshape(tall * PATCH, wide * PATCH, -1)
