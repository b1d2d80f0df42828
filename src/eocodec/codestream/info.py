"""What a codestream says about itself, as plain values for JSON. Needs no model."""

from __future__ import annotations

import math
from typing import Any

from eocodec.codestream.header import VERSION, Layout, parse_layout
from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.parts_section import parts_in
from eocodec.codestream.sections import section_name


def info(data: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Describe one tile.

    Parameters
    ----------
    data : a codestream, or its first bytes as long as they hold the whole header

    Returns
    -------
    description : str, int, float, None, list and dict only; `bpppc` counts all bytes of the codestream. A
        nodata value that JSON cannot hold is a string ('nan', 'inf', '-inf'). `parts` are the bytes of each
        part, None where the tile is not coded in parts or `data` end before its last byte

    Raises
    ------
    CodestreamError : the header is not sound, or the parts do not fit it
    """
    layout = parse_layout(data, limits)
    header = layout.header
    timesteps, bands, rows, cols = header.shape
    return {
        "version": VERSION,
        "fingerprint": header.fingerprint.hex(),
        "shape": {"timesteps": timesteps, "bands": bands, "rows": rows, "cols": cols},
        "axes": header.axes,
        "dtype": header.dtype,
        "nodata": _plain(header.nodata),
        "quality": header.quality,
        "max_error": header.max_error,
        "bytes": layout.total_bytes,
        "header_bytes": layout.header_bytes,
        "bpppc": 8 * layout.total_bytes / math.prod(header.shape),
        "symbols_crc": f"{header.symbols_crc:08x}",
        "payload_crc": f"{layout.payload_crc:08x}",
        "sections": [
            {
                "name": section_name(entry.type),
                "type": entry.type,
                "critical": entry.critical,
                "offset": entry.offset,
                "bytes": entry.length,
            }
            for entry in layout.entries
        ],
        "parts": _parts(data, layout, limits),
    }


def _parts(data: bytes, layout: Layout, limits: Limits) -> list[int] | None:
    if len(data) < layout.total_bytes:
        return None
    return [len(part.pack()) for part in parts_in(data, layout, limits)] or None


def _plain(value: int | float | None) -> int | float | str | None:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
