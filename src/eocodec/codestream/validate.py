"""Structural check of a codestream without a model: everything but the symbols themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from eocodec.codestream.header import Layout, parse_layout
from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.parts_section import parts_in
from eocodec.codestream.reader import check_length, check_payload
from eocodec.codestream.sections import SUPPORTED, SectionType, check_known, section_name
from eocodec.errors import CodestreamError


@dataclass(frozen=True)
class Report:
    """Result of `validate`; `errors` and `warnings` are one line each, errors start with the error's name."""

    ok: bool
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def validate(
    data: bytes, limits: Limits = DEFAULT_LIMITS, supported: Collection[SectionType] = SUPPORTED
) -> Report:
    """Check structure and checksums; never raises for bad bytes.

    Notes
    -----
    A sound header is needed to go on, so header errors come alone; after it all errors are listed. Not
    checked: that the sections decode, and to the right symbols, which takes the model.
    """
    try:
        layout = parse_layout(data, limits)
    except CodestreamError as error:
        return Report(False, (_line(error),), ())
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_known([entry.type for entry in layout.entries], supported),
        lambda: check_length(data, layout),
        lambda: check_payload(data, layout),
        lambda: _check_parts(data, layout, limits),
    )
    errors = []
    for check in checks:
        try:
            check()
        except CodestreamError as error:
            errors.append(_line(error))
    return Report(not errors, tuple(errors), _warnings(layout, supported))


def _check_parts(data: bytes, layout: Layout, limits: Limits) -> None:
    if len(data) >= layout.total_bytes:  # else it is said already
        parts_in(data, layout, limits)


def _warnings(layout: Layout, supported: Collection[int]) -> tuple[str, ...]:
    found = []
    for entry in layout.entries:
        if entry.type not in supported and not entry.critical:
            found.append(f"section {section_name(entry.type)}: ancillary, skipped (R16)")
        elif entry.length == 0 and entry.type == SectionType.ESCAPES:
            found.append("section escapes: empty, could be left out")
    return tuple(found)


def _line(error: CodestreamError) -> str:
    return f"{type(error).__name__}: {error}"
