"""How timesteps in layers refer to each other: maps that hold on or are stated anew, and what they predict.

A timestep keeps the map that predicted its coarsest layer. At the first token of a finer layer another one
may be stated, of references as they are known by then; it holds from there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables
from eocodec.entropy.layered_frame import LayeredFrame, nested
from eocodec.entropy.nested_coder import FINEST
from eocodec.entropy.prediction import Map, Prediction, Reference, Regressors, Window, no_prediction
from eocodec.entropy.prediction_fit import bits_left, fit_prediction, stated_bits
from eocodec.entropy.refined import RefinedValues
from eocodec.entropy.temporal_coder import TemporalCoder

Wide = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Refining:
    """The references of timesteps in layers.

    base : coder of the coarsest layer
    quality_steps : of the tile
    """

    base: TemporalCoder
    quality_steps: int

    def begin(self, frames: Sequence[LayeredFrame]) -> None:
        """What predicted the coarsest layer of timesteps."""
        window = Window()
        for frame in frames:
            stated = frame.base.prediction
            if len(stated.back):
                references = window.at(stated.back)
                frame.map = self._map(stated, references, self._step())
                mean = frame.map.predict(references, self.base.later.ring)
                (frame.start,) = self._as_coded(frame, [mean], 0)
            window.add(self.reference(frame))

    def wanted(self, frame: LayeredFrame, window: Window, family: CdfTables) -> Prediction | None:
        """Another map for a layer, where it saves more bits than it takes; None on decoding."""
        if frame.y is None:
            return None
        if not len(window):
            return no_prediction(self.base.bands, self.base.sources)
        step, ring, y = self._step(frame.layer), self.base.later.ring, frame.y.astype(np.float64)
        fit = fit_prediction(y, window.every(), ring, step, self.base.sources)
        other = fit.stated()
        bases = self.base.later.bases(nested(frame.base).axes)

        horizon = self._step(min(frame.layer + 1, FINEST))  # it helps the next layer too

        def bits(own: Map | None) -> float:
            left = y if own is None else y - own.predict(window.at(own.back), ring)
            return bits_left(left, bases, ring, 2 * step, horizon)

        saved = bits(frame.map) - bits(fit.regressors.map_of(other, step))
        pays = saved > stated_bits(other, family)
        return other if pays else no_prediction(self.base.bands, self.base.sources)

    def state(self, frame: LayeredFrame, window: Window, stated: Prediction) -> None:
        """The map that was stated of a layer; without one the frame's holds on."""
        if len(stated.back):
            frame.map = self._map(stated, window.at(stated.back), self._step(frame.layer))

    def _map(self, stated: Prediction, references: Sequence[Reference], step: float) -> Map:
        return Regressors(references, self.base.later.ring, step, self.base.sources).map_of(stated, step)

    def look(self, frame: LayeredFrame, window: Window) -> RefinedValues | None:
        """What references say by now, in steps of the layer that is being coded; None without a map."""
        own = frame.map
        if own is None:
            return None
        references = window.at(own.back)
        us = [own.predict(references, self.base.later.ring), *(reference.u for reference in references)]
        predicted, *others = self._as_coded(frame, us, frame.layer)
        known = {
            s: np.where(frame.symbols[s] != 0, v * 2.0**frame.layer, 0.0) for s, v in frame.values.items()
        }
        return RefinedValues(self._beyond_start(frame, predicted), predicted, others, known)

    def drift(self, frame: LayeredFrame, window: Window) -> Mapping[int, Wide] | None:
        """The same, less what they said first."""
        own = frame.map
        if own is None:
            return None
        mean = own.predict(window.at(own.back), self.base.later.ring)
        return self._beyond_start(frame, *self._as_coded(frame, [mean], frame.layer))

    def _as_coded(self, frame: LayeredFrame, us: Sequence[Wide], layer: int) -> list[dict[int, Wide]]:
        """DCT coefficients of bands, by size of block in the timestep's axes and in steps of a layer."""
        base = nested(frame.base)
        found = self.base.later.as_coded(us, base.axes, base.partition, self.quality_steps)
        for values in (own for one in found for own in one.values()):
            values *= 2.0**layer
        return found

    def _beyond_start(self, frame: LayeredFrame, predicted: Mapping[int, Wide]) -> Mapping[int, Wide]:
        """What is predicted now, less what was predicted of the coarsest layer."""
        if frame.start is None:
            return predicted
        return {size: v - frame.start[size] * 2.0**frame.layer for size, v in predicted.items()}

    def reference(self, frame: LayeredFrame) -> Reference:
        """A timestep as far as it is known."""
        return Reference(self.coefficients(frame), self.base.later.bases(nested(frame.base).axes))

    def coefficients(self, frame: LayeredFrame) -> Wide:
        """DCT coefficients of bands that a timestep stands for as far as it is known, [256, C, n]."""
        coder, base = self.base.later, nested(frame.base)
        u = self.base.coefficients(frame.base, self.quality_steps)
        if frame.tokens > 1:
            start = base.coarse.values
            added = replace(base, values={size: v - start[size] for size, v in frame.values.items()})
            u += coder.coefficients(added, self.quality_steps, np.float64).reshape(u.shape)
        return u

    def _step(self, layer: int = 0) -> float:
        return self.base.later.prior.step(self.quality_steps) * 2.0**-layer
