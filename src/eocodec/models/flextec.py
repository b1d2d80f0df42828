"""FlexTEC, as shipped: the transforms of TEC-TT under symbols in layers, so that a file can be cut short.

  x --> g_a --> y --> - prediction --> coarsest layer --> layers of half the step ... --> y_hat --> g_s
                           ^              1st token         2nd, 3rd ... token
                           |                  |
                           +--- earlier dates-+

How layers and tokens are coded is in `entropy/layered_coder.py`. The published FlexTEC, whose tokens are
slices of the channels of TEC-TT's transformer, is `models/flextec_published.py`.
"""

from __future__ import annotations

from eocodec.models.elic import TecElic


class FlexTec(TecElic):
    """The transforms of FlexTEC, those of TEC-ELIC frame by frame."""
