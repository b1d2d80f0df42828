"""A tiny TEC-FP and made-up tiles for the tests of the codec, its prior and its training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eocodec.sensors import S2_BAND_NAMES, S2_L2A

LEVELS = 3
TINY = {
    "quarter": 8,
    "eighth": 8,
    "sixteenth": 8,
    "bent": 32,
    "analysis_blocks": (1, 1),
    "synthesis_blocks": (1, 1),
    "levels": LEVELS,
}
MEANS = np.array([band.mean for band in S2_L2A], np.float32)[:, None, None]
STDS = np.array([band.std for band in S2_L2A], np.float32)[:, None, None]


def tile(rows, cols, seed=0, timesteps=None, dtype="uint16"):
    """Smooth hills with a little noise, DN: [12, H, W], or [T, 12, H, W] if `timesteps` is given."""
    if timesteps is not None:
        return np.stack([tile(rows, cols, seed + t, dtype=dtype) for t in range(timesteps)])
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:cols]
    phase = rng.uniform(0, 6.28, 3)
    hills = np.sin(y / 7 + phase[0]) + np.cos(x / 9 + phase[1]) + np.sin((x + y) / 13 + phase[2])
    gains = rng.uniform(150, 350, (12, 1, 1))
    dn = MEANS + gains * hills + rng.normal(0, 20, (12, rows, cols))
    return dn if np.dtype(dtype).kind == "f" else np.rint(dn).astype(dtype)


def psnr(array, array_hat, valid=None):
    """dB, peak 10 000."""
    error = array_hat.astype(np.float64) - array
    mse = np.mean(np.square(error[valid] if valid is not None else error))
    return 10 * np.log10(1e8 / mse) if mse > 0 else np.inf


@dataclass(frozen=True)
class Fitted:
    """What `build` makes a model from: network, prior, latents [crops, M, n], steps [levels, M], lambdas."""

    network: object
    prior: object
    latents: np.ndarray
    steps: np.ndarray
    lmbdas: np.ndarray


def fit(seed=0):
    """A tiny network, its linear path at the optimum, its convolutions random, and a prior fitted to it."""
    import torch

    from eocodec.models.fp import FpConfig, TecFp
    from eocodec.models.klt import init_linear, init_steps
    from eocodec.train.config import LossConfig
    from eocodec.train.export import _shipped
    from eocodec.train.fitting import fit_prior
    from eocodec.train.losses import band_weights, lambda_ladder

    torch.manual_seed(seed)
    network = TecFp(FpConfig(**TINY))
    crops = np.stack([(tile(64, 64, s) - MEANS) / STDS for s in range(100, 104)]).astype(np.float32)
    patches = torch.from_numpy(crops).unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5)
    lmbdas = lambda_ladder(LossConfig(), LEVELS)
    init_linear(network, patches.reshape(-1, 12, 16, 16), band_weights(LossConfig()))
    init_steps(network, lmbdas)
    for head in (network.g_a.head, network.g_s.head):
        torch.nn.init.normal_(head.weight, std=1e-3)
    _shipped(network)
    with torch.inference_mode():
        latents = network.analysis(torch.from_numpy(crops)).flatten(2).numpy()
    steps = torch.exp2(network.steps.log2_step.detach()).numpy()
    ring = network.block_transform.ring.numpy()
    prior = fit_prior(latents, steps, lmbdas.numpy(), ring)
    return Fitted(network, prior, latents, steps, lmbdas.numpy())


def save(fitted, path, **details):
    """Write a fitted model as the package's own are written."""
    from eocodec.models import weights
    from eocodec.train.config import LossConfig

    loss = LossConfig()
    card = {"id": "tec-fp", "family": "tec-fp", "bands": list(S2_BAND_NAMES)}
    card["lmbda"] = [loss.lmbda_min, loss.lmbda_max]
    weights.save(path, fitted.network, fitted.prior, {**card, **details})
    return str(path)
