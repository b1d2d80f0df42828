"""Made-up series of latents and a coder of them that nothing was fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from context_support import RING, block_dct, random_net, some_basis, some_coder, some_image
from eocodec.entropy.context import PAST_FEATURES, ContextNet
from eocodec.entropy.temporal_coder import TemporalCoder
from eocodec.train.temporal_fit import start_later


def past_net(seed=1, hidden=6):
    """A network that takes notice of the past, and gives gains of its own."""
    net, rng = random_net(seed, hidden), np.random.default_rng(seed)
    seen = 0.02 * rng.standard_normal((hidden, PAST_FEATURES))
    gain = 0.1 * rng.standard_normal((1, hidden))
    weights = (
        np.concatenate([net.weights[0], seen], 1),
        net.weights[1],
        np.concatenate([net.weights[2], gain]),
    )
    return ContextNet(
        tuple(w.astype(np.float32).astype(np.float64) for w in weights),
        (net.biases[0], net.biases[1], np.append(net.biases[2], -0.05)),
    )


def some_temporal(components=5):
    """A coder of series."""
    first = some_coder(components)
    return TemporalCoder(first, replace(first, prior=replace(start_later(first.prior), net=past_net())))


def some_series(timesteps, rows, cols, components=5, seed=0):
    """[T, 256 C, rows, cols]: one scene whose spectra change, some noise of its own in each timestep."""
    rng = np.random.default_rng(seed)
    scene = some_image(rows, cols, components, seed)
    frames = []
    for t in range(timesteps):
        mix = np.eye(components) + 0.2 * t * rng.standard_normal((components, components))
        frame = np.einsum("ij,jyx->iyx", mix, scene) + 3 * t + rng.normal(0, 0.3, scene.shape)
        u = block_dct(frame, 16).reshape(256, components, -1)
        frames.append(np.matmul(some_basis(components).transpose(0, 2, 1)[RING], u))
    return np.stack(frames).reshape(timesteps, 256 * components, rows, cols).astype(np.float32)
