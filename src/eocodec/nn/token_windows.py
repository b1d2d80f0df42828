"""Latents cut into windows of tokens, and put together again.

A frame that is coded is cut into windows of 4 x 4 latent pixels beside each other, in row-major order. A
frame that is looked at is cut into windows of 8 x 8 about them, which overlap. A token is a latent pixel with
all of its channels; after Latent Repacking it is a slice of channels of all pixels of its window.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 4  # latent pixels of a window that is coded
TOKENS = SIDE * SIDE
MARGIN = 2  # latent pixels that a window which is looked at has on each side of it
PAST_SIDE = SIDE + 2 * MARGIN
PAST_TOKENS = PAST_SIDE * PAST_SIDE


def padded(size: int) -> int:
    """Rows or columns of the windows that cover `size` latent pixels."""
    return -(-size // SIDE) * SIDE


def reflect(x: Tensor, before: int, rows: int, cols: int) -> Tensor:
    """x mirrored about its outermost pixels, as often as it takes.

    Parameters
    ----------
    x : [B, C, h, w]
    before : rows above and columns left of x that the result has
    rows, cols : of the result
    """
    down = _mirrored(x.shape[2], before, rows).to(x.device)
    return x[:, :, down][..., _mirrored(x.shape[3], before, cols).to(x.device)]


def _mirrored(size: int, before: int, count: int) -> Tensor:
    period = max(2 * (size - 1), 1)
    place = torch.arange(-before, count - before).abs() % period
    return torch.minimum(place, period - place)


def split(x: Tensor, *, repacked: bool) -> Tensor:
    """Windows to be coded.

    Parameters
    ----------
    x : [B, C, rows, cols], both multiples of SIDE

    Returns
    -------
    [B x windows, TOKENS, C]
    """
    return _tokens(x.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE), repacked)


def split_past(x: Tensor, *, repacked: bool) -> Tensor:
    """Windows to be looked at, one for each of `split`: [B x windows, PAST_TOKENS, C]."""
    wide = reflect(x, MARGIN, x.shape[2] + 2 * MARGIN, x.shape[3] + 2 * MARGIN)
    return _tokens(wide.unfold(2, PAST_SIDE, SIDE).unfold(3, PAST_SIDE, SIDE), repacked)


def merge(tokens: Tensor, rows: int, cols: int, *, repacked: bool) -> Tensor:
    """Inverse of `split` for images of rows x cols."""
    tokens = repack(tokens) if repacked else tokens
    down, across, channels = rows // SIDE, cols // SIDE, tokens.shape[2]
    pixels = tokens.reshape(-1, down, across, SIDE, SIDE, channels)
    return pixels.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, rows, cols)


def repack(tokens: Tensor) -> Tensor:
    """Latent Repacking, its own inverse: token i gets slice i of the channels of every token.

    Parameters
    ----------
    tokens : [B, n, C], C a multiple of n
    """
    n = tokens.shape[1]
    parts: Tensor = tokens.unflatten(2, (n, -1))
    return parts.transpose(1, 2).flatten(2)


def _tokens(windows: Tensor, repacked: bool) -> Tensor:
    """[B, C, down, across, side, side] -> [B x down x across, side x side, C]."""
    tokens = windows.permute(0, 2, 3, 4, 5, 1).flatten(0, 2).flatten(1, 2)
    return repack(tokens) if repacked else tokens
