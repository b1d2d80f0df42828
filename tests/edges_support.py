"""A writer and a reader of edges, for networks that are at the edge of a cell more often than by chance."""

from __future__ import annotations

import numpy as np

from eocodec.entropy.exact import EPSILON, EdgeReader, EdgeWriter


def edgy(low, high):
    """Of every ten values between two limits, one is moved to within 1.5 epsilon of an edge.

    Returns
    -------
    writer : an `EdgeWriter`; reader : amplitude of noise on every value -> an `EdgeReader`
    """

    def to_edges(values, rng):
        moved = (rng.random(values.shape) < 0.1) & (values > low) & (values < high)
        edge = np.floor(values) + 0.5 + rng.uniform(-1.5 * EPSILON, 1.5 * EPSILON, values.shape)
        return np.where(moved, edge, values)

    class EdgyWriter(EdgeWriter):
        """Of a network that is at the edge more often than chance has it."""

        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(0)

        def resolve(self, values):
            return super().resolve(to_edges(values, self.rng))

    def edgy_reader(amplitude):
        class EdgyReader(EdgeReader):
            """The same network with noise on every parameter."""

            def __init__(self, data):
                super().__init__(data)
                self.rng, self.noise = np.random.default_rng(0), np.random.default_rng(1)

            def resolve(self, values):
                noise = self.noise.uniform(-amplitude, amplitude, values.shape)
                return super().resolve(to_edges(values, self.rng) + noise)

        return EdgyReader

    return EdgyWriter, edgy_reader
