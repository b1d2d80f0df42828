"""Write the conformance files of the codestream's version, once: streams and what they decode to.

    python tools/write_conformance.py

What is there already is never written again: frozen files are frozen. Sources are made up by formulas.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import eocodec
from eocodec.codestream import VERSION, Section, parse_layout, read, write
from eocodec.models import registry

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "conformance" / str(VERSION)
ROWS, COLS = 40, 56
ANCILLARY = 0x21  # no reader has to know it

Array = NDArray[Any]


def scene(dates: int = 0, seed: int = 1) -> Array:
    """[12, ROWS, COLS] or [dates, 12, ROWS, COLS], uint16: fields in a course of the year, relief, noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ROWS, 0:COLS]
    fields = ((y // 13) * 5 + (x // 17) * 3) % 4
    spectra = rng.uniform(500, 3200, (max(dates, 1), 4, 12))
    relief = 250 * np.sin(y / 7) * np.cos(x / 9)
    noise = rng.normal(0, 20, (max(dates, 1), 12, ROWS, COLS))
    frames = [s[fields].transpose(2, 0, 1) + relief * s.mean() / 2000 for s in spectra]
    made = np.clip(np.stack(frames) + noise, 1, 60000).astype(np.uint16)
    return made if dates else made[0]


def with_nodata(array: Array) -> Array:
    """A corner of nodata 0; of a series, its second date too."""
    out = array.copy()
    out[..., :11, :9] = 0
    if out.ndim == 4:
        out[1] = 0
    return out


def with_saturated(array: Array) -> Array:
    """A patch of 65535."""
    out = array.copy()
    out[3:5, 20:26, 30:41] = 65535
    return out


def reflectance() -> Array:
    """Floats with NaN."""
    out = (scene() / 10000).astype(np.float32)
    out[:, 5:9, 5:9] = np.nan
    return out


def with_extra(data: bytes) -> bytes:
    """A codestream with an ancillary section that its readers skip."""
    layout = parse_layout(data)
    kept = [Section(e.type, data[e.offset : e.offset + e.length]) for e in layout.entries]
    sections = sorted([*kept, Section(ANCILLARY, b"skip me")], key=lambda s: s.type & 0x7F)
    return write(read(data).header, sections)


CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "elic": ("tec-elic, nodata", lambda: _encode(with_nodata(scene()), quality=60, nodata=0)),
    "elic-high": ("tec-elic, quality 97", lambda: _encode(scene(seed=2), quality=97)),
    "elic-low": ("tec-elic, quality 3", lambda: _encode(scene(seed=3), quality=3)),
    "elic-one-pixel": ("tec-elic, 1 x 1", lambda: _encode(scene()[:, :1, :1], quality=50)),
    "elic-dates": ("tec-elic, two dates", lambda: _encode(scene(2), quality=40)),
    "elic-large": ("tec-elic, int32, values that escape", lambda: _encode(_large(), quality=90)),
    "elic-bytes": ("tec-elic, uint8", lambda: _encode((scene() // 20).astype(np.uint8), quality=80)),
    "float": (
        "float32, scale, offset, NaN",
        lambda: _encode(reflectance(), quality=60, scale=1e4, offset=-7.0),
    ),
    "saturated": ("65535 comes back", lambda: _encode(with_saturated(scene()), quality=50)),
    "ancillary": ("a section to skip", lambda: with_extra(_encode(scene(), quality=50))),
    "fp": ("tec-fp, nodata", lambda: _encode(with_nodata(scene()), model="tec-fp", quality=60, nodata=0)),
    "fp-low": ("tec-fp, quality 5", lambda: _encode(scene(seed=4), model="tec-fp", quality=5)),
    "tt": (
        "tec-tt, four dates",
        lambda: _encode(with_nodata(scene(4)), model="tec-tt", quality=55, nodata=0),
    ),
    "tt-one": ("tec-tt, one date", lambda: _encode(scene(1), model="tec-tt", quality=35)),
    "tt-extended": ("tec-tt, dates added", lambda: _extended()),
    "flextec": ("flextec, 16 tokens", lambda: _encode(scene(3), model="flextec", quality=70)),
    "flextec-cut": ("flextec, 6 tokens", lambda: _encode(scene(3), model="flextec", quality=70, tokens=6)),
    "flextec-first": ("flextec, 1 token", lambda: _encode(scene(2), model="flextec", quality=85, tokens=1)),
    "tt-slopes": (
        "tec-tt, predicted from slopes too",
        lambda: _encode(scene(3, seed=5), model="tec-tt", quality=60),
    ),
    "flextec-refined": (
        "flextec, layers that refer to dates",
        lambda: _encode(_drifting(), model="flextec", quality=75),
    ),
    "flextec-refined-cut": (
        "flextec, the same, 12 tokens",
        lambda: _encode(_drifting(), model="flextec", quality=75, tokens=12),
    ),
    "lossless": ("lossless, int16", lambda: _encode(scene().astype(np.int16) - 900, max_error=0)),
    "bounded": ("within 12, nodata", lambda: _encode(with_nodata(scene()), max_error=12, nodata=0)),
    "bounded-base": ("within 25 of tec-elic", lambda: _encode(scene(), quality=40, max_error=25)),
    "bounded-dates": (
        "within 30 of tec-tt",
        lambda: _encode(scene(2), model="tec-tt", quality=40, max_error=30),
    ),
    "bounded-repeats": ("lossless, repeated pixels", lambda: _encode(_repeated(), max_error=0)),
}


def _encode(array: Array, **options: Any) -> bytes:
    return eocodec.encode(array, **options)


def _drifting() -> Array:
    """Dates that follow from each other, so that a prediction is worth stating."""
    rng, first = np.random.default_rng(6), scene(1, seed=6)[0]
    dates = [first * gain + rng.normal(0, 6, first.shape) for gain in (1.0, 0.93, 0.88)]
    return np.asarray(np.clip(np.stack(dates), 1, 60000).astype(np.uint16))


def _large() -> Array:
    out = scene().astype(np.int32)
    out[2, 7, 9] = 900_000
    return out


def _repeated() -> Array:
    small = scene()[:, :20, :28]
    return small.repeat(2, 1).repeat(2, 2)


def _extended() -> bytes:
    from eocodec import codec

    dates = scene(3)
    return codec.extend(_encode(dates[:2], model="tec-tt", quality=50), dates[2])


def entry(name: str, what: str, data: bytes) -> dict[str, Any]:
    """What the index says of a file."""
    header = parse_layout(data).header
    try:
        model = registry.by_fingerprint(header.fingerprint).id
    except eocodec.errors.ModelNotFound:
        model = ""
    return {
        "file": f"{name}.stream",
        "pixels": f"{name}.npz",
        "what": what,
        "model": model,
        "fingerprint": header.fingerprint.hex(),
        "exact": header.max_error is not None,
        "written_by": eocodec.__version__,
    }


def main() -> int:
    """Write what is not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "index.json"
    index = json.loads(path.read_text()) if path.is_file() else {}
    for name, (what, make) in CASES.items():
        if name in index:
            continue
        data = make()
        pixels = eocodec.decode(data)
        (FOLDER / f"{name}.stream").write_bytes(data)
        np.savez_compressed(FOLDER / f"{name}.npz", pixels=pixels)
        index[name] = entry(name, what, data)
        print(f"{name}: {len(data)} bytes, {pixels.shape} {pixels.dtype}")
    path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
