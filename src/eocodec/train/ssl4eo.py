"""SSL4EO-S12 v1.1 as training data: any of its releases, read at random, the same crops whoever reads.

<root>/<split>/S2L2A/ has `.tar` shards whose members are `<place>.zarr.zip`, or such files themselves; a file
holds `bands`, int16 [T, C, H, W], or [places, T, C, H, W] (the first release: its DN have 1000 added). Which
crop stands at which position of the run follows from seed and position alone.
"""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from eocodec.errors import ConfigError, RasterError
from eocodec.sensors import LEVELS
from eocodec.train.published_config import PublishedData
from eocodec.train.zipped_array import ZippedArray
from eocodec.types import AnyArray, IntArray

SUFFIX = ".zarr.zip"
VARIABLE = "bands"


class Place(NamedTuple):
    """Where a place is: a file, or `size` bytes of a tar at `offset`; its row, in a file of many."""

    path: str
    offset: int = 0
    size: int = 0
    row: int | None = None


def find_places(root: Path, split: str, level: str) -> list[Place]:
    """All places of a split, in the order of their files.

    Raises
    ------
    ConfigError : there are none; RasterError : a file is unreadable
    """
    folder = root / split / f"S2{level}"
    places: list[Place] = []
    for path in sorted([*folder.glob("*.tar"), *folder.glob("*" + SUFFIX)]):
        places += _in_tar(path) if path.suffix == ".tar" else _in_file(path)
    if not places:
        raise ConfigError(f"no .tar with {SUFFIX} files and no such files in {folder}; set data.root")
    return places


def _in_tar(path: Path) -> list[Place]:
    try:
        with tarfile.open(path, "r:") as tar:
            return [Place(str(path), m.offset_data, m.size) for m in tar if m.name.endswith(SUFFIX)]
    except (OSError, tarfile.TarError) as error:
        raise RasterError(f"{path}: {error}") from error


def _in_file(path: Path) -> list[Place]:
    with path.open("rb") as file:
        shape = ZippedArray(file, VARIABLE, str(path)).shape
    return [Place(str(path), row=row) for row in range(shape[0])] if len(shape) == 5 else [Place(str(path))]


def read_dates(place: Place, count: int, rng: np.random.Generator) -> AnyArray:
    """`count` successive dates of a place, [count, C, H, W]; `rng` draws the first.

    Raises
    ------
    RasterError : the file is damaged, or has fewer dates
    """
    with ExitStack() as stack:
        file = stack.enter_context(_opened(place, stack))
        array = ZippedArray(file, VARIABLE, place.path)
        lead = () if place.row is None else (place.row,)
        if len(array.shape) != 4 + len(lead):
            raise RasterError(f"{place.path}: {VARIABLE} has the shape {array.shape}")
        spare = array.shape[len(lead)] - count
        if spare < 0:
            raise RasterError(f"{place.path}: {spare + count} dates, {count} are asked for")
        start = int(rng.integers(spare + 1))
        return np.stack([array.read((*lead, t)) for t in range(start, start + count)])


def _opened(place: Place, stack: ExitStack) -> IO[bytes]:
    if not place.size:
        return Path(place.path).open("rb")
    tar = stack.enter_context(tarfile.open(place.path, "r:"))  # noqa: SIM115  (the stack closes it)
    member = tarfile.TarInfo()
    member.offset_data, member.size = place.offset, place.size
    file = tar.extractfile(member)
    if file is None:
        raise RasterError(f"{place.path}: nothing at byte {place.offset}")
    return file


class Crops(Dataset[Tensor]):
    """Crops in DN, int16, [C, crop, crop], or [T, C, crop, crop] where `frames` is above 1; by position.

    Parameters
    ----------
    training : in random order, cut anywhere and turned; else in order and cut at the centre
    """

    def __init__(self, places: Sequence[Place], config: PublishedData, seed: int, *, training: bool) -> None:
        self._places, self._config, self._seed, self._training = places, config, seed, training

    def __getitem__(self, position: int) -> Tensor:
        config, rng = self._config, np.random.default_rng([self._seed, position])
        epoch, number = divmod(position, len(self._places))
        if self._training:
            number = int(_order(len(self._places), self._seed, epoch)[number])
        place = self._places[number]
        data = read_dates(place, config.frames, rng)
        if data.shape[1] != len(LEVELS[config.level]):
            raise RasterError(f"{place.path}: {data.shape[1]} bands, not those of {config.level}")
        data = _cut(data, config.crop, rng if self._training else None)
        if self._training:
            data = _turned(data, rng)
        data = np.clip(data.astype(np.int32) - config.offset, -32768, 32767).astype(np.int16)
        return torch.from_numpy(data[0] if config.frames == 1 else data)


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> IntArray:
    return np.random.default_rng([seed, epoch, count]).permutation(count)


def _cut(data: AnyArray, side: int, rng: np.random.Generator | None) -> AnyArray:
    """A square at random, or at the centre."""
    rows, cols = (n - side for n in data.shape[-2:])
    if min(rows, cols) < 0:
        raise RasterError(f"{data.shape[-2]} x {data.shape[-1]} pixels are too few for crops of {side}")
    top, left = (int(rng.integers(n + 1)) if rng else n // 2 for n in (rows, cols))
    return data[..., top : top + side, left : left + side]


def _turned(data: AnyArray, rng: np.random.Generator) -> AnyArray:
    """One of the eight symmetries of the square, the same for all dates."""
    data = np.rot90(data, int(rng.integers(4)), axes=(-2, -1))
    return data[..., ::-1] if rng.random() < 0.5 else data


class Positions(Sampler[list[int]]):
    """Positions of the batches of one process, from batch number `first` on, without end.

    Batch b of all processes together is positions b * size * batch and on, whatever their number.
    """

    def __init__(self, batch: int, rank: int, size: int, first: int) -> None:
        self._batch, self._rank, self._size, self._first = batch, rank, size, first

    def __iter__(self) -> Iterator[list[int]]:
        for number in itertools.count(self._first):
            start = (number * self._size + self._rank) * self._batch
            yield list(range(start, start + self._batch))


def training_batches(
    places: Sequence[Place], config: PublishedData, seed: int, rank: int, size: int, first: int
) -> Iterator[Tensor]:
    """Batches [B, ...] of `Crops` for process `rank` of `size`, from batch number `first` on, without end."""
    positions = Positions(config.batch, rank, size, first)
    return _loaded(Crops(places, config, seed, training=True), positions, config)


def validation_batches(
    places: Sequence[Place], config: PublishedData, rank: int, size: int
) -> Iterator[Tensor]:
    """This process's share of the first `val_samples` places, always the same crops."""
    mine = list(range(min(config.val_samples, len(places))))[rank::size]
    batches = [mine[i : i + config.batch] for i in range(0, len(mine), config.batch)]
    return _loaded(Crops(places, config, 0, training=False), batches, config)


def _loaded(crops: Crops, batches: Iterable[list[int]], config: PublishedData) -> Iterator[Tensor]:
    pinned = torch.cuda.is_available()
    return iter(DataLoader(crops, batch_sampler=batches, num_workers=config.workers, pin_memory=pinned))
