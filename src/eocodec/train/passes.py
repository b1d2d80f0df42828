"""The published models in training: the pass of each from pixels to rate and reconstruction.

Likelihoods are those of latents with uniform noise, the reconstruction is that of rounded latents whose
gradient passes straight through; in evaluation mode both are of rounded latents, and nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eocodec.entropy import gaussian_grid
from eocodec.entropy.factorized import EntropyBottleneck
from eocodec.errors import ConfigError
from eocodec.models.elic_published import TecElicPublished
from eocodec.models.flextec_published import FlexTecPublished
from eocodec.models.fp import TecFp, TrainOutput
from eocodec.models.tt_published import TtOutput, TtPublished
from eocodec.nn.quantise import add_uniform_noise
from eocodec.nn.token_windows import TOKENS
from eocodec.sensors import Band

# Tokens that FlexTEC sends: in training, q of them with a probability in proportion to q; then their mean.
_DRAWN_TOKENS = [q for q in range(1, TOKENS + 1) for _ in range(q)]
_MEAN_TOKENS = round(sum(_DRAWN_TOKENS) / len(_DRAWN_TOKENS))


def _fp(model: TecFp, x: Tensor) -> TrainOutput:
    return model(x, x.new_zeros(len(x)))  # type: ignore[no-any-return]  # one rate, so any level will do


def _elic(model: TecElicPublished, x: Tensor) -> TrainOutput:
    y = model.analysis(x).float()
    hyper, bottleneck = model.latent_codec.hyper, model.latent_codec.hyper.entropy_bottleneck
    z = hyper.h_a(y).float()
    z_hat = bottleneck.round(z)
    parameters = hyper.parameters_of(z_hat, *y.shape[2:])
    y_hat, means, scales = model.two_passes(y, parameters)
    conditional = model.latent_codec.y.group(0).y.gaussian_conditional
    noisy = model.training
    y_likelihoods = conditional.likelihoods((add_uniform_noise(y) if noisy else y_hat) - means, scales)
    z_likelihoods = bottleneck.likelihoods(add_uniform_noise(z) if noisy else z_hat)
    bits = -torch.log2(y_likelihoods).sum((1, 2, 3)) - torch.log2(z_likelihoods).sum((1, 2, 3))
    return TrainOutput(model.synthesis(y_hat), bits)


def _tt(model: TtPublished, x: Tensor) -> TrainOutput:
    return _of_series(model(x), model.training, TOKENS)


def _flextec(model: FlexTecPublished, x: Tensor) -> TrainOutput:
    drawn = _DRAWN_TOKENS[int(torch.randint(len(_DRAWN_TOKENS), ()))] if model.training else _MEAN_TOKENS
    return _of_series(model(x, drawn), model.training, drawn)


def _of_series(out: TtOutput, noisy: bool, sent: int) -> TrainOutput:
    """Rate of the first `sent` tokens, which after repacking are the first channels; else all are sent."""
    part = slice(sent * out.y.shape[2] // TOKENS)
    values = add_uniform_noise(out.y.float()) if noisy else out.y_hat.float()
    centred, scales = (values - out.means)[:, :, part], out.scales[:, :, part].float()
    likelihoods = gaussian_grid.likelihoods(centred, scales)
    return TrainOutput(out.x_hat, -torch.log2(likelihoods).sum((1, 2, 3, 4)))


@dataclass(frozen=True)
class Pass:
    """Of one family: the model and its input in network units -> output.

    series : the input is [B, T, C, H, W], else [B, C, H, W]
    """

    run: Callable[[Any, Tensor], TrainOutput]
    series: bool = False


PASSES: Mapping[str, Pass] = {
    "published/tec-fp": Pass(_fp),
    "published/tec-elic": Pass(_elic),
    "published/tec-tt": Pass(_tt, series=True),
    "published/flextec": Pass(_flextec, series=True),
}


def pass_of(model_id: str, masking: bool = True) -> Pass:
    """That of a family; of FlexTEC without masking, TEC-TT's: all tokens are sent in each step.

    Raises
    ------
    ConfigError : there is none, or masking is switched off where there is none to begin with
    """
    if model_id not in PASSES:
        raise ConfigError(f"no training for model {model_id!r}; known: {', '.join(PASSES)}")
    if masking:
        return PASSES[model_id]
    if model_id != "published/flextec":
        raise ConfigError(f"loss.masking: {model_id} has no masking that could be switched off")
    return PASSES["published/tec-tt"]


class Figures(NamedTuple):
    """Means over the batch, scalars: loss = bpp + lambda mse; aux of the quantiles.

    bpp : bits per pixel, all bands together; mse : of standardised bands; mse_dn : in DN
    """

    loss: Tensor
    aux: Tensor
    bpp: Tensor
    mse: Tensor
    mse_dn: Tensor


class Objective(nn.Module):
    """A model with its loss, in one module, so that a parallel wrapper sees all of the pass.

    Parameters
    ----------
    run : the model's pass; lmbda : see `Figures`
    bands : whose statistics standardise what is put in
    """

    std: Tensor
    mean: Tensor

    def __init__(
        self, run: Callable[[Any, Tensor], TrainOutput], model: nn.Module, lmbda: float, bands: Sequence[Band]
    ) -> None:
        super().__init__()
        self.model, self._run, self._lmbda = model, run, lmbda
        self.register_buffer("mean", torch.tensor([b.mean for b in bands])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([b.std for b in bands])[:, None, None], persistent=False)
        self._bottlenecks = [m for m in model.modules() if isinstance(m, EntropyBottleneck)]

    def forward(self, dn: Tensor) -> Figures:
        """dn : [B, C, H, W] or [B, T, C, H, W], any type."""
        x = (dn.float() - self.mean) / self.std
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        out = self._run(self.model, x)
        error = (x - out.x_hat.float()).square()
        mse, mse_dn = error.mean(), (error * self.std**2).mean()
        bpp = out.bits.sum() / (x.numel() / x.shape[-3])
        aux = sum((b.quantile_loss() for b in self._bottlenecks), start=x.new_zeros(()))
        return Figures(bpp + self._lmbda * mse, aux, bpp, mse, mse_dn)
