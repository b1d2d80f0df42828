"""One timestep of FlexTEC as far as it is known, in its coarsest layer and in finer ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.entropy.context import ContextModel
from eocodec.entropy.nested_coder import FINEST, NestedFrame
from eocodec.entropy.prediction import Map
from eocodec.entropy.temporal_coder import TemporalFrame

# Steps of the context model (band + component) at which tokens of significance begin, layer by layer.
CUTS = ((0, 15, 17, 20), (0, 16, 18, 21), (0, 17, 20, 22))
TOKENS_A_LAYER = len(CUTS[0]) + 1
TOKENS = 1 + FINEST * TOKENS_A_LAYER

Float = NDArray[np.float32]
Wide = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(eq=False)
class LayeredFrame:
    """A timestep as far as it is known; everything by size of block is [C, N * N, n].

    base : in its coarsest layer
    scale : [BANDS, C], in steps of its last layer, -1 where dead
    symbols, values : in their places; what they stand for in steps of the coarsest layer, float32
    latents : in steps of the coarsest layer; of an encoder alone
    tokens : of it, that are known
    model, held : of the layer that is being coded, and what waits for its refinement
    y : [256, C, n], DCT coefficients of bands; of an encoder alone
    map, start : what predicts it, and what was predicted of its coarsest layer, in steps of that, float64
    """

    base: TemporalFrame
    scale: Index
    symbols: dict[int, NDArray[Any]]
    values: dict[int, NDArray[Any]]
    latents: Mapping[int, NDArray[Any]]
    tokens: int = 1
    model: ContextModel | None = None
    held: list[Held] = field(default_factory=list)
    y: Float | None = None
    map: Map | None = None
    start: Mapping[int, Wide] | None = None

    @classmethod
    def of(cls, base: TemporalFrame) -> LayeredFrame:
        """A timestep of which the first token is known."""
        frame = nested(base)
        values = {size: v.copy() for size, v in frame.coarse.values.items()}
        return cls(base, frame.spectrum, dict(frame.coarse.symbols), values, frame.latents)

    @property
    def layer(self) -> int:
        """Number of the layer that the next token belongs to, 1 .. FINEST."""
        return (self.tokens - 1) // TOKENS_A_LAYER + 1


@dataclass(frozen=True, eq=False)
class Held:
    """Coefficients of a pass that wait for their refinement.

    size : of their blocks; component, place, block : [n], where they are; rows : [n], their tables
    """

    size: int
    component: Index
    place: Index
    block: Index
    rows: Index


def nested(frame: TemporalFrame) -> NestedFrame:
    """A timestep's coarsest layer as its coder made it."""
    if not isinstance(frame.frame, NestedFrame):
        raise TypeError("the coarsest layer is not of a NestedCoder")
    return frame.frame
