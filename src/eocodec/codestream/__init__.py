"""One tile <-> bytes: the specification docs/codestream.md in code. No torch, no model."""

from eocodec.codestream.header import (
    DTYPE_CODES,
    MAX_QUALITY,
    QUALITY_STEPS,
    VERSION,
    Header,
    Layout,
    parse_layout,
)
from eocodec.codestream.info import info
from eocodec.codestream.limits import DEFAULT_LIMITS, Limits
from eocodec.codestream.parts_section import Part, parts_of, read_parts, write_parts
from eocodec.codestream.reader import Codestream, check_symbols, check_symbols_crc, read, read_header
from eocodec.codestream.sections import SUPPORTED, Section, SectionType
from eocodec.codestream.validate import Report, validate
from eocodec.codestream.writer import write

__all__ = [
    "DEFAULT_LIMITS",
    "DTYPE_CODES",
    "MAX_QUALITY",
    "QUALITY_STEPS",
    "SUPPORTED",
    "VERSION",
    "Codestream",
    "Header",
    "Layout",
    "Limits",
    "Part",
    "Report",
    "Section",
    "SectionType",
    "check_symbols",
    "check_symbols_crc",
    "info",
    "parse_layout",
    "parts_of",
    "read",
    "read_header",
    "read_parts",
    "validate",
    "write",
    "write_parts",
]
