"""The models of this installation, by id and by fingerprint. No torch here: only cards are read.

A model is two files of one name in `eocodec/weights`: `<id>.safetensors` and `<id>.json`, its card.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from eocodec.codestream.header import FINGERPRINT_BYTES
from eocodec.errors import ModelNotFound, WeightsError


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model without loading it.

    id : name that users give; family : class of the model; path : its safetensors file
    fingerprint : first 8 bytes of the file's SHA-256, which every codestream carries
    details : the whole card, as stored
    """

    id: str
    family: str
    path: Path
    fingerprint: bytes
    details: dict[str, Any]

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names in the order of the model's input."""
        return tuple(self.details["bands"])

    @property
    def parameters(self) -> int:
        """Number of weights of the networks."""
        return int(self.details["parameters"])


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_card(path: Path) -> ModelCard:
    """Card of the weights file `path` (its `.json` beside it)."""
    try:
        details = json.loads(path.with_suffix(".json").read_text())
        digest = bytes.fromhex(details["sha256"])
        return ModelCard(details["id"], details["family"], path, digest[:FINGERPRINT_BYTES], details)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path.with_suffix('.json')}: unreadable model card ({error})") from error


_registered: dict[bytes, ModelCard] = {}  # models outside the package that this process has used


@cache
def installed() -> tuple[ModelCard, ...]:
    """Cards of all models in the package, by id."""
    folder = Path(str(resources.files("eocodec") / "weights"))
    return tuple(read_card(path) for path in sorted(folder.glob("*.safetensors")))


def by_id(model: str) -> ModelCard:
    """Card of a model id, or of the path of a weights file."""
    for card in installed():
        if card.id == model:
            return card
    if model.endswith(".safetensors") and Path(model).is_file():
        card = read_card(Path(model))
        _registered[card.fingerprint] = card
        return card
    known = ", ".join(card.id for card in installed()) or "none"
    raise ModelNotFound(
        f"no model {model!r} is installed; installed: {known}; "
        "take one of these, or pip install --upgrade eocodec"
    )


def by_fingerprint(fingerprint: bytes) -> ModelCard:
    """Card of the model that made a codestream."""
    for card in (*installed(), *_registered.values()):
        if card.fingerprint == fingerprint:
            return card
    known = ", ".join(f"{card.id} {card.fingerprint.hex()}" for card in installed()) or "none"
    raise ModelNotFound(
        f"the model with fingerprint {fingerprint.hex()} is not installed (installed: {known}); "
        "install the eocodec version that wrote the file"
    )
