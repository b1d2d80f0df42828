"""The coder of TEC-ELIC: there and back at any size, at its tables' cost, in spite of noise, by the book."""

import numpy as np
import pytest
import torch

from context_support import (
    RING,
    some_basis,
    some_coder,
    some_latents,
    some_prior,
)
from eocodec.codestream import MAX_QUALITY
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import estimate_bits
from eocodec.entropy.axes_tables import Axes
from eocodec.entropy.context import ContextModel, ContextNet
from eocodec.entropy.context_coder import ContextCoder
from eocodec.entropy.exact import EPSILON, NOISE, EdgeReader, EdgeWriter
from eocodec.entropy.partition import Partition
from eocodec.entropy.spectrum import BANDS
from eocodec.errors import ChecksumMismatch, CodestreamError, ExactnessError, MalformedSection
from eocodec.train.context_fit import plain_net

COMPONENTS = 3
WORTH = 14.0  # bits that a squared error of one step is, about as in shipped models


@pytest.fixture(scope="module")
def coder():
    """A coder of 3 components that nothing was fitted to."""
    torch.set_num_threads(1)
    return some_coder(COMPONENTS)


def code(coder, y, quality_steps, observe=None):
    """Frame, and contents of SYMBOLS, ESCAPES and EDGES."""
    encoder, edges = SymbolEncoder(), EdgeWriter()
    lmbda = WORTH / coder.prior.step(quality_steps) ** 2
    frame = coder.encode(y, encoder, edges, quality_steps, lmbda, observe)
    return frame, (*encoder.finish(), edges.finish())


def decode(coder, data, rows, cols, quality_steps, reader=EdgeReader):
    """The frame of contents; everything in them is used up."""
    stream, escapes, edges = data
    decoder, resolved = SymbolDecoder(stream, escapes), reader(edges)
    frame = coder.decode(decoder, resolved, rows, cols, quality_steps)
    decoder.finish()
    resolved.finish()
    return frame


def assert_equal(coder, one, other):
    """Two frames hold the same."""
    assert np.array_equal(one.axes.counts, other.axes.counts)
    assert np.array_equal(one.axes.entries, other.axes.entries)
    assert np.array_equal(one.partition.large, other.partition.large)
    assert np.array_equal(one.partition.medium, other.partition.medium)
    assert np.array_equal(one.spectrum, other.spectrum)
    assert len(one.symbols) == len(other.symbols)
    for a, b in zip(one.symbols, other.symbols, strict=True):
        assert np.array_equal(a, b)
    assert coder.crc([one]) == coder.crc([other])


@pytest.mark.parametrize("quality_steps", [0, 2500, 5001, MAX_QUALITY])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 9), (9, 1), (2, 2), (3, 4), (5, 6), (9, 7)])
def test_there_and_back(coder, rows, cols, quality_steps):
    y = some_latents(rows, cols, COMPONENTS, seed=rows + quality_steps)
    frame, data = code(coder, y, quality_steps)
    back = decode(coder, data, rows, cols, quality_steps)
    assert_equal(coder, frame, back)
    assert any(part.any() for part in frame.symbols)


@pytest.mark.parametrize("components", [1, 2, 12])
def test_any_number_of_components(components):
    coder = some_coder(components)
    assert (coder.bands, coder.channels) == (components, 256 * components)
    frame, data = code(coder, some_latents(3, 5, components), 5000)
    assert_equal(coder, frame, decode(coder, data, 3, 5, 5000))


def test_timesteps_share_a_stream(coder):
    y = [some_latents(4, 5, COMPONENTS, seed) for seed in range(3)]
    encoder, edges = SymbolEncoder(), EdgeWriter()
    lmbda = WORTH / coder.prior.step(5000) ** 2
    frames = [coder.encode(part, encoder, edges, 5000, lmbda) for part in y]
    decoder, resolved = SymbolDecoder(*encoder.finish()), EdgeReader(edges.finish())
    back = [coder.decode(decoder, resolved, 4, 5, 5000) for _ in y]
    decoder.finish()
    for one, other in zip(frames, back, strict=True):
        assert_equal(coder, one, other)
    assert coder.crc(frames) == coder.crc(back) != coder.crc(back[::-1])


def test_silence(coder):
    y = np.zeros((256 * COMPONENTS, 5, 6), np.float32)
    frame, data = code(coder, y, 5000)
    back = decode(coder, data, 5, 6, 5000)
    assert_equal(coder, frame, back)
    assert (back.spectrum == -1).all()
    assert not back.symbols
    latents = coder.latents(back, 5000, np.float32)
    assert not latents.channels.size
    assert not latents.dense(RING).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what blocks cost overflows; any of them will do
@pytest.mark.parametrize("size", [3e4, 1e9])
def test_values_that_no_table_covers(coder, size):
    y = some_latents(2, 3, COMPONENTS)
    y[5, 1, 1], y[300, 0, 2], y[700] = size, -size, 0.3 * size
    frame, data = code(coder, y, 5000)
    assert data[1]
    assert max(np.abs(part).max() for part in frame.symbols) > 5000
    assert_equal(coder, frame, decode(coder, data, 2, 3, 5000))


@pytest.mark.parametrize("quality_steps", [0, 5000, MAX_QUALITY])
def test_coded_bits_are_those_of_the_tables(coder, quality_steps):
    prior, costs = coder.prior, []

    def observe(request, values, symbols):
        costs.append(estimate_bits(symbols, request.rows, prior.family))

    frame, (stream, _, _) = code(coder, some_latents(9, 7, COMPONENTS), quality_steps, observe)
    axes, part = frame.axes, frame.partition
    side = sum(prior.axes.bits(r, int(axes.counts[r]), axes.entries[r]) for r in range(len(axes.counts)))
    level = 2 * round(quality_steps / MAX_QUALITY * 2)
    for kind, flags in enumerate((part.large.ravel(), part.medium[part.open_medium()])):
        side += estimate_bits(flags.astype(int), np.full(flags.size, level + kind), prior.split_tables)
    side += estimate_bits(*prior.spectrum.deltas(frame.spectrum, quality_steps), prior.spectrum.tables)
    expected = sum(costs) + side
    assert abs(8 * len(stream) - expected) < 0.01 * expected + 64
    assert 2000 < expected < 8 * 2 * 63 * 256 * COMPONENTS


def test_a_quality_has_its_step_and_more_of_it_is_nearer(coder):
    y, errors, sizes = some_latents(8, 8, COMPONENTS), [], []
    for quality_steps in (0, 3000, 5000, 8000, MAX_QUALITY):
        _, data = code(coder, y, quality_steps)
        back = decode(coder, data, 8, 8, quality_steps)
        found = coder.latents(back, quality_steps, np.float32).dense(RING)
        errors.append(float(np.mean((found - y.reshape(found.shape)) ** 2)))
        sizes.append(len(data[0]))
        assert errors[-1] < coder.prior.step(quality_steps) ** 2
    assert errors == sorted(errors, reverse=True)
    assert sizes == sorted(sizes)
    assert np.isclose(coder.prior.step(0), 2**1.5)
    assert np.isclose(coder.prior.step(2500), 2**0.625)
    assert np.isclose(coder.prior.step(MAX_QUALITY), 2**-2)


def test_latents_in_both_precisions(coder):
    _, data = code(coder, some_latents(7, 9, COMPONENTS), 7000)
    back = decode(coder, data, 7, 9, 7000)
    single, double = (coder.latents(back, 7000, dtype) for dtype in (np.float32, np.float64))
    assert np.array_equal(single.channels, double.channels)
    for latents, dtype in ((single, np.float32), (double, np.float64)):
        assert latents.values.dtype == latents.bases.dtype == latents.dense(RING).dtype == dtype
    assert np.abs(single.values - double.values).max() < 1e-5 * np.abs(double.values).max()
    assert np.abs(double.values).max() > 100


# --- arithmetic that differs --------------------------------------------------------------------------------


def edgy_coder(spread):
    """A coder all of whose scales and shapes lie within a few `spread` of an edge."""
    rng = np.random.default_rng(0)
    net = plain_net(4)
    first = rng.standard_normal(net.weights[0].shape) / 38
    last = np.array([[spread / 3], [spread / 5]]) * rng.standard_normal((2, 4))
    biases = (net.biases[0], net.biases[1], np.array([0.5 / 3, 0.5]))
    net = ContextNet((first, np.eye(4), last), biases)
    return ContextCoder(some_prior(COMPONENTS, net=net), some_basis(COMPONENTS), RING)


def noisy_reader(size, seed=0):
    """Edge readers that see every value with noise of up to `size`."""
    rng = np.random.default_rng(seed)

    class NoisyReader(EdgeReader):
        def resolve(self, values):
            return super().resolve(values + rng.uniform(-size, size, values.shape))

    return NoisyReader


@pytest.mark.parametrize("spread", [EPSILON / 10, EPSILON, 30 * EPSILON])
@pytest.mark.parametrize("seed", range(3))
def test_noise_that_is_allowed_for_changes_nothing(spread, seed):
    coder = edgy_coder(spread)
    frame, data = code(coder, some_latents(5, 6, COMPONENTS), 5000)
    assert len(data[2]) > 200  # many values are listed
    back = decode(coder, data, 5, 6, 5000, noisy_reader(NOISE / 2, seed))
    assert_equal(coder, frame, back)
    values, wanted = (
        coder.latents(f, 5000, np.float64).values for f in (back, decode(coder, data, 5, 6, 5000))
    )
    assert np.array_equal(values, wanted)


@pytest.mark.parametrize("times", [10, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_noise_that_is_not_allowed_for_is_noticed(times, seed):
    coder = edgy_coder(EPSILON)
    _, data = code(coder, some_latents(5, 6, COMPONENTS), 5000)
    with pytest.raises(ExactnessError, match="R46"):
        decode(coder, data, 5, 6, 5000, noisy_reader(times * EPSILON, seed))


@pytest.mark.parametrize("seed", range(5))
def test_gross_noise_is_never_taken_for_a_tile(coder, seed):
    """Too few values lie near an edge to notice it there: other tables, other symbols, another CRC."""
    frame, data = code(coder, some_latents(5, 6, COMPONENTS), 5000)
    with pytest.raises(CodestreamError):
        back = decode(coder, data, 5, 6, 5000, noisy_reader(0.4, seed))
        if coder.crc([back]) != coder.crc([frame]):
            raise ChecksumMismatch("symbols_crc")


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_an_error_with_a_name_or_another_crc(coder, seed):
    rng = np.random.default_rng(seed)
    frame, (stream, escapes, edges) = code(coder, some_latents(4, 5, COMPONENTS), 5000)
    damaged = bytearray(stream)
    damaged[rng.integers(0, len(stream) // (1 + seed % 8))] ^= 1 << rng.integers(0, 8)
    try:
        back = decode(coder, (bytes(damaged), escapes, edges), 4, 5, 5000)
    except CodestreamError:
        return
    assert coder.crc([back]) != coder.crc([frame])


# --- streams written by hand --------------------------------------------------------------------------------


class Writes:
    """A source that writes zeros, and `value` at the end of pass number `at`."""

    def __init__(self, encoder, family, at, value):
        self.encoder, self.family, self.at, self.value, self.number = encoder, family, at, value, 0

    def symbols(self, requests):
        found = [np.zeros(r.rows.shape, np.int32) for r in requests]
        if self.number == self.at:
            found[-1][-1, -1] = self.value
        self.number += 1
        rows = np.concatenate([r.rows.ravel() for r in requests])
        self.encoder.encode(np.concatenate([s.ravel() for s in found]), rows, self.family)
        return [np.maximum(s, -(2**31 - 1)) for s in found]  # a model would not go on with -2^31


def forge(coder, large=(0, 0), medium=(0,) * 8, at=-1, value=0):
    """Decode a stream of 4 x 9 cells at quality 50: any flags, one symbol of any value."""
    prior, encoder = coder.prior, SymbolEncoder()
    counts = np.zeros(7, np.int32)
    prior.axes.encode(encoder, Axes(counts, np.zeros((7, 3), np.int32)))
    for kind, flags in enumerate((large, medium)):
        encoder.encode(np.array(flags), prior.split_rows(kind, len(flags), 5000), prior.split_tables)
    spectrum = np.where(np.arange(BANDS)[:, None] < 14, prior.spectrum.default_scale[1], -1)
    prior.spectrum.encode(encoder, spectrum, 5000)
    part = Partition(4, 9, np.zeros((1, 2), bool), np.zeros((2, 4), bool))
    ContextModel(prior.net, part, spectrum, 0.5).run(Writes(encoder, prior.family, at, value), EdgeWriter())
    return decode(coder, (*encoder.finish(), b""), 4, 9, 5000)


def test_the_forger_can_write_what_is_legal(coder):
    frame = forge(coder, at=3, value=-(2**31 - 1))
    assert min(int(part.min()) for part in frame.symbols) == -(2**31 - 1)
    assert not frame.partition.large.any()


@pytest.mark.parametrize("flag", [-1, 2, 2**31 - 1, -(2**31)])
def test_r61_flags_of_the_partition(coder, flag):
    with pytest.raises(MalformedSection, match="R61"):
        forge(coder, large=(0, flag))
    with pytest.raises(MalformedSection, match="R61"):
        forge(coder, medium=(0, 0, 0, flag, 0, 0, 0, 0))


@pytest.mark.parametrize("at", [0, 3, 6])
def test_r62_symbols_beyond_32_bits(coder, at):
    with pytest.raises(MalformedSection, match="R62"):
        forge(coder, at=at, value=-(2**31))
