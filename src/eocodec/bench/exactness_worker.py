"""The other process of `eocodec bench exactness`: decode every stream of a folder under given settings.

`python -m eocodec.bench.exactness_worker FOLDER [--threads N] [--batch N] ...` compares what each .stream
decodes to with the .npy beside it, and prints JSON: stream name -> largest difference, or the error's name.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.errors import CodecError
from eocodec.models import registry
from eocodec.types import AnyArray

SEED = 0  # of the other order


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of this module."""
    options = _parser().parse_args(arguments)
    import torch

    torch.set_num_threads(options.threads)
    torch.backends.mkldnn.enabled = not options.no_onednn  # type: ignore[assignment]
    if options.model.endswith(".safetensors"):
        registry.by_id(options.model)  # so that its fingerprint is known here
    if options.no_channels_last:
        from eocodec.models.weights import load_fingerprint

        network = load_fingerprint(registry.by_id(options.model).fingerprint).network
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    paths = sorted(options.folder.glob("*.stream"))
    if options.shuffled:
        paths = [paths[i] for i in np.random.default_rng(SEED).permutation(len(paths))]
    decode = _decoder(options.decoder, options.batch)
    verdicts: dict[str, float | str] = {}
    for begin in range(0, len(paths), options.batch):
        verdicts |= _verdicts(paths[begin : begin + options.batch], decode)
    print(json.dumps(verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1, help="tiles a call")
    parser.add_argument("--no-onednn", action="store_true")
    parser.add_argument("--no-channels-last", action="store_true")
    parser.add_argument("--shuffled", action="store_true", help="not in the order of names")
    parser.add_argument("--decoder", default="eocodec.codec:decode")
    parser.add_argument("--model", default="", help="id, or weights file outside the package")
    return parser


def _decoder(name: str, batch: int) -> Callable[[list[bytes]], list[AnyArray]]:
    """Decoder of several streams from 'module:function'."""
    module, _, function = name.partition(":")
    decoders: Any = importlib.import_module(module)
    if batch > 1:
        together: Callable[[list[bytes]], list[AnyArray]] = getattr(decoders, f"{function}_batch")
        return together
    alone = getattr(decoders, function)
    return lambda streams: [alone(stream) for stream in streams]


def _verdicts(paths: list[Path], decode: Callable[[list[bytes]], list[AnyArray]]) -> dict[str, float | str]:
    """Of the streams of one call; an error of one is an error of all."""
    try:
        decoded = decode([path.read_bytes() for path in paths])
    except CodecError as error:
        return {path.stem: type(error).__name__ for path in paths}
    expected = (np.load(path.with_suffix(".npy")).astype(np.float64) for path in paths)
    return {
        path.stem: float(np.abs(wanted - pixels).max(initial=0))
        for path, wanted, pixels in zip(paths, expected, decoded, strict=True)
    }


if __name__ == "__main__":
    main()
