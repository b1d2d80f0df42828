"""From a training checkpoint to a weights file: integer tables fitted on training crops, latent energies, card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.tables import CdfTables, from_pmfs
from eocodec.entropy import family
from eocodec.entropy.prior import CONTEXT_WIDTH, CONTEXTS, DEAD, MAX_DELTA, MAX_SHIFT, FactorizedPrior
from eocodec.entropy.rdo import quantise
from eocodec.errors import ConfigError
from eocodec.models import weights
from eocodec.models.fp import FpConfig, TecFp
from eocodec.sensors import S2_BAND_NAMES
from eocodec.train.config import TrainConfig, parse_config
from eocodec.train.crops import CropSampler
from eocodec.train.losses import band_weights, lambda_ladder
from eocodec.train.scenes import data_root, load_cached

OFFSET_CHANNELS = 12  # leading coefficients that carry a tile's mean level
FIT_CROPS = 160
FIT_SIDE = 256
_PRIOR_COUNT = 0.2  # added to every observed count, so that nothing is impossible

Float = NDArray[np.float32]


@dataclass
class _Observed:
    """What the encoder chose on the fitting crops: lists over crops, per level."""

    scale: list[NDArray[np.int64]]
    shape: list[NDArray[np.int64]]
    offset: list[NDArray[np.int32]]


def _shipped(network: TecFp) -> TecFp:
    """The network as it will be read back: weights rounded to float16."""
    for name, tensor in network.state_dict().items():
        if not any(part in name for part in weights.KEEP_FLOAT32):
            tensor.copy_(tensor.half().float())
    return network


@torch.inference_mode()
def _latents(network: TecFp, crops: Float) -> Float:
    device = next(network.parameters()).device
    parts = [network.analysis(part.to(device)).float().cpu() for part in torch.from_numpy(crops).split(8)]
    return torch.cat(parts).flatten(2).numpy()


def _counts_to_table(counts: NDArray[np.float64], first: int) -> CdfTables:
    """One table a row of counts [rows, symbols], plus an escape that hardly weighs."""
    smooth = counts + _PRIOR_COUNT
    escape = np.full((len(smooth), 1), 1e-4) * smooth.sum(1, keepdims=True)
    return from_pmfs(list(np.concatenate([smooth, escape], 1)), np.full(len(smooth), first))


def flat_prior(levels: int, channels: int) -> FactorizedPrior:
    """A prior that favours nothing: where fitting starts."""
    return FactorizedPrior(
        family=family.build_family(),
        default_scale=np.full((levels, channels), family.SCALES // 2),
        default_shape=np.full((levels, channels), 2),
        offset_scale=np.full((levels, OFFSET_CHANNELS), 40),
        shift_table=_counts_to_table(np.zeros((1, 2 * MAX_SHIFT + 1)), -MAX_SHIFT),
        delta_tables=_counts_to_table(np.zeros((CONTEXTS, MAX_DELTA - DEAD + 1)), DEAD),
        shape_tables=_counts_to_table(np.zeros((len(family.SHAPES), len(family.SHAPES))), 0),
    )


def fit_prior(latents: Float, steps: Float, lmbdas: Float, energy: Float) -> FactorizedPrior:
    """Defaults and side tables from latents [crops, M, n], steps [levels, M], lambdas [levels], energy [M].

    Scales are chosen from the data first, without regard to side information; then shifts, differences and
    shapes are counted.
    """
    levels, channels = steps.shape
    prior = flat_prior(levels, channels)
    observed = [_observe(latents, steps[i], lmbdas[i] * steps[i] ** 2 * energy, prior, i, levels) for i in range(levels)]
    scale = np.stack([np.stack(o.scale) for o in observed])  # (levels, crops, M), -1 where dead
    shape = np.stack([np.stack(o.shape) for o in observed])
    default_scale = np.rint(np.maximum(np.median(np.maximum(scale, 0), 1), 0)).astype(np.int64)
    votes = np.stack([((shape == s) & (scale >= 0)).sum(1) for s in range(len(family.SHAPES))])
    default_shape = (votes + 0.01 * votes.sum(1, keepdims=True)).argmax(0)
    offsets = np.stack([np.stack(o.offset) for o in observed])  # (levels, crops, K)
    spread = np.clip(np.rint(family.index_of(np.abs(offsets).mean(1) + 0.02)), 0, family.SCALES - 1)
    shifts, deltas, shapes = _side_counts(scale, shape, default_scale, default_shape)
    return FactorizedPrior(
        family=prior.family,
        default_scale=default_scale,
        default_shape=default_shape,
        offset_scale=spread.astype(np.int64),
        shift_table=_counts_to_table(shifts[None], -MAX_SHIFT),
        delta_tables=_counts_to_table(deltas, DEAD),
        shape_tables=_counts_to_table(shapes, 0),
    )


def _observe(
    latents: Float, step: Float, weight: Float, prior: FactorizedPrior, level: int, levels: int
) -> _Observed:
    out = _Observed([], [], [])
    quality_steps = round(MAX_QUALITY * level / max(levels - 1, 1))
    for y in latents:
        centred, choice = quantise(y / step[:, None], weight, prior, quality_steps)
        bits = prior.data_bits(centred)
        best = bits.argmin(1)
        dead = ~centred.any(1)
        out.scale.append(np.where(dead, -1, best % family.SCALES))
        out.shape.append(best // family.SCALES)
        out.offset.append(choice.offset)
    return out


def _side_counts(
    scale: NDArray[np.int64],
    shape: NDArray[np.int64],
    default_scale: NDArray[np.int64],
    default_shape: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    shifts = np.zeros(2 * MAX_SHIFT + 1)
    deltas = np.zeros((CONTEXTS, MAX_DELTA - DEAD + 1))
    shapes = np.zeros((len(family.SHAPES), len(family.SHAPES)))
    for level in range(len(scale)):
        for found, form in zip(scale[level], shape[level], strict=True):
            live = found >= 0
            lag = (found - default_scale[level])[live]
            shift = int(np.clip(np.rint(np.median(lag)), -MAX_SHIFT, MAX_SHIFT)) if lag.size else 0
            shifts[shift + MAX_SHIFT] += 1
            default = np.clip(default_scale[level] + shift, 0, family.SCALES - 1)
            delta = np.where(live, np.clip(found - default, -MAX_DELTA, MAX_DELTA), DEAD)
            np.add.at(deltas, (default // CONTEXT_WIDTH, delta - DEAD), 1)
            np.add.at(shapes, (default_shape[level][live], form[live]), 1)
    return shifts, deltas, shapes


@torch.inference_mode()
def latent_energy(network: TecFp, crops: Float, weights_: torch.Tensor, latents: Float) -> Float:
    """Weighted squared error in pixels per squared error in each latent, [M]: by small impulses.

    crops [n, C, side, side] give realistic latents [n, M, h * w] to add the impulses to.
    """
    device = next(network.parameters()).device
    side = crops.shape[-1] // 16
    energy = np.empty(latents.shape[1], np.float32)
    scale = torch.from_numpy(latents.std((0, 2)))
    rng = np.random.default_rng(0)
    for start in range(0, len(energy), 16):
        count = min(16, len(energy) - start)
        base = torch.from_numpy(latents[rng.integers(len(latents), size=count)]).unflatten(2, (side, side))
        impulse = torch.zeros_like(base)
        sizes = 0.3 * scale[start : start + count] + 1e-3
        impulse[torch.arange(count), start + torch.arange(count), side // 2, side // 2] = sizes
        with_impulse = network.synthesis((base + impulse).to(device))
        change = ((with_impulse - network.synthesis(base.to(device))) ** 2).sum((2, 3)).cpu() * weights_
        energy[start : start + count] = (change.sum(1) / sizes**2).numpy()
    return np.clip(energy, 0.05, 20.0)


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
    energy = latent_energy(network, crops, band_weights(config.loss), latents)
    lmbdas = lambda_ladder(config.loss, network.config.levels).numpy()
    steps = torch.exp2(network.steps.log2_step.detach()).numpy()
    prior = fit_prior(latents, steps, lmbdas, energy)
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
        **(notes or {}),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{config.model_id}.safetensors"
    weights.save(path, network, prior, energy, details)
    return path
