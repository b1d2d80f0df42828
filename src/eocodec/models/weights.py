"""Weights files: a safetensors file with the network in float16 and the integer tables of its prior.

Names: network tensors `net.*`; the prior `prior.*`, a set of CDF tables as three arrays (frequencies less one
in uint16, bins of each table, first symbols).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from eocodec.entropy.coder import LatentCoder, Latents, SeriesCoder
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.factorized_coder import FactorizedCoder
from eocodec.entropy.layer_channels import LayeredPrior
from eocodec.entropy.layered_coder import layered_coder
from eocodec.entropy.levels import lmbda_at
from eocodec.entropy.temporal_coder import TemporalCoder, TemporalPrior
from eocodec.errors import ConfigError, ModelNotFound, WeightsError
from eocodec.models.elic import ElicConfig, TecElic
from eocodec.models.exact_synthesis import exact_image
from eocodec.models.flextec import FlexTec
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.fp_inference import Inference, Reconstruction
from eocodec.models.model import Model
from eocodec.models.published import load_published
from eocodec.models.registry import ModelCard, by_fingerprint
from eocodec.models.stored_prior import Arrays, Prior, pack_prior, unpack_prior
from eocodec.models.tt import TecTt
from eocodec.nn.precision import inference_dtype
from eocodec.sensors import S2_L2A

KEEP_FLOAT32 = ("latent_std", "log2_step", "basis", "root_weight")  # few numbers that multiply everything

Network: TypeAlias = TecFp | TecElic
_FAMILIES = {"tec-elic": TecElic, "tec-tt": TecTt, "flextec": FlexTec}
_LOADED_AS = {"f": np.float32, "i": np.int64}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to code: its card, network (eval mode, float32), prior and what codes by it."""

    card: ModelCard
    network: Network
    prior: Prior

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
    def coder(self) -> LatentCoder | SeriesCoder:
        """Codes this model's latents."""
        if isinstance(self.prior, TemporalPrior):
            first, later = (self._context_coder(own) for own in (self.prior.first, self.prior.later))
            return TemporalCoder(first, later, sources=self.prior.sources)
        if isinstance(self.prior, LayeredPrior):
            return layered_coder(self.prior, *self._spectral)
        if isinstance(self.prior, ContextPrior):
            return self._context_coder(self.prior)
        if not isinstance(self.network, TecFp):
            raise WeightsError(f"{self.card.path}: a factorized prior belongs to TEC-FP")
        log2_step = self.network.steps.log2_step.detach().double().numpy()
        return FactorizedCoder(self.prior, log2_step, self.ring)

    def _context_coder(self, prior: ContextPrior) -> ContextCoder:
        return ContextCoder(prior, *self._spectral)

    @property
    def _spectral(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The fixed bases, and the ring of each frequency."""
        return self.network.block_transform.basis.detach().numpy().astype(np.float32), self.ring

    def analysis(self, dn: torch.Tensor) -> torch.Tensor:
        """DN [C, H, W] -> y [M, n]; see `Inference.analysis`."""
        return self.inference(inference_dtype(dn.device)).analysis(dn)

    def synthesis(self, latents: Latents, rows: int, cols: int) -> Reconstruction:
        """Latents in float32 -> DN; see `Inference.synthesis`."""
        arrays = (latents.values, latents.channels, latents.bases)
        values, channels, bases = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
        inference = self.inference(inference_dtype(values.device))
        return inference.synthesis(values, channels, bases, rows, cols, latents.quality)

    def exact_image(self, latents: Latents, rows: int, cols: int) -> NDArray[np.float64]:
        """Latents in float64 -> DN; see `exact_synthesis.exact_image`."""
        return exact_image(self.network, self.ring, latents, rows, cols)

    def lmbda(self, quality_steps: int) -> float:
        """Bits that a unit of summed, weighted squared error is worth at a quality."""
        low, high = self.card.details["lmbda"]
        return lmbda_at(low, high, quality_steps)

    @cached_property
    def ring(self) -> NDArray[np.int64]:
        """Ring of each frequency, [256] (`nn/spectral.py`)."""
        return self.network.block_transform.ring.numpy()  # type: ignore[no-any-return]


def stored_dtype(name: str, tensor: torch.Tensor) -> torch.dtype:
    """How a tensor of a network is stored: indices exactly, a few scales in float32, weights in float16."""
    if not tensor.dtype.is_floating_point:
        return torch.int32
    return torch.float32 if any(part in name for part in KEEP_FLOAT32) else torch.float16


def save(path: Path, network: Network, prior: Prior, details: dict[str, Any]) -> None:
    """Write `path` (.safetensors) and its card (.json); `details` is completed with sizes and SHA-256."""
    arrays: Arrays = {}
    for name, tensor in network.state_dict().items():
        dtype = stored_dtype(name, tensor)
        arrays[f"net.{name}"] = tensor.detach().cpu().contiguous().to(dtype).numpy()
    arrays.update(pack_prior(prior))
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


def _empty_network(card: ModelCard) -> Network:
    family, config = card.details["family"], card.details["config"]
    if family in _FAMILIES:
        return _FAMILIES[family](ElicConfig.from_dict(config))
    if family == "tec-fp":
        return TecFp(FpConfig.from_dict(config))
    raise ConfigError(f"{card.path}: no such family of models: {family!r}; a later eocodec may know it")


def _fill(network: Network, card: ModelCard, arrays: Arrays) -> Network:
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
    ConfigError : no such family of models, or its configuration has keys that it does not know
    """
    try:
        data = card.path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {card.path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != card.details["sha256"]:
        raise WeightsError(f"{card.path} is not the file that its card describes (SHA-256 differs)")
    network = _empty_network(card)
    try:
        arrays = load_bytes(data)
        prior = unpack_prior(arrays, card.details["family"])
    except (SafetensorError, KeyError) as error:
        raise WeightsError(f"{card.path}: missing or unreadable: {error}") from error
    return LoadedModel(card, _fill(network, card, arrays), prior)


@lru_cache(maxsize=4)
def load_fingerprint(fingerprint: bytes) -> Model:
    """The model of a codestream, kept in memory for the next one."""
    card = by_fingerprint(fingerprint)
    return load_published(card) if card.imported else load(card)


def load_stated(fingerprint: bytes, model: str | None) -> Model:
    """`load_fingerprint` for a codestream that states its model's id: `ModelNotFound` says what to fetch."""
    try:
        return load_fingerprint(fingerprint)
    except ModelNotFound as error:
        if model is None:
            raise
        raise ModelNotFound(
            f"written with the model {model} of fingerprint {fingerprint.hex()}, which is not here; "
            f"eocodec models fetch {model}"
        ) from error
