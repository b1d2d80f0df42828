"""Variable rate by gain vectors: one quantisation step per channel and level, interpolated between levels.

After Cui et al., *Asymmetric Gained Deep Image Compression*, CVPR 2021. Differs: the inverse gain is the
reciprocal of the gain, so one table of steps says it all, and interpolation is linear in log2(step).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Steps(nn.Module):
    """log2 of the quantisation step for each level and channel.

    Parameters
    ----------
    levels : number of rate levels, from the coarsest (0) to the finest
    channels : latent channels M
    """

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.log2_step = nn.Parameter(torch.zeros(levels, channels))

    def at(self, level: Tensor) -> Tensor:
        """Steps at fractional levels: [B] in 0 .. levels - 1 -> [B, channels]."""
        top = self.log2_step.shape[0] - 1
        low = level.floor().clamp(0, max(top - 1, 0)).long()
        weight = (level - low)[:, None]
        log2 = torch.lerp(self.log2_step[low], self.log2_step[(low + 1).clamp(max=top)], weight)
        return torch.exp2(log2)
