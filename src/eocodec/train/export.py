"""From a checkpoint to a weights file: integer tables fitted on training crops, card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.errors import ConfigError
from eocodec.models import weights
from eocodec.models.fp import FpConfig, TecFp
from eocodec.sensors import S2_BAND_NAMES
from eocodec.train.config import TrainConfig, parse_config
from eocodec.train.crops import CropSampler
from eocodec.train.fitting import fit_prior
from eocodec.train.losses import lambda_ladder
from eocodec.train.scenes import data_root, load_cached

FIT_CROPS = 64
FIT_SIDE = 256  # pixels; side information weighs as it does in tiles of about this size

DEPARTURES = (
    "transforms: a 16 x 16 block DCT with spectral axes fitted to the tile, and residual convolutions on a "
    "4 x 4 pixel-unshuffle stem beside it, instead of four strided 5 x 5 convolutions with GDN",
    "all 3072 coefficients of a block are latents, instead of 192 channels at 1/16",
    "entropy tables: chosen per tile and channel from a fixed family, instead of one learned density a "
    "channel; no hyperprior, no context",
    "one model for all rates by quantisation steps, instead of one model a lambda",
)
DISTORTION = "MSE of standardised bands; weights: training.config.loss.band_weights ('dn' makes it MSE in DN)"
DATA = "Sentinel-2 L1C and L2A; contains modified Copernicus Sentinel data (2015 and later)"

Float = NDArray[np.float32]


def _shipped(network: TecFp) -> TecFp:
    """The network as it will be read back: rounded as `weights.save` does."""
    for name, tensor in network.state_dict().items():
        tensor.copy_(tensor.to(weights.stored_dtype(name, tensor)))
    return network


@torch.inference_mode()
def _latents(network: TecFp, crops: Float) -> Float:
    device = next(network.parameters()).device
    parts = [network.analysis(part.to(device)).float().cpu() for part in torch.from_numpy(crops).split(8)]
    return torch.cat(parts).flatten(2).numpy()


def _crops(config: TrainConfig, count: int, side: int, seed: int) -> Float:
    scenes = load_cached(data_root(config.data.root or None), Path(config.data.cache))
    return CropSampler(scenes, config.data, seed).batch(count, side)


def export(checkpoint: Path, out: Path, notes: dict[str, Any] | None = None) -> Path:
    """Write `<out>/<model id>.safetensors` and its card from a run's checkpoint.

    Parameters
    ----------
    checkpoint : `last.pt` of a run folder
    out : folder
    notes : added to the card

    Returns
    -------
    Path of the weights file
    """
    if not checkpoint.is_file():
        raise ConfigError(f"no checkpoint at {checkpoint}")
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    config = parse_config(state["config"])
    network = TecFp(FpConfig.from_dict(config.model))
    network.load_state_dict(state["average"])
    network = _shipped(network).eval()
    crops = _crops(config, FIT_CROPS, FIT_SIDE, config.run.seed + 1)
    latents = _latents(network, crops)
    lmbdas = lambda_ladder(config.loss, network.config.levels).numpy()
    steps = torch.exp2(network.steps.log2_step.detach()).numpy()
    prior = fit_prior(latents, steps, lmbdas, network.block_transform.ring.numpy())
    details: dict[str, Any] = {
        "id": config.model_id,
        "family": config.model_id,
        "bands": list(S2_BAND_NAMES),
        "lmbda": [config.loss.lmbda_min, config.loss.lmbda_max],
        "training": {
            "steps": state["step"],
            "minutes": round(state["elapsed"] / 60, 1),
            "commit": state.get("commit", "unknown"),
            "config": config.to_dict(),
        },
        "departures": list(DEPARTURES),
        "distortion": DISTORTION,
        "data": DATA,
        "licence": "Apache-2.0",
        **(notes or {}),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{config.model_id}.safetensors"
    weights.save(path, network, prior, details)
    return path
