"""Muon for matrices and convolutions, AdamW for everything else, one schedule over both.

Muon: momentum, then the update's matrix is replaced by (nearly) its orthogonal factor through a Newton-Schulz
iteration (K. Jordan et al., 2024); the quintic's coefficients are theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from eocodec.train.config import OptimConfig

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Approximate U V^T of matrix = U S V^T, [r, c]."""
    a, b, c = _QUINTIC
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return torch.as_tensor(x.T if tall else x, dtype=matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates, for parameters of two or more dimensions."""

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p.grad))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"])  # Nesterov
                flat = orthogonalise(update.reshape(len(update), -1))
                size = max(1.0, flat.shape[0] / flat.shape[1]) ** 0.5
                p.add_(flat.reshape(p.shape), alpha=-group["lr"] * size)


def freeze(model: nn.Module, prefixes: str) -> None:
    """Keep parameters as they are whose names begin with one of `prefixes`, comma separated."""
    frozen = tuple(filter(None, prefixes.split(",")))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not frozen or not name.startswith(frozen))


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Parameters by treatment: 'muon', 'adam', 'entropy' (prior and steps), 'quantiles' (of the prior)."""
    groups: dict[str, list[nn.Parameter]] = {"muon": [], "adam": [], "entropy": [], "quantiles": []}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if name.endswith("entropy_bottleneck.quantiles"):
            groups["quantiles"].append(p)
        elif name.startswith(("prior.", "steps.")) or "entropy_bottleneck." in name:
            groups["entropy"].append(p)
        else:
            matrix = p.ndim >= 2 and not name.endswith(("gamma", "beta")) and "rates." not in name
            groups["muon" if matrix else "adam"].append(p)
    return groups


def build(model: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """The two optimisers; every group remembers its full rate as `peak`. Quantiles are left out."""
    groups = parameter_groups(model)
    if config.muon_lr == 0:
        groups["adam"], groups["muon"] = groups["adam"] + groups["muon"], []
    adam: list[dict[str, Any]] = [
        {"params": groups[name], "lr": config.adam_lr * factor}
        for name, factor in (
            ("adam", 1.0),
            ("entropy", config.entropy_factor),
        )
        if groups[name]
    ]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(adam, betas=(0.9, 0.98), weight_decay=0.0)]
    if groups["muon"]:
        optimisers.append(Muon(groups["muon"], config.muon_lr))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def build_quantiles(model: nn.Module, lr: float) -> torch.optim.Optimizer | None:
    """What fits quantiles by `quantile_loss`, at a constant rate; None where the model has none."""
    quantiles = parameter_groups(model)["quantiles"]
    return torch.optim.Adam(quantiles, lr) if quantiles else None


def rate_factor(progress: float, step: int, config: OptimConfig) -> float:
    """Share of the peak rate at `progress` 0 .. 1: linear warm-up, flat, then cosine to zero."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    tail = (progress - config.flat_share) / max(1 - config.flat_share, 1e-9)
    return warm * 0.5 * (1 + math.cos(math.pi * min(max(tail, 0.0), 1.0)))


def set_rates(optimisers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's rate from its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
