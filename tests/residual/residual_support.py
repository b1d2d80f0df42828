"""Made-up images for the residual coder, and streams written by hand."""

import numpy as np

from eocodec.codestream.residual_section import ResidualFrame
from eocodec.coding.range_coder import SymbolEncoder
from eocodec.residual.symbols import encode_scaled


def image(shape, seed=0, low=0, high=4000):
    """Smooth hills with noise, bands alike, [T, C, H, W] int64 within low .. high."""
    rng = np.random.default_rng(seed)
    t, c, h, w = shape
    y, x = np.mgrid[0:h, 0:w]
    hills = np.sin(y / 5 + rng.uniform(0, 6)) + np.cos(x / 7 + rng.uniform(0, 6))
    gains = rng.uniform(0.5, 1.5, (t, c, 1, 1))
    values = (low + high) / 2 + (high - low) / 8 * gains * hills + rng.normal(0, 15, shape)
    return np.clip(np.rint(values), low, high).astype(np.int64)


def by_hand(*groups, last=None):
    """A frame of groups (values, scale), coded with shape 1; last: called with the encoder at the end."""
    encoder = SymbolEncoder()
    for values, scale in groups:
        encode_scaled(encoder, np.array(values, np.int64), np.full(len(values), scale), 1)
    if last is not None:
        last(encoder)
    return ResidualFrame(False, 0, b"", *encoder.finish())
