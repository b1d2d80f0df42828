"""Prediction across time: by the book, there and back, worth its bits, and no nonsense accepted."""

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest

from context_support import RING, dct_matrix, family, some_basis
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.tables import from_pmfs
from eocodec.entropy.prediction import (
    MAX_WEIGHT,
    Prediction,
    Reference,
    Regressors,
    decode_prediction,
    encode_prediction,
    no_prediction,
)
from eocodec.entropy.prediction_fit import Fit, fit_prediction
from eocodec.entropy.sources import Sources
from eocodec.errors import MalformedSection
from temporal_support import some_series

COMPONENTS = 5
STEP = 0.8


def coefficients(timesteps, rows=3, cols=4, seed=0):
    """u [256, C, n] of each timestep."""
    y = some_series(timesteps, rows, cols, COMPONENTS, seed).reshape(timesteps, 256, COMPONENTS, -1)
    return [np.matmul(some_basis(COMPONENTS)[RING], part).astype(np.float64) for part in y]


def references(us, seed=0):
    """Timesteps with axes of their own."""
    rng = np.random.default_rng(seed)
    shape = (RING.max() + 1, COMPONENTS, COMPONENTS)
    return [Reference(u, np.linalg.qr(rng.standard_normal(shape))[0]) for u in us]


def some_prediction(back=(1, 2), seed=0, sources=Sources.BENT):
    """Small numbers everywhere."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-9, 10, (len(back), COMPONENTS, sources.count(COMPONENTS)))
    return Prediction(np.array(back), rng.integers(-40, 40, COMPONENTS), weights)


def by_the_book(stated, given, step, kind):
    """Expected u, source by source, as docs/codestream.md has it."""
    d, v = dct_matrix(16), given[0].bases
    inside = {b: np.flatnonzero(band_of_frequency() == b) for b in range(25)}
    out = np.zeros((256, COMPONENTS, given[0].u.shape[2]))
    for r, reference in enumerate(given):
        z = np.stack([v[RING[f]].T @ reference.u[f] for f in range(256)])
        mean = z[0].mean(1)
        z[0] -= mean[:, None]
        if r == 0:
            nearest = mean
        pixels = [np.einsum("ux,vy,uvn->xyn", d, d, z[:, j].reshape(16, 16, -1)) for j in range(4)]
        q = [np.sqrt(np.mean(x**2)) + 1e-9 for x in pixels]
        y = [np.clip(x / s, -3, 3) for x, s in zip(pixels, q, strict=True)]
        coarse = [np.where(RING[:, None] <= 1, z[:, j], 0) for j in range(4)]
        products = [y[i] * y[j] * q[0] for i, j in combinations_with_replacement(range(4), 2)]
        images = [np.abs(x) for x in pixels] + products
        if kind is Sources.SLOPES:
            blurred = [np.einsum("ux,vy,uvn->xyn", d, d, part.reshape(16, 16, -1)) for part in coarse]
            images = products + [
                image for find in (slope, curvature) for image in both_ways(find, pixels[:2])
            ]
            images += [
                np.clip(blurred[i] / q[i], -3, 3) * (pixels[j] - blurred[j]) for i in (0, 1) for j in (0, 1)
            ]
        sources = [z[:, j] for j in range(COMPONENTS)] + coarse
        for image in images:
            source = np.einsum("ux,vy,xyn->uvn", d, d, image).reshape(256, -1)
            source[0] -= source[0].mean()
            sources.append(source)
        for j, source in enumerate(sources):
            total = 1e-9
            for at in inside.values():
                energy, count = np.sum(source[at] ** 2), max(source[at].size, 1)
                total += energy / (0.3 * energy / count + step**2 / 3)
            unit = 1.5 / np.sqrt(total)
            for c in range(COMPONENTS):
                out[:, c] += stated.weights[r, c, j] * unit * source
    out[0] += (nearest + step / 4 * stated.means)[:, None]
    return np.stack([v[RING[f]] @ out[f] for f in range(256)])


def both_ways(find, images):
    """Down all images, then across them."""
    return [find(x) for x in images] + [find(x.swapaxes(0, 1)).swapaxes(0, 1) for x in images]


def slope(x):
    padded = np.pad(x, ((1, 1), (0, 0), (0, 0)), mode="edge")
    return (padded[2:] - padded[:-2]) / 2


def curvature(x):
    padded = np.pad(x, ((1, 1), (0, 0), (0, 0)), mode="edge")
    return padded[2:] + padded[:-2] - 2 * x


def band_of_frequency():
    """[256], from the definition."""
    row, col = np.divmod(np.arange(256), 16)
    radius = np.sqrt(row**2 + col**2)
    radius[0] = 0.35
    return np.rint(np.round(3 * (np.log2(radius) + 3.5), 9)).astype(int)


@pytest.mark.parametrize("sources", [Sources.BENT, Sources.SLOPES])
@pytest.mark.parametrize("back", [(1,), (2, 1)])
def test_prediction_is_that_of_the_specification(back, sources):
    us = references(coefficients(2))
    given = [us[-b] for b in back]
    stated = some_prediction(back, sources=sources)
    expected = by_the_book(stated, given, STEP, sources)
    found = Regressors(given, RING, STEP, sources).predict(stated, STEP)
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("sources", [Sources.BENT, Sources.SLOPES])
@pytest.mark.parametrize("back", [(), (1,), (3, 1)])
def test_there_and_back(back, sources):
    stated = some_prediction(back, sources=sources) if back else no_prediction(COMPONENTS, sources)
    encoder = SymbolEncoder()
    encode_prediction(encoder, stated, family(), 4)
    decoder = SymbolDecoder(*encoder.finish())
    found = decode_prediction(decoder, family(), 4, COMPONENTS, sources)
    decoder.finish()
    for name in ("back", "means", "weights"):
        assert np.array_equal(getattr(found, name), getattr(stated, name))


def test_the_first_timestep_states_nothing():
    encoder = SymbolEncoder()
    encode_prediction(encoder, no_prediction(COMPONENTS), family(), 0)
    assert encoder.finish() == (b"", b"")


def decoded(stated, timestep):
    """What a reader makes of a prediction at a timestep."""
    encoder = SymbolEncoder()
    encode_prediction(encoder, stated, family(), 9)
    return decode_prediction(SymbolDecoder(*encoder.finish()), family(), timestep, COMPONENTS)


def test_r65_references_must_exist_and_differ():
    assert len(decoded(some_prediction((3, 1)), 3).back) == 2
    with pytest.raises(MalformedSection, match="R65"):
        decoded(some_prediction((3, 1)), 2)
    with pytest.raises(MalformedSection, match="R65"):
        decoded(some_prediction((2, 2)), 5)


def test_r65_choices_beyond_the_last_are_refused():
    encoder = SymbolEncoder()
    encoder.encode(np.array([3]), np.zeros(1, np.int64), from_pmfs([np.append(np.ones(3), 1e-9)], [0]))
    with pytest.raises(MalformedSection, match="R65"):
        decode_prediction(SymbolDecoder(*encoder.finish()), family(), 1, COMPONENTS)


def test_r66_numbers_beyond_the_limit_are_refused():
    stated = some_prediction((1,))
    for value, fits in ((MAX_WEIGHT, True), (-MAX_WEIGHT - 1, False)):
        means = stated.means.copy()
        means[2] = value
        wild = replace(stated, means=means)
        if fits:
            assert decoded(wild, 1).means[2] == value
        else:
            with pytest.raises(MalformedSection, match="R66"):
                decoded(wild, 1)


def test_fit_finds_the_change_of_spectra():
    first, second = references(coefficients(2, 4, 4))
    prediction = fit_prediction(second.u, [first], RING, STEP).stated()
    left = second.u - Regressors([first], RING, STEP).predict(prediction, STEP)
    alone = second.u - Regressors([first], RING, STEP).predict(
        replace(prediction, weights=np.zeros_like(prediction.weights)), STEP
    )
    assert np.mean(left**2) < 0.1 * np.mean(alone**2)
    assert np.count_nonzero(prediction.weights) < prediction.weights.size / 2  # the rest saves nothing


def test_fit_chooses_the_reference_that_helps():
    rng = np.random.default_rng(0)
    first, second = references(coefficients(2, 4, 4))
    cloud = Reference(rng.normal(0, 30, first.u.shape), first.bases)
    assert fit_prediction(second.u, [first, cloud, cloud], RING, STEP).stated().back[0] == 3
    assert fit_prediction(second.u, [cloud, first], RING, STEP).stated().back[0] == 1


def test_bent_sources_follow_what_no_line_does():
    """Where bright places darken and dark ones brighten, only magnitudes tell how."""
    first = references(coefficients(1, 4, 4))[0]
    regressors = Regressors([first], RING, STEP)
    weights = np.zeros((1, COMPONENTS, Sources.BENT.count(COMPONENTS)), np.int64)
    weights[0, 0, COMPONENTS + 4] = round(0.7 / regressors.unit[COMPONENTS + 4])
    u = regressors.predict(Prediction(np.array([1]), np.zeros(COMPONENTS, np.int64), weights), STEP)
    straight, bent = (
        Fit(u, [first], [1], RING, STEP, sources) for sources in (Sources.COMPONENTS, Sources.BENT)
    )
    assert bent.bits() < straight.bits() - 100
    left = u - regressors.predict(bent.stated(), STEP)
    assert np.mean(left**2) < 0.02 * np.mean((u - u.mean((0, 2), keepdims=True)) ** 2)


def test_slopes_follow_a_scene_that_has_moved():
    """By a third of a pixel down and a fifth to the left: no weights of bent sources make up for it."""
    d, n = dct_matrix(16), 24
    frequency = np.fft.fftfreq(32)
    spectrum = np.fft.fft2(np.random.default_rng(0).normal(0, 20, (COMPONENTS, n, 32, 32)))
    spectrum *= np.exp(-60 * (frequency[:, None] ** 2 + frequency**2))
    moved = spectrum * np.exp(-2j * np.pi * (frequency[:, None] / 3 - frequency / 5))
    there, here = (
        np.einsum("ux,vy,cnxy->uvcn", d, d, np.fft.ifft2(s).real[..., 8:24, 8:24]).reshape(256, COMPONENTS, n)
        for s in (spectrum, moved)
    )
    first = Reference(there, np.repeat(np.eye(COMPONENTS)[None], RING.max() + 1, 0))
    bent, sloped = (
        Fit(here, [first], [1], RING, STEP, sources) for sources in (Sources.BENT, Sources.SLOPES)
    )
    before, after = (
        np.mean((here - fit.regressors.predict(fit.stated(), STEP))[:, :2] ** 2) for fit in (bent, sloped)
    )
    assert after < 0.3 * before
    assert sloped.bits() < bent.bits() - 500


@pytest.mark.parametrize("sources", [Sources.BENT, Sources.SLOPES])
def test_noise_in_a_reference_stays_small(sources):
    first = references(coefficients(1, 4, 4))[0]
    noise = np.random.default_rng(0).uniform(-1e-10, 1e-10, first.u.shape)
    stated = some_prediction((1,), sources=sources)
    one, other = (
        Regressors([Reference(first.u + part, first.bases)], RING, STEP, sources).predict(stated, STEP)
        for part in (0, noise)
    )
    assert 0 < np.abs(one - other).max() < 1e-7
