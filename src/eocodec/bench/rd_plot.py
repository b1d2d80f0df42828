"""The rate-distortion plot: average curves, and the model's own tiles, readable without colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eocodec.bench import curves
from eocodec.bench.base import LABELS, RatePoint
from eocodec.bench.classical import require

# Okabe and Ito's colours, safe for the common colour blindnesses; marker and dash repeat the distinction.
STYLES = {
    "j2k": ("#E69F00", "s", (0, (5, 2))),
    "x265": ("#009E73", "^", (0, (3, 1, 1, 1))),
    "av1": ("#CC79A7", "D", (0, (1, 1.2))),
}
OURS = ("#0072B2", "o", "solid")
BESIDE = ("#56B4E9", "v", (0, (4, 1.5)))  # another model of ours
PSNR_LIMITS = (33.0, 49.0)


def plot_rd(result: dict[str, Any], out: Path) -> list[Path]:
    """Draw `result` of `run_rd` into rd.png and rd.svg of the folder `out`; returns their paths.

    Raises
    ------
    MissingDependency : matplotlib is not installed (extra `bench`)
    """
    matplotlib = require("matplotlib", "matplotlib")
    figure_class = require("matplotlib.figure", "matplotlib").Figure
    with matplotlib.rc_context({"font.size": 10, "svg.hashsalt": "eocodec", "svg.fonttype": "none"}):
        figure = figure_class(figsize=(7.6, 5.4), layout="constrained")
        axes = figure.subplots()
        _draw(axes, result)
        figure.supxlabel(caption(result["meta"]), fontsize=7.5, color="#444444")
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / "rd.png", out / "rd.svg"]
        figure.savefig(paths[0], dpi=160, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def _draw(axes: Any, result: dict[str, Any]) -> None:
    meta = result["meta"]
    samples, n_tiles = meta["samples_per_tile"], len(meta["tiles"])
    grouped = curves.by_codec_and_tile(RatePoint(**row) for row in result["points"])
    rates = []
    for codec, tiles in grouped.items():
        ours = codec == meta["model"]
        colour, marker, dash = STYLES.get(codec, OURS if ours else BESIDE)
        for points in tiles.values() if ours else ():
            bits, psnr = curves.increasing(points)
            axes.plot(bits / samples, psnr, color=colour, linewidth=0.8, alpha=0.3)
        shown = [e for e in result["summary"]["average_curves"].get(codec, []) if e["n_tiles"] == n_tiles]
        x, y = [e["bpppc"] for e in shown], [e["psnr"] for e in shown]
        rates += x
        label = LABELS.get(codec, f"{codec} (ours)")
        width = 2.6 if ours else 1.9
        axes.plot(
            x, y, color=colour, linestyle=dash, linewidth=width, marker=marker, markevery=4, label=label
        )
    axes.set_xscale("log")
    if rates:
        axes.set_xlim(min(rates) / 1.8, max(rates) * 1.5)
    axes.set_ylim(*PSNR_LIMITS)
    axes.set_xlabel("bits per pixel per band (log scale)")
    axes.set_ylabel("PSNR [dB], peak 10 000, all bands together")
    axes.xaxis.set_major_locator(_log_locator((1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.grid(True, which="both", color="#DDDDDD", linewidth=0.5)
    axes.legend(loc="lower right", framealpha=0.95)


def _log_locator(steps: tuple[float, ...]) -> Any:
    return require("matplotlib.ticker", "matplotlib").LogLocator(subs=steps)


def caption(meta: dict[str, Any]) -> str:
    """Data set, date and commit, and what the lines are."""
    return (
        f"{meta['dataset']}, {len(meta['tiles'])} tiles; thick: mean bits at equal PSNR where all tiles "
        f"reach it; thin: the model's single tiles.\nClassical points {meta['classical']}, JPEG 2000 less "
        f"169 header bytes a band. {meta['date']}, commit {meta['commit']}."
    )
