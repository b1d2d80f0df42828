"""TEC-ELIC, as shipped: the transforms of `models/fp.py` under the context model of `entropy/context.py`.

  x --> g_a --> y --> axes, blocks of 16, 32, 64 --> / step, round --> symbols ... --> y_hat --> g_s --> x_hat
                                                                          |
                                context model: bands and components in order, two halves of each

The published TEC-ELIC, with its strided convolutions, is `models/elic_published.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from eocodec.models.fp import CompactAnalysis, CompactSynthesis, FpConfig
from eocodec.models.plain import config_from
from eocodec.nn.spectral import BlockTransform


@dataclass(frozen=True)
class ElicConfig:
    """Sizes of TEC-ELIC's transforms; see `FpConfig`."""

    bands: int = 12
    quarter: int = 48
    eighth: int = 96
    sixteenth: int = 128
    bent: int = 512
    analysis_blocks: tuple[int, int] = (2, 2)
    synthesis_blocks: tuple[int, int] = (3, 2)
    rates: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ElicConfig:
        """Inverse of `to_dict`; an unknown key is a `ConfigError`."""
        return config_from(cls, values, "TEC-ELIC")


class TecElic(nn.Module):
    """The transforms of TEC-ELIC."""

    def __init__(self, config: ElicConfig) -> None:
        super().__init__()
        self.config = config
        sizes = FpConfig(**asdict(config))
        self.g_a = CompactAnalysis(sizes)
        self.g_s = CompactSynthesis(sizes, self.g_a.linear)

    @property
    def block_transform(self) -> BlockTransform:
        """The linear path."""
        return self.g_a.linear

    def analysis(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] in network units, sides multiples of 16 -> y [B, M, H/16, W/16]."""
        return self.g_a(x)  # type: ignore[no-any-return]

    def synthesis(self, y_hat: Tensor, quality: Tensor | None = None) -> Tensor:
        """y_hat [B, M, h, w] -> x_hat [B, C, 16 h, 16 w] in network units; quality [B], 0 to 1."""
        return self.g_s(y_hat, quality)  # type: ignore[no-any-return]
