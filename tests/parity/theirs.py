"""The process with `terracodec`: makes a model, saves it, and codes when it is told to.

`python theirs.py CASE FOLDER THREADS` reads FOLDER/x.npy, writes checkpoint.pt, reference.npz and decoded.npy
and prints a line of JSON. Then it answers every line "encode" or "decode" on its standard input with the
seconds of wall clock and processor that it took.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from cases import CASES


def main() -> None:
    """Command line of this module."""
    warnings.filterwarnings("ignore")
    case, folder = CASES[sys.argv[1]], Path(sys.argv[2])
    torch.set_num_threads(int(sys.argv[3]))
    x = torch.from_numpy(np.load(folder / "x.npy"))
    model = case.make(x)
    torch.save(case.checkpoint(model), folder / "checkpoint.pt")
    with torch.inference_mode():
        np.savez(folder / "reference.npz", **case.reference(model, x))
        coded = case.encode(model, x)
        np.save(folder / "decoded.npy", case.decode(model, coded))
        say({"bits": case.bits(coded), "torch": torch.__version__, "numpy": np.__version__})
        for line in sys.stdin:
            begin, used = time.perf_counter(), time.process_time()
            if line.strip() == "encode":
                case.encode(model, x)
            else:
                case.decode(model, coded)
            say({"seconds": [time.perf_counter() - begin, time.process_time() - used]})


def say(content: dict[str, object]) -> None:
    """One line."""
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
