"""Start TEC-FP's linear path at its optimum: for every spatial frequency the KLT across the bands."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eocodec.models.fp import CompactAnalysis, CompactSynthesis, TecFp

# High-rate theory for entropy-coded uniform quantisation: D = step^2 / 12 and dR/dD = -1 / (2 ln 2 D) per
# coefficient, so at slope lambda step = sqrt(12 / (2 ln 2 lambda)).
HIGH_RATE_STEP = math.sqrt(12 / (2 * math.log(2)))


@torch.no_grad()
def init_linear(model: TecFp, patches: Tensor, band_weights: Tensor) -> None:
    """Set the linear path from patches [n, C, 16, 16] in network units; distortion weights [C].

    The transform is orthonormal in the weighted space, so that a latent's squared error is the distortion.
    """
    g_a, g_s = model.g_a, model.g_s
    if not isinstance(g_a, CompactAnalysis) or not isinstance(g_s, CompactSynthesis):
        raise TypeError("only the compact transform has a linear path")
    linear, root = g_a.linear, band_weights.sqrt()
    u = linear.frequencies(patches * root[None, :, None, None])  # (256, n, C)
    moment = (u.transpose(1, 2) @ u).double() / u.shape[1]
    variances, vectors = torch.linalg.eigh(moment)
    vectors = vectors.flip(2).float()  # (256, C, C), columns by falling variance
    linear.forward_spectral.copy_(root[None, :, None] * vectors)
    linear.inverse_spectral.copy_((vectors / root[None, :, None]).transpose(1, 2))
    flat = variances.flip(1).flatten().clamp_min(0)
    order = torch.argsort(flat, descending=True)
    linear.order.copy_(order)
    linear.rank.copy_(torch.argsort(order))
    std = flat[order].sqrt().float()[: model.config.bent]
    g_a.latent_std.copy_(std)
    g_s.latent_std.copy_(std)


@torch.no_grad()
def init_steps(model: TecFp, lmbdas: Tensor, factor: float = 1.1) -> None:
    """Steps of every level from its lambda [levels] by high-rate theory; tuned for the loss with a dead zone of 0.1."""
    step = factor * HIGH_RATE_STEP / lmbdas.sqrt()
    model.steps.log2_step.copy_(step.log2()[:, None].expand_as(model.steps.log2_step))
