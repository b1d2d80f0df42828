"""Files of FlexTEC cut short, tile by tile; nothing is decoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eocodec.codestream.header import MAGIC
from eocodec.errors import InputError
from eocodec.interop.atomic import atomic_output, check_output
from eocodec.interop.container import Container, check_suffix, new_sink
from eocodec.interop.inspect import is_codestream
from eocodec.interop.settings import CODEC_NAME
from eocodec.truncating import truncate

SHARDING = "sharding_indexed"
_DOCUMENT = "zarr.json"


@dataclass(frozen=True)
class TruncateReport:
    """Bytes of the file before and after, and how many tiles it has."""

    bytes_before: int
    bytes_after: int
    tiles: int


def truncate_file(
    source: str | Path,
    output: str | Path,
    tokens: int,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> TruncateReport:
    """Write a file of the first tokens of another one.

    Parameters
    ----------
    source : a `.tec`, a `.zarr` of scenes or of series, or a bare codestream
    output : of the same kind; progress : called with (entries written, entries in all)

    Raises
    ------
    InputError : `source` is not of FlexTEC, is bounded or sharded; or no such number of tokens
    OutputExists, OutputError, RasterError, CodestreamError : as elsewhere
    """
    place, target = Path(source), Path(output)
    check_output(target, force=force)
    if is_codestream(place):
        data = place.read_bytes()
        cut = truncate(data, tokens)
        with atomic_output(target, force=force) as partial:
            partial.write_bytes(cut)
        return TruncateReport(len(data), len(cut), 1)
    check_suffix(target)
    with Container(place) as container:
        tiles = _copy(container, target, tokens, force, progress)
        before = container.total_bytes()
    with Container(target) as written:
        return TruncateReport(before, written.total_bytes(), tiles)


def _copy(
    container: Container,
    target: Path,
    tokens: int,
    force: bool,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Copy a store, its tiles cut; how many they were."""
    tiles = 0
    with atomic_output(target, force=force) as partial:
        sink = new_sink(partial, target.suffix.lower())
        try:
            for number, key in enumerate(container.sizes):
                data = container.read(key)
                if key.rpartition("/")[2] == _DOCUMENT:
                    data = _with_tokens(data, tokens)
                elif data[: len(MAGIC)] == MAGIC:
                    data = truncate(data, tokens)
                    tiles += 1
                sink.put(key, data)
                if progress is not None:
                    progress(number + 1, len(container.sizes))
            if not tiles:
                raise InputError(f"{container.name} has no tiles that could be cut")
        finally:
            sink.close()
    return tiles


def _with_tokens(document: bytes, tokens: int) -> bytes:
    """A metadata document whose codec states the number of tokens; otherwise as it is."""
    values = json.loads(document)
    return json.dumps(values, indent=1).encode() if _state(values, tokens) else document


def _state(values: Any, tokens: int) -> bool:
    """Set the tokens of every codec of ours within JSON values; whether there was one."""
    if isinstance(values, list):
        found = [_state(value, tokens) for value in values]  # all of them, whatever the first one says
        return any(found)
    if not isinstance(values, dict):
        return False
    if values.get("name") == SHARDING:
        raise InputError("the store is sharded; write it without shards to cut it")
    if values.get("name") == CODEC_NAME:
        configuration = values.setdefault("configuration", {})
        configuration["tokens"] = min(tokens, configuration.get("tokens", tokens))
        return True
    return _state(list(values.values()), tokens)
