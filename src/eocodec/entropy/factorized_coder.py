"""The coder of TEC-FP: axes, tables and symbols of each timestep under the factorized prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.axes import bases, turn
from eocodec.entropy.coder import Latents
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.entropy.levels import step_at
from eocodec.entropy.prior import FactorizedPrior, Frame, frames_crc, with_offsets
from eocodec.entropy.rdo import RDO_STRENGTH, quantise, state_axes


@dataclass(frozen=True, eq=False)
class FactorizedCoder:
    """See `entropy/coder.py`.

    log2_step : [levels, M], float64, of the quantisation steps
    ring : [256], ring of each frequency (nn/spectral.py)
    """

    prior: FactorizedPrior
    log2_step: NDArray[np.float64]
    ring: NDArray[np.int64]

    @property
    def bands(self) -> int:
        """Bands of the imagery, C."""
        return self.prior.bands

    @property
    def channels(self) -> int:
        """Latent channels M."""
        return self.prior.channels

    def steps(self, quality_steps: int) -> NDArray[np.float64]:
        """Quantisation step of every channel at a quality, [M]."""
        return step_at(self.log2_step, quality_steps)

    def encode(
        self,
        y: NDArray[np.float32],
        encoder: SymbolEncoder,
        edges: EdgeWriter,
        quality_steps: int,
        lmbda: float,
    ) -> Frame:
        """Quantise and append y [M, rows, cols]."""
        prior, latents = self.prior, y.reshape(len(y), -1)
        steps = self.steps(quality_steps).astype(np.float32)
        axes = state_axes(latents, steps, prior.axes, self.ring)
        z = turn(latents, bases(axes.counts, axes.entries, prior.bands), self.ring)
        weight = np.asarray(RDO_STRENGTH * lmbda * steps**2, np.float32)
        centred, choice = quantise(z, steps, weight, prior, quality_steps)
        prior.axes.encode(encoder, axes)
        prior.encode(encoder, centred, choice, quality_steps)
        return Frame(*with_offsets(choice.live, centred, choice.offset), axes)

    def decode(
        self, decoder: SymbolDecoder, edges: EdgeReader, rows: int, cols: int, quality_steps: int
    ) -> Frame:
        """The next timestep; integers only."""
        return self.prior.decode(decoder, rows * cols, quality_steps)

    def crc(self, frames: Sequence[Frame]) -> int:
        """CRC32C of all that was decoded."""
        return frames_crc(frames, self.channels)

    def latents(self, frame: Frame, quality_steps: int, dtype: type[np.floating[Any]]) -> Latents:
        """What a decoded frame stands for."""
        steps = self.steps(quality_steps).astype(dtype)
        values = frame.symbols.astype(dtype)
        values *= steps[frame.channels, None]
        own = bases(frame.axes.counts, frame.axes.entries, self.bands).astype(dtype)
        return Latents(frame.channels, values, own)
