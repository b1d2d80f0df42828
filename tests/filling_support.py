"""Made-up places whose fields change each in their way from date to date."""

import numpy as np

DATES = 4


def seasons(rows=96, cols=96, dates=DATES, bands=12, seed=0, dtype="int16"):
    """A series [T, C, H, W] in DN: fields of six kinds, each with a course of its own, texture and noise."""
    rng = np.random.default_rng(seed)
    kinds = np.kron(rng.integers(0, 6, (-(-rows // 12), -(-cols // 12))), np.ones((12, 12), int))[
        :rows, :cols
    ]
    base = rng.uniform(1000, 1800, (6, bands))
    swing = rng.uniform(-800, 800, (6, bands))
    course = rng.uniform(-1, 1, (6, dates))
    texture = rng.normal(0, 60, (rows, cols))
    frames = []
    for t in range(dates):
        spectra = base + swing * course[:, t, None]
        frame = spectra[kinds].transpose(2, 0, 1) + texture * (1 + 0.3 * (t % 4))
        frames.append(frame + rng.normal(0, 8, frame.shape))
    return np.stack(frames).round().astype(dtype)


def disc(rows, cols, centre, radius):
    """A round cloud [H, W]."""
    y, x = np.mgrid[:rows, :cols]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def clouds_on(series, t, *masks):
    """Clouds [T, H, W] on one date."""
    clouds = np.zeros((len(series), *series.shape[2:]), bool)
    for mask in masks:
        clouds[t] |= mask
    return clouds
