"""The models in TerraTorch's registries: importing this module puts them there.

    from terratorch.registry import BACKBONE_REGISTRY, FULL_MODEL_REGISTRY
    import eocodec.interop.terratorch

    model = FULL_MODEL_REGISTRY.build("eocodec_tec_elic", quality=60)  # x -> what is left of it
    backbone = BACKBONE_REGISTRY.build("eocodec_tec_elic")  # x -> [latents]

There is one of each for every model of this package, and `eocodec` for any, with `model` its id or the path
of its weights file. Images are float [B, C, H, W], standardised by the model's statistics, as TerraTorch's
data modules make them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from eocodec import codec
from eocodec.errors import InputError, MissingDependency
from eocodec.models import registry
from eocodec.models.fp import STRIDE
from eocodec.models.weights import load_fingerprint
from eocodec.options import DEFAULT_MODEL, DEFAULT_QUALITY, EncodeOptions

try:
    from terratorch.registry import (  # type: ignore[import-not-found, import-untyped]
        TERRATORCH_BACKBONE_REGISTRY,
        TERRATORCH_FULL_MODEL_REGISTRY,
    )
except ImportError as error:
    raise MissingDependency("TerraTorch is needed: pip install terratorch") from error


class Codec(nn.Module):
    """Encodes and decodes for real; nothing in it learns.

    Parameters
    ----------
    model : id, or path of a weights file; quality : 0 to 100
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str = DEFAULT_MODEL, quality: float = DEFAULT_QUALITY) -> None:
        super().__init__()
        bands = registry.by_id(model).band_table
        self.options = EncodeOptions(model, quality, scale=1.0)
        self.register_buffer("mean", torch.tensor([band.mean for band in bands])[:, None, None])
        self.register_buffer("std", torch.tensor([band.std for band in bands])[:, None, None])

    def encode(self, x: Tensor) -> list[bytes]:
        """The codestream of each image of x [B, C, H, W]; any H and W."""
        dn = (x.detach().float() * self.std + self.mean).cpu().numpy()
        return codec.encode_batch(list(dn), self.options)

    def decode(self, streams: Sequence[bytes]) -> Tensor:
        """Inverse of `encode`, for images of one size."""
        dn = torch.from_numpy(np.stack(codec.decode_batch(streams)))
        return (dn.to(self.mean) - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> x_hat, same shape."""
        return self.decode(self.encode(x))


class Latents(nn.Module):
    """The analysis transform of a model, to learn on from.

    Attributes
    ----------
    out_channels : [M], of what `forward` returns; patch_size : pixels of a latent
    """

    patch_size = STRIDE

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        super().__init__()
        network = load_fingerprint(registry.by_id(model).fingerprint).network
        self.network = copy.deepcopy(network).requires_grad_(True)
        bands = len(registry.by_id(model).bands)
        with torch.no_grad():
            self.out_channels = [self(torch.zeros(1, bands, STRIDE, STRIDE))[0].shape[1]]

    def forward(self, x: Tensor) -> list[Tensor]:
        """x [B, C, H, W], sides multiples of 16 -> [y [B, M, H / 16, W / 16]]."""
        if x.shape[-2] % STRIDE or x.shape[-1] % STRIDE:
            raise InputError(f"sides must be multiples of {STRIDE}, not {x.shape[-2]} x {x.shape[-1]}")
        return [cast(Any, self.network).analysis(x)]


def _register(target: Any, name: str, make: Callable[..., nn.Module]) -> None:
    def build(**options: Any) -> nn.Module:
        return make(**options)

    build.__name__ = name  # which is what it is registered by
    target.register(build)


for _target, _kind in ((TERRATORCH_FULL_MODEL_REGISTRY, Codec), (TERRATORCH_BACKBONE_REGISTRY, Latents)):
    _register(_target, "eocodec", _kind)
    for _card in registry.installed():
        _register(_target, f"eocodec_{_card.id.replace('-', '_')}", partial(_kind, model=_card.id))
