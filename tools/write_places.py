"""Write training imagery of two dates in the layout that published models train on, SSL4EO-S12's.

    python tools/write_places.py FOLDER [--count 600] [--side 192]

For runs on what there is without SSL4EO-S12. Places are augmented crops (`SeriesSampler`) of those in the
train split that are large enough; two dates, for hardly any of them has more.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import zarr

from eocodec.train.config import DataConfig
from eocodec.train.crops import MEANS, STDS
from eocodec.train.scenes import data_root, load_cached
from eocodec.train.series import SeriesSampler
from eocodec.train.ssl4eo import SUFFIX, VARIABLE
from eocodec.types import AnyArray

DATES = 2


def write_place(path: Path, dn: AnyArray) -> None:
    """One place [T, C, H, W] as a Zarr v2 store in a ZIP, a chunk a date."""
    with zarr.storage.ZipStore(path, mode="w") as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what zarr thinks of version 2
        group = zarr.create_group(store, zarr_format=2)
        array = group.create_array(VARIABLE, shape=dn.shape, dtype=dn.dtype, chunks=(1, *dn.shape[1:]))
        array[...] = dn


def main() -> None:
    """Draw and write the places."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config = DataConfig()
    scenes = load_cached(data_root(), Path(config.cache))
    large = [scene for scene in scenes if min(scene.dn.shape[1:]) >= given.side]
    sampler = SeriesSampler(large, config, given.seed)
    folder = given.folder / "train" / "S2L2A"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(given.count):
        dn = np.rint(sampler.series(DATES, given.side) * STDS + MEANS).astype(np.int16)
        write_place(folder / f"place_{number:05d}{SUFFIX}", dn)
    print(f"{given.count} places in {folder}")


if __name__ == "__main__":
    main()
