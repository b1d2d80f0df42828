"""What is stored with the weights of a model with a context model: tables, network, steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables
from eocodec.entropy.axes_tables import AxesTables
from eocodec.entropy.context import ContextNet
from eocodec.entropy.family import table_costs, table_savings
from eocodec.entropy.levels import nearest_level, step_at
from eocodec.entropy.tile_spectrum import SpectrumTables

MAX_SHIFTED = 3  # magnitudes from here on share a shift of their reconstruction

Float = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ContextPrior:
    """What is stored with the weights for coding.

    net : the context network; family, axes, spectrum : see there
    split_tables : 2 tables a level over 0, 1: whether a block is large, whether it is medium
    log2_step : [levels], of the quantisation
    shift : [tables, MAX_SHIFTED], float32: what is added to magnitudes 1, 2, ... when they are reconstructed
    """

    net: ContextNet
    family: CdfTables
    axes: AxesTables
    spectrum: SpectrumTables
    split_tables: CdfTables
    log2_step: NDArray[np.float64]
    shift: Float

    @cached_property
    def savings(self) -> Float:
        """`table_savings` of the family."""
        return table_savings(table_costs(self.family))

    @cached_property
    def shift_from_zero(self) -> Float:
        """`shift` with a column of zeros for the magnitude 0, [tables, 1 + MAX_SHIFTED]."""
        return np.pad(self.shift, ((0, 0), (1, 0)))

    @property
    def levels(self) -> int:
        """Rate levels."""
        return len(self.log2_step)

    def step(self, quality_steps: int) -> float:
        """Quantisation step at a quality."""
        return float(step_at(self.log2_step, quality_steps))

    def split_rows(self, kind: int, count: int, quality_steps: int) -> Index:
        """Rows of `split_tables` for `count` decisions; kind 0: large, 1: medium."""
        return np.full(count, 2 * nearest_level(self.levels, quality_steps) + kind)
