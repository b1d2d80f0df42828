"""From a checkpoint to a weights file: integer tables fitted on training crops, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.prior import FactorizedPrior
from eocodec.errors import ConfigError
from eocodec.models import registry, weights
from eocodec.models.elic import ElicConfig, TecElic
from eocodec.models.fp import STRIDE, FpConfig, TecFp
from eocodec.sensors import S2_BAND_NAMES
from eocodec.train.config import TrainConfig, parse_config
from eocodec.train.crops import CropSampler
from eocodec.train.elic_prior import fit_context_prior
from eocodec.train.fitting import fit_prior
from eocodec.train.losses import lambda_ladder
from eocodec.train.scenes import data_root, load_cached

FIT_CROPS = 64
FIT_SIDE = 256  # pixels; side information weighs as it does in tiles of about this size

FP_DEPARTURES = (
    "transforms: a 16 x 16 block DCT with spectral axes fitted to the tile, and residual convolutions on a "
    "4 x 4 pixel-unshuffle stem beside it, instead of four strided 5 x 5 convolutions with GDN",
    "all 3072 coefficients of a block are latents, instead of 192 channels at 1/16",
    "entropy tables: chosen per tile and channel from a fixed family, instead of one learned density a "
    "channel; no hyperprior, no context",
    "one model for all rates by quantisation steps, instead of one model a lambda",
)
ELIC_DEPARTURES = (
    "transforms: those of our TEC-FP with more residual blocks, instead of strided 5 x 5 convolutions and "
    "attention; blocks of 16, 32 and 64 pixels chosen for each tile",
    "hyperprior: the axes, the blocks and the spectrum of a tile, found by search and stated as integers, "
    "instead of learned hyper-latents",
    "groups: bands of frequencies and components in order (uneven), instead of channels; in each a "
    "checkerboard over the plane of frequencies instead of one over space, and sums around the block",
    "tables: generalised Gaussians by scale and shape without a mean, instead of Gaussians by mean and scale",
    "one model for all rates by quantisation steps, instead of one model a lambda",
)
DISTORTION = "MSE of standardised bands; weights: training.config.loss.band_weights ('dn' makes it MSE in DN)"
DATA = "Sentinel-2 L1C and L2A; contains modified Copernicus Sentinel data (2015 and later)"

Float = NDArray[np.float32]
_Made: TypeAlias = tuple[TecFp | TecElic, FactorizedPrior | ContextPrior, dict[str, Any]]
_Make: TypeAlias = Callable[[dict[str, Tensor], TrainConfig], _Made]


def _shipped(network: TecFp | TecElic) -> None:
    """Make the network what it will be read back as: rounded as `weights.save` does."""
    for name, tensor in network.state_dict().items():
        tensor.copy_(tensor.to(weights.stored_dtype(name, tensor)))
    network.eval()


@torch.inference_mode()
def _latents(network: TecFp | TecElic, crops: Float) -> Float:
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
    make: _Make = _fp
    if config.model_id == "tec-elic":
        make = _coded if config.coded.crops else _elic
    network, prior, specific = make(state["average"], config)
    details: dict[str, Any] = {
        "id": config.model_id,
        "family": config.model_id,
        "bands": list(S2_BAND_NAMES),
        **specific,
        "training": {
            "steps": state["step"],
            "minutes": round(state["elapsed"] / 60, 1),
            "commit": state.get("commit", "unknown"),
            "config": config.to_dict(),
            **_before(config),
        },
        "distortion": DISTORTION,
        "data": DATA,
        "licence": "Apache-2.0",
        **(notes or {}),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{config.model_id}.safetensors"
    weights.save(path, network, prior, details)
    return path


def _fp(average: dict[str, Tensor], config: TrainConfig) -> tuple[TecFp, FactorizedPrior, dict[str, Any]]:
    network = TecFp(FpConfig.from_dict(config.model))
    network.load_state_dict(average)
    _shipped(network)
    latents = _latents(network, _crops(config, FIT_CROPS, FIT_SIDE, config.run.seed + 1))
    lmbdas = lambda_ladder(config.loss, network.config.levels).numpy()
    steps = torch.exp2(network.steps.log2_step.detach()).numpy()
    prior = fit_prior(latents, steps, lmbdas, network.block_transform.ring.numpy())
    rates = {"lmbda": [config.loss.lmbda_min, config.loss.lmbda_max], "departures": list(FP_DEPARTURES)}
    return network, prior, rates


def _elic_network(average: dict[str, Tensor], config: TrainConfig) -> TecElic:
    sizes = {k: v for k, v in config.model.items() if k not in ("transform", "levels")}
    network = TecElic(ElicConfig.from_dict(sizes))
    network.load_state_dict({k: v for k, v in average.items() if not k.startswith("steps.")})
    _shipped(network)
    return network


def _elic(average: dict[str, Tensor], config: TrainConfig) -> tuple[TecElic, ContextPrior, dict[str, Any]]:
    network = _elic_network(average, config)
    scenes = load_cached(data_root(config.data.root or None), Path(config.data.cache))

    def draw(seed: int) -> Float:
        crop = CropSampler(scenes, config.data, config.run.seed + 1 + seed).batch(1, FIT_SIDE)
        side = FIT_SIDE // STRIDE
        return np.asarray(_latents(network, crop)[0].reshape(-1, side, side))

    linear = network.block_transform
    prior = fit_context_prior(draw, linear.basis.numpy(), linear.ring.numpy(), config.context)
    return network, prior, _elic_details([config.context.lmbda_min, config.context.lmbda_max])


def _coded(average: dict[str, Tensor], config: TrainConfig) -> tuple[TecElic, ContextPrior, dict[str, Any]]:
    """Of a run on coded crops: latents are what they were, and so is the prior."""
    before = weights.load(registry.by_id(config.coded.model))
    if not isinstance(before.prior, ContextPrior):
        raise ConfigError(f"{config.coded.model} has no context model")
    return _elic_network(average, config), before.prior, _elic_details(before.card.details["lmbda"])


def _before(config: TrainConfig) -> dict[str, Any]:
    """How the weights were trained that a run on coded crops has started from."""
    if not config.coded.crops:
        return {}
    details = registry.by_id(config.coded.model).details
    return {"before": {"sha256": details["sha256"], **details["training"]}}


def _elic_details(lmbda: list[float]) -> dict[str, Any]:
    return {"lmbda": lmbda, "departures": list(ELIC_DEPARTURES)}
