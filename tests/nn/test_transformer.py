"""Blocks of the published temporal models: what sees what, and in which arithmetic."""

import pytest
import torch

from eocodec.nn.transformer import DecoderBlock, EncoderBlock, MultiHead, Position

D, HEADS, LENGTH = 16, 2, 6


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    return DecoderBlock(D, HEADS, LENGTH)


@pytest.fixture(scope="module")
def context(decoder):
    with torch.no_grad():
        return decoder.context_of(torch.randn(3, 5, D, dtype=torch.float64))


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(1)
    attention = MultiHead(D, HEADS).double()
    x, seen = torch.randn(2, 4, D, dtype=torch.float64), torch.randn(2, 5, D, dtype=torch.float64)
    with torch.no_grad():
        found = attention(x, attention.key_values(seen))
        heads = []
        for part in torch.arange(D).chunk(HEADS):
            q, k, v = attention.q(x)[..., part], attention.k(seen)[..., part], attention.v(seen)[..., part]
            heads.append(torch.softmax(q @ k.transpose(1, 2) / (D // HEADS) ** 0.5, -1) @ v)
        assert torch.allclose(found, attention.proj(torch.cat(heads, -1)), atol=1e-12)


def test_a_context_of_one_serves_all(decoder):
    context = torch.randn(1, 5, D)
    x = torch.randn(3, LENGTH, D)
    with torch.no_grad():
        one, _ = decoder(x, None, decoder.context_of(context))
        each, _ = decoder(x, None, decoder.context_of(context.repeat(3, 1, 1)))
    assert torch.allclose(one, each, atol=1e-6)


@pytest.mark.parametrize("portions", [[6], [1] * 6, [3, 1, 2]])
def test_tokens_in_portions_are_tokens_at_once(decoder, context, portions):
    x = torch.randn(3, LENGTH, D, dtype=torch.float64)
    with torch.no_grad():
        whole, _ = decoder(x, None, context)
        seen, parts = None, []
        for part in x.split(portions, 1):
            out, seen = decoder(part, seen, context)
            parts.append(out)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-12)
    assert seen.keys.shape == (3, HEADS, LENGTH, D // HEADS)


def test_a_token_does_not_see_later_ones(decoder, context):
    x = torch.randn(3, LENGTH, D, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3, 0] += 1
    with torch.no_grad():
        moved = (decoder(changed, None, context)[0] - decoder(x, None, context)[0]).abs().amax((0, 2))
    assert (moved[:3] == 0).all()
    assert (moved[3:] > 1e-6).all()


def test_an_encoder_sees_everything():
    torch.manual_seed(2)
    block, x = EncoderBlock(D, HEADS).double(), torch.randn(1, LENGTH, D, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3, 0] += 1
    with torch.no_grad():
        moved = (block(changed) - block(x)).abs().amax(2)
    assert (moved > 1e-6).all()


def test_arithmetic_is_that_of_the_input():
    """float32 weights give in float64 what float64 weights give."""
    torch.manual_seed(3)
    block, position = EncoderBlock(D, HEADS), Position(LENGTH, D)
    x = torch.randn(2, LENGTH, D)
    with torch.no_grad():
        narrow, wide = block(position(x)), block(position(x.double()))
        exact = block.double()(position.double()(x.double()))
    assert narrow.dtype == torch.float32
    assert torch.equal(wide, exact)
    assert 0 < (narrow - wide).abs().max() < 1e-5


def test_positions_of_a_portion():
    position = Position(LENGTH, D)
    x = torch.zeros(1, LENGTH, D)
    assert torch.equal(position(x)[:, 2:4], position(x[:, :2], 2))
