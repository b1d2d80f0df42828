"""Training crops with what the coder decided of them, kept in a folder, a file a crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.partition import Partition
from eocodec.errors import ConfigError
from eocodec.models.fp import STRIDE
from eocodec.models.weights import LoadedModel
from eocodec.nn.precision import inference_dtype
from eocodec.train.coder_twin import Decisions, decide
from eocodec.train.crops import CropSampler

ANY_QUALITY = 0.3  # share of crops at any quality; the others within MOST
MOST = (0.10, 0.75)  # of the range of qualities: about 34 to 46 dB

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CodedCrop:
    """A crop in whole DN, int16 [C, H, W], and what was decided of it."""

    dn: NDArray[np.int16]
    tile: Decisions


def code_crop(model: LoadedModel, dn: Float, quality_steps: int) -> CodedCrop:
    """Code a crop [C, H, W], sides multiples of 16, by a TEC-ELIC model as a caller would.

    Raises
    ------
    ConfigError : another kind of model
    """
    coder = model.coder
    if not isinstance(coder, ContextCoder):
        raise ConfigError(f"{model.card.id} has no context model; coded crops are for tec-elic")
    whole = np.rint(dn)
    rows, cols = (side // STRIDE for side in dn.shape[1:])
    with torch.inference_mode():
        inference = model.inference(inference_dtype(torch.device("cpu")))
        y = inference.analysis(torch.from_numpy(whole.copy())).numpy().reshape(-1, rows, cols)
    return CodedCrop(whole.astype(np.int16), decide(coder, y, quality_steps, model.lmbda(quality_steps)))


def code_crops(
    folder: Path,
    model: LoadedModel,
    sampler: CropSampler,
    *,
    count: int,
    side: int,
    seed: int,
    log: Callable[[str], None] = print,
) -> list[Path]:
    """Files of `count` random crops at random qualities; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        if path.is_file():
            continue
        rng = np.random.default_rng([seed, number])
        sampler.rng = rng
        low, high = (0.0, 1.0) if rng.random() < ANY_QUALITY else MOST
        quality_steps = round(float(rng.uniform(low, high)) * MAX_QUALITY)
        save_crop(path, code_crop(model, sampler.crop(side), quality_steps))
        if (number + 1) % 100 == 0:
            log(f"{number + 1} of {count} crops coded")
    return paths


def save_crop(path: Path, crop: CodedCrop) -> None:
    """Write a crop, beside and renamed."""
    partial = path.with_suffix(".partial")
    tile = crop.tile
    with partial.open("wb") as file:
        np.savez(
            file,
            dn=crop.dn,
            large=tile.partition.large,
            medium=tile.partition.medium,
            bases=tile.bases,
            rows=tile.rows,
            numbers=np.array([tile.quality_steps, tile.bits]),
        )
    partial.replace(path)


def load_crop(path: Path) -> CodedCrop:
    """Inverse of `save_crop`."""
    with np.load(path) as stored:
        dn, (quality_steps, bits) = stored["dn"], stored["numbers"].tolist()
        rows, cols = (side // STRIDE for side in dn.shape[1:])
        part = Partition(rows, cols, stored["large"], stored["medium"])
        return CodedCrop(dn, Decisions(part, quality_steps, stored["bases"], stored["rows"], bits))
