"""Our implementation of the published models beside the package `terracodec`; see README.md.

`python tests/parity/run.py --theirs PYTHON` makes random weights with that interpreter, imports them here and
compares: forward passes, bytes, seconds. Exit code 1 where they do not agree.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: two processes share the cores

import numpy as np
import torch
from cases import CASES, SIDE, Case

import eocodec
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.provenance import provenance, write_json
from eocodec.interop.published import import_checkpoint
from eocodec.models.weights import load_fingerprint
from eocodec.sensors import LEVELS, S2_BAND_NAMES

TOLERANCE = 1e-4  # largest difference of an array over its largest magnitude
HERE = Path(__file__).resolve().parent
DEFAULT_OUT = HERE.parents[1] / "experiments" / "published" / "parity-image.json"


class Theirs:
    """Their process, waiting for commands between two lines of its output."""

    def __init__(self, python: str, case: Case, folder: Path, threads: int) -> None:
        command = [python, str(HERE / "theirs.py"), case.name, str(folder), str(threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"their process ended with exit code {self._process.wait()}")
        return json.loads(line)

    def seconds(self, what: str) -> tuple[float, float]:
        """Wall clock and processor, of one 'encode' or 'decode'."""
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return tuple(self._answer()["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def scene(case: Case) -> np.ndarray:
    """Made-up DN, int16: [C, H, W] or [T, C, H, W]."""
    frames = []
    for seed in range(max(case.timesteps, 1)):
        image = np.where((made := demo_scene(SIDE, SIDE, seed)) > 0, made, 1000)
        names = [band.name for band in LEVELS[case.level]]
        frames.append(np.stack([image[S2_BAND_NAMES.index(n if n != "B10" else "B09")] for n in names]))
    stack = np.stack(frames).astype(np.int16)
    return stack if case.timesteps else stack[0]


def standardised(case: Case, dn: np.ndarray) -> np.ndarray:
    """DN in network units, float32, as `terracodec` takes it."""
    table = LEVELS[case.level]
    means, stds = (
        np.array([getattr(b, k) for b in table], np.float32)[:, None, None] for k in ("mean", "std")
    )
    return ((dn - means) / stds).astype(np.float32)


def differences(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference over largest magnitude, of each array."""
    assert ours.keys() == theirs.keys(), (sorted(ours), sorted(theirs))
    found = {}
    for name, reference in theirs.items():
        assert ours[name].shape == reference.shape, (name, ours[name].shape, reference.shape)
        found[name] = float(np.abs(ours[name] - reference).max() / np.abs(reference).max())
    return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall clock and of all processors."""
    begin, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - used


def run_case(case: Case, python: str, folder: Path, threads: int, runs: int) -> dict[str, Any]:
    """All figures of one case."""
    dn = scene(case)
    np.save(folder / "x.npy", standardised(case, dn))
    theirs = Theirs(python, case, folder, threads)
    card = import_checkpoint(folder / "checkpoint.pt", case.model_id, replace=True)
    reference = dict(np.load(folder / "reference.npz"))
    with torch.inference_mode():
        network = load_fingerprint(card.fingerprint).network
        relative = differences(case.ours(network, torch.from_numpy(np.load(folder / "x.npy"))), reference)
    data = eocodec.encode(dn, model=case.model_id)
    decoded = eocodec.decode(data)
    apart = standardised(case, decoded) - np.load(folder / "decoded.npy")[..., :SIDE, :SIDE]
    seconds: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for what, work in (
        ("encode", lambda: eocodec.encode(dn, model=case.model_id)),
        ("decode", lambda: eocodec.decode(data)),
    ):
        each = seconds[what] = {"ours": [], "theirs": []}
        work(), theirs.seconds(what)
        for _ in range(runs):  # in turns: what else the machine does hits both
            each["ours"].append(timed(work))
            each["theirs"].append(theirs.seconds(what))
    theirs.close()
    bits = theirs.facts["bits"]
    return {
        "model": case.model_id,
        "shape": list(dn.shape),
        "largest_relative_difference": relative,
        "agrees": all(value <= TOLERANCE for value in relative.values()),
        "symbols_not_zero": float(np.mean(reference["symbols"] != 0)),
        "bytes": {"ours": len(data), "theirs": bits / 8, "ratio": len(data) / (bits / 8)},
        # Of codestreams: their means are whole 1/256 here, and pixels whole DN.
        "decoded_difference": {"rms": float(np.sqrt(np.mean(apart**2))), "max": float(np.abs(apart).max())},
        "seconds": {what: medians(each) for what, each in seconds.items()},
        "their_versions": {key: theirs.facts[key] for key in ("torch", "numpy")},
    }


def medians(each: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Median seconds, and how many times faster ours is; the clock's, and what processors were busy for."""
    found: dict[str, Any] = {"runs": len(each["ours"])}
    for place, clock in enumerate(("wall", "processor")):
        both = {who: statistics.median(run[place] for run in runs) for who, runs in each.items()}
        found[clock] = {**both, "speedup": both["theirs"] / both["ours"]}
    return found


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--theirs", required=True, help="Python of the environment with terracodec")
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, after one to warm up")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    old = json.loads(options.out.read_text())["cases"] if options.out.is_file() else {}
    results: dict[str, Any] = {}
    for name in options.cases.split(","):
        with tempfile.TemporaryDirectory(prefix="eocodec-parity-") as folder:
            os.environ["EOCODEC_MODELS"] = folder
            results[name] = run_case(CASES[name], options.theirs, Path(folder), options.threads, options.runs)
        results[name]["precision"] = os.environ.get("EOCODEC_PRECISION", "auto")
        results[name]["threads"] = options.threads
        print(json.dumps({name: results[name]}, indent=1))
        write_json(options.out, {"meta": provenance(), "tolerance": TOLERANCE, "cases": {**old, **results}})
    sys.exit(not all(result["agrees"] for result in results.values()))


if __name__ == "__main__":
    main()
