"""Cloud filling: pixels under clouds predicted from other dates of the same place.

NumPy only, but for `by_prior.py`, which is not imported before it is asked for.
"""

from __future__ import annotations

from eocodec.filling.filler import Filler
from eocodec.filling.inpainting import filler_of, inpaint, times_of

__all__ = ["Filler", "filler_of", "inpaint", "times_of"]
