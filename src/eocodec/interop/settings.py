"""Encoding settings as the JSON of a store's metadata; shared by the Zarr codec and the file writer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eocodec.errors import ConfigError

CODEC_NAME = "eocodec.tec"
KEYS = ("model", "quality", "nodata", "scale", "offset", "max_error", "tokens")


def number_to_json(value: float | int | None) -> float | int | str | None:
    """A number as Zarr v3 spells it in JSON, which has no NaN and no infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def number_from_json(value: Any) -> Any:
    """Invert `number_to_json`."""
    named = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return named.get(value, value) if isinstance(value, str) else value


def codec_json(settings: Any) -> dict[str, Any]:
    """`{"name", "configuration"}` of anything with the attributes KEYS; those that are off are left out."""
    configuration: dict[str, Any] = {"model": settings.model}
    if settings.quality is not None:
        configuration["quality"] = settings.quality
    if settings.max_error is not None:
        configuration["max_error"] = int(settings.max_error)
    if settings.tokens is not None:
        configuration["tokens"] = settings.tokens
    if settings.nodata is not None:
        configuration["nodata"] = number_to_json(settings.nodata)
    if settings.scale is not None:
        configuration["scale"] = settings.scale
    if settings.offset:
        configuration["offset"] = settings.offset
    return {"name": CODEC_NAME, "configuration": configuration}


def settings_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments (some of KEYS) from a codec's JSON.

    Raises
    ------
    ConfigError : another codec's name, or an unknown key
    """
    if data.get("name") != CODEC_NAME:
        raise ConfigError(f"codec name is {data.get('name')!r}, expected {CODEC_NAME!r}")
    configuration = dict(data.get("configuration") or {})
    unknown = set(configuration) - set(KEYS)
    if unknown:
        raise ConfigError(
            f"unknown configuration of {CODEC_NAME}: {', '.join(sorted(unknown))}; "
            "a newer eocodec wrote it, update this one"
        )
    if "nodata" in configuration:
        configuration["nodata"] = number_from_json(configuration["nodata"])
    return configuration
