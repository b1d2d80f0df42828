"""Sizes of a model from plain values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from eocodec.errors import ConfigError

_Config = TypeVar("_Config")


def config_from(cls: type[_Config], values: dict[str, Any], model: str) -> _Config:
    """The dataclass `cls` of plain values, lists as tuples; an unknown key is a `ConfigError`."""
    unknown = set(values) - {f.name for f in fields(cls)}  # type: ignore[arg-type]
    if unknown:
        raise ConfigError(f"unknown keys for {model}: {', '.join(sorted(unknown))}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
