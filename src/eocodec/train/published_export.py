"""From a checkpoint of a run to one in the published layout, and to a weights file with its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eocodec.entropy.factorized import EntropyBottleneck
from eocodec.entropy.gaussian import GaussianConditional
from eocodec.errors import ConfigError
from eocodec.interop.published import KINDS
from eocodec.models import published
from eocodec.models.published_state import PREFIX
from eocodec.models.registry import PUBLISHED_PREFIX, sha256_of
from eocodec.options import DEFAULT_QUALITY
from eocodec.sensors import LEVELS
from eocodec.train.published_config import PublishedConfig, parse_published


def export(checkpoint: Path, out: Path) -> Path:
    """Write the averaged weights in both forms.

    `<out>/<name>_lambda-<lambda>.pt` has the names of the published checkpoints, for `eocodec models import`
    and for whoever reads those; `<name>-<lambda>.safetensors` stands where a model id does.

    Parameters
    ----------
    checkpoint : `last.pt` of a run folder
    out : folder

    Returns
    -------
    Path of the first
    """
    if not checkpoint.is_file():
        raise ConfigError(f"no checkpoint at {checkpoint}")
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    config = parse_published(state["config"])
    model = published.family_of(config.model_id).build(config.model)
    model.load_state_dict(state["average"])
    for module in model.modules():
        if isinstance(module, EntropyBottleneck | GaussianConditional):
            module.update_tables()
    out.mkdir(parents=True, exist_ok=True)
    name, lmbda = _name(config), f"{config.loss.lmbda:g}"
    path = out / f"{name}_lambda-{lmbda}.pt"
    torch.save({PREFIX + key: tensor for key, tensor in model.state_dict().items()}, path)
    _write_weights(model, config, out / f"{name}-{lmbda}.safetensors", path, state)
    return path


def _name(config: PublishedConfig) -> str:
    return config.model_id.removeprefix(PUBLISHED_PREFIX)


def _write_weights(
    model: nn.Module, config: PublishedConfig, path: Path, checkpoint: Path, state: dict[str, Any]
) -> None:
    """The weights file and its card."""
    data, facts = published.pack(model)
    card = {
        "id": path.stem,
        "family": config.model_id,
        "bands": [band.name for band in LEVELS[config.data.level]],
        "level": config.data.level,
        "quality": DEFAULT_QUALITY if KINDS[_name(config)].one_rate else None,
        "checkpoint": {"file": checkpoint.name, "sha256": sha256_of(checkpoint)},
        "training": {"steps": state["step"], "commit": state["commit"], "config": config.to_dict()},
        **facts,
    }
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
