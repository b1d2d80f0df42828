"""Windows of tokens: which pixels they hold, and that cutting loses nothing."""

import pytest
import torch

from eocodec.nn.token_windows import (
    MARGIN,
    PAST_SIDE,
    SIDE,
    merge,
    padded,
    reflect,
    repack,
    split,
    split_past,
)


def numbered(batch, channels, rows, cols):
    """Latents that say which one they are."""
    return torch.arange(batch * channels * rows * cols, dtype=torch.float64).reshape(
        batch, channels, rows, cols
    )


def test_sizes_are_padded_to_windows():
    assert [padded(size) for size in (1, 3, 4, 5, 16)] == [4, 4, 4, 8, 16]


@pytest.mark.parametrize(("rows", "cols"), [(5, 9), (4, 6), (7, 16)])
def test_reflection_is_that_of_torch(rows, cols):
    x = numbered(2, 3, rows, cols)
    right, below = 3, 2
    expected = torch.nn.functional.pad(x, (2, right, 2, below), mode="reflect")
    assert torch.equal(reflect(x, 2, rows + 2 + below, cols + 2 + right), expected)


def test_reflection_goes_on_where_the_image_is_small():
    row = torch.tensor([[[[1.0, 2, 3]]]])
    assert reflect(row, 3, 1, 12)[0, 0, 0].tolist() == [2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1]
    assert reflect(torch.tensor([[[[7.0]]]]), 2, 4, 5).unique().tolist() == [7]


@pytest.mark.parametrize("repacked", [False, True])
def test_merging_undoes_splitting(repacked):
    x = numbered(2, 32, 8, 12)
    tokens = split(x, repacked=repacked)
    assert tokens.shape == (2 * 2 * 3, SIDE * SIDE, 32)
    assert torch.equal(merge(tokens, 8, 12, repacked=repacked), x)


def test_which_pixels_a_token_is():
    x = numbered(1, 16, 8, 8)
    tokens = split(x, repacked=False)
    assert torch.equal(tokens[1, 6], x[0, :, 1, 6])  # second window, second row, third column
    slices = split(x, repacked=True)
    assert torch.equal(slices[1, 6], x[0, 6, :4, 4:].flatten())  # channel 6 of all pixels


def test_past_windows_are_about_those_to_be_coded():
    x = numbered(1, 64, 8, 12)
    past = split_past(x, repacked=False).unflatten(1, (PAST_SIDE, PAST_SIDE))
    inner = past[:, MARGIN:-MARGIN, MARGIN:-MARGIN].flatten(1, 2)
    assert torch.equal(inner, split(x, repacked=False))
    mirrored = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    assert torch.equal(past[4].permute(2, 0, 1), mirrored[0, :, 4:12, 4:12])
    assert torch.equal(repack(split_past(x, repacked=True)), split_past(x, repacked=False))


@pytest.mark.parametrize(("tokens", "channels"), [(16, 192), (64, 192), (16, 16)])
def test_repacking_is_its_own_inverse(tokens, channels):
    x = torch.rand(3, tokens, channels)
    moved = repack(x)
    assert torch.equal(repack(moved), x)
    width = channels // tokens
    assert torch.equal(moved[1, 5], x[1, :, 5 * width : 6 * width].flatten())
