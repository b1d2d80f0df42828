"""Where a result comes from: commit, date, versions, processor; written beside every figure."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eocodec import __version__

PACKAGES = ("numpy", "torch", "constriction", "imagecodecs", "av", "rasterio", "zarr")


def git_commit() -> str:
    """Short hash of the checkout that the package is in, '+' where files differ from it; else 'unknown'."""
    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / ".git").exists():
        return "unknown"
    try:
        head = _git(checkout, "rev-parse", "--short=10", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(checkout: Path, *words: str) -> str:
    done = subprocess.run(("git", *words), cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def processor() -> str:
    """The processor's name as the system states it."""
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def provenance() -> dict[str, Any]:
    """Commit, date (UTC), versions of what matters, processor and number of its cores in use."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": git_commit(),
        "eocodec": __version__,
        "python": platform.python_version(),
        "versions": versions,
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented JSON, NaN refused, folder made where missing, written beside and renamed.

    A list of measurements, one of the content's values, has a line for each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    parts = (f" {json.dumps(key)}: {_value(value)}" for key, value in content.items())
    partial.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    partial.replace(path)


def _value(value: Any) -> str:
    """One value of a result."""
    if isinstance(value, list):
        rows = (f"  {json.dumps(row, allow_nan=False)}" for row in value)
        return "[\n" + ",\n".join(rows) + "\n ]"
    return json.dumps(value, indent=1, allow_nan=False)
