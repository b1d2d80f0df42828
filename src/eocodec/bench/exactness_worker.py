"""The other process of `eocodec bench exactness`: decode every stream of a folder under given settings.

`python -m eocodec.bench.exactness_worker FOLDER OUT [--threads N] [--no-onednn] [--decoder MODULE:FUNCTION]`
writes one .npy a stream and prints JSON: stream name -> '' or the name of the error.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eocodec.errors import CodecError
from eocodec.models import registry


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-onednn", action="store_true")
    parser.add_argument("--decoder", default="eocodec.codec:decode")
    parser.add_argument("--model", default="", help="weights file outside the package, if there is one")
    options = parser.parse_args(arguments)

    module, _, function = options.decoder.partition(":")
    decode = getattr(importlib.import_module(module), function)
    if options.model.endswith(".safetensors"):
        registry.by_id(options.model)  # so that its fingerprint is known here

    import torch

    torch.set_num_threads(options.threads)
    torch.backends.mkldnn.enabled = not options.no_onednn  # type: ignore[assignment]
    verdicts = {}
    for path in sorted(options.folder.glob("*.stream")):
        try:
            np.save(options.out / f"{path.stem}.npy", decode(path.read_bytes()))
            verdicts[path.stem] = ""
        except CodecError as error:
            verdicts[path.stem] = type(error).__name__
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
