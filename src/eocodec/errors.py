"""Every error that eocodec raises on purpose. All derive from `CodecError`, which is a `ValueError`.

Three families: a codestream that cannot be trusted (`CodestreamError`), input that cannot be encoded
(`InputError`), and something this installation lacks (`ModelNotFound`, `MissingDependency`).
"""

from __future__ import annotations


class CodecError(ValueError):
    """Base of all errors of this package."""


class CodestreamError(CodecError):
    """The bytes are not a codestream that this version can decode faithfully."""


class BadMagic(CodestreamError):
    """The first bytes are not those of a codestream."""


class UnsupportedVersion(CodestreamError):
    """The codestream's version is not one that this reader knows."""


class Truncated(CodestreamError):
    """The bytes end before the lengths in the header say so."""


class TrailingBytes(CodestreamError):
    """There are bytes after the end that the header states."""


class MalformedHeader(CodestreamError):
    """A header or section field has a value that the specification forbids."""


class MalformedSection(CodestreamError):
    """A section is repeated, out of place or missing, or its content breaks the specification."""


class UnknownSection(CodestreamError):
    """A section marked critical has a type that this reader does not know."""


class ChecksumMismatch(CodestreamError):
    """A CRC32C of header, payload or decoded symbols differs from the stored one."""


class ExactnessError(CodestreamError):
    """Arithmetic on this machine differs from the encoder's by more than the format allows for."""


class LimitExceeded(CodestreamError):
    """A size in the header is above the limit; nothing was allocated for it."""


class InputError(CodecError):
    """The array or raster given cannot be encoded as asked."""


class BandError(InputError):
    """Number, order or names of the bands are not those that the model was made for."""


class UnitsError(InputError):
    """Values are not digital numbers, and no scale was stated."""


class RasterError(InputError):
    """A raster file is missing, unreadable or inconsistent with the others."""


class OutputExists(InputError):
    """The output is there already and overwriting was not asked for."""


class BoundError(CodecError):
    """A codestream was decoded before its release and did not keep the error bound that it states."""


class OutputError(CodecError):
    """The output could not be written (disk full, no permission)."""


class ConfigError(CodecError):
    """A configuration has an unknown key or a value out of range."""


class ModelNotFound(CodecError):
    """No installed model has this id or fingerprint."""


class WeightsError(CodecError):
    """A weights file is missing tensors, has extra ones, or has tensors of the wrong shape."""


class TableError(CodecError):
    """Integer CDF tables, or an index into them, break a rule that the range coder relies on."""


class MissingDependency(CodecError):
    """An optional package is needed for this; the message names the extra to install."""
