"""The authors' own models: published state dicts to weights files of this package, and those to models.

A weights file holds the tensors of the checkpoint as they are, under `net.`, integer tables included. So it
depends on the checkpoint alone, and with it the fingerprint that codestreams carry: whoever imports the same
checkpoint reads the same files.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_bytes
from torch import nn

from eocodec.errors import ConfigError, WeightsError
from eocodec.models.model import Model
from eocodec.models.published_state import State, empty, fill
from eocodec.models.registry import ModelCard, sha256_of

# Family -> where its `Family` is. A new one is a line here and one in `interop/published.py`.
FAMILIES: Mapping[str, str] = {
    "published/tec-fp": "eocodec.models.fp_published:FAMILY",
    "published/tec-elic": "eocodec.models.elic_published_coding:FAMILY",
    "published/tec-tt": "eocodec.models.tt_published_coding:FAMILY",
    "published/flextec": "eocodec.models.flextec_published:FAMILY",
}
_NET = "net."


@dataclass(frozen=True)
class Family:
    """How one family of published models comes to be.

    read : published state dict -> network that holds it; `WeightsError` where they do not fit each other. The
        network has `config.to_dict()`, with the number of `bands` in it
    build : a card's configuration -> network of that size; its tensors will be replaced
    ready : card, network -> what the codec works with
    """

    read: Callable[[State], nn.Module]
    build: Callable[[dict[str, Any]], nn.Module]
    ready: Callable[[ModelCard, nn.Module], Model]


def family_of(name: str) -> Family:
    """The family of a name; `ConfigError` where there is none."""
    if name not in FAMILIES:
        raise ConfigError(f"no such family of models: {name!r}; a later eocodec may know it")
    module, _, attribute = FAMILIES[name].partition(":")
    family: Family = getattr(importlib.import_module(module), attribute)
    return family


def pack(network: Any) -> tuple[bytes, dict[str, Any]]:
    """Content of the weights file of a network that a family has read, and what its card says of it."""
    data = save_bytes({f"{_NET}{name}": value.contiguous() for name, value in network.state_dict().items()})
    return data, {
        "config": network.config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def load_published(card: ModelCard) -> Model:
    """Read an imported model; the file must have the SHA-256 that its card states.

    Raises
    ------
    WeightsError : the file is missing, changed, or does not hold what the card's configuration needs
    ConfigError : no such family of models, or its configuration has keys that it does not know
    """
    family = family_of(card.family)
    network = empty(lambda: family.build(card.details["config"]))
    return family.ready(card, fill(network, _read(card), card.id).requires_grad_(False))


def _read(card: ModelCard) -> State:
    path: Path = card.path
    try:
        if sha256_of(path) != card.details["sha256"]:
            raise WeightsError(f"{path} is not the file that its card describes (SHA-256 differs)")
        tensors = load_file(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise WeightsError(f"{path}: unreadable: {error}") from error
    return {name.removeprefix(_NET): value for name, value in tensors.items()}
