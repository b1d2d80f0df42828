"""The linear path of TEC-FP: a block DCT in space, and bases across the bands that fit the tile.

Latents `y` are weighted DCT coefficients in a fixed spectral basis, channel = frequency * bands + component.
Before quantisation the components of every frequency are turned into the tile's own principal axes (`z`), one
basis for each of a few rings of frequencies. Everything is orthonormal in the distortion's weighting, so a
latent's squared error is the distortion.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BLOCK = 16  # pixels a side
RING_EDGES = (0.5, 1.5, 3.0, 5.0, 8.0, 12.0)  # radii in DCT index units; the first ring is DC alone
RINGS = len(RING_EDGES) + 1


def dct_matrix(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Orthonormal DCT-II, [n, n], row = frequency; computed in float64."""
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi / n * (k[None, :] + 0.5) * k[:, None]) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.to(dtype)


def ring_of_frequency() -> Tensor:
    """Ring of each of the 256 frequencies (row-major), [256], int64."""
    k = torch.arange(BLOCK, dtype=torch.float64)
    radius = torch.sqrt(k[:, None] ** 2 + k[None, :] ** 2).flatten()
    return torch.bucketize(radius, torch.tensor(RING_EDGES, dtype=torch.float64), right=True)


class BlockTransform(nn.Module):
    """DCT of 16 x 16 blocks, band weights, fixed spectral basis of each ring. Nothing here is trained.

    Parameters
    ----------
    bands : C

    Attributes
    ----------
    basis : [RINGS, C, C], orthonormal, columns by falling variance; root_weight : [C], square root of the
        distortion's band weights
    """

    basis: Tensor
    root_weight: Tensor
    dct: Tensor
    ring: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.register_buffer("dct", dct_matrix(BLOCK), persistent=False)
        self.register_buffer("ring", ring_of_frequency(), persistent=False)
        self.register_buffer("basis", torch.eye(bands).repeat(RINGS, 1, 1))
        self.register_buffer("root_weight", torch.ones(bands))

    def frequencies(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> weighted DCT coefficients [256, B, h, w, C], h = H/16."""
        batch, bands, rows, cols = x.shape
        weighted = x * self.root_weight[:, None, None]
        blocks = weighted.reshape(batch, bands, rows // BLOCK, BLOCK, cols // BLOCK, BLOCK)
        u = torch.einsum("bchiwj,ui,vj->uvbhwc", blocks, self.dct, self.dct)
        return u.flatten(0, 1)

    def analysis(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> y [B, 256 C, h, w]."""
        u = self.frequencies(x)
        y = torch.bmm(u.flatten(1, 3), self.basis[self.ring])  # (256, B h w, C)
        return y.reshape(u.shape).permute(1, 0, 4, 2, 3).flatten(1, 2)

    def synthesis(self, y: Tensor) -> Tensor:
        """Inverse of `analysis`: [B, 256 C, h, w] -> [B, C, 16 h, 16 w]."""
        batch, _, rows, cols = y.shape
        u = y.reshape(batch, BLOCK**2, self.bands, rows, cols).permute(1, 0, 3, 4, 2)
        u = torch.bmm(u.reshape(BLOCK**2, -1, self.bands), self.basis[self.ring].transpose(1, 2))
        u = u.reshape(BLOCK, BLOCK, batch, rows, cols, self.bands)
        x = torch.einsum("uvbhwc,ui,vj->bchiwj", u, self.dct, self.dct)
        x = x.reshape(batch, self.bands, rows * BLOCK, cols * BLOCK)
        return x / self.root_weight[:, None, None]


@torch.no_grad()
def principal_axes(y: Tensor, bands: int, ring: Tensor) -> Tensor:
    """Bases of every tile and ring, [B, RINGS, C, C], columns by falling variance; y [B, 256 C, h, w]."""
    per_frequency = y.reshape(len(y), BLOCK**2, bands, -1)
    moment = (per_frequency @ per_frequency.transpose(2, 3)).double()  # (B, 256, C, C)
    ringed = torch.zeros(len(y), RINGS, bands, bands, dtype=torch.float64, device=y.device)
    ringed.index_add_(1, ring, moment)
    vectors: Tensor = torch.linalg.eigh(ringed)[1]
    return vectors.flip(3).to(y.dtype)


def turn(y: Tensor, bases: Tensor, ring: Tensor) -> Tensor:
    """y -> z: components along the bases' columns; [B, 256 C, h, w] -> same."""
    bands = bases.shape[-1]
    z = bases[:, ring].transpose(2, 3) @ y.reshape(len(y), BLOCK**2, bands, -1)
    return z.reshape(y.shape)


def turn_back(z: Tensor, bases: Tensor, ring: Tensor) -> Tensor:
    """Inverse of `turn`."""
    bands = bases.shape[-1]
    y = bases[:, ring] @ z.reshape(len(z), BLOCK**2, bands, -1)
    return y.reshape(z.shape)
