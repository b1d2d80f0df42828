"""Who does the work of an archive: processes of this machine, or those of a Dask scheduler."""

from __future__ import annotations

import os
from dataclasses import dataclass

from eocodec.errors import InputError

LOCAL, HERE = "local", "none"
WORKER_DIED = "the worker process died (killed, or out of memory)"
PROTOCOLS = ("tcp://", "tls://", "ws://", "wss://", "ucx://")


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes
    ----------
    scheduler : `local` for a Dask cluster of processes on this machine, the address of another, or `none`
        for this process alone
    count : processes of a local cluster; None: as many as cores
    threads : of the network in each; None: the cores, shared out
    gdal : options of GDAL, set in each process
    """

    scheduler: str = LOCAL
    count: int | None = None
    threads: int | None = None
    gdal: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.scheduler not in (LOCAL, HERE) and not self.scheduler.startswith(PROTOCOLS):
            raise InputError(
                f"--scheduler {self.scheduler!r} is neither {LOCAL} nor {HERE} nor an address such as "
                "tcp://host:8786"
            )

    @property
    def processes(self) -> int:
        """Of a local cluster, or the one that is this."""
        return 1 if self.scheduler == HERE else self.count or cores()

    @property
    def threads_each(self) -> int | None:
        """Of the network in one process; None: as many as it has, here or on another machine."""
        if self.threads is not None or self.scheduler != LOCAL:
            return self.threads
        return max(cores() // self.processes, 1)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
