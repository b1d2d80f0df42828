"""Miniature SSL4EO-S12 v1.1 in each of its layouts."""

import io
import tarfile
import warnings

import numpy as np
import zarr

from codec_support import tile

DATES, SIDE = 4, 72


def place(seed, dates=DATES, side=SIDE, bands=12):
    """The dates of a place, int16 [T, C, H, W]."""
    dn = tile(side, side, 10 * seed, timesteps=dates, dtype="int16")
    return np.concatenate([dn, dn[:, :1]], 1) if bands == 13 else dn


def zipped(path, bands, chunks=None, **options):
    """Write `bands` as a Zarr v2 store in a ZIP."""
    with zarr.storage.ZipStore(path, mode="w") as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what zarr thinks of version 2
        group = zarr.create_group(store, zarr_format=2)
        chunks = chunks or (*(1,) * (bands.ndim - 3), *bands.shape[-3:])
        array = group.create_array("bands", shape=bands.shape, dtype=bands.dtype, chunks=chunks, **options)
        array[...] = bands
        zarr.consolidate_metadata(store)
    return path


def shard(path, places, work):
    """Write a tar of one `<key>.zarr.zip` for each place, as the second release has them."""
    with tarfile.open(path, "w") as tar:
        for number, bands in enumerate(places):
            data = zipped(work / f"{path.stem}_{number}.zip", bands).read_bytes()
            member = tarfile.TarInfo(f"ssl4eos12_{number:07d}.zarr.zip")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def dataset(root, work, level="L2A", train=6, val=3, side=SIDE):
    """`train` places in two shards and `val` in one."""
    bands = 13 if level == "L1C" else 12
    for split, count, shards, seed in (("train", train, 2, 0), ("val", val, 1, 100)):
        folder = root / split / f"S2{level}"
        folder.mkdir(parents=True)
        for number in range(shards):
            places = [place(seed + n, side=side, bands=bands) for n in range(number, count, shards)]
            shard(folder / f"ssl4eos12_shard_{number + 1:06d}.tar", places, work)
    return root
