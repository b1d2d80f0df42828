"""Series of latents <-> the stream: each timestep predicted from earlier ones, what is left coded in context.

The first timestep is coded as an image is. All others state a prediction (entropy/prediction.py), of their
tile means alone where no more helps; their network sees the past too (entropy/past.py).

What is decoded of a timestep is snapped to a grid before a later one refers to it, so that all machines go on
from the same numbers, however long a series is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.crc import SymbolsCrc
from eocodec.entropy.coder import Latents
from eocodec.entropy.context_coder import ContextCoder, ContextFrame, Past
from eocodec.entropy.context_passes import Observer
from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.entropy.prediction import (
    Prediction,
    Reference,
    Regressors,
    Window,
    decode_prediction,
    encode_prediction,
    no_prediction,
)
from eocodec.entropy.prediction_fit import fit_prediction
from eocodec.entropy.sources import Sources
from eocodec.nn.threads import map_tiles

# Shares of the bits that a prediction is expected to save, beyond which one plan is enough. On 34 dates of
# training series the prediction was the better plan from 0.16 on, on a small made-up tile not yet at 0.26;
# below 0.005 it was no better by more than a hundredth.
CLEARLY, HARDLY = 0.4, 0.005
GRID = 32  # cells of a quantisation step: what snapping adds to errors is 0.1 % of what rounding does

Float = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TemporalPrior:
    """What is stored with the weights: for timesteps without a prediction, and for those with one.

    sources : of predictions
    """

    first: ContextPrior
    later: ContextPrior
    sources: Sources = Sources.BENT


@dataclass(frozen=True, eq=False)
class TemporalFrame:
    """One timestep: what was stated and coded of it, and what it stands for.

    cells : [256, C, n], int32, DCT coefficients of bands by frequency, in steps / grid
    """

    prediction: Prediction
    frame: ContextFrame
    cells: NDArray[np.int32]

    def add_to(self, crc: SymbolsCrc) -> None:
        """Extend a CRC by everything that was decoded."""
        self.prediction.add_to(crc)
        self.frame.add_to(crc)
        crc.add(self.cells)


@dataclass(frozen=True, eq=False)
class TemporalCoder:
    """Codes all timesteps of a tile; see `SeriesCoder` in entropy/coder.py.

    first, later : coders of timesteps without and with a prediction
    grid : cells of a quantisation step that decoded timesteps are snapped to
    sources : of predictions
    """

    first: ContextCoder
    later: ContextCoder
    grid: int = GRID
    sources: Sources = Sources.BENT

    @property
    def bands(self) -> int:
        """Components of a frequency, C."""
        return self.first.bands

    @property
    def channels(self) -> int:
        """Latent channels M."""
        return self.first.channels

    def encode_series(
        self,
        ys: Iterable[Float],
        parts: PartWriter,
        quality_steps: int,
        lmbda: float,
        observe: Observer | None = None,
    ) -> Iterator[TemporalFrame]:
        """Append timesteps, a part each; ys : [256 C, rows, cols]; observe: of predicted ones (training)."""
        return self._encode(Window(), ys, parts, quality_steps, lmbda, observe)

    def extend_series(
        self,
        ys: Iterable[Float],
        read: PartReader,
        there: tuple[int, int, int],
        parts: PartWriter,
        quality_steps: int,
        lmbda: float,
    ) -> Iterator[TemporalFrame]:
        """`encode_series` after [timesteps, rows, cols] that are read first; errors of `decode_series`."""
        window = Window()
        for _ in self._decode(window, read, *there, quality_steps):
            pass
        yield from self._encode(window, ys, parts, quality_steps, lmbda)

    def _encode(
        self,
        window: Window,
        ys: Iterable[Float],
        parts: PartWriter,
        quality_steps: int,
        lmbda: float,
        observe: Observer | None = None,
    ) -> Iterator[TemporalFrame]:
        """Append timesteps after those of a window."""
        for y in ys:
            past, prediction, plan = self._plan(y, window, quality_steps, lmbda)
            coder, see = (self.later, observe) if past else (self.first, None)
            with parts.part() as part:
                encode_prediction(part.symbols, prediction, self.later.prior.family, len(window))
                frame = coder.encode_plan(
                    plan, part.symbols, part.edges, quality_steps, lmbda, see, past, keep=True
                )
                decoded = self._decoded(frame, prediction, past, quality_steps, window, part.edges)
                decoded.add_to(part.crc)
            yield decoded

    def _plan(
        self, y: Float, window: Window, quality_steps: int, lmbda: float
    ) -> tuple[Past | None, Prediction, ContextFrame]:
        """How to code a timestep: predicted as well as it can be, or its tile means alone."""
        if not len(window):
            alone = no_prediction(self.bands, self.sources)
            return None, alone, self.first.plan(y, quality_steps, lmbda)
        coder = self.later
        basis, ring = coder.basis, coder.ring
        u = coder.by_frequency(y).astype(np.float64)
        fit = fit_prediction(u, window.every(), ring, coder.prior.step(quality_steps), self.sources)

        def plan(prediction: Prediction) -> tuple[Past, Prediction, ContextFrame]:
            past = self._past(prediction, window, fit.regressors, quality_steps)
            left = np.matmul(basis.transpose(0, 2, 1)[ring], u - past.mean).astype(np.float32)
            return past, prediction, coder.plan(left.reshape(y.shape), quality_steps, lmbda)

        full = fit.stated()
        saved = fit.saved(full)
        if saved >= CLEARLY:
            return plan(full)
        means_alone = replace(full, weights=np.zeros_like(full.weights))
        if saved <= HARDLY:
            return plan(means_alone)
        return min(map_tiles(plan, [full, means_alone]), key=lambda found: found[2].cost)

    def decode_series(
        self, parts: PartReader, timesteps: int, rows: int, cols: int, quality_steps: int
    ) -> Iterator[TemporalFrame]:
        """All timesteps in order, rows x cols cells.

        Raises
        ------
        MalformedSection, ExactnessError : as `ContextCoder.decode`; or a prediction does not exist
        Truncated, ChecksumMismatch, TrailingBytes : as `PartReader.part`
        """
        return self._decode(Window(), parts, timesteps, rows, cols, quality_steps)

    def _decode(
        self,
        window: Window,
        parts: PartReader,
        timesteps: int,
        rows: int,
        cols: int,
        quality_steps: int,
    ) -> Iterator[TemporalFrame]:
        """Timesteps after those of a window."""
        for _ in range(timesteps):
            with parts.part() as part:
                prediction = decode_prediction(
                    part.symbols, self.later.prior.family, len(window), self.bands, self.sources
                )
                past = self._read_past(prediction, window, quality_steps) if len(prediction.back) else None
                coder = self.later if past else self.first
                frame = coder.decode(part.symbols, part.edges, rows, cols, quality_steps, past)
                decoded = self._decoded(frame, prediction, past, quality_steps, window, part.edges)
                decoded.add_to(part.crc)
            yield decoded

    def _read_past(self, prediction: Prediction, window: Window, quality_steps: int) -> Past:
        step = self.later.prior.step(quality_steps)
        regressors = Regressors(window.at(prediction.back), self.later.ring, step, self.sources)
        return self._past(prediction, window, regressors, quality_steps)

    def _past(
        self,
        prediction: Prediction,
        window: Window,
        regressors: Regressors,
        quality_steps: int,
    ) -> Past:
        mean = regressors.predict(prediction, self.later.prior.step(quality_steps))
        return Past(mean, [reference.u for reference in window.at(prediction.back)])

    def _decoded(
        self,
        frame: ContextFrame,
        prediction: Prediction,
        past: Past | None,
        quality_steps: int,
        window: Window,
        edges: EdgeWriter | EdgeReader,
    ) -> TemporalFrame:
        """A timestep as it is known once decoded; it joins the window of references."""
        u = self.later.coefficients(frame, quality_steps, np.float64)
        u = u.reshape(len(self.later.ring), self.bands, -1)
        if past is not None:
            u += past.mean
        cell = self.later.prior.step(quality_steps) / self.grid
        u /= cell
        cells = edges.resolve(u)
        window.add(Reference(np.asarray(cells * cell, np.float64), self.later.bases(frame.axes)))
        coded = replace(frame, values={})  # not needed any more
        return TemporalFrame(prediction, coded, cells.astype(np.int32))

    def coefficients(self, frame: TemporalFrame, quality_steps: int) -> Wide:
        """DCT coefficients of bands that a decoded frame stands for, [256, C, n]."""
        return np.asarray(frame.cells * (self.later.prior.step(quality_steps) / self.grid))

    def latents(self, frame: TemporalFrame, quality_steps: int, dtype: type[np.floating[Any]]) -> Latents:
        """What a decoded frame stands for."""
        u = self.coefficients(frame, quality_steps).reshape(self.channels, -1)
        found = self.later.latents_of(u.astype(dtype, copy=False))
        return replace(found, quality=quality_steps / MAX_QUALITY)
