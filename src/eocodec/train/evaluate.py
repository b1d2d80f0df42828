"""Rate and distortion of a model in training on the development tiles, by estimated bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eocodec.models.fp import STRIDE, TecFp
from eocodec.train.crops import STDS, standardise
from eocodec.train.losses import PEAK
from eocodec.train.scenes import read_split

SIDE = 256  # the top left crop, as in the recorded classical points


@dataclass(frozen=True)
class Point:
    """Averages over the tiles at one level."""

    level: float
    bpppc: float
    psnr: float


def load_tiles(root: Path) -> list[Tensor]:
    """Development tiles in network units, [12, h, w] each, h and w at most 256 and multiples of 16."""
    tiles = []
    for scene in read_split(root, "dev"):
        rows, cols = (min(side, SIDE) // STRIDE * STRIDE for side in scene.dn.shape[1:])
        tiles.append(torch.from_numpy(standardise(scene.dn[:, :rows, :cols].astype(np.float32))))
    return tiles


@torch.inference_mode()
def measure(
    model: TecFp, tiles: Sequence[Tensor], *, bf16: bool, dead_zone: float
) -> dict[str, list[list[float]]]:
    """{'bpppc': ..., 'psnr': ...}, levels in rows, tiles in columns; PSNR in DN, peak 10 000, all bands."""
    device = next(model.parameters()).device
    stds = torch.from_numpy(STDS)[None].to(device)
    rows: dict[str, list[list[float]]] = {"bpppc": [], "psnr": []}
    for level in range(model.config.levels):
        bpppc, psnr = [], []
        for tile in tiles:
            x = tile[None].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                at = torch.full((1,), float(level), device=device)
                out = model(x, at, dead_zone=dead_zone)
            mse = ((x - out.x_hat.float()) * stds).square().mean()
            bpppc.append(float(out.bits[0]) / x.numel())
            psnr.append(float(10 * torch.log10(PEAK**2 / mse)))
        rows["bpppc"].append(bpppc)
        rows["psnr"].append(psnr)
    return rows


def rd_loss(rows: dict[str, list[list[float]]], lmbdas: Tensor, balance: float) -> float:
    """Mean over levels and tiles of lmbda^-balance * (R + lmbda * D): one number to compare runs by."""
    bpppc, psnr = torch.tensor(rows["bpppc"]), torch.tensor(rows["psnr"])
    distortion = PEAK**2 * 10 ** (-psnr / 10) / float((STDS**2).mean())
    return float((lmbdas[:, None] ** -balance * (bpppc + lmbdas[:, None] * distortion)).mean())


def averages(rows: dict[str, list[list[float]]]) -> list[Point]:
    """One point a level."""
    pairs = zip(rows["bpppc"], rows["psnr"], strict=True)
    return [Point(float(i), float(np.mean(b)), float(np.mean(p))) for i, (b, p) in enumerate(pairs)]
