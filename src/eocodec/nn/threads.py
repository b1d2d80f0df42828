"""Tiles side by side: one thread a tile, each on its own, instead of threads inside every operation.

A codec spends a good part of its time outside the network; there, threads inside operations idle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def map_tiles(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` on every item, in order, on as many threads as `torch.get_num_threads()` says.

    A single item is worked on here, with threads inside operations. Of several errors the one of the first
    item is raised.
    """
    threads = torch.get_num_threads()
    if min(threads, len(items)) < 2:
        return [work(item) for item in items]
    try:
        # What a thread sets is its own number of threads, and that of threads that start later.
        with ThreadPoolExecutor(
            min(threads, len(items)), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)
