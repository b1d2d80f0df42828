"""`eocodec bench exactness`: do other thread counts, kernels and processor features decode the same symbols?

Tiles are encoded here with two threads and decoded in other processes. The decoder checks the CRC of its
symbols itself, so a decode that ends without an error has the encoder's symbols; pixels are compared besides.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import Decode, Encode, Image, model_name
from eocodec.bench.datasets import load_tile, require_data
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import read_native
from eocodec.bench.provenance import provenance
from eocodec.errors import InputError

DECODER = "eocodec.codec:decode"
QUALITIES = (20.0, 60.0, 95.0)
# Rows and columns. Several tiles of each, so that batches are batches; not all multiples of 16 or of 64.
SHAPES = ((64, 64), (80, 112), (93, 71), (128, 128), (150, 192), (256, 256))
CROPS = 4  # of one scene
NODATA = -32768  # in the scenes that have any
ENCODER_THREADS = 2
Report = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """One way to run the decoder.

    threads : of torch; onednn : whether oneDNN is used; channels_last : memory layout of the network
    batch : tiles a call; shuffled : tiles in another order; environment : variables of the process
    """

    name: str
    threads: int = 1
    onednn: bool = True
    channels_last: bool = True
    batch: int = 1
    shuffled: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


SETTINGS: tuple[Setting, ...] = (
    Setting("1 thread"),
    Setting("2 threads", threads=2),
    Setting("batches of 8", batch=8),
    Setting("batches of 8, 2 threads", batch=8, threads=2),
    Setting("batches of 8, other order", batch=8, shuffled=True),
    Setting("channels_last off", channels_last=False),
    Setting("oneDNN off", onednn=False),
    Setting("oneDNN off, 2 threads", threads=2, onednn=False),
    Setting("ATen default", environment={"ATEN_CPU_CAPABILITY": "default"}),
    Setting("ATen avx2", environment={"ATEN_CPU_CAPABILITY": "avx2"}),
    Setting("oneDNN avx2", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Setting("oneDNN sse4.1", environment={"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting("ATen default, oneDNN off", onednn=False, environment={"ATEN_CPU_CAPABILITY": "default"}),
    Setting("MKL compatible", environment={"MKL_CBWR": "COMPATIBLE"}),
    Setting(
        "all but threads",
        onednn=False,
        channels_last=False,
        batch=8,
        shuffled=True,
        environment={"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    ),
)


def tiles_to_code(count: int, root: Path | None = None) -> dict[str, Image]:
    """`count` crops of dev and train imagery in all `SHAPES`, the same ones each time; made-up scenes else.

    Names begin with the shape, so that those of one shape follow each other when sorted.

    Raises
    ------
    InputError : there is imagery, but not enough of it
    """
    try:
        scenes = _scenes(require_data(root))
    except InputError:
        scenes = ((f"made-up-{seed}", demo_scene(256, 256, seed)) for seed in itertools.count())
    crops = itertools.islice(_crops(scenes), count)
    tiles = {f"{tile.shape[1]:03}x{tile.shape[2]:03}-{name}": tile for name, tile in crops}
    if len(tiles) < count:
        raise InputError(f"the imagery is enough for {len(tiles)} tiles, not for {count}")
    return tiles


def series_to_code(count: int, root: Path | None = None) -> dict[str, Image]:
    """As `tiles_to_code`, crops of all dates of places that have several: [T, 12, H, W]."""
    crops = itertools.islice(_crops(_places(require_data(root))), count)
    series = {f"{tile.shape[2]:03}x{tile.shape[3]:03}-{name}": tile for name, tile in crops}
    if len(series) < count:
        raise InputError(f"the imagery is enough for {len(series)} series, not for {count}")
    return series


def _places(root: Path) -> Iterator[tuple[str, Image]]:
    """Dates of a place that have the same size, stacked."""
    dates: list[Image] = []
    before = ""
    for name, scene in sorted(_scenes(root), key=lambda pair: pair[0]):
        place = name.rsplit("_", 1)[0]
        if dates and (place != before or scene.shape != dates[0].shape):
            if len(dates) > 1:
                yield before, np.stack(dates)
            dates = []
        before = place
        dates.append(scene)
    if len(dates) > 1:
        yield before, np.stack(dates)


def _crops(scenes: Iterable[tuple[str, Image]]) -> Iterator[tuple[str, Image]]:
    """Up to `CROPS` tiles of each scene, at random places; all shapes in turn, where they fit."""
    rng = np.random.default_rng(0)
    waiting = itertools.cycle(SHAPES)
    for name, scene in scenes:
        for number in range(CROPS):
            turn = itertools.islice(waiting, len(SHAPES))
            shape = next((s for s in turn if s[0] <= scene.shape[-2] and s[1] <= scene.shape[-1]), None)
            if shape is None:
                break
            top, left = (int(rng.integers(0, scene.shape[i - 2] - shape[i] + 1)) for i in (0, 1))
            tile = scene[..., top : top + shape[0], left : left + shape[1]]
            yield f"{name}-{number}", np.ascontiguousarray(tile)


def _scenes(root: Path) -> Iterator[tuple[str, Image]]:
    """Dev tiles, then scenes of train in an order that mixes sources and places."""
    dev = sorted((root / "dev" / "ssl4eo").glob("*.tif"))
    train = sorted((root / "train").glob("stack/*.tif")) + sorted((root / "train").glob("native/*"))
    for path in [*dev, *np.random.default_rng(1).permutation(np.array(train, dtype=object))]:
        scene = read_native(path, SHAPES[-1][0]) if path.is_dir() else load_tile(path, None)
        yield path.stem, scene


def run_exactness(
    images: Mapping[str, Image],
    *,
    model: str = "tec-elic",
    qualities: Sequence[float] = QUALITIES,
    settings: Sequence[Setting] = SETTINGS,
    codec: tuple[Encode, Decode] | None = None,
    decoder: str = DECODER,
    report: Report = lambda line: None,
) -> dict[str, Any]:
    """Encode each image here at one of the qualities in turn, decode under each setting in another process.

    Parameters
    ----------
    codec : encode and decode of this process in place of `eocodec.codec` (tests)
    decoder : 'module:function' that the other processes call; batches go to `function`_batch

    Returns
    -------
    result : JSON-ready: `meta`, and `settings`: one entry each, `same_symbols`, `errors`, `max_difference`
    """
    encode, decode = codec or _codec()
    with tempfile.TemporaryDirectory(prefix="eocodec-exactness-") as name, _encoder_threads():
        folder = Path(name)
        for (tile, image), quality in zip(images.items(), itertools.cycle(qualities), strict=False):
            stream = encode(image, model=model, quality=quality, nodata=NODATA)
            (folder / f"{tile}-q{quality:g}.stream").write_bytes(stream)
            np.save(folder / f"{tile}-q{quality:g}.npy", decode(stream))
        entries = []
        for setting in settings:
            entry = _check(setting, folder, len(images), ("--decoder", decoder, "--model", model))
            report(f"{setting.name}: {entry['same_symbols']} of {len(images)} streams")
            entries.append(entry)
    meta = {
        **provenance(),
        "model": model_name(model),
        "streams": len(images),
        "mismatches": sum(len(images) - entry["same_symbols"] for entry in entries),
        "encoder_threads": ENCODER_THREADS,
        "qualities": list(qualities),
    }
    return {"meta": meta, "settings": entries}


def _codec() -> tuple[Encode, Decode]:
    from eocodec import codec

    return codec.encode, codec.decode


@contextmanager
def _encoder_threads() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(ENCODER_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(setting: Setting, folder: Path, streams: int, codec_words: Sequence[str]) -> dict[str, Any]:
    verdicts = _decode_elsewhere(setting, folder, codec_words)
    decoded = {key: value for key, value in verdicts.items() if not isinstance(value, str)}
    described = asdict(setting)
    return {
        "setting": described.pop("name"),
        **described,
        "same_symbols": len(decoded),
        "mismatches": streams - len(decoded),
        "errors": {key: value for key, value in verdicts.items() if isinstance(value, str)},
        "max_difference": max(decoded.values(), default=0.0),
    }


def _decode_elsewhere(setting: Setting, folder: Path, codec_words: Sequence[str]) -> dict[str, float | str]:
    """Stream name -> largest difference of a pixel [DN], or the error's name, from one process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(setting.threads), **setting.environment}
    words = [sys.executable, "-m", "eocodec.bench.exactness_worker", str(folder), *codec_words]
    words += ["--threads", str(setting.threads), "--batch", str(setting.batch)]
    switches = {
        "--no-onednn": not setting.onednn,
        "--no-channels-last": not setting.channels_last,
        "--shuffled": setting.shuffled,
    }
    words += [word for word, used in switches.items() if used]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"process": f"exit code {done.returncode}: {last}"}
    verdicts: dict[str, float | str] = json.loads(done.stdout.strip().splitlines()[-1])
    return verdicts


def all_exact(result: dict[str, Any]) -> bool:
    """Whether every stream decoded to the encoder's symbols under every setting."""
    return all(not entry["mismatches"] and not entry["errors"] for entry in result["settings"])


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """One row a setting."""
    streams = result["meta"]["streams"]
    header = ["decoder", "same symbols", "largest pixel difference [DN]", "errors"]
    rows = [
        [
            entry["setting"],
            f"{entry['same_symbols']} of {streams}",
            f"{entry['max_difference']:g}",
            ", ".join(sorted(set(entry["errors"].values()))) or "none",
        ]
        for entry in result["settings"]
    ]
    return header, rows
