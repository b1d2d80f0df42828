"""Real coding of the published TEC-TT and FlexTEC: what comes back, on any machine, and at what cost."""

import dataclasses

import numpy as np
import pytest
import torch
from tt_published_support import M, latents, make, series

from edges_support import edgy
from eocodec.entropy.coder import ExtensibleCoder, SeriesCoder
from eocodec.entropy.exact import NOISE, EdgeReader, EdgeWriter
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.errors import CodecError, CodestreamError, ExactnessError, InputError
from eocodec.models import tt_published_coding
from eocodec.models.flextec_published import tokens_sent
from eocodec.models.tt_published_coding import TtCoder
from eocodec.nn.token_windows import TOKENS, padded


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def flex():
    return make(repacked=True)


@pytest.fixture(scope="module")
def coder(model):
    return TtCoder(model)


@pytest.fixture(scope="module")
def flex_coder(flex):
    return TtCoder(flex)


def encode(coder, y, sent=None, writer=EdgeWriter):
    """Frames, and their parts."""
    parts = PartWriter(edges=writer)
    return list(coder.encode_tokens(y, parts, sent or [TOKENS] * len(y))), parts.parts


def decode(coder, coded, y, sent=None, reader=EdgeReader):
    """As a codec would: all parts read."""
    parts = PartReader(coded, reader)
    frames = list(coder.decode_tokens(parts, *y.shape[2:], sent or [TOKENS] * len(y)))
    parts.finish()
    return frames


def size(parts):
    """Bytes of all that is coded."""
    return sum(len(p.edges) + len(p.symbols) + len(p.escapes) for p in parts)


def same(frames, decoded):
    return all(np.array_equal(a.y_hat, b.y_hat) for a, b in zip(frames, decoded, strict=True))


@pytest.mark.parametrize(
    ("timesteps", "rows", "cols"), [(1, 4, 4), (1, 1, 1), (2, 5, 7), (3, 4, 3), (4, 9, 2)]
)
def test_any_series_decodes(model, coder, timesteps, rows, cols):
    y = latents(model, timesteps, rows, cols)
    frames, coded = encode(coder, y)
    assert frames[0].y_hat.shape == (M, padded(rows), padded(cols))
    decoded = decode(coder, coded, y)
    assert same(frames, decoded)
    y_hat = np.stack([frame.y_hat for frame in decoded])[..., :rows, :cols]
    assert np.array_equal(y_hat, np.rint(y.numpy()))
    assert np.abs(y_hat).max() > 2


@pytest.mark.parametrize("quality", [0, 1, 7, 16, [3, 0, 16]])
def test_any_quality_decodes(flex, flex_coder, quality):
    y = latents(flex, 3, 5, 8)
    sent = tokens_sent(quality, 3)
    frames, coded = encode(flex_coder, y, sent)
    decoded = decode(flex_coder, coded, y, sent)
    assert same(frames, decoded)
    for frame, target, count in zip(decoded, np.rint(y.numpy()), sent, strict=True):
        channels = count * M // TOKENS
        assert np.array_equal(frame.y_hat[:channels, :5, :8], target[:channels])
        assert np.abs(frame.y_hat[channels:]).max(initial=0) < 40  # what the prior says of the rest
    assert any(part.symbols for part in coded) == (quality != 0)


def test_more_tokens_take_more_bits(flex, flex_coder):
    y = latents(flex, 2, 8, 8)
    sizes = [size(encode(flex_coder, y, [count] * 2)[1]) for count in (0, 2, 6, 11, 16)]
    assert sizes == sorted(set(sizes))


def test_what_the_synthesis_gets_is_that_of_the_network(model, coder):
    y = latents(model, 3, 5, 4)
    with torch.no_grad():
        out = model(series(3, 80, 64))
        decoded = decode(coder, encode(coder, y)[1], y)
        given = np.stack([coder.latents(frame, 0, np.float32) for frame in decoded])
        x_hat = model.synthesis(torch.from_numpy(given).view(3, M, 5, 4))
    assert torch.allclose(x_hat, out.x_hat[0], atol=1e-4)
    assert coder.latents(decoded[0], 0, np.float64).dtype == np.float64


def test_a_coder_of_series(flex, flex_coder, coder):
    """The hook of the codec: the quality, in hundredths, says how many tokens are sent."""
    assert isinstance(flex_coder, SeriesCoder)
    assert isinstance(flex_coder, ExtensibleCoder)
    assert [flex_coder.sent_at(steps) for steps in (0, 312, 313, 5000, 10_000)] == [0, 0, 1, 8, 16]
    assert coder.sent_at(0) == TOKENS
    y = latents(flex, 2, 4, 5)
    parts = PartWriter()
    frames = list(flex_coder.encode_series(y.numpy(), parts, 5000, 1.0))
    assert same(frames, flex_coder.decode_series(PartReader(parts.parts), 2, 4, 5, 5000))
    assert same(frames, encode(flex_coder, y, [8, 8])[0])


def test_coded_bits_are_the_estimated_ones(model, coder, monkeypatch):
    """Latents drawn from what the model says of them, token by token."""
    y = latents(model, 2, 8, 8)[None]
    draw = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(model, "analysis", lambda y: y)
    with torch.no_grad():
        for _ in range(2 * TOKENS):  # each round gets one more token of one more frame right
            out = model(y)
            y = out.means + out.scales * draw
        out = model(y)
    coded, estimated = 8 * size(encode(coder, y[0])[1]), float(out.bits.sum())
    assert 0.99 * estimated - 64 <= coded <= 1.01 * estimated + 64
    assert coded > 10_000


def test_groups_of_windows(model, coder, monkeypatch):
    y = latents(model, 2, 12, 8)
    whole = encode(coder, y)[1]
    monkeypatch.setattr(tt_published_coding, "WINDOWS", 4)
    frames, coded = encode(coder, y)
    assert coded[-1].crc == whole[-1].crc
    assert coded[0].symbols != whole[0].symbols  # the order of symbols is another one
    assert same(frames, decode(coder, coded, y))


def test_decoding_does_not_depend_on_threads_and_kernels(model, coder, monkeypatch):
    y = latents(model, 3, 8, 9)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        frames, coded = encode(coder, y)
        torch.set_num_threads(1)
        assert same(frames, decode(coder, coded, y))
        torch.backends.mkldnn.enabled = False
        monkeypatch.setattr(tt_published_coding, "_ENCODED", 300)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            assert same(frames, decode(TtCoder(model), coded, y))
    finally:
        torch.backends.mkldnn.enabled = True
        torch.set_num_threads(threads)


def test_the_coder_leaves_the_model_as_it_is(model):
    TtCoder(model)
    assert all(p.dtype == torch.float32 for p in model.parameters())


# --- noise --------------------------------------------------------------------------------------------------


EdgyWriter, edgy_reader = edgy(-150, 150)


def test_noise_on_every_parameter(flex, flex_coder):
    y, sent = latents(flex, 2, 6, 7), [16, 5]
    frames, coded = encode(flex_coder, y, sent, EdgyWriter)
    assert sum(len(part.edges) for part in coded) > 500
    for amplitude in (0.0, 0.99 * NOISE):
        assert same(frames, decode(flex_coder, coded, y, sent, edgy_reader(amplitude)))
    with pytest.raises(ExactnessError, match="R46"):
        decode(flex_coder, coded, y, sent, edgy_reader(8 * NOISE))


def test_another_network_is_an_error(model, coder):
    y = latents(model, 2, 5, 5)
    coded = encode(coder, y)[1]
    other = make()
    other.entropy_model.decoder.layers["encoder_layer_1"].mlp1.fc2.weight[3, 5] += 0.3
    with pytest.raises(CodecError):
        decode(TtCoder(other), coded, y)


def test_damage_is_an_error(model, coder):
    y = latents(model, 2, 4, 4)
    first, *rest = encode(coder, y)[1]
    stream = first.symbols
    for position in range(0, len(stream), 106):
        damaged = stream[:position] + bytes([stream[position] ^ 0x55]) + stream[position + 1 :]
        with pytest.raises(CodestreamError):
            decode(coder, [dataclasses.replace(first, symbols=damaged), *rest], y)


# --- what cannot be coded -----------------------------------------------------------------------------------


def test_latents_beyond_everything(model, coder):
    y = latents(model, 2, 4, 4)
    y[0, 5, 1, 1] = 1e30
    frames, coded = encode(coder, y)
    assert same(frames, decode(coder, coded, y))
    y[1, 5, 1, 1] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        encode(coder, y)


def test_only_flextec_leaves_tokens_out(model, coder, flex, flex_coder):
    with pytest.raises(InputError, match="expected 16 to 16"):
        encode(coder, latents(model, 1, 4, 4), [15])
    with pytest.raises(InputError, match="expected 0 to 16"):
        encode(flex_coder, latents(flex, 1, 4, 4), [17])
