"""Random crops of the training scenes, augmented towards what users hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eocodec.sensors import S2_BAND_NAMES, S2_L2A
from eocodec.train.config import DataConfig
from eocodec.train.scenes import Scene, blur_to_60m

Float = NDArray[np.float32]
MEANS = np.array([b.mean for b in S2_L2A], np.float32)[:, None, None]
STDS = np.array([b.std for b in S2_L2A], np.float32)[:, None, None]
B01, B02, B8A, B09 = (S2_BAND_NAMES.index(b) for b in ("B01", "B02", "B8A", "B09"))

# Rayleigh path radiance over clear land, DN, by the difference of the L1C and L2A sets' darkest means
HAZE = np.array([1150, 900, 600, 450, 350, 250, 200, 150, 120, 50, 10, 10], np.float32)[:, None, None]
# Brightness of thick cloud and of snow relative to B02, per band (from the clouded dates of the L2A series)
CLOUD = np.array([1.0, 1, 1, 1.02, 1.06, 1.08, 1.1, 1.12, 1.1, 1.1, 0.55, 0.42], np.float32)[:, None, None]
SNOW = np.array([1.0, 1, 0.99, 1.05, 1.07, 1.05, 1.03, 1.08, 1.02, 1.0, 0.17, 0.14], np.float32)[
    :, None, None
]


def standardise(dn: Float) -> Float:
    """DN [12, H, W] -> network units."""
    return (dn - MEANS) / STDS


class CropSampler:
    """Draws batches; scenes by area, L2A favoured. One generator: repeatable, and not thread-safe."""

    def __init__(self, scenes: Sequence[Scene], config: DataConfig, seed: int) -> None:
        self.scenes = scenes
        self.config = config
        self.rng = np.random.default_rng(seed)
        area = np.array([s.dn[0].size for s in scenes], np.float64)
        weight = area * np.array([config.l2a_weight if s.level == "L2A" else 1.0 for s in scenes])
        self.shares = weight / weight.sum()

    def batch(self, size: int | None = None, crop: int | None = None) -> Float:
        """[B, 12, crop, crop] in network units."""
        crop = crop or self.config.crop
        return np.stack([standardise(self.crop(crop)) for _ in range(size or self.config.batch)])

    def crop(self, side: int) -> Float:
        """One augmented crop in DN, [12, side, side]."""
        scene = self.scenes[self.rng.choice(len(self.scenes), p=self.shares)]
        dn = self._cut(scene, side)
        rng, config = self.rng, self.config
        if scene.level == "L1C" and rng.random() < config.l1c_to_l2a:
            dn = self._towards_l2a(dn)
        if rng.random() < config.drift:
            dn = self._drift(dn)
        if rng.random() < config.bright:
            dn = self._brighten(dn)
        if rng.random() < config.cloud:
            dn = self._paste_cloud(dn)
        dn = np.clip(dn, 0, 20000)
        dn = np.rot90(dn, int(rng.integers(4)), axes=(1, 2))
        return np.ascontiguousarray(dn[:, :, ::-1] if rng.random() < 0.5 else dn)

    def _cut(self, scene: Scene, side: int) -> Float:
        rows, cols = scene.dn.shape[1:]
        step = 2 if self.rng.random() < self.config.even_phase else 1
        top = int(self.rng.integers(0, max(rows - side, 0) // step + 1)) * step
        left = int(self.rng.integers(0, max(cols - side, 0) // step + 1)) * step
        dn = np.asarray(scene.dn[:, top : top + side, left : left + side], np.float32)
        lack = ((0, 0), (0, side - dn.shape[1]), (0, side - dn.shape[2]))
        return np.pad(dn, lack, mode="symmetric") if dn.shape[1:] != (side, side) else dn

    def _towards_l2a(self, dn: Float) -> Float:
        dn = dn - HAZE * self.rng.uniform(0.3, 1.0)
        if self.rng.random() < 0.85:  # water vapour is corrected in L2A, so B09 looks like B8A at 60 m
            gain, own = self.rng.uniform(0.92, 1.08), self.rng.uniform(0, 0.3)
            detail = dn[B09] - dn[B09].mean()
            dn[B09] = blur_to_60m(dn[B8A]) * gain + own * detail
        if self.rng.random() < 0.5:
            dn[B01] = blur_to_60m(dn[B02]) * self.rng.uniform(0.75, 1.05) + self.rng.uniform(0, 0.4) * (
                dn[B01] - dn[B01].mean()
            )
        return dn

    def _drift(self, dn: Float) -> Float:
        rng = self.rng
        gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, (12, 1, 1)))
        offset = rng.normal(0, 60) + rng.normal(0, 30, (12, 1, 1))
        return (dn * gain + offset).astype(np.float32)

    def _brighten(self, dn: Float) -> Float:
        """Raise level and contrast as snow and bright cloud do; SWIR stays dark for snow."""
        rng = self.rng
        spectrum = SNOW if rng.random() < 0.5 else CLOUD
        contrast, level = rng.uniform(1.0, 3.0), rng.uniform(0, 5000)
        return np.asarray(dn * contrast * (0.5 + 0.5 * spectrum) + level * spectrum, np.float32)

    def _paste_cloud(self, dn: Float) -> Float:
        """Alpha-blend a fractal cloud over the crop, textured, with its real spectral slope."""
        rng, side = self.rng, dn.shape[-1]
        field = self._fractal(side, rng.uniform(1.6, 2.6))
        alpha = np.clip(field * rng.uniform(0.5, 2.0) + rng.uniform(-1.0, 1.5), 0, 1)
        texture = self._fractal(side, rng.uniform(1.3, 2.4)) * rng.uniform(100, 1500)
        spectrum = (SNOW if rng.random() < 0.3 else CLOUD) * np.exp(rng.normal(0, 0.04, (12, 1, 1)))
        cloud = (rng.uniform(2500, 9000) + texture) * spectrum
        cloud = np.stack(
            [blur_to_60m(c) if b.pixel_size == 60 else c for c, b in zip(cloud, S2_L2A, strict=True)]
        )
        return np.asarray(dn * (1 - alpha) + cloud * alpha + rng.normal(0, 8, dn.shape), np.float32)

    def _fractal(self, side: int, slope: float) -> Float:
        """Gaussian random field with power ~ f^-2 slope, unit variance, [side, side]."""
        f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
        f[0, 0] = 1.0 / side
        spectrum = np.fft.rfft2(self.rng.normal(size=(side, side))) * f**-slope
        field = np.fft.irfft2(spectrum, (side, side))
        return ((field - field.mean()) / field.std()).astype(np.float32)  # type: ignore[no-any-return]
