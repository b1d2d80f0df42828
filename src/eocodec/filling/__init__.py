"""Cloud filling: pixels under clouds predicted from other dates of the same place. NumPy only."""

from __future__ import annotations

from eocodec.filling.filler import Filler
from eocodec.filling.inpainting import inpaint, times_of

__all__ = ["Filler", "inpaint", "times_of"]
