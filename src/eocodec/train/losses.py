"""Rate-distortion loss and the lambda of every rate level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eocodec.errors import ConfigError
from eocodec.sensors import S2_L2A
from eocodec.train.config import LossConfig

PEAK = 10_000.0  # DN


def band_weights(config: LossConfig) -> Tensor:
    """Distortion weights of the standardised bands, [12], mean 1 for 'dn' and 'flat'."""
    std = torch.tensor([band.std for band in S2_L2A])
    if config.band_weights == "dn":
        return std**2 / (std**2).mean()
    if config.band_weights == "flat":
        return torch.ones(len(std))
    try:
        values = torch.tensor([float(v) for v in config.band_weights.split(",")])
    except ValueError as error:
        raise ConfigError(f"loss.band_weights: {error}") from error
    if len(values) != len(std) or bool((values <= 0).any()):
        raise ConfigError(f"loss.band_weights needs {len(std)} positive numbers")
    return values


def mean_psnr(distortion: Tensor) -> float:
    """Mean PSNR [dB] of samples with 'dn'-weighted distortions [B]; approximate for other weights."""
    variance = sum(band.std**2 for band in S2_L2A) / len(S2_L2A)
    return float((10 * torch.log10(PEAK**2 / (distortion.detach() * variance))).mean())


def lambda_ladder(config: LossConfig, levels: int) -> Tensor:
    """Geometric lambdas of the levels, [levels]."""
    ends = torch.tensor([config.lmbda_min, config.lmbda_max]).log()
    return torch.exp(torch.lerp(ends[0], ends[1], torch.linspace(0, 1, levels)))


def lambda_at(level: Tensor, config: LossConfig, levels: int) -> Tensor:
    """Lambda at fractional levels [B]."""
    return torch.exp(
        torch.lerp(
            torch.tensor(config.lmbda_min).log(),
            torch.tensor(config.lmbda_max).log(),
            level.cpu() / max(levels - 1, 1),
        )
    ).to(level.device)


@dataclass(frozen=True)
class RateDistortion:
    """`loss` scalar; `bpppc` and `distortion` per sample, [B]."""

    loss: Tensor
    bpppc: Tensor
    distortion: Tensor


def rate_distortion(
    x: Tensor, x_hat: Tensor, bits: Tensor, lmbda: Tensor, weights: Tensor, balance: float
) -> RateDistortion:
    """L = mean of lmbda^-balance * (R + lmbda * D); x, x_hat [B, C, H, W] in network units, bits [B]."""
    distortion = ((x - x_hat.float()).square().mean((2, 3)) * weights).mean(1)
    bpppc = bits / x[0].numel()
    loss = (lmbda**-balance * (bpppc + lmbda * distortion)).mean()
    return RateDistortion(loss, bpppc, distortion)
