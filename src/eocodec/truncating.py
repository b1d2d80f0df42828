"""Codestreams of FlexTEC cut short: fewer tokens, fewer bytes, a coarser image. No weights are needed.

The first T parts of such a codestream, T its timesteps, are its first token; every part after is one more.
"""

from __future__ import annotations

from eocodec import codestream
from eocodec.codestream import Codestream, parts_of, write_parts
from eocodec.errors import InputError
from eocodec.models import registry
from eocodec.options import check_tokens

TRUNCATABLE = ("flextec",)  # families whose codestreams can be cut


def check_truncatable(model: str) -> None:
    """Raise `InputError` unless a model's codestreams can be cut."""
    card = registry.by_id(model)
    if card.details["family"] not in TRUNCATABLE:
        raise InputError(f"{card.id} has no tokens; they are for {', '.join(TRUNCATABLE)}")


def token_count(stream: Codestream) -> int | None:
    """Tokens of a codestream; None if it is of another family, or without a base layer.

    Raises
    ------
    ModelNotFound : the model that wrote it is not installed, so that its family is not known
    CodestreamError : the parts are damaged
    """
    parts = parts_of(stream)
    if not parts or registry.by_fingerprint(stream.header.fingerprint).details["family"] not in TRUNCATABLE:
        return None
    return len(parts) - stream.header.shape[0] + 1


def truncate(data: bytes, tokens: int) -> bytes:
    """A codestream with its first tokens alone.

    Parameters
    ----------
    data : a codestream of FlexTEC without an error bound; one of no more tokens comes back as it is
    tokens : 1 to 16

    Raises
    ------
    InputError : another kind of codestream, or no such number of tokens
    ModelNotFound, CodestreamError : as in `token_count`
    """
    check_tokens(tokens)
    stream = codestream.read(data)
    if stream.header.max_error is not None:
        raise InputError("a codestream with an error bound cannot be cut: its residual needs all tokens")
    found = token_count(stream)
    if found is None:
        raise InputError(f"this codestream has no tokens; they are for {', '.join(TRUNCATABLE)}")
    if found <= tokens:
        return data
    return write_parts(data, parts_of(stream)[: stream.header.shape[0] + tokens - 1])
