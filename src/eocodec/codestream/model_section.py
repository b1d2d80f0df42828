"""Section MODEL: the id of a model that is no part of this package, for a reader to say what to fetch."""

from __future__ import annotations

import re

from eocodec.errors import MalformedSection

MAX_ID_BYTES = 64
_ID = re.compile(r"[a-z0-9][a-z0-9._@+-]*(/[a-z0-9][a-z0-9._@+-]*)*")


def is_model_id(text: str) -> bool:
    """Whether a text can be a model's id: parts of lower-case letters, digits and ._@+-, separated by /.

    No part begins with a dot, so an id never leads out of the folder that it is looked up in.
    """
    return len(text) <= MAX_ID_BYTES and _ID.fullmatch(text) is not None


def pack_model(model: str) -> bytes:
    """The id in ASCII."""
    if not is_model_id(model):
        raise MalformedSection(f"MODEL: {model!r} is no model id (R63)")
    return model.encode("ascii")


def unpack_model(data: bytes) -> str:
    """Inverse of `pack_model`; `MalformedSection` for anything it cannot have written (R63)."""
    text = data.decode("ascii", errors="replace")
    if not is_model_id(text):
        raise MalformedSection(f"MODEL: found {data[:MAX_ID_BYTES]!r}, expected a model's id (R63)")
    return text
