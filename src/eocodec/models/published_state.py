"""State dicts of published checkpoints: compared with what a network has, then taken over as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from eocodec.entropy.stored_tables import BUFFERS, StoredTables
from eocodec.errors import WeightsError

PREFIX = "model."  # of all names in the published files of image models
SHOWN = 5  # names in a message

State = Mapping[str, Tensor]
_Network = TypeVar("_Network", bound=nn.Module)


def without_prefix(state: State) -> dict[str, Tensor]:
    """The state with `model.` taken off every name that has it."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


def sizes_of(state: State, name: str, what: str) -> tuple[int, ...]:
    """Shape of a convolution's weights, from which a network's sizes follow.

    Raises
    ------
    WeightsError : there are none of this name, or they are not those of a convolution
    """
    weight = state.get(name)
    if weight is None or weight.ndim != 4:
        raise WeightsError(f"{name}: missing or no convolution, so this is no {what}")
    return tuple(weight.shape)


def empty(make: Callable[[], _Network]) -> _Network:
    """A network without memory for its tensors, for `fill`."""
    with torch.device("meta"):
        return make()


def fill(network: _Network, state: State, what: str) -> _Network:
    """Make the tensors of a state those of a network, which is set to eval mode.

    Parameters
    ----------
    network : of the right sizes, see `empty`; what its tensors are does not matter
    what : words for the message, such as 'published TEC-FP'

    Raises
    ------
    WeightsError : tensors are missing, unknown, or of another shape or dtype; integer tables may be of any
        length
    """
    expected = network.state_dict()
    tables = {f"{prefix}.{name}" for prefix, _ in _stored_tables(network) for name in BUFFERS}
    problems = _problems(expected, state, tables)
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise WeightsError(f"no {what}: {'; '.join(problems[:SHOWN])}{more}")
    network.load_state_dict(dict(state), assign=True)
    return network.eval()


def with_tables(network: _Network) -> _Network:
    """A network whose integer tables are sound: computed from its densities where the state had none.

    Raises
    ------
    WeightsError, TableError : the tables of the state are malformed
    """
    for _, module in _stored_tables(network):
        if not getattr(module, BUFFERS[0]).numel():
            module.update_tables()
        module.tables()
    return network


def _stored_tables(network: nn.Module) -> Iterator[tuple[str, StoredTables]]:
    """Modules that have tables, by name."""
    for name, module in network.named_modules():
        if isinstance(module, StoredTables):
            yield name, module


def _problems(expected: State, found: State, any_length: set[str]) -> list[str]:
    """One phrase for each tensor that is not as it should be, by name."""
    problems = []
    for name in sorted({*expected, *found}):
        if name not in found:
            problems.append(f"{name} is missing")
        elif name not in expected:
            problems.append(f"{name} is unknown")
        else:
            has, wants = found[name], expected[name]
            if has.shape != wants.shape and name not in any_length:
                problems.append(f"{name} is {_size(has)}, expected {_size(wants)}")
            elif has.dtype != wants.dtype:
                problems.append(f"{name} is {_dtype(has)}, expected {_dtype(wants)}")
            elif has.dtype.is_floating_point and not torch.isfinite(has).all():
                problems.append(f"{name} is not finite")
    return problems


def _size(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a scalar"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
