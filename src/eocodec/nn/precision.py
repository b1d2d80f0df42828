"""Which arithmetic inference runs in. Only pixels depend on it, never symbols."""

from __future__ import annotations

import os
from functools import cache

import torch

from eocodec.errors import ConfigError


@cache
def bfloat16_is_native() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def inference_dtype(device: torch.device, *, auto: torch.dtype | None = None) -> torch.dtype:
    """bfloat16 where native, else float32. `EOCODEC_PRECISION` = 'float32' or 'bfloat16' overrides.

    Parameters
    ----------
    auto : replaces what is taken where the environment does not say
    """
    wanted = os.environ.get("EOCODEC_PRECISION", "auto")
    if wanted not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"EOCODEC_PRECISION must be auto, float32 or bfloat16, not {wanted!r}")
    if wanted == "auto" and auto is not None:
        return auto
    native = device.type != "cpu" or bfloat16_is_native()
    return torch.bfloat16 if wanted == "bfloat16" or (wanted == "auto" and native) else torch.float32


def inference_autocast(device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Autocast to `inference_dtype`."""
    use = enabled and inference_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=use)
