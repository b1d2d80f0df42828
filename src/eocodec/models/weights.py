"""Weights files: a safetensors file with the network in float16 and the integer tables of its prior.

Names: network tensors `net.*`; the prior `prior.*`, a set of CDF tables as three arrays (frequencies less one
in uint16, bins of each table, first symbols).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from eocodec.coding.tables import CdfTables
from eocodec.entropy.prior import FactorizedPrior
from eocodec.errors import WeightsError
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.fp_inference import Inference
from eocodec.models.registry import ModelCard, by_fingerprint
from eocodec.sensors import S2_L2A

KEEP_FLOAT32 = ("latent_std", "log2_step", "basis", "root_weight")  # few numbers that multiply everything

Arrays = dict[str, NDArray[Any]]
_LOADED_AS = {"f": np.float32, "i": np.int64}
_TABLE_SETS = ("family", "shift_table", "delta_tables", "shape_tables", "count_tables")
_INDEX_SETS = ("default_scale", "default_shape", "offset_scale", "entry_scale")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to code: its card, network (eval mode, float32) and integer prior."""

    card: ModelCard
    network: TecFp
    prior: FactorizedPrior

    def inference(self, dtype: torch.dtype) -> Inference:
        """The network made ready to run in DN, its convolutions in `dtype`; kept for the next call."""
        if dtype not in self._prepared:
            means, stds = [band.mean for band in S2_L2A], [band.std for band in S2_L2A]
            self._prepared[dtype] = Inference(self.network, means, stds, dtype)
        return self._prepared[dtype]

    @cached_property
    def _prepared(self) -> dict[torch.dtype, Inference]:
        return {}

    @cached_property
    def ring(self) -> NDArray[np.int64]:
        """Ring of each frequency, [256] (`nn/spectral.py`)."""
        return self.network.block_transform.ring.numpy()  # type: ignore[no-any-return]


def pack_tables(tables: CdfTables) -> Arrays:
    """Three arrays that stand for a set of tables."""
    frequencies = [np.diff(tables.table(i).astype(np.int64)) - 1 for i in range(tables.count)]
    return {
        "frequency": np.concatenate(frequencies).astype(np.uint16),
        "bins": tables.sizes.astype(np.int32),
        "first": tables.first,
    }


def unpack_tables(arrays: Mapping[str, NDArray[Any]]) -> CdfTables:
    """Inverse of `pack_tables`."""
    bins = arrays["bins"].astype(np.int64)
    frequencies = np.split(arrays["frequency"].astype(np.int64) + 1, np.cumsum(bins)[:-1])
    cdf = np.concatenate([np.concatenate([[0], np.cumsum(f)]) for f in frequencies]).astype(np.uint32)
    start = np.concatenate([[0], np.cumsum(bins + 1)]).astype(np.int64)
    return CdfTables(cdf=cdf, start=start, first=arrays["first"].astype(np.int32))


def _pack_prior(prior: FactorizedPrior) -> Arrays:
    arrays: Arrays = {}
    for name in _TABLE_SETS:
        for key, value in pack_tables(getattr(prior, name)).items():
            arrays[f"prior.{name}.{key}"] = value
    for name in _INDEX_SETS:
        arrays[f"prior.{name}"] = getattr(prior, name).astype(np.uint8)
    return arrays


def _unpack_prior(arrays: Arrays) -> FactorizedPrior:
    sets: dict[str, Any] = {}
    for name in _TABLE_SETS:
        sets[name] = unpack_tables({k: arrays[f"prior.{name}.{k}"] for k in ("frequency", "bins", "first")})
    for name in _INDEX_SETS:
        sets[name] = arrays[f"prior.{name}"].astype(np.int64)
    return FactorizedPrior(**sets)


def stored_dtype(name: str, tensor: torch.Tensor) -> torch.dtype:
    """How a tensor of a network is stored: indices exactly, a few scales in float32, weights in float16."""
    if not tensor.dtype.is_floating_point:
        return torch.int32
    return torch.float32 if any(part in name for part in KEEP_FLOAT32) else torch.float16


def save(path: Path, network: TecFp, prior: FactorizedPrior, details: dict[str, Any]) -> None:
    """Write `path` (.safetensors) and its card (.json); `details` is completed with sizes and SHA-256."""
    arrays: Arrays = {}
    for name, tensor in network.state_dict().items():
        dtype = stored_dtype(name, tensor)
        arrays[f"net.{name}"] = tensor.detach().cpu().contiguous().to(dtype).numpy()
    arrays.update(_pack_prior(prior))
    data = save_bytes(arrays, {"config": json.dumps(network.config.to_dict())})
    path.write_bytes(data)
    card = {
        **details,
        "config": network.config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")


def _network(card: ModelCard, arrays: Arrays) -> TecFp:
    network = TecFp(FpConfig.from_dict(card.details["config"]))
    state = {
        name.removeprefix("net."): torch.from_numpy(value.astype(_LOADED_AS[value.dtype.kind]))
        for name, value in arrays.items()
        if name.startswith("net.")
    }
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        wrong = sorted({n for n in expected | found if expected.get(n) != found.get(n)})
        raise WeightsError(
            f"{card.path}: tensors missing, unknown or of another shape: {', '.join(wrong[:5])}"
        )
    network.load_state_dict(state)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load(card: ModelCard) -> LoadedModel:
    """Read a model's weights; the file must have the SHA-256 that its card states.

    Raises
    ------
    WeightsError : the file is missing, changed, or does not hold what the card's configuration needs
    """
    try:
        data = card.path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {card.path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != card.details["sha256"]:
        raise WeightsError(f"{card.path} is not the file that its card describes (SHA-256 differs)")
    try:
        arrays = load_bytes(data)
        prior = _unpack_prior(arrays)
    except (SafetensorError, KeyError) as error:
        raise WeightsError(f"{card.path}: missing or unreadable: {error}") from error
    return LoadedModel(card, _network(card, arrays), prior)


@lru_cache(maxsize=4)
def load_fingerprint(fingerprint: bytes) -> LoadedModel:
    """The model of a codestream, kept in memory for the next one."""
    return load(by_fingerprint(fingerprint))
