"""The authors' published checkpoints: from the Hugging Face hub or a file into the user's folder of models.

`fetch("published/tec-fp@40")` downloads, `import_checkpoint(path, id)` takes what is there, once: from then
on the model is found by its id and by the fingerprint in codestreams. The SHA-256 of a checkpoint is
remembered with its id, so that another file under the same name does not pass unnoticed.

Checkpoints are pickles. `torch.load(weights_only=True)` reads them, which builds tensors and runs no code.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from eocodec.codestream.model_section import is_model_id
from eocodec.errors import InputError, MissingDependency, ModelNotFound, WeightsError
from eocodec.interop.atomic import atomic_output, write_failure
from eocodec.models import registry
from eocodec.models.registry import PUBLISHED_PREFIX, ModelCard
from eocodec.options import DEFAULT_QUALITY
from eocodec.sensors import LEVELS

if TYPE_CHECKING:
    from torch import Tensor

LOCK = "lock.json"
# What torch.load is seen to raise for damaged or foreign files; a pickle with code is an UnpicklingError.
_UNREADABLE = (UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError)
_HUB_ERRORS = ("EntryNotFoundError", "HfHubHTTPError", "XetDownloadError")  # those that are no OSError


@dataclass(frozen=True)
class Kind:
    """One kind of published model.

    family : of `models/published.py`; repository, filename : on the hub, '{}' standing for lambda
    lambdas : as they stand in names; level : of the products that it is for
    one_rate : whether a model has one quality only
    """

    family: str
    repository: str
    filename: str
    lambdas: tuple[str, ...]
    level: str = "L2A"
    one_rate: bool = True


_TT_LAMBDAS = ("0.4", "1", "5", "20", "100", "200", "700")
KINDS: Mapping[str, Kind] = {
    "tec-fp": Kind(
        "published/tec-fp",
        "embed2scale/TerraCodec-1.0-FP-S2L2A",
        "TerraCodec_v1_FP_S2L2A_lambda-{}.pt",
        ("0.5", "2", "10", "40", "200"),
    ),
    "tec-elic": Kind(
        "published/tec-elic",
        "embed2scale/TerraCodec-1.0-ELIC-S2L2A",
        "TerraCodec_v1_ELIC_S2L2A_lambda-{}.pt",
        ("0.5", "2", "10", "40", "200"),
    ),
    "tec-tt": Kind(
        "published/tec-tt",
        "embed2scale/TerraCodec-1.0-TT-S2L2A",
        "TerraCodec_v1_TT_S2L2A_lambda-{}.pt",
        _TT_LAMBDAS,
    ),
    "tec-tt-l1c": Kind(
        "published/tec-tt",
        "embed2scale/TerraCodec-1.0-TT-S2L1C",
        "TerraCodec_v1_TT_S2L1C_lambda-{}.pt",
        ("5", "20", "100"),
        "L1C",
    ),
    "flextec": Kind(
        "published/flextec",
        "embed2scale/TerraCodec-1.0-FlexTEC-S2L2A",
        "FlexTEC_v1_S2L2A_lambda-{}.pt",
        ("800",),
        one_rate=False,
    ),
    "flextec-lronly": Kind(
        "published/flextec",
        "embed2scale/TerraCodec-1.0-FlexTEC-S2L2A",
        "FlexTEC_LRonly_v1_S2L2A_lambda-{}.pt",
        ("800",),
        one_rate=False,
    ),
}


@dataclass(frozen=True)
class Published:
    """A published checkpoint: id, such as 'published/tec-fp@40', and where it is on the hub."""

    id: str
    kind: str
    repository: str
    filename: str


def published_models() -> tuple[Published, ...]:
    """All of them, in the order of `KINDS`."""
    return tuple(
        Published(f"{PUBLISHED_PREFIX}{name}@{lmbda}", name, kind.repository, kind.filename.format(lmbda))
        for name, kind in KINDS.items()
        for lmbda in kind.lambdas
    )


def find(model: str) -> Published:
    """The published checkpoint of an id; `ModelNotFound` says which there are."""
    for published in published_models():
        if published.id == model:
            return published
    known = "; ".join(f"{PUBLISHED_PREFIX}{name}@{'|'.join(kind.lambdas)}" for name, kind in KINDS.items())
    raise ModelNotFound(f"no published model {model!r}; there are {known}")


def fetch(model: str, *, offline: bool = False, replace: bool = False) -> ModelCard:
    """The published model of an id, downloaded and imported unless it is here.

    Parameters
    ----------
    offline : take it from the cache of `huggingface_hub` alone
    replace : import again, and trust a checkpoint that has changed

    Raises
    ------
    ModelNotFound : no such id; or it could not be downloaded
    MissingDependency : the package huggingface_hub is needed and not installed
    WeightsError, OutputError : as in `import_checkpoint`
    """
    published = find(model)
    if not replace and registry.weights_path(model).is_file():
        return registry.by_id(model)
    path = _download(published, offline=offline)
    return import_checkpoint(path, model, replace=replace)


def import_checkpoint(
    path: str | Path, model: str | None = None, *, kind: str | None = None, replace: bool = False
) -> ModelCard:
    """Convert a checkpoint in the published layout to a model in the user's folder.

    Parameters
    ----------
    path : .pt file of tensors under the published names
    model : id to give it; by default that of the published file of this name
    kind : one of `KINDS`; by default that of a published id. Other ids need it
    replace : trust a checkpoint other than the one that this id was imported from before

    Raises
    ------
    InputError : no id or kind follows from what was given, or the id is taken or malformed
    WeightsError : the file is no such checkpoint, is not the one remembered for this id, or its tensors are
        missing, unknown, of another shape or dtype
    ConfigError : models of this kind, or of this size, cannot be used in this version
    OutputError : the folder cannot be written
    """
    path = Path(path)
    model = model if model is not None else _id_of(path)
    name = _kind_of(model, kind)
    digest = _sha256(path)
    _check_lock(model, digest, replace=replace)
    card, data = _convert(path, model, KINDS[name], digest)
    _install(card, data)
    _pin(model, digest)
    return registry.by_id(model)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name; no code in the file is run.

    Raises
    ------
    WeightsError : the file is missing, no PyTorch file, a pickle that wants to run code, or no dictionary of
        tensors
    """
    import torch

    if not _is_zip(path):
        raise WeightsError(f"{path} is no checkpoint: not a file that torch.save wrote, or not all of it")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, perhaps code, and was not run; import only checkpoints that "
            "torch.load(weights_only=True) reads"
        ) from error
    except _UNREADABLE as error:
        raise WeightsError(f"{path} is no checkpoint, or a damaged one: {type(error).__name__}") from error
    if not isinstance(found, dict) or not found:
        raise WeightsError(f"{path} holds a {type(found).__name__}, expected a dictionary of tensors")
    for name, value in found.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided):
            raise WeightsError(
                f"{path}: {name!r} is a {type(value).__name__}, expected a tensor under a name"
            )
    return found


def _is_zip(path: Path) -> bool:
    """What torch.save writes is one; older forms are not read."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


# --- what is done with a checkpoint -----------------------------------------------------------------------


def _convert(path: Path, model: str, kind: Kind, digest: str) -> tuple[dict[str, Any], bytes]:
    """Card and content of the weights file."""
    from eocodec.models.published import family_of, pack

    data, facts = pack(family_of(kind.family).read(read_checkpoint(path)))
    bands, found = [band.name for band in LEVELS[kind.level]], facts["config"]["bands"]
    if found != len(bands):
        raise WeightsError(f"{path} is for {found} bands, {model} for the {len(bands)} of {kind.level}")
    card = {
        "id": model,
        "family": kind.family,
        "bands": bands,
        "level": kind.level,
        "quality": DEFAULT_QUALITY if kind.one_rate else None,
        "checkpoint": {"file": path.name, "sha256": digest, "repository": kind.repository},
        **facts,
    }
    if not model.startswith(PUBLISHED_PREFIX):
        card["checkpoint"].pop("repository")
    return card, data


def _install(card: dict[str, Any], data: bytes) -> None:
    """Write a model; the weights last, for they are what is looked for."""
    path = registry.weights_path(card["id"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and _sha256(path) != card["sha256"]:
            _set_aside(path)
    except OSError as error:
        raise write_failure(path, error.strerror or str(error)) from error
    with atomic_output(_card_path(path), force=True) as partial:
        partial.write_text(json.dumps(card, indent=1) + "\n")
    with atomic_output(path, force=True) as partial:
        partial.write_bytes(data)


def _set_aside(path: Path) -> None:
    """Keep a model under a longer name: files that were written with it are found by its fingerprint."""
    old = registry.read_card(path)
    kept = registry.weights_path(f"{old.id}+{old.fingerprint.hex()}")
    _card_path(path).replace(_card_path(kept))
    path.replace(kept)


def _card_path(weights: Path) -> Path:
    return weights.with_suffix(".json")


def _id_of(path: Path) -> str:
    """Id of the published checkpoint of a file's name."""
    for published in published_models():
        if published.filename == path.name:
            return published.id
    raise InputError(f"{path.name} is not the name of a published checkpoint; state an id and a kind")


def _kind_of(model: str, kind: str | None) -> str:
    """Kind of an id, which is checked."""
    if model.startswith(PUBLISHED_PREFIX):
        own = find(model).kind
        if kind not in (None, own):
            raise InputError(f"{model} is a {own}, not a {kind}")
        return own
    taken = model in {card.id for card in registry.installed()}
    if taken or not is_model_id(model):
        raise InputError(f"{model!r} cannot be an id: " + ("it is one of the package" if taken else _ID_RULE))
    if kind is None or kind not in KINDS:
        raise InputError(f"{model} is no published model: state its kind, one of {', '.join(KINDS)}")
    return kind


_ID_RULE = "use lower-case letters, digits and . _ @ + - , at most 64"


def _sha256(path: Path) -> str:
    try:
        return registry.sha256_of(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


# --- the lock -------------------------------------------------------------------------------------------


def _read_lock() -> dict[str, str]:
    """Id -> SHA-256 of the checkpoint that it was first imported from."""
    path = registry.user_folder() / LOCK
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); repair or remove it") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise WeightsError(f"{path} is not a list of ids and hashes; repair or remove it")
    return found


def _check_lock(model: str, digest: str, *, replace: bool) -> None:
    pinned = _read_lock().get(model, digest)
    if pinned != digest and not replace:
        raise WeightsError(
            f"the checkpoint of {model} has the SHA-256 {digest}, it was {pinned} when it was first imported "
            f"({registry.user_folder() / LOCK}); find out why, then import it with --replace"
        )


def _pin(model: str, digest: str) -> None:
    path = registry.user_folder() / LOCK
    entries = {**_read_lock(), model: digest}
    with atomic_output(path, force=True) as partial:
        partial.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")


# --- the hub --------------------------------------------------------------------------------------------


def _download(published: Published, *, offline: bool) -> Path:
    try:
        hub = importlib.import_module("huggingface_hub")
        errors = importlib.import_module("huggingface_hub.errors")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"{published.id} is on the Hugging Face hub; to get it from there: pip install 'eocodec[hub]'; "
            f"or download {published.filename} of {published.repository} and run: eocodec models import FILE"
        ) from error
    known = (getattr(errors, name, OSError) for name in _HUB_ERRORS)
    try:
        path = hub.hf_hub_download(
            repo_id=published.repository, filename=published.filename, local_files_only=offline
        )
    except (OSError, ValueError, *known) as error:
        where = "in the cache of huggingface_hub" if offline else "on the Hugging Face hub"
        raise ModelNotFound(
            f"{published.filename} of {published.repository} was not found {where} ({error}); where it is "
            "to be had, download it and run: eocodec models import FILE"
        ) from error
    return Path(path)
