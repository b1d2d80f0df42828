"""Jobs on the workers of a Dask scheduler, one at a time each. Imported when such a pool is opened."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import dask.config
from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, wait
from distributed.client import ClosedClientError
from distributed.system import MEMORY_LIMIT
from distributed.worker import Worker

from eocodec.errors import InputError, OutputError
from eocodec.interop.scale.work import Job, Outcome, attempt
from eocodec.interop.scale.workers import LOCAL, WORKER_DIED, Workers

CONNECT_SECONDS = 20
START_SECONDS = 120  # a process imports torch, perhaps from a slow disk
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS")


class ModelPlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Loads a model when a worker starts, so that no task waits for it, and sets what its process needs."""

    name = "eocodec-model"

    def __init__(self, workers: Workers, model: str) -> None:
        self.workers, self.model = workers, model

    def setup(self, worker: Worker) -> None:
        """Prepare a worker's process."""
        os.environ.update(self.workers.gdal)
        logging.getLogger("rasterio").addHandler(logging.NullHandler())
        is_ours = self.workers.scheduler == LOCAL
        if is_ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked for the work
        import torch

        from eocodec.models import registry, weights

        if self.workers.threads_each is not None:
            torch.set_num_threads(self.workers.threads_each)
        weights.load_fingerprint(registry.by_id(self.model).fingerprint)

    def teardown(self, worker: Worker) -> None:
        """End the process of a cluster of our own at once; Python takes seconds to take torch apart."""
        if self.workers.scheduler == LOCAL:
            os._exit(0)


class DaskPool:
    """Workers of a cluster: of our own on this machine, or of the scheduler at an address."""

    def __init__(self, workers: Workers, model: str) -> None:
        """Connect, and have every worker load the model.

        Raises
        ------
        InputError : nobody answers at the address, or no worker comes
        """
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # deaths and losses are ours to report
        self._running: dict[Future[Outcome], Job] = {}
        with ExitStack() as stack:
            address = workers.scheduler
            if address == LOCAL:
                cluster = stack.enter_context(_local_cluster(workers))
                address = cluster.scheduler_address
            self._client = stack.enter_context(_connected(address))
            self._client.register_plugin(ModelPlugin(workers, model))
            stack.callback(self._release)
            self._stack = stack.pop_all()

    def slots(self) -> int:
        """Workers that are there now; one job each, so that a worker that dies takes no other job along."""
        with _scheduler_there():
            return max(len(self._client.nthreads()), 1)

    def submit(self, job: Job) -> None:
        """Send a job to a worker."""
        key = f"eocodec-{job.run.name}-{job.output}-{len(job.reasons)}"
        with _scheduler_there():
            self._running[self._client.submit(attempt, job, key=key, pure=False)] = job

    def next(self) -> tuple[Job, Outcome]:
        """The next outcome; waits for it.

        Raises
        ------
        OutputError : the scheduler is gone
        """
        with _scheduler_there(), self._client.as_current():
            wait(list(self._running), return_when="FIRST_COMPLETED")
        future = next(future for future in self._running if future.done())
        job = self._running.pop(future)
        raised = future.exception()
        if raised is None:
            return job, future.result()
        if isinstance(raised, KilledWorker):
            return job, Outcome(None, WORKER_DIED, again=True)
        return job, Outcome(None, f"{type(raised).__name__}: {' '.join(str(raised).split())}")

    def close(self) -> None:
        """Leave a scheduler as it was; end a cluster of our own."""
        self._stack.close()

    def _release(self) -> None:
        """Take back what has not begun, and what new workers were to do."""
        with suppress(OSError, CancelledError, ClosedClientError):
            self._client.cancel(list(self._running), force=True)
            self._client.unregister_worker_plugin(ModelPlugin.name)


@contextmanager
def _scheduler_there() -> Iterator[None]:
    """What Dask raises when it has lost its scheduler, as an error of ours."""
    try:
        yield
    except (OSError, CancelledError, ClosedClientError) as error:
        raise OutputError(
            "the connection to the Dask scheduler is lost; run the command again to go on"
        ) from error


def count_at(address: str) -> int:
    """Workers of the scheduler at an address.

    Raises
    ------
    InputError : nobody answers
    """
    with _connected(address) as client:
        return len(client.nthreads())


def _connected(address: str) -> Any:
    """A client of a scheduler that has at least one worker."""
    client = None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        client.wait_for_workers(1, timeout=START_SECONDS)
    except OSError as error:  # also what Dask raises when time is up
        if client is not None:
            client.close()
        raise InputError(
            f"no Dask scheduler with workers answers at {address} ({error}); check that it runs"
        ) from error
    return client


def _local_cluster(workers: Workers) -> Any:
    """Processes on this machine; we are told at once when one dies."""
    threads = str(workers.threads_each)
    settings = {
        # Read as torch starts, so they must be there before the process is.
        "distributed.nanny.pre-spawn-environ": {
            **dict.fromkeys(THREAD_VARIABLES, threads),
            "OMP_WAIT_POLICY": "PASSIVE",
        },
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.daemon": True,
    }
    with dask.config.set(settings):
        return LocalCluster(
            n_workers=workers.processes,
            threads_per_worker=1,
            processes=True,
            memory_limit=MEMORY_LIMIT // workers.processes,  # Dask would share it out by threads
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
