"""What is compared: one small class a published model.

Methods under "theirs" run in the environment that has `terracodec`, those under "ours" in that of eocodec.
Neither package is imported before it is needed, so that both interpreters can read this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch

SIDE = 256
SEED = 0
LATENT_STD = 2.5  # that latents are rescaled to: those of random weights would all be rounded to zero
SCALE = 2.5  # added to the predicted scales, which then are about those of what is coded

Arrays = dict[str, np.ndarray]


class Case(ABC):
    """One model.

    name : in results; model_id : that the checkpoint is imported under; level : of the imagery
    timesteps : of the input [T, C, H, W], network units; 0: an image, [C, H, W]
    """

    name: str
    model_id: str
    level = "L2A"
    timesteps = 0

    # --- theirs -------------------------------------------------------------------------------------------

    @abstractmethod
    def make(self, x: torch.Tensor) -> Any:
        """Their model with random weights, latents of x boosted, tables updated, eval mode."""

    def checkpoint(self, model: Any) -> dict[str, torch.Tensor]:
        """Its state under the names of the published files."""
        return {f"model.{name}": value for name, value in model.state_dict().items()}

    @abstractmethod
    def reference(self, model: Any, x: torch.Tensor) -> Arrays:
        """What their forward pass comes to: whatever `ours` returns, under the same names."""

    def encode(self, model: Any, x: torch.Tensor) -> Any:
        """Their coded form."""
        return model.compress(x[None])

    def bits(self, coded: Any) -> int:
        """What they say that it takes."""
        return int(coded["bits"])

    def decode(self, model: Any, coded: Any) -> np.ndarray:
        """Their reconstruction of it, network units."""
        words = {key: coded[key] for key in ("strings", "shape")}
        return model.decompress(**words)[0].numpy()

    # --- ours ---------------------------------------------------------------------------------------------

    @abstractmethod
    def ours(self, network: Any, x: torch.Tensor) -> Arrays:
        """What our forward pass comes to."""


def boosted(layer: torch.nn.Module, y: torch.Tensor) -> None:
    """Rescale the last layer of an analysis whose output is y."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter *= LATENT_STD / float(y.std())


class TecFp(Case):
    """TEC-FP: factorized prior."""

    name = "tec-fp"
    model_id = "published/tec-fp@40"

    def make(self, x: torch.Tensor) -> Any:
        from terracodec.imagecodecs import FactorizedPrior

        torch.manual_seed(SEED)
        model = FactorizedPrior(in_channels=len(x), N=128, M=192, image_size=SIDE).eval()
        with torch.no_grad():
            boosted(model.g_a[6], model.g_a(x[None]))
            model.entropy_bottleneck.quantiles[:, 0, 1].uniform_(
                -0.5, 0.5
            )  # medians that are none of symbols
        model.update(force=True)
        return model

    def reference(self, model: Any, x: torch.Tensor) -> Arrays:
        y = model.g_a(x[None])
        bottleneck = model.entropy_bottleneck
        medians = bottleneck.quantiles[:, 0, 1].view(1, -1, 1, 1)
        symbols = bottleneck.quantize(y, "symbols", medians)
        return {
            "y": y[0].numpy(),
            "symbols": symbols[0].numpy(),
            "means": medians.expand_as(y)[0].numpy(),
            "x_hat": model(x[None])[0].numpy(),
        }

    def ours(self, network: Any, x: torch.Tensor) -> Arrays:
        y = network.analysis(x[None])
        bottleneck = network.entropy_bottleneck
        medians = bottleneck.medians.view(1, -1, 1, 1)
        return {
            "y": y[0].numpy(),
            "symbols": torch.round(y - medians)[0].numpy(),
            "means": medians.expand_as(y)[0].numpy(),
            "x_hat": network.synthesis(bottleneck.round(y))[0].numpy(),
        }


class TecElic(Case):
    """TEC-ELIC: channel groups, checkerboard, hyperprior."""

    N, M = 128, 192
    name = "tec-elic"
    model_id = "published/tec-elic@40"

    def make(self, x: torch.Tensor) -> Any:
        from terracodec.imagecodecs import ELIC

        torch.manual_seed(SEED)
        model = ELIC(in_channels=len(x), N=self.N, M=self.M, image_size=SIDE).eval()
        codec = model.latent_codec
        with torch.no_grad():
            boosted(model.g_a[13], model.g_a(x[None]))  # before an attention block, which changes little
            boosted(codec.hyper.h_a[4], codec.hyper.h_a(model.g_a(x[None])))
            for group in codec.y.latent_codec.values():
                last = group.entropy_parameters[4]
                last.weight *= 12
                last.bias[len(last.bias) // 2 :] += SCALE
        model.update(force=True)
        return model

    def reference(self, model: Any, x: torch.Tensor) -> Arrays:
        groups = [group.y.gaussian_conditional for group in model.latent_codec.y.latent_codec.values()]
        seen: dict[Any, tuple[torch.Tensor, ...]] = {}

        def keep(module: Any, args: Any, kwargs: Any, _: Any) -> None:
            seen[module] = (args[0], args[1], kwargs["means"])

        def keep_z(module: Any, args: Any, output: Any) -> None:
            seen["z"] = (output[0] - module.quantiles[:, 0, 1].view(1, -1, 1, 1),)

        hooks = [group.register_forward_hook(keep, with_kwargs=True) for group in groups]
        hooks.append(model.latent_codec.hyper.entropy_bottleneck.register_forward_hook(keep_z))
        x_hat = model(x[None])
        for hook in hooks:
            hook.remove()
        y, scales, means = (torch.cat([seen[group][k] for group in groups], 1)[0] for k in range(3))
        return {
            "y": y.numpy(),
            "z_symbols": torch.round(seen["z"][0])[0].numpy(),
            "means": means.numpy(),
            "scales": scales.numpy(),
            "symbols": torch.round(y - means).numpy(),
            "x_hat": x_hat[0].numpy(),
        }

    def ours(self, network: Any, x: torch.Tensor) -> Arrays:
        out = network(x[None])
        names = ("z_symbols", "means", "scales", "symbols", "x_hat")
        found = {name: getattr(out, name)[0].numpy() for name in names}
        return {"y": network.analysis(x[None])[0].numpy(), **found}


class TecElicLarge(TecElic):
    """The sizes of lambda 200."""

    N, M = 192, 320
    name = "tec-elic-192-320"
    model_id = "published/tec-elic@200"


CASES: dict[str, Case] = {case.name: case for case in (TecFp(), TecElic(), TecElicLarge())}
