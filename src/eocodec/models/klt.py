"""Start TEC-FP as a good block transform codec: spectral bases, leading latents, steps from training data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eocodec.models.fp import CompactAnalysis, CompactSynthesis, TecFp
from eocodec.nn.spectral import RINGS

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
    linear = g_a.linear
    linear.root_weight.copy_(band_weights.sqrt())
    u = linear.frequencies(patches).flatten(1, 3)  # (256, n, C)
    moment = (u.transpose(1, 2) @ u).double()
    ringed = torch.zeros(RINGS, linear.bands, linear.bands, dtype=torch.float64)
    ringed.index_add_(0, linear.ring, moment)
    linear.basis.copy_(torch.linalg.eigh(ringed)[1].flip(2))
    variance = linear.analysis(patches).square().mean((0, 2, 3))
    lead = torch.argsort(variance, descending=True)[: model.config.bent]
    for side in (g_a, g_s):
        side.lead.copy_(lead)
        side.latent_std.copy_(variance[lead].sqrt())


@torch.no_grad()
def init_steps(model: TecFp, lmbdas: Tensor, factor: float = 1.1) -> None:
    """Steps of every level from its lambda [levels]: high-rate theory, tuned for a dead zone of 0.1."""
    step = factor * HIGH_RATE_STEP / lmbdas.sqrt()
    model.steps.log2_step.copy_(step.log2()[:, None].expand_as(model.steps.log2_step))
