"""The bands that a model takes, of a scene that keeps some of them as layers: B10, which most models lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eocodec.errors import BandError
from eocodec.interop.layers import Layer, layers_of
from eocodec.interop.resample import bilinear, keep_means
from eocodec.interop.scene import SceneInfo, SceneSource
from eocodec.interop.views import NOTHING, View
from eocodec.types import AnyArray


@dataclass(frozen=True)
class WithLayerBands(View):
    """A scene with some of its layers among the bands; `places` has the layer of each band that is one."""

    places: tuple[Layer | None, ...]

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [C, h, w] of a window; coarser layers are interpolated as coarser bands are."""
        own = iter(self.scene.read(rows, cols))
        factors = self.info.native_factors
        planes = [
            next(own) if layer is None else self._plane(layer, factor, rows, cols)
            for layer, factor in zip(self.places, factors, strict=True)
        ]
        return np.stack(planes)

    def _plane(self, layer: Layer, factor: int, rows: slice, cols: slice) -> AnyArray:
        coarse, fine = layer.info.shape[1:], self.info.shape[1:]
        if coarse == fine:
            return np.asarray(layer.read(rows, cols)[0])
        resample = bilinear if factor == 1 else keep_means
        return np.asarray(
            resample(lambda r, c: layer.read(r, c)[0], coarse, fine, (rows, cols), self.info.nodata)
        )


def for_model(source: SceneSource, bands: Sequence[str]) -> SceneSource:
    """The scene with the bands that a model takes.

    Parameters
    ----------
    source : as `open_scene` gives it: with the twelve bands that most models take, all others being layers
    bands : of the model, in its order

    Returns
    -------
    the scene itself, if none of its layers is a band of the model; the other layers stay

    Raises
    ------
    BandError : the scene lacks a band; or the layer that is one has another dtype, or several planes
    """
    info = source.info
    layers = {layer.info.name: layer for layer in layers_of(source)}
    if not set(bands) - set(info.bands):
        return source
    missing = [band for band in bands if band not in info.bands and band not in layers]
    if missing or [band for band in bands if band in info.bands] != list(info.bands):
        raise BandError(
            f"the model takes {' '.join(bands)}; the input has "
            + (f"no {', '.join(missing)}" if missing else f"{' '.join(info.bands)}")
        )
    places = tuple(None if band in info.bands else layers[band] for band in bands)
    for layer in filter(None, places):
        if layer.info.shape[0] != 1 or layer.info.dtype != info.dtype:
            raise BandError(
                f"{layer.info.name} is {layer.info.dtype} of {layer.info.shape[0]} planes, the other bands "
                f"are {info.dtype}; bring it to one plane of that type"
            )
    whole = _described(info, tuple(bands), places)
    kept = tuple(layer for layer in layers.values() if layer.info.name not in bands)
    return WithLayerBands(whole, source, kept, places)


def _described(info: SceneInfo, bands: tuple[str, ...], places: tuple[Layer | None, ...]) -> SceneInfo:
    """What is known of the bands with the layers among them."""
    known: dict[str, Any] = {"factors": _factors(info, places)}
    for name, nothing in NOTHING.items():
        values = dict(zip(info.bands, getattr(info, name), strict=False))
        if values and name != "factors":
            known[name] = tuple(values.get(band, nothing) for band in bands)
    if info.descriptions:
        known["descriptions"] = tuple(
            band if layer else text
            for band, layer, text in zip(bands, places, known["descriptions"], strict=True)
        )
    if info.scales and info.product:  # one quantification for all bands of a product
        first = info.present[0]
        stated = info.product.get("offsets", {})
        scale = info.scales[first]
        known["scales"] = tuple(scale if layer else known["scales"][k] for k, layer in enumerate(places))
        known["offsets"] = tuple(
            stated.get(band, 0.0) * scale if layer else known["offsets"][k]
            for k, (band, layer) in enumerate(zip(bands, places, strict=True))
        )
    count, order = len(info.bands), dict(zip(info.bands, info.order, strict=False))
    extra = iter(range(count, len(bands)))  # the file's own order has them last
    if order:
        known["order"] = tuple(order[band] if band in order else next(extra) for band in bands)
    if len(info.sources) == len(info.present) > 1:
        files = dict(zip((info.bands[k] for k in info.present), info.sources, strict=True))
        named = zip(bands, places, strict=True)
        known["sources"] = tuple(
            layer.info.source if layer else files[band] for band, layer in named if layer or band in files
        )
    return replace(info, shape=(len(bands), *info.shape[1:]), bands=bands, **known)


def _factors(info: SceneInfo, places: Sequence[Layer | None]) -> tuple[int, ...]:
    """Native pixel sizes of all bands over the grid's; 1 for a layer whose grid does not divide it."""
    own = iter(info.native_factors)
    return tuple(next(own) if layer is None else _factor(info.shape, layer.info.shape) for layer in places)


def _factor(fine: tuple[int, ...], coarse: tuple[int, ...]) -> int:
    factor = fine[1] // coarse[1]
    return factor if factor and (coarse[1] * factor, coarse[2] * factor) == fine[1:] else 1
