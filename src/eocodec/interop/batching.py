"""What several threads want coded at the same time goes through the network together.

Zarr asks for chunks one by one, several at a time: each caller waits for its turn, and whoever has it takes
along what the others put into the queue meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eocodec.errors import CodecError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class _Job(Generic[T]):
    """One item: `key` says with which others it may go together, `result` is a list of one when done."""

    key: Hashable
    item: T
    size: int
    result: list[Any] | None = None
    error: CodecError | None = None

    @property
    def open(self) -> bool:
        return self.result is None and self.error is None


class Batcher(Generic[T, R]):
    """A function of several items, shared by threads: one runs it at a time, for the others too.

    Attributes
    ----------
    work : (key, items) -> results in the items' order
    most : what the sizes of the items of one call may add up to; a larger item goes alone
    """

    def __init__(self, work: Callable[[Any, list[T]], list[R]], most: Callable[[], int]) -> None:
        self._work, self._most = work, most
        self._turn = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Job[T]] = []

    def run(self, key: Hashable, items: Sequence[T], sizes: Sequence[int]) -> list[R]:
        """Results of `items`, which may go together with items of other threads under an equal key.

        Raises
        ------
        CodecError : of the first of these items that failed; what failed for another thread is raised there
        """
        jobs = [_Job(key, item, size) for item, size in zip(items, sizes, strict=True)]
        with self._queue_lock:
            self._queue += jobs
        try:
            with self._turn:
                while any(job.open for job in jobs):
                    self._call(self._take())
        finally:
            with self._queue_lock:  # after an interruption, what nobody waits for any more
                self._queue = [job for job in self._queue if job not in jobs]
        return [_result(job) for job in jobs]

    def _take(self) -> list[_Job[T]]:
        """The first job of the queue and those that may go with it."""
        with self._queue_lock:
            taken: list[_Job[T]] = []
            total = 0
            for job in self._queue:
                if taken and (job.key != taken[0].key or total + job.size > self._most()):
                    continue
                taken.append(job)
                total += job.size
            self._queue = [job for job in self._queue if job not in taken]
            return taken

    def _call(self, jobs: list[_Job[T]]) -> None:
        try:
            results = self._work(jobs[0].key, [job.item for job in jobs])
            for job, result in zip(jobs, results, strict=True):
                job.result = [result]
        except CodecError as error:
            if len(jobs) == 1:
                jobs[0].error = error
                return
            for job in jobs:  # one of them is at fault, and the others' callers shall not hear of it
                self._call([job])
        finally:
            with self._queue_lock:  # an error of no item, such as no memory: everyone tries for himself
                self._queue += [job for job in jobs if job.open and job not in self._queue]


def _result(job: _Job[Any]) -> Any:
    if job.error is not None:
        raise job.error
    return job.result[0] if job.result is not None else None
