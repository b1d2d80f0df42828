"""Synthesis in float64: what a base layer is made by where pixels have to be the same on every machine.

Two machines differ by rounding errors of about 1e-9 DN here, not by what bfloat16 or float32 leave open. The
caller rounds to integers and lists the values that lie too near to a half (`entropy/exact.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.entropy.coder import Latents
from eocodec.sensors import S2_L2A

Float64 = NDArray[np.float64]


class Synthesis(Protocol):
    """What of a model is used here."""

    def synthesis(self, y_hat: Tensor, quality: Tensor) -> Tensor:
        """y_hat [B, M, h, w], quality [B] -> x_hat [B, C, 16 h, 16 w] in network units, dtype of y_hat."""


class ExactSynthesis:
    """A model's synthesis in float64.

    Parameters
    ----------
    network : a model with `synthesis`; its weights are copied
    means, stds : [C], DN, of the bands
    """

    def __init__(self, network: nn.Module, means: Sequence[float], stds: Sequence[float]) -> None:
        self._network = cast(Synthesis, copy.deepcopy(network).double())
        self._means = np.asarray(means, np.float64)[:, None, None]
        self._stds = np.asarray(stds, np.float64)[:, None, None]

    def dn(self, y_hat: Float64, quality: float = 0.0) -> Float64:
        """Dequantised latents [M, h, w] of a quality, 0 to 1 -> DN [C, 16 h, 16 w], as they come."""
        told = torch.tensor([quality], dtype=torch.float64)
        with torch.inference_mode():
            x_hat: Float64 = self._network.synthesis(torch.from_numpy(y_hat)[None], told)[0].numpy()
        return x_hat * self._stds + self._means


@lru_cache(maxsize=4)
def exact_synthesis(network: nn.Module) -> ExactSynthesis:
    """`ExactSynthesis` of a model of Sentinel-2's bands, kept for the next tile."""
    return ExactSynthesis(network, [band.mean for band in S2_L2A], [band.std for band in S2_L2A])


def exact_image(
    network: nn.Module, ring: NDArray[np.int64], latents: Latents, rows: int, cols: int
) -> Float64:
    """DN of one timestep, [C, 16 rows, 16 cols], float64, from float64 latents.

    Parameters
    ----------
    network : see `ExactSynthesis`; ring : [256], of each frequency; rows, cols : blocks of the timestep
    """
    y_hat = latents.dense(ring)
    return exact_synthesis(network).dn(y_hat.reshape(-1, rows, cols), latents.quality)
