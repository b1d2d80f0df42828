"""A large real scene for timing: training scenes side by side, in one GeoTIFF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from eocodec.bench.base import Image, model_name
from eocodec.bench.datasets import require_data
from eocodec.bench.demo_scene import DEMO_CRS, DEMO_TRANSFORM
from eocodec.errors import RasterError
from eocodec.sensors import S2_BAND_NAMES

SHELF = 512  # rows of one strip of scenes; most scenes are taller
Report = Callable[[str], None]


@dataclass(frozen=True)
class SceneOptions:
    """What is coded: by which model and quality, and the scene (None: a mosaic of `size` x `size` pixels)."""

    model: str = "tec-elic"
    quality: float = 50.0
    size: int = 2048
    input: Path | None = None
    data: Path | None = None

    def described(self) -> dict[str, Any]:
        """JSON-ready, without paths."""
        fields = asdict(self)
        fields["input"] = self.input.name if self.input else "mosaic of train/native scenes"
        fields["model"] = model_name(self.model)
        fields.pop("data")
        return fields

    def scene(self, folder: Path, report: Report) -> Path:
        """The scene's GeoTIFF; a mosaic is made in `folder`."""
        if self.input is not None:
            return self.input
        report(f"assembling a scene of {self.size} x {self.size} pixels")
        path = folder / "scene.tif"
        write_scene(path, native_mosaic(self.size, self.size, self.data))
        return path


def read_native(folder: Path, rows: int) -> Image:
    """The top `rows` rows of a scene with one JPEG 2000 file a band, coarse bands upsampled bilinearly."""
    import rasterio
    from rasterio.enums import Resampling

    planes = []
    with rasterio.open(folder / "B02.jp2") as finest:
        shape = finest.shape
    for name in S2_BAND_NAMES:
        with rasterio.open(folder / f"{name}.jp2") as source:
            planes.append(source.read(1, out_shape=shape, resampling=Resampling.bilinear)[:rows])
    return np.stack(planes).clip(0, 32767).astype(np.int16)


def native_mosaic(rows: int, cols: int, root: Path | None = None) -> Image:
    """int16 DN [12, rows, cols]: strips of 512 rows, filled from left to right with training scenes.

    Raises
    ------
    RasterError : no imagery, or not enough of it for this size
    """
    folder = require_data(root) / "train" / "native"
    scenes = iter(sorted(path for path in folder.glob("*") if (path / "B02.jp2").is_file()))
    mosaic = np.zeros((len(S2_BAND_NAMES), rows, cols), np.int16)
    for top in range(0, rows, SHELF):
        height = min(SHELF, rows - top)
        left = 0
        while left < cols:
            scene = next(scenes, None)
            if scene is None:
                raise RasterError(f"{folder} does not hold enough scenes for {rows} x {cols} pixels")
            strip = read_native(scene, height)
            if strip.shape[1] < height:
                continue
            width = min(strip.shape[2], cols - left)
            mosaic[:, top : top + height, left : left + width] = strip[:, :, :width]
            left += width
    return mosaic


def scene_profile(
    bands: int, rows: int, cols: int, dtype: DTypeLike, nodata: int | None = None
) -> dict[str, Any]:
    """Arguments with which rasterio makes a tiled, uncompressed GeoTIFF at a made-up position."""
    from rasterio.transform import Affine

    return {
        "driver": "GTiff",
        "count": bands,
        "height": rows,
        "width": cols,
        "dtype": np.dtype(dtype).name,
        "crs": DEMO_CRS,
        "transform": Affine(*DEMO_TRANSFORM),
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "nodata": nodata,
    }


def write_scene(path: Path, scene: Image, nodata: int | None = None) -> None:
    """Write a 12-band scene as a GeoTIFF of `scene_profile`, with band names."""
    import rasterio

    bands, rows, cols = scene.shape
    with rasterio.open(path, "w", **scene_profile(bands, rows, cols, scene.dtype, nodata)) as target:
        target.write(scene)
        target.descriptions = S2_BAND_NAMES
