"""The coder of series: there and back, fewer bits than image by image, exact in spite of noise."""

import numpy as np
import pytest
import torch

from context_support import RING, some_basis, some_coder
from edges_support import edgy
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.entropy.coder import SeriesCoder, decode_all, encode_all
from eocodec.entropy.exact import EPSILON, NOISE, EdgeReader, EdgeWriter
from eocodec.entropy.prediction import WINDOW
from eocodec.errors import ExactnessError
from temporal_support import some_series, some_temporal

LMBDA, QUALITY = 0.5, 5000


@pytest.fixture(scope="module")
def coder():
    """A coder of series of 5 components."""
    torch.set_num_threads(1)
    return some_temporal()


def code(coder, ys, quality_steps=QUALITY, writer=EdgeWriter):
    """Frames, and contents of SYMBOLS, ESCAPES and EDGES."""
    encoder, edges = SymbolEncoder(), writer()
    frames = encode_all(coder, ys, encoder, edges, quality_steps, LMBDA)
    return frames, (*encoder.finish(), edges.finish())


def decode(coder, data, shape, quality_steps=QUALITY, reader=EdgeReader):
    """The frames of contents; everything in them is used up."""
    decoder, resolved = SymbolDecoder(*data[:2]), reader(data[2])
    frames = decode_all(coder, decoder, resolved, shape[0], *shape[2:], quality_steps)
    decoder.finish()
    resolved.finish()
    return frames


@pytest.mark.parametrize("quality_steps", [0, 5001, 10000])
@pytest.mark.parametrize(("timesteps", "rows", "cols"), [(1, 2, 3), (2, 1, 1), (3, 5, 6), (4, 4, 9)])
def test_there_and_back(coder, timesteps, rows, cols, quality_steps):
    ys = some_series(timesteps, rows, cols, seed=rows)
    frames, data = code(coder, ys, quality_steps)
    back = decode(coder, data, ys.shape, quality_steps)
    assert coder.crc(frames) == coder.crc(back)
    for one, other in zip(frames, back, strict=True):
        assert np.array_equal(one.cells, other.cells)
        assert np.array_equal(one.prediction.weights, other.prediction.weights)
    latents = coder.latents(back[-1], quality_steps, np.float64).dense(RING)
    error = np.abs(latents - ys[-1].reshape(len(latents), -1)).max()
    assert error < 60 * coder.later.prior.step(quality_steps)


def test_error_is_that_of_images(coder):
    """What is predicted is not much farther off than what is not."""
    ys = some_series(3, 6, 6)
    frames, _ = code(coder, ys)

    def error(frame, y):
        latents = coder.latents(frame, QUALITY, np.float64).dense(RING)
        return np.sqrt(np.mean((latents - y.reshape(latents.shape)) ** 2))

    for t in range(3):
        alone = code(coder, ys[t : t + 1])[0][0]
        assert error(frames[t], ys[t]) < 1.1 * error(alone, ys[t])


def test_it_is_a_coder_of_series(coder):
    assert isinstance(coder, SeriesCoder)
    assert not isinstance(some_coder(3), SeriesCoder)
    assert (coder.bands, coder.channels) == (5, 1280)


def test_a_series_takes_fewer_bits_than_its_images(coder):
    ys = some_series(4, 8, 8)
    _, data = code(coder, ys)
    alone = sum(sum(map(len, code(coder, ys[t : t + 1])[1])) for t in range(4))
    assert sum(map(len, data)) < 0.8 * alone


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
    assert coder.crc(decode(coder, data, ys.shape)) == coder.crc(frames)


EdgyWriter, edgy_reader = edgy(-150, 150)


def test_noise_changes_nothing(coder):
    ys = some_series(4, 6, 7)
    frames, data = code(coder, ys, writer=EdgyWriter)
    assert len(data[2]) > 1000  # of edges
    back = decode(coder, data, ys.shape, reader=edgy_reader(NOISE / 2))
    assert coder.crc(back) == coder.crc(frames)


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
        assert coder.crc(decode(coder, data, ys.shape)) == coder.crc(frames)
    finally:
        torch.set_num_threads(1)


def test_crc_covers_all_that_is_stated(coder):
    from dataclasses import replace

    frames, _ = code(coder, some_series(2, 3, 3))
    last = frames[1]
    other = replace(last, prediction=replace(last.prediction, means=last.prediction.means + 1))
    cells = last.cells.copy()
    cells[0, 0, 0] += 1
    values = {coder.crc([frames[0], f]) for f in (last, other, replace(last, cells=cells))}
    assert len(values) == 3


def test_basis_is_that_of_the_images(coder):
    assert np.array_equal(coder.later.basis, some_basis(5))
