"""Random crops of places with several dates, all dates of a crop augmented alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eocodec.train.config import DataConfig, SeriesConfig
from eocodec.train.crops import CropSampler, standardise
from eocodec.train.scenes import Scene

NO_SERIES = ("ben_kvarken",)  # patches of one strip, not of one place
LONG = 8  # dates from which a series is a long one
DRIFT_OF_ONE = 0.15  # chance that a single date drifts by itself
CLOUD_ON_ONE = 0.1  # chance that a cloud is pasted on a single date

Float = NDArray[np.float32]


def places_with_dates(scenes: Sequence[Scene], held_back: float = 0.2) -> dict[str, list[Scene]]:
    """Scenes by place in time order, of places with at least two; long series without their last dates.

    held_back : share of a long series' dates, the latest, left out for measuring
    """
    places: dict[str, list[Scene]] = {}
    for scene in scenes:
        if scene.place not in NO_SERIES:
            places.setdefault(scene.place, []).append(scene)
    kept = {}
    for place, dates in places.items():
        if len(dates) >= LONG:
            dates = dates[: round(len(dates) * (1 - held_back))]
        if len(dates) > 1:
            kept[place] = dates
    return kept


class SeriesSampler(CropSampler):
    """Draws series; places by area of one date, long series by a share of their own."""

    def __init__(
        self, scenes: Sequence[Scene], config: DataConfig, seed: int, series: SeriesConfig | None = None
    ) -> None:
        super().__init__(scenes, config, seed)
        self._series = series = series or SeriesConfig()
        self._places = list(places_with_dates(scenes, series.held_back).values())
        area = np.sqrt([float(dates[0].dn[0].size) for dates in self._places])
        long = np.array([len(dates) >= LONG for dates in self._places])
        share = area / area[~long].sum() * (1 - series.long_share)
        if long.any():
            share[long] = series.long_share / long.sum()
        self._share = share / share.sum()

    def series(self, dates: int, side: int) -> Float:
        """[T, 12, n, n] in network units; T <= dates, n a multiple of 16 up to `side`."""
        rng = self.rng
        place = self._places[rng.choice(len(self._places), p=self._share)]
        chosen = self._dates(place, dates)
        height, width = place[0].dn.shape[1:]
        side = min(side, height // 16 * 16, width // 16 * 16)
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        frames = [np.asarray(s.dn[:, top : top + side, left : left + side], np.float32) for s in chosen]
        frames = self._alike(frames, chosen[0].level)
        if rng.random() < DRIFT_OF_ONE:
            one = int(rng.integers(len(frames)))
            frames[one] = self._drift(frames[one])
        if rng.random() < CLOUD_ON_ONE:
            one = int(rng.integers(len(frames)))
            frames[one] = self._paste_cloud(frames[one])
        stack = np.clip(np.stack(frames), 0, 20000)
        stack = np.rot90(stack, int(rng.integers(4)), axes=(2, 3))
        stack = stack[..., ::-1] if rng.random() < 0.5 else stack
        return np.stack([standardise(frame) for frame in stack])

    def _dates(self, place: Sequence[Scene], dates: int) -> list[Scene]:
        if len(place) <= dates:
            order = list(place)
            return order[::-1] if self.rng.random() < 0.5 else order
        most = self._series.most_gap if len(place) >= LONG else 1
        gaps = self.rng.integers(1, most + 1, dates - 1) if most > 1 else np.ones(dates - 1, int)
        at = np.concatenate([[0], np.cumsum(gaps)])
        at = at[at < len(place)]
        start = int(self.rng.integers(0, len(place) - at[-1]))
        return [place[start + int(i)] for i in at]

    def _alike(self, frames: list[Float], level: str) -> list[Float]:
        """The same change of level and of light for all dates: by the same random numbers."""
        own, seed = self.rng, int(self.rng.integers(2**31))
        l2a = level == "L1C" and own.random() < self.config.l1c_to_l2a
        drift, bright = own.random() < self.config.drift, own.random() < self.config.bright
        out = []
        for dn in frames:
            self.rng = np.random.default_rng(seed)
            dn = self._towards_l2a(dn) if l2a else dn
            dn = self._drift(dn) if drift else dn
            out.append(self._brighten(dn) if bright else dn)
        self.rng = own
        return out
