"""Where jobs run: here, one after another, or on the workers of a Dask scheduler."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol

from eocodec.errors import MissingDependency
from eocodec.interop.scale.work import Job, Outcome, attempt
from eocodec.interop.scale.workers import HERE, LOCAL, Workers


class Pool(Protocol):
    """Takes jobs and gives back what came of them, in any order."""

    def slots(self) -> int:
        """Jobs that can run at the same time, now."""
        ...

    def submit(self, job: Job) -> None: ...

    def next(self) -> tuple[Job, Outcome]:
        """The next outcome; waits for it.

        Raises
        ------
        OutputError : the scheduler is gone
        """
        ...

    def close(self) -> None: ...


class HerePool:
    """This process."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()

    def slots(self) -> int:
        """One."""
        return 1

    def submit(self, job: Job) -> None:
        """Keep a job until somebody asks for its outcome."""
        self._jobs.append(job)

    def next(self) -> tuple[Job, Outcome]:
        """Do the job that has waited longest."""
        job = self._jobs.popleft()
        return job, attempt(job)

    def close(self) -> None:
        """Nothing is open."""


def count_workers(workers: Workers) -> int:
    """Processes that would work; those at an address are asked for. Errors of `open_pool`."""
    if workers.scheduler in (LOCAL, HERE):
        return workers.processes
    return _dask_pool(workers.scheduler).count_at(workers.scheduler)  # type: ignore[no-any-return]


@contextmanager
def open_pool(workers: Workers, model: str) -> Iterator[Pool]:
    """Start or find the workers, who load the model once.

    Raises
    ------
    MissingDependency : Dask's scheduler is not installed
    InputError : there is nobody at the address
    """
    if workers.scheduler == HERE:
        yield HerePool()
        return
    with closing(_dask_pool(workers.scheduler).DaskPool(workers, model)) as pool:
        yield pool


def _dask_pool(scheduler: str) -> Any:
    """The module that needs Dask."""
    try:
        from eocodec.interop.scale import dask_pool
    except ImportError as error:
        raise MissingDependency(
            f"--scheduler {scheduler} takes Dask ({error}); pip install 'eocodec[dask]', "
            f"or use --scheduler {HERE}"
        ) from error
    return dask_pool
