"""The models of this installation, by id and by fingerprint. No torch here: only cards are read.

A model is two files of one name: `<id>.safetensors` and `<id>.json`, its card. Those of the package are in
`eocodec/weights`, those that a user imported (`interop/published.py`) in `user_folder()`. Weights that an id
stood for earlier are in `eocodec/weights/former`: they write no files any more, but decode what they wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from eocodec.codestream.header import FINGERPRINT_BYTES
from eocodec.codestream.model_section import is_model_id
from eocodec.errors import ModelNotFound, WeightsError
from eocodec.sensors import LEVELS, Band

FOLDER_VARIABLE = "EOCODEC_MODELS"
SUFFIX = ".safetensors"
PUBLISHED_PREFIX = "published/"  # of the ids of the authors' own models
_CHUNK = 1 << 20  # bytes of a file hashed at a time


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
    def band_table(self) -> tuple[Band, ...]:
        """The same bands with the statistics of the processing level that the model is for.

        Raises
        ------
        WeightsError : the card names a level or bands that this version does not know
        """
        level = self.details.get("level", "L2A")
        table = {band.name: band for band in LEVELS.get(level, ())}
        unknown = [name for name in self.bands if name not in table]
        if unknown:
            raise WeightsError(f"{self.id}: {', '.join(unknown)} of level {level}: no such bands are known")
        return tuple(table[name] for name in self.bands)

    @property
    def parameters(self) -> int:
        """Number of weights of the networks."""
        return int(self.details["parameters"])

    @property
    def quality(self) -> float | None:
        """The one quality of a model of one rate; None for models of many rates."""
        return self.details.get("quality")

    @property
    def of_series(self) -> bool:
        """Whether it predicts timesteps from earlier ones, so that a codestream should hold several."""
        return str(self.details["family"]).endswith(("tec-tt", "flextec"))

    @property
    def extensible(self) -> bool:
        """Whether dates can be added to a codestream, those in it staying as they are (`codec.extend`)."""
        return self.details["family"] in ("tec-tt", "published/tec-tt", "published/flextec")

    @property
    def imported(self) -> bool:
        """Whether it is no model of this package, so that files should say where to get it."""
        return "checkpoint" in self.details


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


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
    return _cards(_package_folder())


@cache
def former() -> tuple[ModelCard, ...]:
    """Cards of the weights in the package that ids stood for earlier."""
    return _cards(_package_folder() / "former")


def _package_folder() -> Path:
    return Path(str(resources.files("eocodec") / "weights"))


def _cards(folder: Path) -> tuple[ModelCard, ...]:
    return tuple(read_card(path) for path in sorted(folder.glob(f"*{SUFFIX}")))


def user_folder() -> Path:
    """Where imported models are kept: `EOCODEC_MODELS`, or `eocodec/models` in the user's cache folder."""
    stated = os.environ.get(FOLDER_VARIABLE)
    if stated:
        return Path(stated).expanduser()
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "eocodec" / "models"


def weights_path(model: str) -> Path:
    """Where the imported model of an id is, or would be."""
    return user_folder() / f"{model}{SUFFIX}"


def imported() -> Iterator[ModelCard]:
    """Cards of the user's folder, by id; models whose card cannot be read are left out."""
    folder = user_folder()
    for path in sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            yield read_card(path)
        except WeightsError:  # one damaged model is no reason not to find the others
            continue


def by_id(model: str) -> ModelCard:
    """Card of a model id, or of the path of a weights file."""
    for card in installed():
        if card.id == model:
            return card
    if model.endswith(SUFFIX) and Path(model).is_file():
        card = read_card(Path(model))
        _registered[card.fingerprint] = card
        return card
    if is_model_id(model) and weights_path(model).is_file():
        return read_card(weights_path(model))
    known = ", ".join(card.id for card in installed()) or "none"
    wanted = model.startswith(PUBLISHED_PREFIX)
    remedy = f"eocodec models fetch {model}" if wanted else "pip install --upgrade eocodec"
    raise ModelNotFound(
        f"no model {model!r} is installed; installed: {known}; take one of these, or {remedy}"
    )


def by_fingerprint(fingerprint: bytes) -> ModelCard:
    """Card of the model that made a codestream."""
    for cards in (installed(), former(), _registered.values(), imported()):
        for card in cards:
            if card.fingerprint == fingerprint:
                return card
    known = ", ".join(f"{card.id} {card.fingerprint.hex()}" for card in installed()) or "none"
    raise ModelNotFound(
        f"the model with fingerprint {fingerprint.hex()} is not installed (installed: {known}); "
        "install the eocodec version that wrote the file"
    )
