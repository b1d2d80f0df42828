"""The log of a run as CSV: a row for every so many steps, and for each evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eocodec.errors import ConfigError, MissingDependency

LOG = "log.csv"
FIGURES = ("loss", "bpp", "mse", "psnr", "aux", "norm", "rate", "samples_per_second")
FIELDS = ("step", "split", "minutes", *FIGURES)
TRAIN, VAL = "train", "val"
DRAWN = {"loss": "loss", "bpp": "bits per pixel, all bands", "psnr": "PSNR [dB], peak 10 000"}


class CsvLog:
    """Appends to `log.csv` of a folder; rows after `step`, of what a killed run lost, are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        kept = [row for row in read_log(folder) if int(row["step"]) <= step] if self._path.is_file() else []
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: Mapping[str, float | str]) -> None:
        """One row; what it lacks is left empty."""
        plain = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, FIELDS).writerow(plain)


def read_log(folder: Path) -> list[dict[str, str]]:
    """Rows of a run's log.

    Raises
    ------
    ConfigError : the folder has none
    """
    try:
        with (folder / LOG).open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise ConfigError(f"cannot read {folder / LOG}: {error.strerror}") from error


def plot_logs(folders: Sequence[Path], out: Path) -> None:
    """Draw the logs of runs into `out`, one colour each; evaluations have dots. Its suffix says the format.

    Raises
    ------
    ConfigError : a folder has no log, or there is no such format
    MissingDependency : matplotlib is not installed
    """
    figure = draw_logs({str(folder): read_log(folder) for folder in folders})
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(out, dpi=160)
    except ValueError as error:
        raise ConfigError(f"{out}: {error}") from error


def draw_logs(logs: Mapping[str, Sequence[Mapping[str, str]]]) -> Any:
    """A matplotlib figure of rows by the run's name: loss, rate and PSNR over the steps."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("matplotlib is needed: pip install 'eocodec[bench]'") from error
    figure = Figure(figsize=(7.6, 8.0), layout="constrained")
    every = figure.subplots(len(DRAWN), 1, sharex=True)
    for axes, (field, label) in zip(every, DRAWN.items(), strict=True):
        for number, (name, rows) in enumerate(logs.items()):
            for split, style in ((TRAIN, {"alpha": 0.5}), (VAL, {"marker": "o", "label": name})):
                of_split = [row for row in rows if row["split"] == split]
                x, y = [int(row["step"]) for row in of_split], [float(row[field]) for row in of_split]
                axes.plot(x, y, color=f"C{number}", **style)
        axes.set_ylabel(label)
        axes.set_yscale("linear" if field == "psnr" else "log")
        axes.grid(True, color="#DDDDDD", linewidth=0.5)
    every[-1].set_xlabel("step")
    every[0].legend(fontsize=8)
    return figure
