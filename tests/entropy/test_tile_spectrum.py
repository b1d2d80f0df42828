"""The spectrum of a tile: there and back, clipped to what can be stated, and nothing outside the family."""

import numpy as np
import pytest

from context_support import some_prior
from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.family import SCALES, scale_of
from eocodec.entropy.spectrum import BANDS
from eocodec.entropy.tile_spectrum import CONTEXT_WIDTH, CONTEXTS, DEAD, MAX_DELTA, measured
from eocodec.errors import MalformedSection

COMPONENTS = 3


@pytest.fixture(scope="module")
def tables():
    """Tables of spectra of 3 components and 3 levels."""
    return some_prior(COMPONENTS).spectrum


def some_spectrum(seed, dead=0.3):
    rng = np.random.default_rng(seed)
    scale = rng.integers(0, SCALES, (BANDS, COMPONENTS))
    return np.where(rng.random(scale.shape) < dead, -1, scale)


def there_and_back(tables, scale, quality_steps):
    encoder = SymbolEncoder()
    tables.encode(encoder, scale, quality_steps)
    decoder = SymbolDecoder(*encoder.finish())
    back = tables.decode(decoder, quality_steps)
    decoder.finish()
    return back


@pytest.mark.parametrize("quality_steps", [0, 3333, 5000, 7501, MAX_QUALITY])
@pytest.mark.parametrize("dead", [0.0, 0.3, 1.0])
def test_there_and_back(tables, quality_steps, dead):
    scale = tables.reachable(some_spectrum(quality_steps, dead), quality_steps)
    assert np.array_equal(there_and_back(tables, scale, quality_steps), scale)


@pytest.mark.parametrize("seed", range(5))
def test_what_cannot_be_stated_is_clipped_to_what_can(tables, seed):
    wanted = some_spectrum(seed)
    found = tables.reachable(wanted, 5000)
    symbols, rows = tables.deltas(found, 5000)
    assert np.array_equal(found < 0, wanted < 0)
    assert ((found >= -1) & (found < SCALES)).all()
    live = symbols[found >= 0]
    assert np.abs(live).max() == MAX_DELTA  # at random there are steps too far
    assert (symbols[found < 0] == DEAD).all()
    assert ((rows >= 0) & (rows < tables.tables.count)).all()
    assert np.array_equal(tables.reachable(found, 5000), found)


def test_a_default_costs_nothing_but_zeros(tables):
    scale = tables.default_scale[1].copy()
    symbols, rows = tables.deltas(scale, 5000)
    assert not symbols.any()
    assert np.array_equal(rows[0], scale[0] // CONTEXT_WIDTH)
    assert np.array_equal(rows[1:], CONTEXTS + scale[1:] // CONTEXT_WIDTH)


def test_bands_follow_the_last_live_one(tables):
    """A spectrum that is 5 above its default says so once, dead bands between or not."""
    scale = tables.default_scale[1] + 5
    assert scale.max() < SCALES
    scale[4:9] = -1
    symbols, rows = tables.deltas(scale, 5000)
    assert symbols[0].tolist() == [5] * COMPONENTS
    assert (symbols[4:9] == DEAD).all()
    assert not np.delete(symbols, [0, 4, 5, 6, 7, 8], 0).any()
    assert (rows[5:10] < CONTEXTS).all()
    assert (rows[10:] >= CONTEXTS).all()


@pytest.mark.parametrize("delta", [-51, 51, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("band", [0, 7])
def test_r60_scales_outside_the_family(tables, delta, band):
    symbols, rows = tables.deltas(tables.default_scale[1], 5000)
    symbols[band, 1] = delta
    encoder = SymbolEncoder()
    for row, symbol in zip(rows, symbols, strict=True):
        encoder.encode(symbol, row, tables.tables)
    with pytest.raises(MalformedSection, match="R60"):
        tables.decode(SymbolDecoder(*encoder.finish()), 5000)


def test_measured_scales_are_the_nearest():
    index = np.arange(SCALES)
    count = np.full(SCALES, 640.0)
    assert np.array_equal(measured(scale_of(index) * count, count), index)
    assert np.array_equal(measured(scale_of(index + 0.4) * count, count), index)
    assert measured(np.array([0.0, 1e-9, 1e9]), np.array([0.0, 50.0, 50.0])).tolist() == [-1, 0, SCALES - 1]
