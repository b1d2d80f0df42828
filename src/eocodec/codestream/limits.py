"""Ceilings on what a codestream may ask a reader for, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from eocodec.errors import LimitExceeded


@dataclass(frozen=True)
class Limits:
    """Largest sizes that a reader accepts; raise one knowingly for larger tiles.

    The defaults admit two timesteps of 12 bands of 4096 x 4096 pixels, and stop a few malicious bytes from
    asking for much more.
    """

    max_header_bytes: int = 4096
    max_sections: int = 64
    max_section_bytes: int = 1 << 28
    max_timesteps: int = 1024
    max_bands: int = 1024
    max_pixels: int = 1 << 26  # rows * cols: 8192 x 8192
    max_values: int = 1 << 29  # timesteps * bands * rows * cols
    max_symbols: int = 1 << 29  # to decode in one tile
    max_parts: int = 1 << 14  # of PARTS

    def check_shape(self, shape: tuple[int, int, int, int]) -> None:
        """Raise `LimitExceeded` if a tile [T, C, H, W] is too large (R12)."""
        timesteps, bands, rows, cols = shape
        _check("timesteps", timesteps, self.max_timesteps, "R12")
        _check("bands", bands, self.max_bands, "R12")
        _check("pixels", rows * cols, self.max_pixels, "R12")
        _check("values", timesteps * bands * rows * cols, self.max_values, "R12")

    def check_header_length(self, length: int) -> None:
        """Raise `LimitExceeded` if the header is too long (R3)."""
        _check("header_length", length, self.max_header_bytes, "R3")

    def check_sections(self, lengths: list[int]) -> None:
        """Raise `LimitExceeded` if sections are too many or too long (R18)."""
        _check("section_count", len(lengths), self.max_sections, "R18")
        for length in lengths:
            _check("section_length", length, self.max_section_bytes, "R18")

    def check_symbols(self, count: int) -> None:
        """Raise `LimitExceeded` if that many symbols must not be decoded (R31); call it before decoding."""
        _check("symbols", count, self.max_symbols, "R31")


DEFAULT_LIMITS = Limits()


def _check(name: str, found: int, limit: int, rule: str) -> None:
    if found > limit:
        raise LimitExceeded(f"{name}: found {found}, limit {limit} ({rule})")
