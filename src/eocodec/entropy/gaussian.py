"""Latents under a Gaussian whose mean and scale come from a network.

Minnen et al., *Joint Autoregressive and Hierarchical Priors*, NeurIPS 2018, section 2. Coded is
symbol = round(y - mean), and y_hat = symbol + mean. What reaches the coder is integer: the mean as a multiple
of 1 / MEAN_STEPS, the scale as the index of one of 64 tables, both through `entropy/exact.py`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocodec.coding.tables import CdfTables, from_pmfs
from eocodec.entropy.exact import Cells, EdgeReader, EdgeWriter, Values
from eocodec.entropy.stored_tables import StoredTables
from eocodec.errors import WeightsError
from eocodec.nn.gdn import _LowerBound
from eocodec.nn.quantise import lower_bound

SCALE_MIN, SCALE_MAX, SCALES = 0.11, 256.0, 64  # of the published models: exp(linspace(ln min, ln max))
MEAN_STEPS = 256  # means a latent step: they move by 1/512 at most, which no rate notices at scale 0.11
MAX_MEAN = 2.0**20  # keeps what is made of means and symbols inside 32 bits
TAIL_MASS = 1e-9  # outside each table, left to the escape
LIKELIHOOD_FLOOR = 1e-9

_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)
_TAIL_SIGMAS = 6.109410204869  # P(|x| > this) = TAIL_MASS


def scale_table() -> NDArray[np.float64]:
    """[64], the standard deviations that have a table, ascending."""
    return np.exp(np.linspace(math.log(SCALE_MIN), math.log(SCALE_MAX), SCALES))


def gaussian_tables() -> CdfTables:
    """One table for each entry of `scale_table`, symmetric about 0."""
    scales = scale_table()
    half = np.ceil(scales * _TAIL_SIGMAS).astype(np.int64)
    pmfs = []
    for scale, width in zip(scales.tolist(), half.tolist(), strict=True):
        k = torch.arange(-width, width + 1, dtype=torch.float64).abs()
        mass = _upper_tail((k - 0.5) / scale) - _upper_tail((k + 0.5) / scale)
        outside = 2 * _upper_tail(torch.tensor([(width + 0.5) / scale], dtype=torch.float64))
        pmfs.append(torch.cat([mass, outside]).numpy())
    return from_pmfs(pmfs, -half)


def snap(means: Values, scales: Values, edges: EdgeWriter | EdgeReader) -> tuple[Cells, Cells]:
    """Integers from the network's parameters of one tile.

    Parameters
    ----------
    means, scales : any shape, the same, float64; scales below SCALE_MIN, negative ones too, count as that
    edges : of the tile; means are resolved first

    Returns
    -------
    mean : same shape, int64, in units of 1 / MEAN_STEPS
    table : same shape, int64, of the scale nearest in the logarithm (the published coder takes the next
        larger one, which costs more)
    """
    mean = edges.resolve(np.clip(means, -MAX_MEAN, MAX_MEAN) * MEAN_STEPS)
    # Clipped to the centres of the outermost cells, so no edge is there.
    return mean, edges.resolve(np.log(np.clip(scales, SCALE_MIN, SCALE_MAX) / SCALE_MIN) / _LOG_STEP)


class GaussianConditional(StoredTables):
    """Tables and bounds under the published names; likelihoods for estimates and training."""

    scale_table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale_table", torch.from_numpy(scale_table()).float())
        self.register_buffer("scale_bound", torch.tensor([SCALE_MIN]))
        self.likelihood_lower_bound = _LowerBound(LIKELIHOOD_FLOOR)
        self.lower_bound_scale = _LowerBound(SCALE_MIN)

    def update_tables(self) -> None:
        """Compute the tables; needed once, for a model that has none."""
        self.store_tables(gaussian_tables())

    def tables(self) -> CdfTables:
        """The tables, for scales as `snap` numbers them.

        Raises
        ------
        WeightsError : there are none, or they are for other scales; TableError : they are malformed
        """
        stored = self.scale_table.double().cpu().numpy()
        if stored.shape != (SCALES,) or not np.allclose(stored, scale_table(), rtol=1e-5, atol=0):
            raise WeightsError("scale_table: these are not the 64 scales of the published models")
        return super().tables()

    def likelihoods(self, centred: Tensor, scales: Tensor) -> Tensor:
        """P of the unit-wide bin about y - mean under each scale; same shape, differentiable."""
        scales = lower_bound(scales, SCALE_MIN)
        k = centred.abs()
        mass = _upper_tail((k - 0.5) / scales) - _upper_tail((k + 0.5) / scales)
        return lower_bound(mass, LIKELIHOOD_FLOOR)


def _upper_tail(x: Tensor) -> Tensor:
    """P(standard normal > x), precise where it is small."""
    return torch.special.erfc(x * math.sqrt(0.5)) * 0.5  # type: ignore[no-any-return]
