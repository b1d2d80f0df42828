"""The training imagery as 12-band arrays on the 10 m grid, cached as one memory-mapped file a scene.

Layouts read (those of the shared data folder, see its README): `native` (a folder with one JPEG 2000 file a
band at 10, 20 and 60 m), `stack` (12-band GeoTIFF) and `series` (`.npz` with 10 bands, B01 and B09 missing).
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eocodec.errors import ConfigError
from eocodec.sensors import S2_BAND_NAMES

NODATA = -32768  # of the stacks that have any


@dataclass(frozen=True)
class Scene:
    """One date of one place: `dn` int16 [12, H, W]; `level` 'L1C' or 'L2A'; `synthetic`: bands made up."""

    name: str
    place: str
    level: str
    kind: str
    dn: NDArray[np.int16]
    synthetic: tuple[str, ...] = ()


def data_root(path: str | None = None) -> Path:
    """The imagery's folder: the argument, else `EOCODEC_DATA`, else `../shared/data`."""
    root = Path(path or os.environ.get("EOCODEC_DATA", "../shared/data"))
    if not (root / "catalog.csv").is_file():
        raise ConfigError(f"no imagery at {root}: catalog.csv not found; set EOCODEC_DATA or data.root")
    return root


def upsample(plane: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Bilinear interpolation with pixel centres aligned: [h, w] -> [h * factor, w * factor]."""
    for axis in (0, 1):
        n = plane.shape[axis]
        centre = (np.arange(n * factor, dtype=np.float32) + 0.5) / factor - 0.5
        low = np.clip(np.floor(centre).astype(np.int64), 0, n - 1)
        high = np.minimum(low + 1, n - 1)
        weight = np.clip(centre - low, 0.0, 1.0).astype(np.float32)
        shape = (-1, 1) if axis == 0 else (1, -1)
        weight = weight.reshape(shape)
        plane = np.take(plane, low, axis) * (1 - weight) + np.take(plane, high, axis) * weight
    return plane


def coarsen(plane: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Mean over blocks of `factor` x `factor` pixels; sides must be multiples of it."""
    rows, cols = plane.shape
    return np.asarray(plane.reshape(rows // factor, factor, cols // factor, factor).mean((1, 3)))


def _read_native(folder: Path) -> NDArray[np.int16]:
    import rasterio

    planes = []
    for name in S2_BAND_NAMES:
        with rasterio.open(folder / f"{name}.jp2") as source:
            planes.append(source.read(1).astype(np.float32))
    rows, cols = planes[1].shape
    full = [p if p.shape == (rows, cols) else upsample(p, rows // p.shape[0])[:rows, :cols] for p in planes]
    return _to_int16(np.stack(full))


def _to_int16(dn: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.asarray(np.clip(np.rint(dn), -32767, 32767), np.int16)


def _read_stack(path: Path) -> NDArray[np.int16]:
    import rasterio

    from eocodec.raster.fill import smooth_fill

    with rasterio.open(path) as source:
        dn = source.read()
    invalid = (dn == NODATA).any(0)
    return _to_int16(smooth_fill(dn.astype(np.float32), ~invalid))


def _read_series(path: Path) -> list[NDArray[np.int16]]:
    """Dates of a 10-band series as 12 bands: B01 stands in from B02, B09 from B8A, both at 60 m."""
    with np.load(path) as archive:
        bands = [str(b) for b in archive["bands"]]
        data, mask = archive["data"], archive["mask"]
    if "B8A" not in bands:
        return []
    scenes = []
    for frame, valid in zip(data, mask, strict=True):
        if valid.mean() < 1.0:
            continue
        planes = {b: frame[i].astype(np.float32) for i, b in enumerate(bands)}
        planes["B01"] = blur_to_60m(planes["B02"])
        planes["B09"] = blur_to_60m(planes["B8A"])
        stack = np.stack([planes[b] for b in S2_BAND_NAMES])
        scenes.append(_to_int16(stack))
    return scenes


def blur_to_60m(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A 10 m plane as a 60 m band looks on the 10 m grid (block mean, then bilinear); same shape."""
    rows, cols = plane.shape
    padded = np.pad(plane, ((0, -rows % 6), (0, -cols % 6)), mode="edge")
    return upsample(coarsen(padded, 6), 6)[:rows, :cols]


def read_split(root: Path, split: str = "train", min_side: int = 64) -> list[Scene]:
    """All scenes of a split with at least `min_side` pixels a side, read from their files."""
    with (root / "catalog.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    scenes: list[Scene] = []
    series_done: set[str] = set()
    for row in rows:
        path, place, level = root / row["path"], row["place"], row["level"]
        if row["layout"] == "series":
            if row["path"] in series_done:
                continue
            series_done.add(row["path"])
            for i, dn in enumerate(_read_series(path)):
                scenes.append(Scene(f"{place}_{i}", place, level, "series", dn, ("B01", "B09")))
            continue
        dn = _read_native(path) if row["layout"] == "native" else _read_stack(path)
        scenes.append(Scene(row["id"], place, level, row["layout"], dn))
    return [scene for scene in scenes if min(scene.dn.shape[1:]) >= min_side]


def load_cached(root: Path, cache: Path, split: str = "train", min_side: int = 64) -> list[Scene]:
    """`read_split` through a cache folder, one `.npy` a scene and an index; memory-mapped on return."""
    origin = f"{root.resolve()} {min_side}"
    cache = cache / hashlib.sha256(origin.encode()).hexdigest()[:12]
    index = cache / f"{split}.csv"
    if not index.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        lines = []
        for scene in read_split(root, split, min_side):
            np.save(cache / f"{split}_{scene.name}.npy", scene.dn)
            lines.append([scene.name, scene.place, scene.level, scene.kind, " ".join(scene.synthetic)])
        partial = index.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            csv.writer(file).writerows(lines)
        partial.replace(index)
    scenes = []
    with index.open(newline="") as file:
        for name, place, level, kind, synthetic in csv.reader(file):
            dn = np.load(cache / f"{split}_{name}.npy", mmap_mode="r")
            scenes.append(Scene(name, place, level, kind, dn, tuple(synthetic.split())))
    return scenes
