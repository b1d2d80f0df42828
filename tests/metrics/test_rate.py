"""Rates by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eocodec.errors import InputError
from eocodec.metrics import bpp, bpppc, ratio


def test_rates_of_a_known_size() -> None:
    assert bpp(1000, (2, 5, 10, 20)) == 8000 / 400
    assert bpppc(1000, (2, 5, 10, 20)) == 8000 / 2000
    assert bpppc(1000, (5, 10, 20)) == bpppc(1000, (1, 5, 10, 20)) == 8.0


def test_ratio_counts_the_bytes_of_the_dtype() -> None:
    assert ratio(100, np.zeros((12, 10, 10), np.uint16)) == 24.0
    assert ratio(100, np.zeros((12, 10, 10), np.float32)) == 48.0


def test_bad_sizes_are_refused() -> None:
    for shape in ((4, 4), (1, 2, 3, 4, 5), (3, 0, 4)):
        with pytest.raises(InputError):
            bpp(10, shape)
    with pytest.raises(InputError):
        ratio(0, np.zeros(4))
