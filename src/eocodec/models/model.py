"""What the codec asks of a model, whatever its family."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from eocodec.entropy.coder import LatentCoder, SeriesCoder
from eocodec.models.registry import ModelCard


class Strips(Protocol):
    """A decoded timestep, strip by strip."""

    def strips(self) -> Iterator[tuple[int, Tensor]]:
        """(first row, [C, h, W]) from top to bottom; float32, DN, neither rounded nor clipped.

        To be asked for once.
        """


class Model(Protocol):
    """A model ready to code: transforms in the arithmetic that suits it, and what codes its latents.

    Latents are those that `coder.latents` gives; rows, cols are blocks of 16 pixels.
    """

    @property
    def card(self) -> ModelCard:
        """What is known of it."""

    @property
    def network(self) -> nn.Module:
        """Its weights."""

    @property
    def coder(self) -> LatentCoder | SeriesCoder:
        """Codes its latents."""

    def analysis(self, dn: Tensor) -> Tensor:
        """DN [C, H, W], float32, sides multiples of 16 -> y [M, n], float32; `dn` is used as scratch."""

    def synthesis(self, latents: Any, rows: int, cols: int) -> Strips:
        """Latents in float32 -> DN."""

    def exact_image(self, latents: Any, rows: int, cols: int) -> NDArray[np.float64]:
        """Latents in float64 -> DN [C, 16 rows, 16 cols], alike everywhere but for rounding noise."""

    def lmbda(self, quality_steps: int) -> float:
        """Bits that a unit of summed, weighted squared error is worth at a quality."""
