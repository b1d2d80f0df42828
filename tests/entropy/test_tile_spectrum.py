"""The spectrum of a tile: there and back, clipped to what can be stated, and nothing outside the family."""

import numpy as np
import pytest

from context_support import some_prior
from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.family import SCALES, scale_of
from eocodec.entropy.spectrum import BANDS, SIZES, layout
from eocodec.entropy.tile_spectrum import CONTEXT_WIDTH, CONTEXTS, DEAD, MAX_DELTA, measured, paying
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


@pytest.mark.parametrize(("value", "lives"), [(0.5, False), (0.8, False), (1.4, True), (-40.0, True)])
def test_a_band_is_stated_where_its_symbols_pay(value, lives):
    """One symbol in a band of 64 blocks takes about 10 bits or more; at 0.8 steps it spares 0.6 of a step."""
    blocks = {size: np.zeros((2, size * size, 64 if size == 16 else 0), np.float32) for size in SIZES}
    band = 20
    first = int(layout(16).counts[:band].sum())
    blocks[16][1, first, 7] = value
    blocks[16][0] = 3.0
    scale = paying(blocks, worth=14.0)
    assert (scale[band, 1] >= 0) == lives
    assert (np.delete(scale[:, 1], band) == -1).all()
    assert np.array_equal(scale[:, 0] >= 0, layout(16).counts.sum((1, 2)) > 0)
    assert (paying(blocks, worth=0.0) == -1).all()
