"""Layers that no model knows (B10, scene classification, masks): what they are, and where they come from.

They travel without loss beside the bands; `layer_store` has how they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from eocodec.interop.scene import SceneSource
from eocodec.types import AnyArray


@dataclass(frozen=True)
class LayerInfo:
    """A layer without its pixels. Its reference system is the scene's.

    Attributes
    ----------
    name : such as SCL, B10 or MSK_CLDPRB
    shape : (n, rows, cols) on its own grid
    dtype : of the pixels
    transform : affine of its own grid, or None
    nodata : value without a meaning, or None
    source : name of its file
    tags : of the file and its bands
    """

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    transform: tuple[float, ...] | None = None
    nodata: float | int | None = None
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Layers of one grid share a group, because names of axes have one size within a group."""
        _, rows, cols = self.shape
        if self.transform is None or self.transform[0] != int(self.transform[0]):
            return f"{rows}x{cols}"
        return f"{int(self.transform[0])}m"


class Layer(Protocol):
    """A layer whose pixels are read window by window."""

    @property
    def info(self) -> LayerInfo: ...

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [n, h, w] of a window with explicit start and stop."""
        ...


@dataclass(frozen=True)
class CroppedLayer:
    """A window of a layer."""

    layer: Layer
    window: tuple[slice, slice]

    @property
    def info(self) -> LayerInfo:
        """The layer's description on the window."""
        rows, cols = self.window
        info = self.layer.info
        shape = (info.shape[0], rows.stop - rows.start, cols.stop - cols.start)
        return replace(info, shape=shape, transform=shifted(info.transform, rows.start, cols.start))

    def read(self, rows: slice, cols: slice) -> AnyArray:
        """Pixels [n, h, w] of a window of the window."""
        top, left = self.window[0].start, self.window[1].start
        return self.layer.read(
            slice(rows.start + top, rows.stop + top), slice(cols.start + left, cols.stop + left)
        )


def layers_of(source: SceneSource) -> tuple[Layer, ...]:
    """The layers beside a scene's bands; none where its kind of source has none."""
    found: tuple[Layer, ...] = getattr(source, "layers", ())
    return found


def documents_of(source: SceneSource) -> Mapping[str, bytes]:
    """The product's metadata documents by file name; none where its kind of source has none."""
    found: Mapping[str, bytes] = getattr(source, "documents", {})
    return found


def shifted(transform: tuple[float, ...] | None, row: int, col: int) -> tuple[float, ...] | None:
    """The transform of a window whose upper left pixel is (row, col)."""
    if transform is None:
        return None
    a, b, c, d, e, f = transform
    return a, b, c + a * col + b * row, d, e, f + d * col + e * row
