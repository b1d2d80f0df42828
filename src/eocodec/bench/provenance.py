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
    """Indented JSON, NaN refused, folder made where missing, written beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    partial.replace(path)
