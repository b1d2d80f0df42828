"""FlexTEC's coder: any number of tokens there and back, exact in spite of noise, damage named."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from context_support import RING
from edges_support import edgy
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import from_pmfs
from eocodec.entropy.coder import ExtensibleCoder, SeriesCoder
from eocodec.entropy.exact import EPSILON, NOISE, EdgeReader, EdgeWriter
from eocodec.entropy.family import SCALES
from eocodec.entropy.layer_channels import NEW_CONTEXTS, new_contexts
from eocodec.entropy.layered_frame import CUTS, TOKENS, TOKENS_A_LAYER
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.entropy.spectrum import BANDS, layout
from eocodec.errors import CodestreamError, ExactnessError, MalformedSection, TrailingBytes, Truncated
from layered_support import some_layered
from temporal_support import some_series

LMBDA, QUALITY = 0.5, 6000


@pytest.fixture(scope="module", params=[False, True], ids=["layers", "refined"])
def coder(request):
    """A coder in layers of 5 components, which take notice of other timesteps or do not."""
    torch.set_num_threads(1)
    return some_layered(refined=request.param)


def code(coder, ys, quality_steps=QUALITY, writer=EdgeWriter):
    parts = PartWriter(edges=writer)
    return list(coder.encode_series(ys, parts, quality_steps, LMBDA)), parts.parts


def decode(coder, parts, shape, quality_steps=QUALITY, reader=EdgeReader):
    read = PartReader(parts, reader)
    frames = list(coder.decode_series(read, shape[0], *shape[2:], quality_steps))
    read.finish()
    return frames


def mse(coder, frame, y, quality_steps=QUALITY):
    latents = coder.latents(frame, quality_steps, np.float64).dense(RING)
    return float(np.mean((latents - y.reshape(latents.shape)) ** 2))


def test_tokens_follow_from_layers():
    assert TOKENS == 16
    assert all(cut[0] == 0 and len(cut) == TOKENS_A_LAYER - 1 for cut in CUTS)


def test_it_codes_series_and_cannot_go_on(coder):
    assert isinstance(coder, SeriesCoder)
    assert not isinstance(coder, ExtensibleCoder)


@pytest.mark.parametrize("quality_steps", [0, 6001, 10000])
@pytest.mark.parametrize(("timesteps", "rows", "cols"), [(1, 1, 1), (1, 5, 6), (3, 4, 5)])
def test_there_and_back(coder, timesteps, rows, cols, quality_steps):
    ys = some_series(timesteps, rows, cols, seed=rows)
    frames, parts = code(coder, ys, quality_steps)
    assert len(parts) == timesteps + TOKENS - 1
    back = decode(coder, parts, ys.shape, quality_steps)
    for one, other, y in zip(frames, back, ys, strict=True):
        assert one.tokens == other.tokens == TOKENS
        for size in one.symbols:
            assert np.array_equal(one.symbols[size], other.symbols[size])
            assert np.array_equal(one.values[size], other.values[size])
        assert mse(coder, other, y, quality_steps) == mse(coder, one, y, quality_steps)


def test_any_number_of_tokens_decodes_and_more_are_better(coder):
    ys = some_series(2, 5, 6)
    _, parts = code(coder, ys)
    errors = []
    for tokens in range(1, TOKENS + 1):
        frames = decode(coder, parts[: len(ys) + tokens - 1], ys.shape)
        assert {frame.tokens for frame in frames} == {tokens}
        errors.append(sum(mse(coder, frame, y) for frame, y in zip(frames, ys, strict=True)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


def test_whole_it_is_as_near_as_its_finest_step(coder):
    ys = some_series(2, 4, 4)
    frames = coder.encode_series(ys, PartWriter(), QUALITY, 1e6)  # at such a price no symbol is lowered
    step = coder.base.later.prior.step(QUALITY) / 8
    for frame, y in zip(frames, ys, strict=True):
        assert mse(coder, frame, y) < (step / 2) ** 2


def test_quality_rises_with_the_tokens(coder):
    ys = some_series(1, 2, 2)
    _, parts = code(coder, ys)
    found = [decode(coder, parts[:k], ys.shape)[0] for k in range(1, TOKENS + 1)]
    told = [coder.quality(frame, QUALITY) for frame in found]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(QUALITY / 10000)


def test_a_band_comes_to_life_beside_live_ones():
    scale = np.full((BANDS, 3), -1)
    scale[4, 1] = 20
    found = new_contexts(scale)
    assert found[3, 1] == found[5, 1] == found[4, 2] == 1
    assert found.sum() == 3


EdgyWriter, edgy_reader = edgy(-150, 150)


def test_noise_changes_nothing(coder):
    """Two machines that differ by as much as is assumed: the same symbols."""
    ys = some_series(3, 5, 6)
    frames, parts = code(coder, ys, writer=EdgyWriter)
    assert sum(len(part.edges) for part in parts[3:]) > 1000
    back = decode(coder, parts, ys.shape, reader=edgy_reader(NOISE / 2))
    for one, other in zip(frames, back, strict=True):
        assert all(np.array_equal(one.symbols[size], other.symbols[size]) for size in one.symbols)
        assert np.array_equal(one.base.cells, other.base.cells)


def test_more_noise_is_a_named_error(coder):
    ys = some_series(3, 5, 6)
    _, parts = code(coder, ys, writer=EdgyWriter)
    with pytest.raises(ExactnessError):
        decode(coder, parts, ys.shape, reader=edgy_reader(10 * EPSILON))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(coder, threads):
    ys = some_series(2, 5, 5)
    frames, parts = code(coder, ys)
    torch.set_num_threads(threads)
    try:
        back = decode(coder, parts, ys.shape)
    finally:
        torch.set_num_threads(1)
    for one, other in zip(frames, back, strict=True):
        assert all(np.array_equal(one.values[size], other.values[size]) for size in one.values)


def test_damage_is_found(coder):
    ys = some_series(2, 3, 4)
    _, parts = code(coder, ys)
    for number in (0, 1, 4, 9, 16):
        data = bytearray(parts[number].symbols)
        data[len(data) // 2] ^= 0x55
        broken = [*parts]
        broken[number] = replace(parts[number], symbols=bytes(data))
        with pytest.raises(CodestreamError):
            decode(coder, broken, ys.shape)
    with pytest.raises(Truncated):
        decode(coder, parts[:1], ys.shape)


def test_r74_coarse_magnitudes_are_bounded(coder):
    """A latent beyond 2^27 steps in the plan, which no writer puts there."""
    first, y = coder.base.first, some_series(1, 2, 2)[0]
    plan = first.plan(y, QUALITY, LMBDA)
    size = next(size for size, values in plan.values.items() if values.shape[2])
    band, component = np.argwhere(plan.spectrum >= 0)[0]
    plan.values[size][component, layout(size).places(band, 0).start, 0] = 2.0**28
    encoder, edges = SymbolEncoder(), EdgeWriter()
    first.encode_plan(plan, encoder, edges, QUALITY, LMBDA)
    with pytest.raises(MalformedSection, match="R74"):
        first.decode(SymbolDecoder(*encoder.finish()), EdgeReader(edges.finish()), 2, 2, QUALITY)


def test_r75_children_have_the_parents_they_have(coder):
    """Under tables that give symbols no parent leaves, and scales outside the family."""
    ys = some_series(1, 2, 2)
    _, parts = code(coder, ys)
    wide = from_pmfs([np.full(8, 1.0)] * coder.prior.children.count, [-3] * coder.prior.children.count)
    with pytest.raises(MalformedSection, match="R75"):
        decode(replace(coder, prior=replace(coder.prior, children=wide)), parts, ys.shape)
    high = from_pmfs([np.full(8, 1.0)] * NEW_CONTEXTS, [SCALES - 3] * NEW_CONTEXTS)
    with pytest.raises(MalformedSection, match="R75"):
        decode(replace(coder, prior=replace(coder.prior, new_tables=high)), parts, ys.shape)


def test_r76_there_are_no_more_tokens(coder):
    ys = some_series(1, 2, 2)
    _, parts = code(coder, ys)
    with pytest.raises(TrailingBytes, match="R76"):
        decode(coder, [*parts, parts[-1]], ys.shape)
