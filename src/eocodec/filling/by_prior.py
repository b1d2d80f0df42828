"""Cloud filling with a published TEC-TT: tokens under clouds are what its prior expects, clear ones are kept.

  earlier dates, or later ones with time reversed --> latents --> past --+
                                                                         +--> prior --> unknown tokens
  clear tokens of the date, in the order in which they are coded --------+                   |
  date with its clouds filled <-- field through clear pixels <-- synthesis <-----------------+

After arXiv:2510.12670, which runs forward in time alone. Nothing is trained for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from eocodec.errors import InputError
from eocodec.filling.fallback import Frame, nearest_first
from eocodec.filling.filler import Filler, _field
from eocodec.filling.references import Map
from eocodec.models import registry
from eocodec.models.model import Model
from eocodec.models.tt_published import TtPublished
from eocodec.models.tt_published_prior import PAST
from eocodec.models.weights import load_fingerprint
from eocodec.nn.token_windows import TOKENS, merge, padded, reflect, split
from eocodec.raster.fill import smooth_fill
from eocodec.raster.tiles import Roi

CHAIN = 3  # dates on either side that are gone through; the prior sees two, clouds in these see one more
STRIDE = 16

Float = NDArray[np.float64]


@dataclass(eq=False)
class PriorFiller(Filler):
    """`Filler` whose predictions are those of a published temporal model.

    Parameters
    ----------
    model : see `temporal_model`; offset : DN = value + offset

    Raises
    ------
    InputError : the series has not the bands of the model, or as in `Filler`
    """

    model: Model = field(kw_only=True)
    offset: float = field(default=0.0, kw_only=True)

    def maps(self, t: int) -> list[Map]:
        """None: nothing is fitted."""
        return []

    @property
    def _network(self) -> TtPublished:
        return cast(TtPublished, self.model.network)  # type: ignore[attr-defined]

    @cached_property
    def _units(self) -> tuple[Float, Float]:
        """Means and standard deviations of the bands, [C, 1, 1], DN."""
        table = self.model.card.band_table
        means, stds = ([getattr(band, name) for band in table] for name in ("mean", "std"))
        return np.array(means)[:, None, None] - self.offset, np.array(stds)[:, None, None]

    def _predict(self, t: int, roi: Roi) -> Float:
        image, clear = self._frame(t, roi)
        if len(image) != len(self.model.card.bands):
            raise InputError(
                f"{self.model.card.id} fills the bands {', '.join(self.model.card.bands)}; "
                f"{len(image)} have data"
            )
        total, weights = np.zeros(image.shape), 0.0
        for later in (False, True):
            found, weight = self._from_side(t, roi, (image, clear), later=later)
            total, weights = total + weight * found, weights + weight
        out, known = image.copy(), clear.copy()
        if weights:
            guess = total / weights
            np.copyto(out, guess + _field(image - guess, clear), where=~clear)
        else:
            self._fall_back(t, roi, out, known)
        return out

    def _from_side(self, t: int, roi: Roi, frame: Frame, *, later: bool) -> tuple[Float, float]:
        """What the dates before, or those after, make expect, [C, h, w]; and its weight, 0 without such."""
        near = []
        for k in nearest_first(self.times, t, later=later):
            seen = self._frame(k, roi)
            if seen[1].any():
                near.append((k, seen))
            if len(near) == CHAIN:
                break
        if not near:
            return np.zeros(frame[0].shape), 0.0
        gap = abs(self.times[near[0][0]] - self.times[t])
        return self._expected([*(seen for _, seen in reversed(near)), frame]), 1 / gap

    def _expected(self, frames: Sequence[Frame]) -> Float:
        """The last of some frames in the order in which they are gone through, [C, h, w], unrounded."""
        means, stds = self._units
        rows, cols = frames[0][1].shape
        with torch.inference_mode():
            x = [self._standardised(*frame) for frame in frames]
            unknown = [_blocks(torch.from_numpy(~clear)) for _, clear in frames]
            x_hat = expected(self._network, x, unknown)
        return np.asarray(x_hat[0, :, :rows, :cols].numpy() * stds + means)

    def _standardised(self, image: Float, clear: NDArray[np.bool_]) -> Tensor:
        """[1, C, H, W], float32, sides multiples of 16; what is not clear is filled, so as not to spill."""
        means, stds = self._units
        filled = smooth_fill(image, clear, constant=means[:, 0, 0]) if not clear.all() else image
        x = torch.from_numpy((filled - means) / stds).float()[None]
        return functional.pad(x, _padding(clear.shape), mode="replicate")


def temporal_model(name: str) -> Model:
    """The published TEC-TT of an id.

    Raises
    ------
    ModelNotFound : it is not installed; InputError : it is another kind of model
    """
    model = load_fingerprint(registry.by_id(name).fingerprint)
    network = getattr(model, "network", None)
    if not isinstance(network, TtPublished) or network.config.repacked:
        raise InputError(f"{name} cannot fill clouds; take a published TEC-TT, such as published/tec-tt@20")
    return model


def expected(network: TtPublished, frames: Sequence[Tensor], unknown: Sequence[Tensor]) -> Tensor:
    """Reconstruction of the last of some frames, unknown latents being what the prior expects of them.

    Parameters
    ----------
    frames : of each timestep x [1, C, 16 h, 16 w], network units
    unknown : of each timestep [h, w], bool: latents that are not to be looked at

    Returns
    -------
    x_hat : [1, C, 16 h, 16 w]
    """
    prior = network.entropy_model
    past = (network.before_first(frames[0].dtype),) * PAST
    for t, (x, hidden) in enumerate(zip(frames, unknown, strict=True)):
        rows, cols = hidden.shape
        y_hat = reflect(torch.round(network.analysis(x)), 0, padded(rows), padded(cols))
        z_cur: Tensor | None = None
        if t == len(frames) - 1 or hidden.any():
            wide = reflect(hidden[None, None].to(x.dtype), 0, padded(rows), padded(cols))
            y_hat, z_cur = _by_tokens(network, prior.join(*past), y_hat, wide)
        seen = prior.see(y_hat)
        past = (past[1] if t else seen, seen)
    known = (part[..., :rows, :cols] for part in (y_hat, cast(Tensor, z_cur)))
    return network.synthesis(network.dequantiser(*known))


def _by_tokens(network: TtPublished, joint: Tensor, y_hat: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """y_hat [1, M, rows, cols] with what is expected where it is unknown, and the features [1, d, ...]."""
    prior, size = network.entropy_model, y_hat.shape[2:]
    tokens, hidden = split(y_hat, repacked=False).clone(), split(unknown, repacked=False) > 0
    state, before, features = prior.begin(joint), prior.start(len(tokens), y_hat.dtype), []
    for token in range(TOKENS):
        features.append(prior.advance(state, before))
        mean, _ = prior.parameters_of(features[-1])
        here = slice(token, token + 1)
        before = tokens[:, here] = torch.where(hidden[:, here], mean, tokens[:, here])
    return merge(tokens, *size, repacked=False), merge(torch.cat(features, 1), *size, repacked=False)


def _padding(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, right, top, bottom, to multiples of STRIDE."""
    down, right = (-side % STRIDE for side in shape)
    return 0, right, 0, down


def _blocks(unclear: Tensor) -> Tensor:
    """[h, w]: latents that stand for any pixel that is not clear; unclear [rows, cols], bool."""
    wide = functional.pad(unclear[None, None].float(), _padding(tuple(unclear.shape)))
    return functional.max_pool2d(wide, STRIDE)[0, 0] > 0
