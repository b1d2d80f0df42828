"""`eocodec bench exactness`: do other thread counts, kernels and processor features decode the same symbols?

Tiles are encoded here and decoded in other processes. The decoder checks the CRC of its symbols itself, so a
decode that ends without an error has the encoder's symbols; pixels are compared besides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import Decode, Encode, Image, model_name
from eocodec.bench.datasets import dev_tiles, load_tile
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.provenance import provenance
from eocodec.errors import InputError

DECODER = "eocodec.codec:decode"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """One way to run the decoder: threads, oneDNN on or off, variables of the environment."""

    name: str
    threads: int = 1
    onednn: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


SETTINGS: tuple[Setting, ...] = (
    Setting("1 thread"),
    Setting("2 threads", threads=2),
    Setting("oneDNN off", onednn=False),
    Setting("oneDNN off, 2 threads", threads=2, onednn=False),
    Setting("ATen default", environment={"ATEN_CPU_CAPABILITY": "default"}),
    Setting("ATen avx2", environment={"ATEN_CPU_CAPABILITY": "avx2"}),
    Setting("oneDNN avx2", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Setting("oneDNN sse4.1", environment={"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting("ATen default, oneDNN off", onednn=False, environment={"ATEN_CPU_CAPABILITY": "default"}),
    Setting("MKL compatible", environment={"MKL_CBWR": "COMPATIBLE"}),
)


def tiles_to_code(count: int, crop: int, root: Path | None = None) -> dict[str, Image]:
    """Dev tiles where the imagery is at hand, made-up scenes else."""
    try:
        paths = dev_tiles(root)[:count]
    except InputError:
        return {f"made-up-{seed}": demo_scene(crop, crop, seed) for seed in range(count)}
    return {path.stem: load_tile(path, crop) for path in paths}


def run_exactness(
    images: Mapping[str, Image],
    *,
    model: str = "tec-fp",
    qualities: Sequence[float] = (20.0, 60.0, 95.0),
    settings: Sequence[Setting] = SETTINGS,
    codec: tuple[Encode, Decode] | None = None,
    decoder: str = DECODER,
    report: Report = lambda line: None,
) -> dict[str, Any]:
    """Encode each image at each quality here, decode under each setting in a process of its own.

    Parameters
    ----------
    codec : encode and decode of this process in place of `eocodec.codec` (tests)
    decoder : 'module:function' that the other processes call

    Returns
    -------
    result : JSON-ready: `meta`, and `settings`: one entry each, `same_symbols`, `errors`, `max_difference`
    """
    encode, decode = codec or _codec()
    with tempfile.TemporaryDirectory(prefix="eocodec-exactness-") as name:
        folder = Path(name)
        reference = {}
        for tile, image in images.items():
            for quality in qualities:
                key = f"{tile}-q{quality:g}"
                stream = encode(image, model=model, quality=quality)
                (folder / f"{key}.stream").write_bytes(stream)
                reference[key] = decode(stream)
        entries = []
        for setting in settings:
            entry = _check(setting, folder, reference, decoder, model)
            report(f"{setting.name}: {entry['same_symbols']} of {len(reference)} streams")
            entries.append(entry)
    meta = {
        **provenance(),
        "model": model_name(model),
        "streams": len(reference),
        "qualities": list(qualities),
    }
    return {"meta": meta, "settings": entries}


def _codec() -> tuple[Encode, Decode]:
    from eocodec import codec

    return codec.encode, codec.decode


def _check(
    setting: Setting, folder: Path, reference: Mapping[str, Any], decoder: str, model: str
) -> dict[str, Any]:
    out = folder / "decoded"
    out.mkdir(exist_ok=True)
    verdicts = _decode_elsewhere(setting, folder, out, ("--decoder", decoder, "--model", model))
    errors = {key: verdict for key, verdict in verdicts.items() if verdict}
    largest = 0.0
    for key, expected in reference.items():
        if key in errors or key not in verdicts:
            continue
        pixels = np.load(out / f"{key}.npy")
        largest = max(largest, float(np.abs(pixels.astype(np.float64) - expected).max(initial=0.0)))
    return {
        "setting": setting.name,
        "threads": setting.threads,
        "onednn": setting.onednn,
        "environment": dict(setting.environment),
        "same_symbols": sum(verdicts.get(key) == "" for key in reference),
        "errors": errors,
        "max_difference": largest,
    }


def _decode_elsewhere(
    setting: Setting, folder: Path, out: Path, codec_words: Sequence[str]
) -> dict[str, str]:
    """Stream name -> '' or the error's name, from one process under the setting."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(setting.threads), **setting.environment}
    words = [sys.executable, "-m", "eocodec.bench.exactness_worker", str(folder), str(out)]
    words += ["--threads", str(setting.threads), *codec_words]
    if not setting.onednn:
        words.append("--no-onednn")
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"process": f"exit code {done.returncode}: {last}"}
    verdicts: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return verdicts


def all_exact(result: dict[str, Any]) -> bool:
    """Whether every stream decoded to the encoder's symbols under every setting."""
    streams = result["meta"]["streams"]
    return all(entry["same_symbols"] == streams and not entry["errors"] for entry in result["settings"])


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
