"""Learned compression for Earth-observation imagery.

>>> import eocodec
>>> data = eocodec.encode(array, model="tec-elic", quality=50)    # array: [C, H, W] or [T, C, H, W] integers
>>> array_hat = eocodec.decode(data)

Nothing here imports torch until the first array is encoded or decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eocodec import errors
from eocodec._version import __version__

if TYPE_CHECKING:
    from eocodec.codec import decode, encode
    from eocodec.filling import inpaint
    from eocodec.truncating import truncate

__all__ = ["__version__", "decode", "encode", "errors", "inpaint", "truncate"]


def __getattr__(name: str) -> Any:
    if name in ("encode", "decode"):
        from eocodec import codec

        return getattr(codec, name)
    if name == "inpaint":
        from eocodec import filling

        return filling.inpaint
    if name == "truncate":
        from eocodec import truncating

        return truncating.truncate
    raise AttributeError(f"module 'eocodec' has no attribute {name!r}")
