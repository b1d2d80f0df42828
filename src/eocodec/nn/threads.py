"""Work side by side: one thread a tile or a timestep, each on its own, instead of threads inside operations.

A codec spends a good part of its time outside the network; there, threads inside operations idle. Where
anything else runs on the machine, they wait for each other at the end of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# Threads there are for work side by side, where operations have been told to use one each (see `ahead`).
_threads: ContextVar[int | None] = ContextVar("_threads", default=None)


def map_tiles(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` on every item, in order, on as many threads as `torch.get_num_threads()` says.

    A single item is worked on here, with threads inside operations. Of several errors the one of the first
    item is raised.
    """
    inside = torch.get_num_threads()
    threads = min(_threads.get() or inside, len(items))
    if threads < 2:
        return [work(item) for item in items]
    try:
        # What a thread sets is its own number of threads, and that of threads that start later.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(inside)


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterable[T]]:
    """Items, each one made on a thread of its own while the one before it is worked on here.

    Within the block operations have one thread each, and `map_tiles` those that torch had. Where torch has
    one, items are as they are.
    """
    inside = torch.get_num_threads()
    if inside < 2:
        yield items
        return
    before = _threads.set(inside)
    try:
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            torch.set_num_threads(1)
            yield _made_by(pool, iter(items))
    finally:
        torch.set_num_threads(inside)
        _threads.reset(before)


def _made_by(pool: ThreadPoolExecutor, items: Iterator[T]) -> Iterator[T]:
    """Items, the next one under way when one is given."""
    coming = pool.submit(_one, items)
    while found := coming.result():
        coming = pool.submit(_one, items)
        yield found[0]


def _one(items: Iterator[T]) -> list[T]:
    """The next item; nothing after the last one."""
    return list(islice(items, 1))
