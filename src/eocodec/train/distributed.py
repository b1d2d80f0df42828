"""Several processes of one training run: started by `torchrun`, or a single one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from eocodec.errors import ConfigError


@dataclass(frozen=True)
class Group:
    """This process among those of the run.

    rank : of this process; size : how many there are; device : this one's
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True for the one that prints and writes."""
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over all processes; itself where there is one."""
        if self.size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)

    def unsynchronised(self, module: nn.Module, wanted: bool = True) -> AbstractContextManager[Any]:
        """Inside the `with`, gradients of what `parallel` returned add up without being exchanged."""
        if wanted and isinstance(module, DistributedDataParallel):
            return module.no_sync()
        return nullcontext()

    def sums(self, values: list[float]) -> list[float]:
        """Sums over all processes, on each of them."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.tolist()  # type: ignore[no-any-return]

    def shared(self, value: Any) -> Any:
        """The leading process's value, on each of them."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """This process's place in the run, by the variables that `torchrun` sets; alone where there are none.

    Parameters
    ----------
    device : 'cpu', or 'cuda' for the GPU of the local rank

    Raises
    ------
    ConfigError : there is no such device
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    where = _device(device)
    mine = size > 1 and not distributed.is_initialized()
    if mine:
        if where.type == "cuda":
            torch.cuda.set_device(where)
        distributed.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Group(rank, size, where)
    finally:
        if mine:
            distributed.destroy_process_group()


def _device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda":
        raise ConfigError(f"run.device must be cuda or cpu, not {name!r}")
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        raise ConfigError(f"{there} GPUs here, process {number + 1} has none; take fewer, or run.device=cpu")
    return torch.device("cuda", number)
