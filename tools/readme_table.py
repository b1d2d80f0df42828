"""Put measured figures into the documents: nobody types a number of a benchmark by hand.

    python tools/readme_table.py [--check]

Between `<!-- NAME:begin -->` and `<!-- NAME:end -->` of README.md, the experiments' READMEs and some other
documents is what this script makes of the models' cards and of the results of `eocodec bench`. With --check
nothing is written, and the exit code is 1 where a document is out of date.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eocodec.bench.base import LABELS, RatePoint
from eocodec.bench.codecs import OURS_BOUNDED
from eocodec.bench.curves import bits_at, by_codec_and_tile
from eocodec.bench.document import BENCHMARK_TABLES, SETS, lossless_table, series_table, tables
from eocodec.bench.inpaint_document import INPAINT_TABLES
from eocodec.bench.inpaint_document import tables as inpaint_tables
from eocodec.bench.speed import NAMES, OURS
from eocodec.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("tec-elic", "tec-fp")  # the default model first
WARPED = "lossless-repeats.json"  # of the default model, on scenes whose pixels repeat
DESCRIPTIONS = {
    "tec-elic": "image codec, context model",
    "tec-tt": "codec of time series",
    "flextec": "codec of time series, files can be cut short",
    "tec-fp": "image codec, factorized prior",
}
SERIES_MODEL, TOKEN_MODEL = "tec-tt", "flextec"
MISSING = "not measured yet"
TABLE_PSNR = (36.0, 40.0, 44.0)
CLOUD_PSNR = 40.0
# Dev tiles that the imagery's catalogue calls bright (B02 > 3000 DN) on 69 % and 82 % of their area.
CLOUDED = ("ssl4eos12_val_0193833_0", "ssl4eos12_val_0193833_3")
FILES = {"tec": "tec", "cog": "tif"}  # suffixes
CONTESTS = {"warm_process": "in a warm process", "whole_process": "process start included"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """What is known of one model; None: not there yet."""

    model: str
    card: Json | None
    rd: Json | None
    speed: Json | None
    exactness: Json | None
    window: Json | None = None
    series: Json | None = None
    cost: Json | None = None


def load(model: str, root: Path = ROOT) -> Results:
    """Card and results of a model, as far as they are there."""
    folder = root / "experiments" / model
    card = root / "src" / "eocodec" / "weights" / f"{model}.json"
    names = ("rd.json", "speed.json", "exactness.json", "window.json", "series.json", "series-cost.json")
    paths = (card, *(folder / name for name in names))
    found = (json.loads(p.read_text()) if p.is_file() else None for p in paths)
    return Results(model, *found)


def models_table(results: list[Results]) -> str:
    """One row a model."""
    psnr = " / ".join(f"{value:g}" for value in TABLE_PSNR)
    header = (
        "model",
        "bands",
        "parameters",
        "weights",
        f"bits per pixel per band at {psnr} dB",
        "encode / decode, Mpixel/s",
        "licence",
    )
    rows = [header, ("---",) * len(header), *map(_model_row, results)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _model_row(result: Results) -> tuple[str, ...]:
    name = f"`{result.model}`, {DESCRIPTIONS[result.model]}"
    card = result.card
    sizes = ("-", "-", "-")
    if card is not None:
        sizes = (
            str(len(card["bands"])),
            f"{card['parameters'] / 1e6:.2f} M",
            f"{card['bytes'] / 1e6:.1f} MB",
        )
    licence = "Apache-2.0" if card is None else str(card.get("licence", "Apache-2.0"))
    rates = _rates(result.rd) if result.series is None else _series_rates(result.series)
    return (name, *sizes, rates, _speeds(result), licence)


def _rates(rd: Json | None) -> str:
    if rd is None:
        return MISSING
    curve = {e["psnr"]: e["bpppc"] for e in rd["summary"]["average_curves"][rd["meta"]["model"]]}
    return " / ".join(f"{curve[p]:.3f}" if p in curve else "-" for p in TABLE_PSNR)


def _series_rates(series: Json) -> str:
    """Of the seasonal series, date by date the same pixels as those of the image codecs."""
    model, shapes = series["meta"]["model"], series["meta"]["sets"]["seasonal"]
    chosen = [row for row in series["points"] if row["set"] == "seasonal"]
    rows = [{k: v for k, v in row.items() if k != "set"} for row in chosen]
    places = by_codec_and_tile(RatePoint(**row) for row in rows)[model]
    samples = np.prod(next(iter(shapes.values())))
    bits = np.stack([bits_at(points, np.array(TABLE_PSNR)) for points in places.values()])
    means = bits.mean(0) / samples
    return " / ".join("-" if np.isnan(mean) else f"{mean:.3f}" for mean in means) + " (series)"


def series_figures(results: list[Results]) -> str:
    """What the past is worth, in a sentence a set of series."""
    found = next((r.series for r in results if r.series is not None and r.model == SERIES_MODEL), None)
    if found is None:
        return f"Series: {MISSING}."
    parts = []
    for name, entries in found["summary"].items():
        against = ", ".join(
            f"{_percent(e['mean_percent'])} against {LABELS.get(e['anchor'], e['anchor'])}"
            for e in entries
            if e["mean_percent"] is not None
        )
        shape = next(iter(found["meta"]["sets"][name].values()))
        size = f"{len(found['meta']['sets'][name])} places, {shape[0]} dates, {shape[2]} x {shape[3]} pixels"
        parts.append(f"{SETS[name]} ({size}): {against}")
    return f"Bits of whole series at equal PSNR (BD-rate, 36 to 46 dB). {'; '.join(parts)}."


def token_figures(results: list[Results]) -> str:
    """What it costs to cut one codestream instead of encoding at the wanted quality, in a sentence a set."""
    found = next((r.series for r in results if r.series is not None and r.model == TOKEN_MODEL), None)
    if found is None:
        return f"Tokens: {MISSING}."
    parts = []
    for name, entries in found["summary"].items():
        cut = [e for e in entries if "tokens" in e["codec"] and "tokens" not in e["anchor"]]
        figures = ", ".join(
            f"{_percent(e['mean_percent'])} of {e['codec'].rpartition('-')[2]} against {e['anchor']}"
            for e in cut
            if e["mean_percent"] is not None and e["anchor"] != found["meta"]["model"]
        )
        parts.append(f"{SETS[name]}: {figures}")
    return (
        "Bits of series cut from one codestream, coded at quality 60 or 85, at equal PSNR "
        f"(BD-rate, 36 to 46 dB). {'; '.join(parts)}."
    )


def _speeds(result: Results) -> str:
    """Of a scene from file to file; of a model of series from array to array, pixels of all dates counted."""
    if result.speed is not None:
        return _both_ways(result.speed["warm_process"]["eocodec"])
    if result.cost is not None and "speed" in result.cost:
        speed = result.cost["speed"]
        return f"{_both_ways(speed)} ({speed['timesteps']} dates, {speed['rows']} x {speed['cols']})"
    return MISSING


def _both_ways(speed: Json) -> str:
    return f"{speed['encode_mpixel_per_s']:.2f} / {speed['decode_mpixel_per_s']:.2f}"


def rate_figures(rd: Json | None) -> str:
    """BD-rates in a sentence or two."""
    if rd is None:
        return f"Rate and distortion: {MISSING}."
    entries = rd["summary"]["bd_rate"]
    low, high = entries[0]["range_db"]
    against = ", ".join(
        f"{_percent(e['mean_percent'])} against {LABELS.get(e['anchor'], e['anchor'])}" for e in entries
    )
    text = (
        f"Bits at equal PSNR (BD-rate, {low:g} to {high:g} dB, mean of {len(rd['meta']['tiles'])} tiles of "
        f"256 x 256 pixels, 12 bands): {against}; a minus means that eocodec needs fewer."
    )
    x265 = next((e for e in entries if e["anchor"] == "x265"), None)
    if x265 is not None:
        text += f" The worst tile against x265: {_percent(x265['worst_percent'])} ({x265['worst_tile']})."
    return text


def speed_figures(speed: Json | None) -> str:
    """Speeds beside OpenJPEG's in a sentence."""
    if speed is None:
        return f"Speed: {MISSING}."
    meta = speed["meta"]
    parts = []
    for contest, words in (
        ("warm_process", "in a warm process"),
        ("whole_process", "process start included"),
    ):
        if contest in speed:
            figures = " and ".join(_beside(speed[contest], way) for way in ("encode", "decode"))
            parts.append(f"{words}, {figures}")
    return (
        f"Speed in Mpixel/s of 12 bands, file in to file out, {meta['rows']} x {meta['cols']} pixels, "
        f"{meta['threads']} threads of {meta['processor']}: {'; '.join(parts)}."
    )


def _beside(contest: Json, way: str) -> str:
    """Our speed, and in brackets those of the others in the contest."""
    key = f"{way}_mpixel_per_s"
    names = [name for name in NAMES if name in contest and name != OURS]
    others = ", ".join(f"{NAMES[name].partition(',')[0]} {contest[name][key]:.2f}" for name in names)
    return f"{way} {contest[OURS][key]:.2f} ({others})"


def figures(results: list[Results]) -> str:
    """The sentences below the table, for the first model."""
    first = results[0]
    return "\n\n".join((rate_figures(first.rd), speed_figures(first.speed)))


def cloud_cost(results: list[Results]) -> str:
    """What the clouded development tiles take, beside the clear ones."""
    rd = results[0].rd
    if rd is None:
        return f"({MISSING})"
    model, samples = rd["meta"]["model"], rd["meta"]["samples_per_tile"]
    tiles = by_codec_and_tile(RatePoint(**row) for row in rd["points"])[model]
    rates = {t: float(bits_at(rows, np.array([CLOUD_PSNR]))[0]) / samples for t, rows in tiles.items()}
    sums = {True: _span(rates, clouded=True), False: _span(rates, clouded=False)}
    return (
        f"(at {CLOUD_PSNR:g} dB the {sum(t in CLOUDED for t in rates)} clouded development tiles take "
        f"{sums[True]} bits per pixel per band, the clear ones {sums[False]})"
    )


def _span(rates: dict[str, float], *, clouded: bool) -> str:
    values = [r for tile, r in rates.items() if (tile in CLOUDED) == clouded and np.isfinite(r)]
    return f"{min(values):.2f} to {max(values):.2f}" if values else "-"


def exactness_figures(results: list[Results]) -> str:
    """What decoding elsewhere gave."""
    found = results[0].exactness
    if found is None:
        return f"Exactness: {MISSING}."
    entries, streams = found["settings"], found["meta"]["streams"]
    same = sum(e["same_symbols"] == streams and not e["errors"] for e in entries)
    largest = max(e["max_difference"] for e in entries)
    return (
        f"{streams} codestreams decoded under {len(entries)} settings of threads, kernels and processor "
        f"features: the same symbols under {same} of them, pixels at most {largest:g} DN apart."
    )


def window_table(results: list[Results]) -> str:
    """Requests and bytes of a window over HTTP; a row a file and window."""
    found = next((r.window for r in results if r.window is not None), None)
    if found is None:
        return f"Windows over HTTP: {MISSING}."
    labels = {"tec": "`.tec`", "cog": "COG"}
    rows = ["| file | window | to open | to read |", "| --- | --- | --- | --- |"]
    for read in found["reads"]:
        opened, taken = (
            f"{read[f'{stage}_requests']} requests, {read[f'{stage}_bytes'] / 1000:,.0f} kB"
            for stage in ("open", "read")
        )
        label = f"{labels[read['file']]}, {found['bytes'][FILES[read['file']]] / 1e6:.1f} MB"
        rows.append(f"| {label} | {read['window']} | {opened} | {taken} |")
    return "\n".join(rows).replace(" 1 requests", " 1 request")


def benchmark(root: Path = ROOT) -> dict[str, str]:
    """The tables of docs/benchmark.md, by the name of their place."""
    folder = root / "experiments" / "bench"
    if not (folder / "summary.json").is_file():
        return dict.fromkeys(BENCHMARK_TABLES, MISSING)
    summary, meta = (json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "meta"))
    return tables(summary, meta, (*MODELS, SERIES_MODEL, OURS_BOUNDED))


def others(root: Path = ROOT) -> dict[str, str]:
    """Tables of docs/benchmark.md and docs/inpaint.md that come from other results, by their place."""
    folder = root / "experiments"
    series, warped = folder / SERIES_MODEL / "series.json", folder / MODELS[0] / WARPED
    found = {
        "bench_series": series_table(json.loads(series.read_text())) if series.is_file() else MISSING,
        "bench_repeats": lossless_table(json.loads(warped.read_text())) if warped.is_file() else MISSING,
    }
    results = [folder / SERIES_MODEL / f"{name}.json" for name in ("inpaint", "inpaint-others")]
    if not all(path.is_file() for path in results):
        return found | dict.fromkeys(INPAINT_TABLES, MISSING)
    return found | inpaint_tables(*(json.loads(path.read_text()) for path in results))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f} %".replace("-", "\N{MINUS SIGN}")


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between a pair of markers.

    Raises
    ------
    InputError : the pair is not there exactly once
    """
    pattern = re.compile(rf"(<!-- {name}:begin -->)(.*?)(<!-- {name}:end -->)", re.DOTALL)
    inline = f"<!-- {name}:begin -->\n" not in text
    body = content if inline else f"\n{content}\n"
    filled, count = pattern.subn(lambda match: match[1] + body + match[3], text)
    if count != 1:
        raise InputError(f"{count} pairs of markers {name!r}, expected 1")
    return filled


def documents(root: Path = ROOT) -> dict[Path, str]:
    """Every document with figures, as it should read."""
    results = [load(model, root) for model in (*MODELS[:1], SERIES_MODEL, TOKEN_MODEL, *MODELS[1:])]
    of_all = {**_content(results), **benchmark(root), **others(root)}
    places = ("README.md", "docs/recipes/http.md", "docs/benchmark.md", "docs/inpaint.md")
    shared = [root / place for place in places]
    contents = dict.fromkeys(shared, of_all)
    for result in results:
        contents[root / "experiments" / result.model / "README.md"] = _content([result])
    wanted: dict[Path, str] = {}
    for path, content in contents.items():
        if path.is_file():
            text = path.read_text()
            for name in re.findall(r"<!-- (\w+):begin -->", text):
                text = fill(text, name, content[name])
            wanted[path] = text
    return wanted


def _content(results: list[Results]) -> dict[str, str]:
    """What goes between markers, by their name."""
    return {
        "models": models_table(results),
        "figures": figures(results),
        "clouds": cloud_cost(results),
        "exactness": exactness_figures(results),
        "window": window_table(results),
        "series": series_figures(results),
        "tokens": token_figures(results),
    }


def main(words: list[str]) -> int:
    """Write the documents, or with --check say which are out of date."""
    stale = [path for path, text in documents().items() if path.read_text() != text]
    for path in stale:
        if "--check" not in words:
            path.write_text(documents()[path])
        print(f"{path.relative_to(ROOT)}: {'out of date' if '--check' in words else 'written'}")
    return int("--check" in words and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
