"""Which band is which: names in descriptions and file names -> the model's band order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eocodec.errors import BandError
from eocodec.sensors import S2_BAND_NAMES

# A band token stands alone: 'T32TMT_20200101T101010_B8A_20m', 'b2', 'B02, central wavelength 490 nm'; not
# 'B123', not 'AB02'.
_TOKEN = re.compile(r"(?<![A-Za-z0-9])B(8A|0?[1-9]|1[0-2])(?![A-Za-z0-9])", re.IGNORECASE)


def parse_band(text: str | None) -> str | None:
    """Canonical name ('B02', 'B8A') of the Sentinel-2 band that a text names, or None; the last token counts.

    B10, which no model takes, is recognised too, so that messages can name it.
    """
    tokens = _TOKEN.findall(text or "")
    if not tokens:
        return None
    token = str(tokens[-1]).upper()
    return "B8A" if token == "8A" else f"B{int(token):02d}"


def stack_order(
    where: str,
    descriptions: Sequence[str | None],
    stated: Sequence[str] | None = None,
    bands: Sequence[str] = S2_BAND_NAMES,
) -> tuple[tuple[int, ...], str | None]:
    """Positions, in a stack, of the model's bands in the model's order.

    Parameters
    ----------
    where : the file's name, for messages
    descriptions : of each band in the file's order; None or empty where there is none
    stated : band names in the file's order as the user gave them; they win over the descriptions
    bands : of the model

    Returns
    -------
    order : order[k] is the 0-based position in the file of the model's band k
    note : what was assumed, or None

    Raises
    ------
    BandError : the number of bands is wrong, or the names given do not say the order
    """
    needed = len(bands)
    if len(descriptions) != needed:
        raise BandError(_count_message(where, descriptions))
    if stated is not None:
        return _order_of(stated, f"--bands for {where}", bands), None
    if not any(descriptions):
        return tuple(range(needed)), (
            f"{where} does not name its bands; taken to be {' '.join(bands)} in this order"
        )
    return _order_of([text or "" for text in descriptions], f"the band descriptions of {where}", bands), None


@dataclass(frozen=True)
class StackBands:
    """What the bands of a stack are.

    Attributes
    ----------
    present : the model's bands that are there, in the model's order
    places : position in the stack of each of them, 0-based
    extra : names of the bands that no model knows, by position
    note : what was assumed, or None
    """

    present: tuple[str, ...]
    places: tuple[int, ...]
    extra: Mapping[int, str] = field(default_factory=dict)
    note: str | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Position of each band of the model among those of the stack, the extra ones not counted."""
        kept = sorted(self.places)
        return tuple(kept.index(place) for place in self.places)


def stack_bands(
    where: str, descriptions: Sequence[str | None], stated: Sequence[str] | None = None
) -> StackBands:
    """Sort the bands of a stack: all of the model's or, where every band is named, some; and others.

    Parameters
    ----------
    where, descriptions, stated : as in `stack_order`

    Raises
    ------
    BandError : the names do not say which band is which
    """
    names = list(descriptions if stated is None else stated)
    parsed = [parse_band(name) for name in names]
    known = [band for band in parsed if band in S2_BAND_NAMES]
    is_whole = set(S2_BAND_NAMES) <= set(known)
    # As many bands as the model has, one of them unknown: it is misspelt rather than another.
    is_part = bool(known) and all(names) and (stated is not None or len(names) != len(S2_BAND_NAMES))
    is_unique = len(set(known)) == len(known) and len(names) == len(descriptions)
    if not (is_unique and (is_whole or is_part)):
        order, note = stack_order(where, descriptions, stated)
        return StackBands(S2_BAND_NAMES, order, {}, note)
    present = tuple(band for band in S2_BAND_NAMES if band in known)
    extra = {k: _layer_name(names[k], band, k) for k, band in enumerate(parsed) if band not in S2_BAND_NAMES}
    places = tuple(parsed.index(band) for band in present)
    return StackBands(present, places, extra, None if is_whole else _absent_note(where, present))


def _absent_note(where: str, present: Sequence[str]) -> str:
    absent = [band for band in S2_BAND_NAMES if band not in present]
    return f"{where} has no {' '.join(absent)}; they stay nodata"


def _layer_name(text: str | None, band: str | None, position: int) -> str:
    """A name that can be part of a file's; 'B10' where the text names that band."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", text or "").strip("_")
    return band or words or f"band_{position + 1}"


def _order_of(names: Sequence[str], where: str, bands: Sequence[str]) -> tuple[int, ...]:
    """Invert a list of names; every band of the model must occur once."""
    parsed = [parse_band(name) for name in names]
    unknown = [repr(name) for name, band in zip(names, parsed, strict=True) if band not in bands]
    missing = [band for band in bands if band not in parsed]
    if unknown or missing or len(parsed) != len(bands):
        found = f"{', '.join(unknown[:3])} unknown" if unknown else f"{', '.join(missing)} missing"
        raise BandError(
            f"the band order is unknown: {where} do not name {' '.join(bands)} once each ({found}); "
            "state it with --bands B01,B02,... in the file's order"
        )
    return tuple(parsed.index(band) for band in bands)


def _count_message(where: str, descriptions: Sequence[str | None]) -> str:
    extra = [band for band in map(parse_band, descriptions) if band and band not in S2_BAND_NAMES]
    surplus = f" ({', '.join(extra)} is not among them)" if extra else ""
    plural = "band" if len(descriptions) == 1 else "bands"
    return (
        f"{where} has {len(descriptions)} {plural}, the model takes {len(S2_BAND_NAMES)}: "
        f"{' '.join(S2_BAND_NAMES)}{surplus}; say which are there with --bands B02,B03,... "
        "in the file's order, or give a folder with one file per band"
    )
