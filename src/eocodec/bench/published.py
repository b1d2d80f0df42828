"""The authors' own models, where the package `terracodec` is installed and has its weights.

Its `compress` hands out nested lists of byte strings and no file; what is charged here are those strings.
Written after its documentation; this project's tests run it on a stand-in, as it cannot be installed beside
NumPy 2.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

import numpy as np

from eocodec.bench.base import BenchCodec, Image
from eocodec.errors import BandError
from eocodec.sensors import S2_L2A
from eocodec.types import AnyArray

# Values of lambda that weights are published for: low ones for low rates.
MODELS: dict[str, tuple[float, ...]] = {
    "terracodec_v1_fp_s2l2a": (0.5, 2, 10, 40, 200),
    "terracodec_v1_elic_s2l2a": (0.5, 2, 10, 40, 200),
    "terracodec_v1_tt_s2l2a": (0.4, 1, 5, 20, 100, 200, 700),
}


class PublishedCodec(BenchCodec):
    """One published model; the setting is its lambda. `tt` takes series, the others date by date."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._make = getattr(importlib.import_module("terracodec"), name)
        self._models: dict[float, Any] = {}

    @property
    def settings(self) -> tuple[float, ...]:
        """Every published lambda."""
        return MODELS[self.name]

    def _model(self, setting: float) -> Any:
        if setting not in self._models:
            model = self._make(pretrained=True, compression=setting).eval()
            if hasattr(model, "update"):
                model.update()  # the entropy coder's tables
            self._models[setting] = model
        return self._models[setting]

    def encode(self, series: Image, setting: float) -> bytes:
        """What `compress` returns, and shape and lambda, pickled: read again by this process only."""
        import torch

        if series.shape[-3] != len(S2_L2A):
            raise BandError(f"{self.name} takes the 12 bands, got {series.shape[-3]}")
        x = torch.from_numpy((series.astype(np.float32) - _means()) / _stds())
        batch = x[None] if x.ndim == 3 or "_tt_" in self.name else x  # [B, C, H, W] or [1, T, C, H, W]
        if "_tt_" in self.name and x.ndim == 3:
            batch = x[None, None]
        with torch.inference_mode():
            coded = [self._model(setting).compress(batch[i : i + 1]) for i in range(len(batch))]
        return pickle.dumps((setting, series.shape, coded))

    def decode(self, data: bytes) -> AnyArray:
        """Every date, back in DN."""
        import torch

        setting, shape, coded = pickle.loads(data)
        with torch.inference_mode():
            out = [self._model(setting).decompress(**part) for part in coded]
        x_hat = torch.cat(out).reshape(shape).numpy() * _stds() + _means()
        decoded: AnyArray = np.clip(np.rint(x_hat), -32768, 32767).astype(np.int16)
        return decoded

    def free_bytes(self, data: bytes) -> int:
        """All but the byte strings of the entropy coder."""
        return len(data) - _string_bytes(pickle.loads(data)[2])


def _string_bytes(value: Any) -> int:
    """Length of all byte strings in nested lists, tuples and dictionaries."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_string_bytes, value.values()))
    return sum(map(_string_bytes, value)) if isinstance(value, list | tuple) else 0


def _means() -> AnyArray:
    return np.array([band.mean for band in S2_L2A], np.float32)[:, None, None]


def _stds() -> AnyArray:
    return np.array([band.std for band in S2_L2A], np.float32)[:, None, None]
