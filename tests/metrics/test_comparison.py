"""The comparison agrees with the single metrics and goes through JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from eocodec import metrics
from eocodec.errors import BandError, InputError
from eocodec.metrics import compare
from eocodec.sensors import S2_BAND_NAMES

RNG = np.random.default_rng(0)
X = RNG.integers(100, 6000, (2, 12, 20, 24)).astype(np.int16)
X_HAT = (X + RNG.integers(-30, 31, X.shape)).astype(np.int16)
MASK = np.ones(X.shape, bool)
MASK[0, :, :, 18:] = False


def test_fields_equal_the_single_metrics() -> None:
    result = compare(X, X_HAT, MASK, S2_BAND_NAMES)
    assert result.mse == metrics.mse(X, X_HAT, mask=MASK)
    assert result.psnr == metrics.psnr(X, X_HAT, mask=MASK)
    assert result.ssim == pytest.approx(metrics.ssim(X, X_HAT, mask=MASK))
    assert result.sam == metrics.sam(X, X_HAT, mask=MASK)
    assert result.max_error == metrics.max_error(X, X_HAT, mask=MASK)
    assert result.index_error == metrics.index_error(X, X_HAT, S2_BAND_NAMES, mask=MASK)
    assert result.valid_share == MASK.mean()
    assert [band.name for band in result.bands] == list(S2_BAND_NAMES)
    assert [band.psnr for band in result.bands] == pytest.approx(
        metrics.psnr(X, X_HAT, mask=MASK, per_band=True).tolist()
    )
    assert result.bands[3].ssim == pytest.approx(metrics.ssim(X[:, 3:4], X_HAT[:, 3:4], mask=MASK[:, 3:4]))


def test_peak_is_the_range_of_psnr_and_ssim() -> None:
    result = compare(X, X_HAT, peak=65535)
    assert result.psnr == metrics.psnr(X, X_HAT, peak=65535)
    assert result.ssim == pytest.approx(metrics.ssim(X, X_HAT, data_range=65535))
    assert result.bands[0].name == "1"
    assert result.index_error == {}


def test_dictionary_is_strict_json() -> None:
    plain = compare(X, X_HAT, MASK, S2_BAND_NAMES).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["ms_ssim"] is None  # too small for five scales
    assert plain["bands"][2]["name"] == "B03"


def test_identical_and_empty_arrays_are_strict_json_too() -> None:
    same = compare(X, X).to_dict()
    assert same["psnr"] == "inf"
    assert same["mse"] == same["max_error"] == 0.0
    nothing = compare(X, X_HAT, np.zeros(X.shape, bool), S2_BAND_NAMES)
    assert math.isnan(nothing.psnr)
    assert nothing.valid_share == 0.0
    assert json.dumps(nothing.to_dict(), allow_nan=False).count("null") > 12


def test_one_pixel_can_be_compared() -> None:
    result = compare(np.float32([[[3]]]), np.float32([[[5]]]))
    assert (result.mse, result.max_error) == (4.0, 2.0)
    assert math.isnan(result.ssim)


def test_mismatches_are_named() -> None:
    with pytest.raises(BandError, match="11 band names for 12 bands"):
        compare(X, X_HAT, None, S2_BAND_NAMES[1:])
    with pytest.raises(InputError, match="cannot compare"):
        compare(X, X_HAT[0])
