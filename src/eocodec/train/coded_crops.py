"""Training crops as a TEC-ELIC decoder sees them, kept in a folder of memory-mapped arrays.

Of each crop are kept its pixels, what the linear path alone leaves to be corrected, and the latents that the
convolutions of the synthesis see. Each draws by its own seed, so filling can be taken up where it was left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolEncoder
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.exact import EdgeWriter
from eocodec.errors import ConfigError
from eocodec.models.fp import STRIDE, CompactSynthesis
from eocodec.models.weights import LoadedModel
from eocodec.nn.precision import inference_dtype
from eocodec.train.crops import CropSampler, standardise

ANY_QUALITY = 0.3  # share of crops at any quality; the others within MOST
MOST = (0.10, 0.75)  # of the range of qualities: about 34 to 46 dB

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CodedCrop:
    """A crop, or a part of one.

    dn : int16 [C, H, W]
    error : float16 [C, H, W], network units: the crop less what the linear path makes of its decoded latents
    lead : float16 [bent, H/16, W/16], the leading ones of these, in units of each one's standard deviation
    quality : 0 to 1
    """

    dn: NDArray[np.int16]
    error: NDArray[np.float16]
    lead: NDArray[np.float16]
    quality: float


class CodedCrops:
    """Room for `count` crops in a folder: an array of each thing in `CodedCrop`; quality NaN: not there yet.

    Raises
    ------
    ConfigError : the folder holds crops of other sizes, or another number of them
    """

    def __init__(self, folder: Path, *, count: int, side: int, bands: int, bent: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        cells = side // STRIDE
        self.side = side
        self.dn = _mapped(folder / "dn.npy", np.int16, (count, bands, side, side))
        self.error = _mapped(folder / "error.npy", np.float16, (count, bands, side, side))
        self.lead = _mapped(folder / "lead.npy", np.float16, (count, bent, cells, cells))
        self.quality = _mapped(folder / "quality.npy", np.float32, (count,), np.nan)

    def __len__(self) -> int:
        return len(self.quality)

    def is_there(self, number: int) -> bool:
        """Whether a crop has been coded."""
        return bool(np.isfinite(self.quality[number]))

    def put(self, number: int, crop: CodedCrop) -> None:
        """Keep a crop; its quality is written last, and says that it is there."""
        self.dn[number], self.error[number], self.lead[number] = crop.dn, crop.error, crop.lead
        self.quality[number] = crop.quality

    def part(self, number: int, top: int = 0, left: int = 0, side: int | None = None) -> CodedCrop:
        """A square of a crop, pixels from the corner; all multiples of 16. Default: the whole crop."""
        side = side or self.side

        def square(of: NDArray[Any], unit: int) -> NDArray[Any]:
            rows, cols = (slice(at // unit, (at + side) // unit) for at in (top, left))
            return of[number, :, rows, cols]

        dn, error, lead = square(self.dn, 1), square(self.error, 1), square(self.lead, STRIDE)
        return CodedCrop(dn, error, lead, float(self.quality[number]))


def _mapped(path: Path, dtype: type[np.generic], shape: tuple[int, ...], fill: float = 0) -> NDArray[Any]:
    if not path.is_file():
        made = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if fill:
            made[:] = fill
        return made
    found = np.load(path, mmap_mode="r+")
    if found.shape != shape or found.dtype != dtype:
        raise ConfigError(f"{path}: {found.dtype} {list(found.shape)}, not {list(shape)}; remove its folder")
    return cast(NDArray[Any], found)


def code_crop(model: LoadedModel, dn: Float, quality_steps: int) -> CodedCrop:
    """Code a crop [C, H, W], sides multiples of 16, by a TEC-ELIC model as a caller would.

    Raises
    ------
    ConfigError : another kind of model
    """
    coder, g_s = model.coder, model.network.g_s
    if not isinstance(coder, ContextCoder) or not isinstance(g_s, CompactSynthesis):
        raise ConfigError(f"{model.card.id} has no context model; coded crops are for tec-elic")
    whole = np.rint(dn)
    rows, cols = (side // STRIDE for side in dn.shape[1:])
    lmbda = model.lmbda(quality_steps)
    with torch.inference_mode():
        inference = model.inference(inference_dtype(torch.device("cpu")))
        y = inference.analysis(torch.from_numpy(whole.copy())).numpy().reshape(-1, rows, cols)
        plan = coder.plan(y, quality_steps, lmbda)
        frame = coder.encode_plan(plan, SymbolEncoder(), EdgeWriter(), quality_steps, lmbda, keep=True)
        dense = coder.latents(frame, quality_steps, np.float32).dense(model.ring)
        y_hat = torch.from_numpy(dense).reshape(1, -1, rows, cols)
        error = standardise(whole) - g_s.linear[0].synthesis(y_hat)[0].numpy()
        lead = g_s.leading(y_hat)[0].numpy()
    return CodedCrop(
        whole.astype(np.int16),
        error.astype(np.float16),
        lead.astype(np.float16),
        quality_steps / MAX_QUALITY,
    )


def code_crops(
    crops: CodedCrops,
    model: LoadedModel,
    sampler: CropSampler,
    *,
    seed: int,
    log: Callable[[str], None] = print,
) -> None:
    """Fill what is not there yet with random crops at random qualities."""
    for number in range(len(crops)):
        if crops.is_there(number):
            continue
        rng = np.random.default_rng([seed, number])
        sampler.rng = rng
        low, high = (0.0, 1.0) if rng.random() < ANY_QUALITY else MOST
        quality_steps = round(float(rng.uniform(low, high)) * MAX_QUALITY)
        crops.put(number, code_crop(model, sampler.crop(crops.side), quality_steps))
        if (number + 1) % 100 == 0:
            log(f"{number + 1} of {len(crops)} crops coded")
