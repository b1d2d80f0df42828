"""The factorized prior: there and back, as the specification says, and nothing that breaks its rules."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.axes import entry_count
from eocodec.entropy.family import SCALES, SHAPES
from eocodec.entropy.levels import at_quality
from eocodec.entropy.prior import DEAD, MAX_DELTA, MAX_SHIFT, Axes
from eocodec.errors import MalformedSection
from eocodec.train.fitting import flat_prior

BANDS, RINGS, CHANNELS, POSITIONS = 3, 2, 24, 10


@pytest.fixture(scope="module")
def prior():
    """A prior of 24 channels that favours nothing but has different defaults at its three levels."""
    flat = flat_prior(3, CHANNELS, BANDS, RINGS)
    flat.default_scale[:] = np.array([[3], [20], [44]]) + np.arange(CHANNELS) % 4
    flat.default_shape[:] = np.array([[1], [2], [5]])
    flat.offset_scale[:] = np.array([[10], [20], [41]])
    return flat


def some_axes(rng):
    counts = rng.integers(0, BANDS, RINGS).astype(np.int32)
    entries = rng.integers(-64, 65, (RINGS, entry_count(BANDS - 1, BANDS))).astype(np.int32)
    for ring, count in enumerate(counts):
        entries[ring, entry_count(int(count), BANDS) :] = 0
    return Axes(counts, entries)


def some_symbols(rng, spread=3.0):
    symbols = np.rint(rng.laplace(0, spread, (CHANNELS, POSITIONS))).astype(np.int32)
    symbols[rng.random(CHANNELS) < 0.3] = 0
    return symbols


def choose(prior, centred, offset, quality_steps):
    """Choice for [M, n] symbols with offsets removed, and those of the live channels."""
    live = np.flatnonzero(centred.any(1))
    return prior.choose(centred[live], live, offset, quality_steps), centred[live]


def code(prior, tiles, quality_steps):
    """(stream, escapes) of tiles (symbols, axes), and their choices."""
    encoder, choices = SymbolEncoder(), []
    for symbols, axes in tiles:
        offset = prior.offsets(symbols)
        centred = symbols.copy()
        centred[:BANDS] -= offset[:, None]
        choice, live = choose(prior, centred, offset, quality_steps)
        choices.append(choice)
        prior.axes.encode(encoder, axes)
        prior.encode(encoder, live, choice, quality_steps)
    return encoder.finish(), choices


def dense(frame):
    """All symbols of a frame, [M, n]."""
    symbols = np.zeros((CHANNELS, POSITIONS), np.int32)
    symbols[frame.channels] = frame.symbols
    return symbols


@pytest.mark.parametrize("quality_steps", [0, 1, 2500, 5000, 7777, MAX_QUALITY])
@pytest.mark.parametrize("spread", [0.1, 3.0, 300.0])
def test_there_and_back(prior, quality_steps, spread):
    rng = np.random.default_rng(quality_steps)
    tiles = [(some_symbols(rng, spread), some_axes(rng)) for _ in range(3)]
    tiles[1][0][:BANDS] += 500  # offsets
    (stream, escapes), _ = code(prior, tiles, quality_steps)
    decoder = SymbolDecoder(stream, escapes)
    for symbols, axes in tiles:
        decoded = prior.decode(decoder, POSITIONS, quality_steps)
        assert np.array_equal(dense(decoded), symbols)
        assert np.array_equal(decoded.axes.counts, axes.counts)
        assert np.array_equal(decoded.axes.entries, axes.entries)
    decoder.finish()


def test_silence_is_cheap_and_comes_back(prior):
    axes = some_axes(np.random.default_rng(0))
    silence = Axes(0 * axes.counts, 0 * axes.entries)
    (stream, escapes), (choice,) = code(prior, [(np.zeros((CHANNELS, POSITIONS), np.int32), silence)], 5000)
    assert not choice.live.size
    frame = prior.decode(SymbolDecoder(stream, escapes), POSITIONS, 5000)
    assert not dense(frame).any()
    assert not frame.axes.counts.any()
    assert len(stream) < 20


def test_values_between_levels_are_integers_between_theirs(prior):
    scales = [prior.defaults(q, 0)[0] for q in range(0, MAX_QUALITY + 1, 500)]
    assert np.array_equal(scales[0], prior.default_scale[0])
    assert np.array_equal(scales[10], prior.default_scale[1])
    assert np.array_equal(scales[20], prior.default_scale[2])
    assert (np.diff(scales, axis=0) >= 0).all()
    assert scales[5].tolist() == (np.arange(CHANNELS) % 4 + (3 + 20 + 1) // 2).tolist()
    assert prior.defaults(2499, 0)[1][0] == 1
    assert prior.defaults(2500, 0)[1][0] == 2
    assert prior.defaults(0, -MAX_SHIFT)[0].min() == 0
    assert prior.defaults(MAX_QUALITY, MAX_SHIFT)[0].max() == SCALES - 1


def bits_of(prior, centred, choice, quality_steps):
    encoder = SymbolEncoder()
    prior.encode(encoder, centred, choice, quality_steps)
    stream, escapes = encoder.finish()
    return 8 * (len(stream) + len(escapes))


@pytest.mark.parametrize("spread", [0.5, 20.0])
def test_no_other_choice_is_shorter(prior, spread):
    rng = np.random.default_rng(5)
    best, centred = choose(prior, some_symbols(rng, spread), np.zeros(BANDS, np.int32), 5000)
    least = bits_of(prior, centred, best, 5000)
    default, _ = prior.defaults(5000, best.shift)
    for _ in range(60):
        scale = np.clip(best.scale + rng.integers(-3, 4, CHANNELS), 0, SCALES - 1)
        scale = np.where(best.scale < 0, -1, np.clip(scale, default - MAX_DELTA, default + MAX_DELTA))
        shape = np.clip(best.shape + rng.integers(-1, 2, CHANNELS), 0, len(SHAPES) - 1)
        other = replace(best, scale=scale, shape=shape)
        assert bits_of(prior, centred, other, 5000) >= least - 8


def test_a_few_live_channels_do_not_shift_the_dead_ones(fitted):
    """A shift that suits three channels of 3072 must not make it dear to say that the others are dead."""
    prior = fitted.prior
    loud = np.zeros((prior.channels, 4), np.int32)
    loud[:3] = np.random.default_rng(0).integers(-300, 300, (3, 4))
    for quality_steps in (0, 2500, 5000, MAX_QUALITY):
        choice, centred = choose(prior, loud, np.zeros(12, np.int32), quality_steps)
        best = bits_of(prior, centred, choice, quality_steps)
        default, _ = prior.defaults(quality_steps, 0)
        scale = np.clip(choice.scale, default - MAX_DELTA, default + MAX_DELTA)
        unshifted = replace(choice, shift=0, scale=np.where(choice.scale < 0, -1, scale))
        assert best <= bits_of(prior, centred, unshifted, quality_steps) + 16


def forge(prior, *, counts=None, entries=None, shift=0, deltas=None, shapes=None, offsets=None, latent=0):
    """Decode a stream at quality 50 with any values in its groups; two channels live by default."""
    encoder = SymbolEncoder()
    counts = np.zeros(RINGS, np.int32) if counts is None else np.array(counts)
    encoder.encode(counts, np.arange(RINGS), prior.count_tables)
    if entries is not None:
        encoder.encode(np.array(entries), 3 * SCALES + prior.entry_scale[0, : len(entries)], prior.family)
    default, default_shape = prior.defaults(5000, int(np.clip(shift, -MAX_SHIFT, MAX_SHIFT)))
    deltas = np.array([0, 0] + [DEAD] * (CHANNELS - 2)) if deltas is None else np.array(deltas)
    live = np.flatnonzero(deltas != DEAD)
    shapes = default_shape[live] if shapes is None else np.array(shapes)
    encoder.encode(np.array([shift]), np.zeros(1, np.int64), prior.shift_table)
    encoder.encode(deltas, default // 6, prior.delta_tables)
    encoder.encode(shapes, default_shape[live], prior.shape_tables)
    offsets = np.zeros(BANDS, np.int32) if offsets is None else np.array(offsets)
    encoder.encode(offsets, 5 * SCALES + at_quality(prior.offset_scale, 5000), prior.family)
    table = np.clip(shapes * SCALES + (default + deltas)[live], 0, prior.family.count - 1)
    encoder.encode_channels(np.full((len(live), POSITIONS), latent), table, prior.family)
    return prior.decode(SymbolDecoder(*encoder.finish()), POSITIONS, 5000)


def test_the_forger_can_write_what_is_legal(prior):
    frame = forge(prior, counts=[1, 0], entries=[64, -64], shift=MAX_SHIFT, offsets=[5, -5, 0], latent=2)
    assert frame.axes.counts.tolist() == [1, 0]
    assert frame.axes.entries[0].tolist() == [64, -64, 0]
    assert dense(frame)[:4, 0].tolist() == [7, -3, 0, 0]


@pytest.mark.parametrize("shift", [MAX_SHIFT + 1, -MAX_SHIFT - 1, 2**31 - 1, -(2**31)])
def test_r37_shift(prior, shift):
    with pytest.raises(MalformedSection, match="R37"):
        forge(prior, shift=shift)


@pytest.mark.parametrize("delta", [-22, 31, 2**31 - 1, -(2**31)])
def test_r38_scale(prior, delta):
    with pytest.raises(MalformedSection, match="R38"):
        forge(prior, deltas=[delta, 0] + [DEAD] * (CHANNELS - 2))


@pytest.mark.parametrize("shape", [-1, 6, 2**31 - 1])
def test_r39_shape(prior, shape):
    with pytest.raises(MalformedSection, match="R39"):
        forge(prior, shapes=[2, shape])


@pytest.mark.parametrize(("offset", "latent"), [(2**31 - 1, 1), (-(2**31 - 1), -1), (2**30, 2**30)])
def test_r40_sum_of_symbol_and_offset(prior, offset, latent):
    with pytest.raises(MalformedSection, match="R40"):
        forge(prior, offsets=[offset, 0, 0], latent=latent)
    assert forge(prior, offsets=[2**31 - 2, 0, 0], latent=1).symbols.max() == 2**31 - 1


@pytest.mark.parametrize("count", [-1, BANDS, 2**31 - 1])
def test_r42_number_of_axes(prior, count):
    with pytest.raises(MalformedSection, match="R42"):
        forge(prior, counts=[0, count])


@pytest.mark.parametrize("entry", [65, -65, -(2**31)])
def test_r43_entries(prior, entry):
    with pytest.raises(MalformedSection, match="R43"):
        forge(prior, counts=[1, 0], entries=[0, entry])


# --- the specification, word for word ------------------------------------------------------------------


def tables_by_the_book(arrays, name):
    """[(cumulative frequencies, first)] of a set of tables in a weights file."""
    frequency, bins, first = (arrays[f"prior.{name}.{part}"] for part in ("frequency", "bins", "first"))
    out, at = [], 0
    for size, low in zip(bins.tolist(), first.tolist(), strict=True):
        ends = np.cumsum(frequency[at : at + size].astype(int) + 1)
        out.append(([0, *ends.tolist()], low))
        at += size
    return out


class Book:
    """Decodes groups with tables given one by one, on top of the reference decoder's steps."""

    def __init__(self, stream, escapes):
        from eocodec.coding.reference import ReferenceDecoder

        self.decoder = ReferenceDecoder(stream, escapes)

    def group(self, tables):
        """Symbols with their tables, in ascending order of the numbers that `tables` pairs with them."""
        found = [0] * len(tables)
        for place in sorted(range(len(tables)), key=lambda i: (tables[i][0], i)):
            cdf, first = tables[place][1]
            found[place] = self.decoder._decode_one(cdf, first)
        return found


def frame_by_the_book(book, arrays, n, quality_steps):
    """Counts, entries and symbols of the next timestep, from docs/codestream.md."""
    family, shift_table, delta_tables, shape_tables, count_tables = (
        tables_by_the_book(arrays, name)
        for name in ("family", "shift_table", "delta_tables", "shape_tables", "count_tables")
    )
    scale_levels = arrays["prior.default_scale"].astype(int)
    levels, channels = scale_levels.shape
    p = quality_steps * (levels - 1)
    i, r = p // 10000, p % 10000
    j = min(i + 1, levels - 1)

    def at(a):
        a = a.astype(int)
        return (a[i] * (10000 - r) + a[j] * r + 5000) // 10000

    counts = book.group([(ring, count_tables[ring]) for ring in range(7)])
    entry_scale = arrays["prior.entry_scale"].astype(int)
    stated = [(ring, e) for ring, a in enumerate(counts) for e in range(a * 11 - a * (a - 1) // 2)]
    rows = [51 * 3 + int(entry_scale[where]) for where in stated]
    entries = np.zeros((7, 66), int)
    for where, value in zip(stated, book.group([(row, family[row]) for row in rows]), strict=True):
        entries[where] = value
    (shift,) = book.group([(0, shift_table[0])])
    d = np.minimum(np.maximum(at(scale_levels) + shift, 0), 50)
    delta = book.group([(k // 6, delta_tables[k // 6]) for k in d.tolist()])
    live = [c for c in range(channels) if delta[c] != -14]
    default_shape = arrays["prior.default_shape"].astype(int)[(2 * p + 10000) // 20000].tolist()
    shape = book.group([(default_shape[c], shape_tables[default_shape[c]]) for c in live])
    rows = (51 * 5 + at(arrays["prior.offset_scale"])).tolist()
    offsets = book.group([(row, family[row]) for row in rows])
    rows = [51 * s + int(d[c]) + delta[c] for c, s in zip(live, shape, strict=True)]
    symbols = np.zeros((channels, n), int)
    symbols[live] = np.reshape(book.group([(row, family[row]) for row in rows for _ in range(n)]), (-1, n))
    symbols[:12] += np.array(offsets)[:, None]
    return np.concatenate([counts, entries.ravel(), symbols.ravel()])


def test_the_specification_decodes_a_real_codestream(tiny_model):
    from codec_support import tile
    from eocodec import codec
    from eocodec.codestream import SectionType, read
    from eocodec.coding.crc import symbols_crc

    array = tile(20, 40, timesteps=2)
    array[1, :, 5, 5] = 50_000
    stream = read(codec.encode(array, model=tiny_model, quality=62.5))
    book = Book(stream.sections[SectionType.SYMBOLS], stream.sections[SectionType.ESCAPES])
    arrays = load_file(tiny_model)
    frames = [frame_by_the_book(book, arrays, 2 * 3, 6250) for _ in range(2)]
    assert any(frame[:7].any() for frame in frames)  # some axes are stated
    book.decoder.finish()
    assert symbols_crc(np.concatenate(frames)) == stream.header.symbols_crc
