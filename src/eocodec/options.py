"""What a caller may ask of the encoder. No torch here."""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass
from typing import Any, cast

from eocodec.codestream.header import MAX_ERROR
from eocodec.codestream.units_section import MAX_DN, MAX_SCALE, MIN_SCALE
from eocodec.errors import InputError

DEFAULT_MODEL = "tec-elic"
DEFAULT_QUALITY = 50.0
MAX_TOKENS = 16


def check_max_error(max_error: object) -> None:
    """Raise `InputError` unless it is a bound that a codestream can state."""
    whole = isinstance(max_error, numbers.Integral) and not isinstance(max_error, bool)
    if not (whole and 0 <= int(cast(int, max_error)) <= MAX_ERROR):
        raise InputError(f"max_error must be a whole number from 0 to {MAX_ERROR}, not {max_error!r}")


def check_tokens(tokens: object) -> None:
    """Raise `InputError` unless it is a number of tokens."""
    whole = isinstance(tokens, numbers.Integral) and not isinstance(tokens, bool)
    if not (whole and 1 <= int(cast(int, tokens)) <= MAX_TOKENS):
        raise InputError(f"tokens must be a whole number from 1 to {MAX_TOKENS}, not {tokens!r}")


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode.

    model : id of an installed model
    quality : 0 to 100, continuous, larger is better; None: 50, or with `max_error` no base layer
    nodata : value of pixels that are not there; NaN in float input always is nodata
    scale : float input only: DN = value * scale (10 000 for reflectance); None: the values are DN already
    offset : added to the DN to take a radiometric offset off (-1000 for processing baseline 04.00 and later)
    max_error : integer input only: every valid pixel comes back within so many units of the array
    tokens : flextec only: how many of a codestream's tokens to keep; None: all
    """

    model: str = DEFAULT_MODEL
    quality: float | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float = 0.0
    max_error: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_error is not None:
            check_max_error(self.max_error)
        elif self.quality is None:
            object.__setattr__(self, "quality", DEFAULT_QUALITY)
        if not (
            self.quality is None or (isinstance(self.quality, numbers.Real) and 0 <= self.quality <= 100)
        ):
            raise InputError(f"quality must be between 0 and 100, not {self.quality!r}")
        if not (self.nodata is None or isinstance(self.nodata, numbers.Real)):
            raise InputError(f"nodata must be a number or None, not {self.nodata!r}")
        if self.scale is not None and not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise InputError(f"scale must be a positive number (10000 for reflectance), not {self.scale!r}")
        if self.tokens is not None:
            check_tokens(self.tokens)
        if not abs(self.offset) <= MAX_DN:
            raise InputError(f"offset must be a number of DN, at most {MAX_DN}, not {self.offset!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
