"""What an archive would come to, measured on some tiles of some of its scenes. Writes nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eocodec.errors import CodecError, InputError
from eocodec.interop.files import settings_for
from eocodec.interop.layer_store import CHUNK, LAYERS, Beside, write_array, write_layers
from eocodec.interop.layers import CroppedLayer, Layer, layers_of
from eocodec.interop.model_bands import for_model
from eocodec.interop.scale.manifest import MANIFEST, read_manifest
from eocodec.interop.scale.many import ON_ALL_CORES, is_done
from eocodec.interop.scale.pools import count_workers
from eocodec.interop.scale.sources import Source
from eocodec.interop.scale.work import Request, spread_windows
from eocodec.interop.scale.workers import Workers
from eocodec.interop.scene import SceneSource
from eocodec.interop.store import overhead_bytes
from eocodec.interop.views import View
from eocodec.models import registry

SAMPLED_SOURCES = 8
SAMPLED_TILES = 2  # of each


@dataclass(frozen=True)
class Estimate:
    """What a run would do.

    Attributes
    ----------
    sources, there : scenes asked for; those that are there already
    total_bytes, beside_bytes, raw_bytes : of the outputs to come, as in `EncodeReport`
    seconds : with `workers` processes
    tiles : that were encoded for this
    unreadable : sources of the sample that cannot be encoded, and reasons
    """

    sources: int
    there: int
    total_bytes: int
    beside_bytes: int
    raw_bytes: int
    seconds: float
    workers: int
    tiles: int
    unreadable: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        unreadable = [{"source": source, "error": reason} for source, reason in self.unreadable]
        return {**asdict(self), "unreadable": unreadable}


@dataclass(frozen=True)
class _Scene:
    """Of one scene, extrapolated from its tiles."""

    total_bytes: float
    beside_bytes: float
    raw_bytes: int
    seconds: float
    tiles: int


def estimate(
    sources: Sequence[Source], out: str | Path, request: Request, *, workers: Workers = ON_ALL_CORES
) -> Estimate:
    """Size and time of a run, from a sample of its scenes.

    Parameters
    ----------
    sources, out, request : as in `encode_many`
    workers : each is taken to be as fast as this process, and none to wait for another

    Raises
    ------
    InputError : no scene of the sample can be encoded, or there are no workers
    """
    processes = count_workers(workers)
    folder = Path(out).absolute()
    entries = read_manifest(folder / MANIFEST)
    key = request.key
    todo = [s for s in sources if not is_done(entries.get(s.id), folder, s, request, key)]
    count = min(SAMPLED_SOURCES, len(todo))
    found: list[_Scene] = []
    unreadable: list[tuple[str, str]] = []
    for source in (todo[(2 * k + 1) * len(todo) // (2 * count)] for k in range(count)):
        try:
            begin = time.perf_counter()
            with closing(request.open(source)) as scene:
                opened = time.perf_counter() - begin
                if not found:
                    _measure(scene, request, 0)  # after it the model is loaded and warm
                measured = _measure(scene, request, len(found))
                found.append(replace(measured, seconds=measured.seconds + opened))
        except CodecError as error:
            unreadable.append((source.id, f"{type(error).__name__}: {' '.join(str(error).split())}"))
    if todo and not found:
        raise InputError(f"none of the {count} sources looked at can be encoded; {': '.join(unreadable[0])}")
    times = len(todo) / max(len(found), 1)
    return Estimate(
        sources=len(sources),
        there=len(sources) - len(todo),
        total_bytes=round(times * sum(scene.total_bytes for scene in found)),
        beside_bytes=round(times * sum(scene.beside_bytes for scene in found)),
        raw_bytes=round(times * sum(scene.raw_bytes for scene in found)),
        seconds=times * sum(scene.seconds for scene in found) / min(processes, max(len(todo), 1)),
        workers=processes,
        tiles=sum(scene.tiles for scene in found),
        unreadable=tuple(unreadable),
    )


def _measure(source: SceneSource, request: Request, turn: int) -> _Scene:
    """Encode tiles of a scene; those of the next `turn` are elsewhere, as scenes of an archive look alike."""
    from eocodec import codec

    source = for_model(source, registry.by_id(request.options.model).bands)
    info = source.info
    candidates = deque(spread_windows(info.shape[1:], request.tile, SAMPLED_TILES))
    candidates.rotate(-turn * SAMPLED_TILES)
    windows = list(candidates)[:SAMPLED_TILES]
    begin = time.perf_counter()
    options, _ = settings_for(
        source, request.options, request.target, tile=request.tile, suffix=request.suffix
    )
    searched = time.perf_counter()
    tiles = [source.read(*window) for window in windows]
    streams = codec.encode_batch(tiles, options)
    encoded = time.perf_counter()
    codec.decode_batch(streams)
    decoded = time.perf_counter()
    share = info.shape[1] * info.shape[2] / sum(tile.shape[1] * tile.shape[2] for tile in tiles)
    beside = _beside_bytes(source)
    overhead = overhead_bytes(info, options, request.tile, request.suffix, Beside.of(source))
    checked = min(request.samples / len(tiles), share)
    return _Scene(
        total_bytes=share * sum(map(len, streams)) + overhead + beside,
        beside_bytes=beside,
        raw_bytes=info.raw_bytes,
        seconds=searched - begin + share * (encoded - searched) + checked * (decoded - encoded),
        tiles=len(tiles),
    )


class _Counter:
    """Where bytes go that nobody wants but for their number."""

    def put(self, key: str, data: bytes) -> None:
        """Forget them."""

    def close(self) -> None:
        """Nothing is open."""


def _beside_bytes(source: SceneSource) -> float:
    """Of layers, from the chunk in the middle of each, and of documents."""
    documents = write_layers(_Counter(), View(source.info, source, ()))
    return documents + sum(_layer_bytes(layer) for layer in layers_of(source))


def _layer_bytes(layer: Layer) -> float:
    _, rows, cols = layer.info.shape
    sides = [slice(max(n - CHUNK, 0) // 2, max(n - CHUNK, 0) // 2 + min(n, CHUNK)) for n in (rows, cols)]
    part = CroppedLayer(layer, (sides[0], sides[1]))
    seen = part.info.shape[1] * part.info.shape[2]
    return write_array(_Counter(), part, LAYERS) * rows * cols / seen
