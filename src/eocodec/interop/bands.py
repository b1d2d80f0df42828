"""Which band is which: names in descriptions and file names -> the model's band order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eocodec.errors import BandError
from eocodec.sensors import S2_BAND_NAMES, band_index

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
    where: str, descriptions: Sequence[str | None], stated: Sequence[str] | None = None
) -> tuple[tuple[int, ...], str | None]:
    """Positions, in a stack, of the model's bands in the model's order.

    Parameters
    ----------
    where : the file's name, for messages
    descriptions : of each band in the file's order; None or empty where there is none
    stated : band names in the file's order as the user gave them; they win over the descriptions

    Returns
    -------
    order : order[k] is the 0-based position in the file of the model's band k
    note : what was assumed, or None

    Raises
    ------
    BandError : the number of bands is wrong, or the names given do not say the order
    """
    needed = len(S2_BAND_NAMES)
    if len(descriptions) != needed:
        raise BandError(_count_message(where, descriptions))
    if stated is not None:
        return _order_of(stated, f"--bands for {where}"), None
    if not any(descriptions):
        return tuple(range(needed)), (
            f"{where} does not name its bands; taken to be {' '.join(S2_BAND_NAMES)} in this order"
        )
    return _order_of([text or "" for text in descriptions], f"the band descriptions of {where}"), None


def extra_bands(names: Sequence[str | None], count: int) -> dict[int, str]:
    """Positions and names of a stack's bands that no model knows; none unless all of the model's are there.

    Parameters
    ----------
    names : of each band in the file's order, or None
    count : bands of the file; names that are not as many say nothing
    """
    parsed = [parse_band(name) for name in names]
    if len(parsed) != count or not set(S2_BAND_NAMES) <= set(parsed):
        return {}
    return {
        k: _layer_name(name, band, k)
        for k, (name, band) in enumerate(zip(names, parsed, strict=True))
        if band not in S2_BAND_NAMES
    }


def _layer_name(text: str | None, band: str | None, position: int) -> str:
    """A name that can be part of a file's; 'B10' where the text names that band."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", text or "").strip("_")
    return band or words or f"band_{position + 1}"


def _order_of(names: Sequence[str], where: str) -> tuple[int, ...]:
    """Invert a list of names; every band of the model must occur once."""
    parsed = [parse_band(name) for name in names]
    unknown = [
        repr(name)
        for name, band in zip(names, parsed, strict=True)
        if band is None or band_index(band) is None
    ]
    missing = [band for band in S2_BAND_NAMES if band not in parsed]
    if unknown or missing or len(parsed) != len(S2_BAND_NAMES):
        found = f"{', '.join(unknown[:3])} unknown" if unknown else f"{', '.join(missing)} missing"
        raise BandError(
            f"the band order is unknown: {where} do not name {' '.join(S2_BAND_NAMES)} once each ({found}); "
            "state it with --bands B01,B02,... in the file's order"
        )
    return tuple(parsed.index(band) for band in S2_BAND_NAMES)


def _count_message(where: str, descriptions: Sequence[str | None]) -> str:
    extra = [band for band in map(parse_band, descriptions) if band and band not in S2_BAND_NAMES]
    surplus = f" ({', '.join(extra)} is not among them)" if extra else ""
    plural = "band" if len(descriptions) == 1 else "bands"
    return (
        f"{where} has {len(descriptions)} {plural}, the model takes {len(S2_BAND_NAMES)}: "
        f"{' '.join(S2_BAND_NAMES)}{surplus}; give a stack of these, or a folder with one file per band"
    )
