"""The learned factorized density of the published models: one monotone scalar network per channel.

Balle et al., *Variational image compression with a scale hyperprior*, ICLR 2018, appendix 6.1. Parameter and
buffer names and shapes are those of the published checkpoints, so that they load as they are.
"""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from eocodec.coding.tables import from_pmfs
from eocodec.entropy.stored_tables import StoredTables
from eocodec.nn.gdn import _LowerBound
from eocodec.nn.quantise import lower_bound, round_straight_through

FILTERS = (1, 3, 3, 3, 3, 1)  # widths of the scalar network, ends included
INIT_SCALE = 10.0  # the density starts about this wide
LIKELIHOOD_FLOOR = 1e-9
TAIL_MASS = 1e-9  # outside the outer quantiles, and so left to the escape


class EntropyBottleneck(StoredTables):
    """p(v) of every channel as the difference of a learned cumulative at v + 1/2 and v - 1/2.

    Parameters
    ----------
    channels : number of channels C
    """

    target: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        scale = INIT_SCALE ** (1 / (len(FILTERS) - 1))
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(FILTERS)):
            start = torch.log(torch.expm1(torch.tensor(1 / scale / fan_out)))
            self.matrices.append(nn.Parameter(start.expand(channels, fan_out, fan_in).clone()))
            self.biases.append(nn.Parameter(torch.rand(channels, fan_out, 1) - 0.5))
            if i < len(FILTERS) - 2:
                self.factors.append(nn.Parameter(torch.zeros(channels, fan_out, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-INIT_SCALE, 0.0, INIT_SCALE]).repeat(channels, 1, 1))
        self.likelihood_lower_bound = _LowerBound(LIKELIHOOD_FLOOR)
        tail = math.log(2 / TAIL_MASS - 1)  # logit of what lies below the lower quantile, its sign turned
        self.register_buffer("target", torch.tensor([-tail, 0.0, tail]))

    @property
    def medians(self) -> Tensor:
        """[C]: about which symbols are rounded."""
        return self.quantiles[:, 0, 1].detach()

    def logits_cumulative(self, v: Tensor, *, fixed: bool = False) -> Tensor:
        """Logit of P(value <= v): v [C, 1, n] -> [C, 1, n]; `fixed`: no gradient to the density."""
        matrices, biases, factors = (
            [p.detach() if fixed else p for p in part] for part in (self.matrices, self.biases, self.factors)
        )
        for i, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            v = functional.softplus(matrix) @ v + bias
            if i < len(factors):
                v = v + torch.tanh(factors[i]) * torch.tanh(v)
        return v

    def likelihoods(self, y: Tensor) -> Tensor:
        """P of the unit-wide bin about each value: [B, C, h, w], float32 or float64 -> same."""
        batch, channels, rows, cols = y.shape
        v = y.transpose(0, 1).reshape(channels, 1, -1)
        with torch.autocast(y.device.type, enabled=False):  # half a bin is lost in bfloat16
            lower, upper = self.logits_cumulative(v - 0.5), self.logits_cumulative(v + 0.5)
        sign = -torch.sign(lower + upper).detach()  # evaluate in the tail where sigmoid keeps its precision
        mass = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
        mass = lower_bound(mass, LIKELIHOOD_FLOOR)
        return mass.reshape(channels, batch, rows, cols).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """How far the quantiles are from where the density has its median and its tails; scalar.

        Its gradient reaches the quantiles alone, and no other loss does: they are fitted beside the rest.
        """
        with torch.autocast(self.quantiles.device.type, enabled=False):
            return (self.logits_cumulative(self.quantiles, fixed=True) - self.target).abs().sum()

    def round(self, y: Tensor) -> Tensor:
        """round(y - median) + median, straight-through gradient."""
        medians = self.medians[None, :, None, None]
        return round_straight_through(y - medians) + medians

    @torch.no_grad()
    def update_tables(self) -> None:
        """Compute the tables of symbols round(v - median); needed once, for a model that has none."""
        density = copy.deepcopy(self).double()
        lower, median, upper = density.quantiles[:, 0].t()  # each [C]
        below, above = (torch.ceil(d).clamp_min(0).long() for d in (median - lower, upper - median))
        k = torch.arange(-int(below.max()), int(above.max()) + 2, dtype=torch.float64) - 0.5  # edges of bins
        logits = density.logits_cumulative((median[:, None] + k)[:, None])[:, 0]  # (C, bins + 1)
        pmfs = []
        for i, row in enumerate(logits):
            begin = int(below.max() - below[i])
            edges = row[begin : begin + int(below[i] + above[i]) + 2]
            sign = -torch.sign(edges[:-1] + edges[1:])
            mass = (torch.sigmoid(sign * edges[1:]) - torch.sigmoid(sign * edges[:-1])).abs()
            outside = torch.sigmoid(edges[:1]) + torch.sigmoid(-edges[-1:])
            pmfs.append(torch.cat([mass, outside]).numpy())
        self.store_tables(from_pmfs(pmfs, -below.numpy()))
