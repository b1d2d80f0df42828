"""`eocodec bench repacking`: what tokens of FlexTEC as published are worth, with and without masking.

Real codestreams with 0 to 16 tokens of each date; those not sent are what the prior predicts. Series are cut
to as many dates as the model was trained with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import PSNR_PEAK, Image, LearnedCodec, measure
from eocodec.bench.classical import require
from eocodec.bench.provenance import provenance
from eocodec.bench.series import dev_series
from eocodec.errors import InputError
from eocodec.models import registry
from eocodec.options import MAX_TOKENS

FAMILY = "published/flextec"
NAME = "repacking"  # of what is written
_STYLES = {True: ("#0072B2", "o"), False: ("#E69F00", "s")}
_DASHES = ("solid", (0, (5, 2)))

Report = Callable[[str], None]


def run_repacking(
    models: Sequence[str], data: Path | None = None, report: Report = lambda line: None
) -> dict[str, Any]:
    """Measure models on the series of the dev split: JSON-ready `meta`, `summary` and `points`.

    Parameters
    ----------
    models : weights files that `eocodec train` wrote, or ids of models imported from there
    data : imagery folder (None: found)

    Raises
    ------
    InputError : a model is no FlexTEC in the published form, or its card does not say how it was trained
    """
    trainings = [_training(model) for model in models]
    sets = dev_series(data)
    points, summary = [], []
    for model, training in zip(models, trainings, strict=True):
        config, masking = training["config"], training["config"]["loss"]["masking"]
        rows = []
        for place, series in sets.items():
            rows += [
                {"masking": masking, "place": place, **_point(model, series, config["data"]["frames"], count)}
                for count in range(MAX_TOKENS + 1)
            ]
            report(f"masking {masking}, {place}: {rows[-1 - MAX_TOKENS]['psnr']} to {rows[-1]['psnr']} dB")
        points += rows
        summary.append({"masking": masking, "steps": training["steps"], **_summary(rows)})
    meta = {
        **provenance(),
        "psnr_peak": PSNR_PEAK,
        "model": trainings[0]["config"]["model"],
        "parameters": registry.by_id(models[0]).parameters,
        "lmbda": trainings[0]["config"]["loss"]["lmbda"],
        "dates_at_once": trainings[0]["config"]["data"]["frames"],
        "places": {place: list(series.shape) for place, series in sets.items()},
    }
    return {"meta": meta, "summary": summary, "points": points}


def _training(model: str) -> dict[str, Any]:
    """What the card says of a model's training."""
    card = registry.by_id(model)
    training: dict[str, Any] = card.details.get("training") or {}
    if card.details["family"] != FAMILY or "masking" not in training.get("config", {}).get("loss", {}):
        raise InputError(f"{model}: expected {FAMILY} with a card that says how it was trained")
    return training


def _point(model: str, series: Image, dates: int, tokens: int) -> dict[str, Any]:
    """Bits and PSNR of a place, `dates` of it a codestream."""
    codec = LearnedCodec(model, ())
    parts = [series[begin : begin + dates] for begin in range(0, len(series), dates)]
    rows = [measure(codec, part, "", 100 * tokens / MAX_TOKENS) for part in parts]
    errors = [10 ** (-row.psnr / 10) for row in rows]
    psnr = -10 * math.log10(np.average(errors, weights=[len(part) for part in parts]))
    return {"tokens": tokens, "bits": sum(row.bits for row in rows), "psnr": round(psnr, 3)}


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over places by the number of tokens, and how often one more made a place worse."""
    places: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        places.setdefault(row["place"], []).append(row)
    bits, psnr = (np.array([[row[key] for row in of] for of in places.values()]) for key in ("bits", "psnr"))
    gains = np.diff(psnr, axis=1)
    return {
        "bits": bits.mean(0).round().astype(int).tolist(),
        "psnr": psnr.mean(0).round(3).tolist(),
        "tokens_that_help": int((gains > 0).sum()),
        "tokens_that_harm": int((gains < 0).sum()),
        "worst_gain_db": round(float(gains.min()), 3),
    }


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: mean bits and PSNR of each model, by the number of tokens."""
    header, columns = ["tokens"], []
    for entry in result["summary"]:
        name = "masking" if entry["masking"] else "no masking"
        header += [f"{name}, kbit", "dB"]
        columns += [[f"{bits / 1000:.1f}" for bits in entry["bits"]], [f"{v:.2f}" for v in entry["psnr"]]]
    return header, [[str(k), *cells] for k, cells in enumerate(zip(*columns, strict=True))]


def plot_repacking(result: dict[str, Any], out: Path) -> Path:
    """PSNR by bits and by tokens as a picture in the folder `out`; returns its path.

    Raises
    ------
    MissingDependency : matplotlib is not installed (extra `bench`)
    """
    matplotlib = require("matplotlib", "matplotlib")
    figure_class = require("matplotlib.figure", "matplotlib").Figure
    shapes = result["meta"]["places"]
    with matplotlib.rc_context({"font.size": 9}):
        figure = figure_class(figsize=(7.6, 3.6), layout="constrained")
        by_bits, by_tokens = figure.subplots(1, 2, sharey=True)
        for masking, (colour, marker) in _STYLES.items():
            for (place, shape), dash in zip(shapes.items(), _DASHES, strict=False):
                rows = [r for r in result["points"] if r["masking"] == masking and r["place"] == place]
                label = f"{'masking' if masking else 'no masking'}, {place[-7:]}"
                style = {"color": colour, "marker": marker, "markersize": 3, "linestyle": dash}
                psnr = [row["psnr"] for row in rows]
                by_bits.plot([row["bits"] / math.prod(shape) for row in rows], psnr, label=label, **style)
                by_tokens.plot([row["tokens"] for row in rows], psnr, **style)
        by_bits.set(xlabel="bits per pixel per band", ylabel="PSNR [dB], peak 10 000")
        by_tokens.set_xlabel("tokens sent, of 16")
        for axes in (by_bits, by_tokens):
            axes.grid(True, color="#DDDDDD", linewidth=0.5)
        figure.legend(loc="outside lower center", ncols=4, fontsize=8)
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{NAME}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
