"""Transformer layers that run in the arithmetic of their input, with the names of the published checkpoints.

Weights stay in float32; where the input is float64, the layer at work casts them, which is exact. So the same
network can be asked in float64 for what two machines must agree on, without a second copy of all of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPSILON = 1e-6


def _as_wide(weight: Tensor, x: Tensor) -> Tensor:
    """A weight in the dtype of x, if that is the wider one: under autocast x may be bfloat16."""
    return weight.to(torch.promote_types(weight.dtype, x.dtype))


class Linear(nn.Linear):
    """Linear layer in the arithmetic of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], same dtype."""
        return functional.linear(x, _as_wide(self.weight, x), _as_wide(self.bias, x))


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in the arithmetic of its input."""

    def __init__(self, d: int) -> None:
        super().__init__(d, eps=LAYER_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> same."""
        weight, bias = _as_wide(self.weight, x), _as_wide(self.bias, x)
        return functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class Position(nn.Module):
    """Learned position in a sequence, added."""

    def __init__(self, length: int, d: int) -> None:
        super().__init__()
        self._pos = nn.Parameter(torch.empty(1, length, d).normal_(std=0.02))

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """x [B, n, d], the tokens `first`, `first` + 1 ... of their sequences -> same."""
        return x + _as_wide(self._pos[:, first : first + x.shape[1]], x)


class Mlp(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, d: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(d, hidden)
        self.fc2 = Linear(hidden, d)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> same."""
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class KeyValues(NamedTuple):
    """What attention looks at: keys and values, [B, heads, n, d / heads]."""

    keys: Tensor
    values: Tensor

    def followed_by(self, other: KeyValues) -> KeyValues:
        """These tokens, then those of `other`."""
        return KeyValues(*(torch.cat(pair, 2) for pair in zip(self, other, strict=True)))


class MultiHead(nn.Module):
    """Attention with several heads."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (Linear(d, d) for _ in range(4))

    def key_values(self, x: Tensor) -> KeyValues:
        """Keys and values of x [B, n, d]."""
        return KeyValues(self._split(self.k(x)), self._split(self.v(x)))

    def forward(self, x: Tensor, seen: KeyValues, mask: Tensor | None = None) -> Tensor:
        """What x looks up.

        Parameters
        ----------
        x : [B, n, d]
        seen : of B sequences, or of one that all have in common
        mask : [n, tokens in `seen`], bool, what each token may look at; everything, if not given

        Returns
        -------
        [B, n, d]
        """
        q = self._split(self.q(x))
        keys, values = (t.expand(len(x), -1, -1, -1) for t in seen)
        found = functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return self.proj(found.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """[B, n, d] -> [B, heads, n, d / heads]."""
        parts: Tensor = x.unflatten(2, (self.heads, -1))
        return parts.transpose(1, 2)


class _Block(nn.Module):
    """The layers of a block: two attentions and two MLPs, each behind a norm and added to what came in."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.norm1a, self.norm1b, self.norm2a, self.norm2b = (LayerNorm(d) for _ in range(4))
        self.self_attention, self.cross_attention = MultiHead(d, heads), MultiHead(d, heads)
        self.mlp1, self.mlp2 = Mlp(d, 4 * d), Mlp(d, 4 * d)


class EncoderBlock(_Block):
    """Block in which every token sees all others; its second attention is of the same kind as its first."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, d] -> same."""
        for norm, attention, norm_mlp, mlp in (
            (self.norm1a, self.self_attention, self.norm1b, self.mlp1),
            (self.norm2a, self.cross_attention, self.norm2b, self.mlp2),
        ):
            given = norm(x)
            x = x + attention(given, attention.key_values(given))
            x = x + mlp(norm_mlp(x))
        return x


class DecoderBlock(_Block):
    """Block in which a token sees itself, those before it, and a context.

    Parameters
    ----------
    length : tokens of a whole sequence
    """

    look_ahead_mask: Tensor

    def __init__(self, d: int, heads: int, length: int) -> None:
        super().__init__(d, heads)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        self.register_buffer("look_ahead_mask", later)  # [token, what it must not see]

    def forward(self, x: Tensor, earlier: KeyValues | None, context: KeyValues) -> tuple[Tensor, KeyValues]:
        """The next n tokens of each sequence.

        Parameters
        ----------
        x : [B, n, d]
        earlier : this block's self-attention of all tokens before them; none at the start
        context : this block's `context_of` the context

        Returns
        -------
        [B, n, d], and `earlier` with these tokens
        """
        given = self.norm1a(x)
        seen = self.self_attention.key_values(given)
        seen = earlier.followed_by(seen) if earlier else seen
        end = seen.keys.shape[2]
        allowed = ~self.look_ahead_mask[end - x.shape[1] : end, :end]
        x = x + self.self_attention(given, seen, allowed)
        x = x + self.mlp1(self.norm1b(x))
        x = x + self.cross_attention(self.norm2a(x), context)
        return x + self.mlp2(self.norm2b(x)), seen

    def context_of(self, context: Tensor) -> KeyValues:
        """What tokens see of a context [B, n, d]."""
        return self.cross_attention.key_values(context)  # type: ignore[no-any-return]
