"""TEC-TT, as shipped: the transforms of TEC-ELIC; its coder predicts each timestep from earlier ones.

  x --> g_a --> y --> - prediction --> axes, blocks, step --> symbols ... --> + prediction --> y_hat --> g_s
                          ^                                      |                                |
                          |                         context model, which sees the past            |
                          +---- stated map across the spectrum of one or two earlier y_hat <------+

What a series adds is in `entropy/temporal_coder.py`. The published TEC-TT, a transformer over windows of two
earlier timesteps, is `models/tt_published.py`.
"""

from __future__ import annotations

from eocodec.models.elic import TecElic


class TecTt(TecElic):
    """The transforms of TEC-TT, those of TEC-ELIC frame by frame."""
