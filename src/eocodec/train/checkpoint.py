"""What training loops keep: run folders, checkpoints, averaged weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eocodec.errors import ConfigError

CHECKPOINT = "last.pt"


def git_commit() -> str:
    """The commit of the working directory, '+' appended when it has changes; 'unknown' outside git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def claim_folder(folder: Path, config: dict[str, Any]) -> None:
    """Make a run folder and record its configuration in `config.json`.

    Raises
    ------
    ConfigError : the folder holds a run with another one
    """
    folder.mkdir(parents=True, exist_ok=True)
    recorded = folder / "config.json"
    text = json.dumps(config, indent=1)
    if recorded.is_file() and recorded.read_text() != text:
        raise ConfigError(
            f"{folder} holds a run with another configuration; choose another folder or remove it"
        )
    recorded.write_text(text)


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint atomically."""
    partial = folder / (CHECKPOINT + ".partial")
    torch.save(state, partial)
    partial.replace(folder / CHECKPOINT)


def take_up(
    folder: Path, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], device: torch.device
) -> dict[str, Any] | None:
    """Weights and optimisers as the folder's checkpoint has them; all that it holds, or None without one."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    return state


def start_average(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, for `update_average`."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Move the exponential average towards the weights; it forgets sooner in the first steps."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            average[name].lerp_(value, 1 - decay)


@contextmanager
def averaged(model: nn.Module, average: dict[str, Tensor]) -> Iterator[None]:
    """The model has its averaged weights inside the `with`."""
    current = start_average(model)
    model.load_state_dict(average)
    try:
        yield
    finally:
        model.load_state_dict(current)
