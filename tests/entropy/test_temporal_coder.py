"""The coder of series: there and back, fewer bits than image by image, exact in spite of noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from context_support import RING, some_basis, some_coder
from edges_support import edgy
from eocodec.coding.crc import SymbolsCrc
from eocodec.entropy.coder import ExtensibleCoder, SeriesCoder
from eocodec.entropy.exact import EPSILON, NOISE, EdgeReader, EdgeWriter
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.entropy.prediction import WINDOW
from eocodec.entropy.sources import Sources
from eocodec.errors import CodestreamError, ExactnessError, TrailingBytes, Truncated
from temporal_support import some_series, some_temporal

QUALITY = 5000
WORTH = 14.0  # bits that a squared error of one step is, about as in shipped models


@pytest.fixture(scope="module")
def coder():
    """A coder of series of 5 components."""
    torch.set_num_threads(1)
    return some_temporal()


def lmbda(coder, quality_steps=QUALITY):
    return WORTH / coder.later.prior.step(quality_steps) ** 2


def code(coder, ys, quality_steps=QUALITY, writer=EdgeWriter):
    """Frames, and the parts."""
    parts = PartWriter(edges=writer)
    return list(coder.encode_series(ys, parts, quality_steps, lmbda(coder, quality_steps))), parts.parts


def decode(coder, parts, shape, quality_steps=QUALITY, reader=EdgeReader):
    """The frames of parts; all of them are read."""
    read = PartReader(parts, reader)
    frames = list(coder.decode_series(read, shape[0], *shape[2:], quality_steps))
    read.finish()
    return frames


def size(parts):
    return sum(len(part.pack()) for part in parts)


def crc_of(frames):
    crc = SymbolsCrc()
    for frame in frames:
        frame.add_to(crc)
    return crc.value


@pytest.mark.parametrize("quality_steps", [0, 5001, 10000])
@pytest.mark.parametrize(("timesteps", "rows", "cols"), [(1, 2, 3), (2, 1, 1), (3, 5, 6), (4, 4, 9)])
def test_there_and_back(coder, timesteps, rows, cols, quality_steps):
    ys = some_series(timesteps, rows, cols, seed=rows)
    frames, data = code(coder, ys, quality_steps)
    back = decode(coder, data, ys.shape, quality_steps)
    assert crc_of(frames) == crc_of(back) == data[-1].crc
    assert len(data) == timesteps
    for one, other in zip(frames, back, strict=True):
        assert np.array_equal(one.cells, other.cells)
        assert np.array_equal(one.prediction.weights, other.prediction.weights)
    latents = coder.latents(back[-1], quality_steps, np.float64).dense(RING)
    error = np.abs(latents - ys[-1].reshape(len(latents), -1)).max()
    assert error < 60 * coder.later.prior.step(quality_steps)


def test_error_is_that_of_images(coder):
    """What is predicted is not much farther off than what is not; where little is left, nothing is coded."""
    ys = some_series(3, 6, 6)
    frames, _ = code(coder, ys)

    def error(frame, y):
        latents = coder.latents(frame, QUALITY, np.float64).dense(RING)
        return np.sqrt(np.mean((latents - y.reshape(latents.shape)) ** 2))

    for t in range(3):
        alone = code(coder, ys[t : t + 1])[0][0]
        assert error(frames[t], ys[t]) < 1.3 * error(alone, ys[t])


def test_it_is_a_coder_of_series(coder):
    assert isinstance(coder, SeriesCoder)
    assert isinstance(coder, ExtensibleCoder)
    assert not isinstance(some_coder(3), SeriesCoder)
    assert (coder.bands, coder.channels) == (5, 1280)


def test_sources_are_those_of_the_model(coder):
    sloped, ys = replace(coder, sources=Sources.SLOPES), some_series(3, 4, 5)
    frames, parts = code(sloped, ys)
    assert any(frame.prediction.weights[..., coder.bands :].any() for frame in frames)
    back = decode(sloped, parts, ys.shape)
    assert all(np.array_equal(one.cells, other.cells) for one, other in zip(frames, back, strict=True))
    with pytest.raises(CodestreamError):
        decode(coder, parts, ys.shape)


def test_a_series_takes_fewer_bits_than_its_images(coder):
    ys = some_series(4, 8, 8)
    alone = sum(size(code(coder, ys[t : t + 1])[1]) for t in range(4))
    assert size(code(coder, ys)[1]) < 0.8 * alone


def test_a_clouded_timestep_does_no_harm(coder):
    """The timestep after a cloud is predicted from those before it."""
    ys = some_series(4, 6, 6)
    ys[2] = np.random.default_rng(0).normal(0, 5, ys[2].shape)
    frames, _ = code(coder, ys)
    assert frames[3].prediction.back[0] > 1
    assert frames[3].prediction.weights.any()
    assert not frames[2].prediction.weights.any()


def test_references_stay_within_the_window(coder):
    ys = some_series(2, 2, 2)[np.array([0, *[1] * (WINDOW + 2)])]
    frames, data = code(coder, ys)
    assert all((f.prediction.back <= WINDOW).all() for f in frames)
    assert crc_of(decode(coder, data, ys.shape)) == crc_of(frames)


EdgyWriter, edgy_reader = edgy(-150, 150)


def test_noise_changes_nothing(coder):
    ys = some_series(4, 6, 7)
    frames, data = code(coder, ys, writer=EdgyWriter)
    assert sum(len(part.edges) for part in data) > 1000
    back = decode(coder, data, ys.shape, reader=edgy_reader(NOISE / 2))
    assert crc_of(back) == crc_of(frames)


def test_more_noise_is_a_named_error(coder):
    ys = some_series(4, 6, 7)
    _, data = code(coder, ys, writer=EdgyWriter)
    with pytest.raises(ExactnessError):
        decode(coder, data, ys.shape, reader=edgy_reader(10 * EPSILON))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(coder, threads):
    ys = some_series(3, 5, 5)
    frames, data = code(coder, ys)
    torch.set_num_threads(threads)
    try:
        assert crc_of(decode(coder, data, ys.shape)) == crc_of(frames)
    finally:
        torch.set_num_threads(1)


def test_crc_covers_all_that_is_stated(coder):
    from dataclasses import replace

    frames, _ = code(coder, some_series(2, 3, 3))
    last = frames[1]
    other = replace(last, prediction=replace(last.prediction, means=last.prediction.means + 1))
    cells = last.cells.copy()
    cells[0, 0, 0] += 1
    values = {crc_of([frames[0], f]) for f in (last, other, replace(last, cells=cells))}
    assert len(values) == 3


def test_basis_is_that_of_the_images(coder):
    assert np.array_equal(coder.later.basis, some_basis(5))


# --- parts --------------------------------------------------------------------------------------------------


def test_timesteps_are_coded_as_they_are_asked_for(coder):
    """A coder holds on to nothing but its window: later timesteps are not there yet."""
    ys = some_series(3, 2, 2)
    asked = []
    frames = coder.encode_series(
        (asked.append(t) or y for t, y in enumerate(ys)), PartWriter(), QUALITY, lmbda(coder)
    )
    next(frames)
    assert asked == [0]


@pytest.mark.parametrize("there", [1, 2, WINDOW + 1])
def test_timesteps_added_are_those_of_the_whole_series(coder, there):
    ys = some_series(3, 3, 4)[np.arange(there + 2) % 3]
    frames, parts = code(coder, ys)
    read, writer = PartReader(parts[:there]), PartWriter(parts[:there])
    added = list(coder.extend_series(ys[there:], read, (there, 3, 4), writer, QUALITY, lmbda(coder)))
    assert writer.parts == parts
    assert [crc_of([f]) for f in added] == [crc_of([f]) for f in frames[there:]]
    assert not read.left


def test_the_first_timesteps_need_no_later_parts(coder):
    ys = some_series(3, 3, 3)
    frames, parts = code(coder, ys)
    back = coder.decode_series(PartReader(parts[:2]), 3, 3, 3, QUALITY)
    assert [crc_of([next(back)]) for _ in range(2)] == [crc_of([f]) for f in frames[:2]]
    with pytest.raises(Truncated):
        next(back)
    with pytest.raises(TrailingBytes):
        decode(coder, parts, (2, *ys.shape[1:]))


def test_damage_ends_at_the_part_where_it_is(coder):
    ys = some_series(3, 2, 2)
    _, parts = code(coder, ys)
    for at in range(0, len(parts[1].symbols), 61):
        symbols = bytearray(parts[1].symbols)
        symbols[at] ^= 0x55
        back = coder.decode_series(
            PartReader([parts[0], replace(parts[1], symbols=bytes(symbols)), parts[2]]), 3, 2, 2, QUALITY
        )
        next(back)
        with pytest.raises(CodestreamError):
            next(back)
    with pytest.raises(CodestreamError):
        decode(coder, [parts[0], parts[2], parts[1]], ys.shape)
