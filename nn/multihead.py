"""How does a network look for several things at once? By several attentions.

Glossary of shapes: N batch, H heads, T positions that look (queries), S positions that
are looked at (keys and values), E width of a head, D width of the model.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
from nn.attention import Seen, attention_weights, scaled_dot_product_attention
from nn.checks import array_of, check_shape, check_size
from nn.dropout import Dropout
from nn.dtypes import floats, narrow, wide
from nn.linear import Linear
from nn.module import Module


class MultiHeadAttention(Module):
    """Several attentions side by side, each with projections of its own.

    Shapes: query (N, T, D), key and value (N, S, D), output (N, T, D). A head is
    head_dim wide, by default D / H; each projection (D, H * head_dim), and the one back
    (H * head_dim, D), has a bias. Weights of attention, if wanted, are (N, H, T, S).
    Raises: ValueError for sizes that do not fit.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        head_dim: int | None = None,
        *,
        dropout: float = 0.0,
        chunk: int | None = None,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        check_size("MultiHeadAttention", embed_dim=embed_dim, num_heads=num_heads)
        head_dim = _head_dim(embed_dim, num_heads) if head_dim is None else head_dim
        check_size("MultiHeadAttention", head_dim=head_dim)
        if chunk is not None:
            check_size("MultiHeadAttention", chunk=chunk)
        _check_dropout(chunk, dropout)
        self.num_heads = num_heads
        self.chunk = chunk
        made: Any = {"dtype": dtype, "generator": generator}
        width = num_heads * head_dim
        self.query = Linear(embed_dim, width, **made)
        self.key = Linear(embed_dim, width, **made)
        self.value = Linear(embed_dim, width, **made)
        self.out = Linear(width, embed_dim, **made)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        *,
        causal: bool = False,
    ) -> Any:
        """Attend; to the queries themselves, unless a key is given.

        Without a value, the keys are the values too. `mask` (T, S), (N, T, S) or
        (N, H, T, S) is True where a query may look; (N, 1, S) keeps all queries of a
        text from its padding.
        """
        q, k, v = self._heads(query, key, value)
        mask = _for_heads(mask)
        if self.chunk is None and self.dropout.p:
            seen = Seen.of(q, k, mask, causal)
            weights = self.dropout(attention_weights(wide(q), wide(k), seen))
            return self._join(narrow(seen.or_zeros(weights @ wide(v)), q, k, v))
        given: Any = {"causal": causal, "chunk": self.chunk}
        return self._join(scaled_dot_product_attention(q, k, v, mask, **given))

    def weights(
        self, query: Any, key: Any = None, mask: Any = None, *, causal: bool = False
    ) -> Any:
        """Give how much each query takes from each position. Shapes: (N, H, T, S)."""
        q, k, _ = self._heads(query, key, None)
        seen = Seen.of(q, k, _for_heads(mask), causal)
        weights = attention_weights(wide(q), wide(k), seen)
        return narrow(seen.or_zeros(weights), q, k)

    def _heads(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        """Project, and put the heads beside the batch: (N, H, T, head_dim) each."""
        key = query if key is None else key
        value = key if value is None else value
        given = {"query": query, "key": key, "value": value}
        query, key, value = floats("MultiHeadAttention", **given)
        for name, x in (("query", query), ("key", key), ("value", value)):
            check_shape("MultiHeadAttention", name, x, ("N", "T", "D"), "Batch first.")
        projected = (self.query(query), self.key(key), self.value(value))
        q, k, v = (_split_heads(x, self.num_heads) for x in projected)
        return q, k, v

    def _join(self, x: Any) -> Any:
        """Put the heads of each position side by side and project back."""
        N, H, T, E = x.shape
        return self.out(mg.swapaxes(x, 1, 2).reshape((N, T, H * E)))


def _split_heads(x: Any, num_heads: int) -> Any:
    """(N, T, H * E) -> (N, H, T, E)."""
    N, T, width = x.shape
    return mg.swapaxes(x.reshape((N, T, num_heads, width // num_heads)), 1, 2)


def _for_heads(mask: Any) -> Any:
    """The same mask for all heads, if it has no axis for them."""
    if mask is None:
        return None
    mask = array_of(mask)
    return mask[:, None] if mask.ndim == 3 else mask


def _check_dropout(chunk: int | None, dropout: float) -> None:
    if chunk is not None and dropout:
        raise ValueError(
            "MultiHeadAttention: dropout takes weights away, and blocks (chunk) never "
            "hold them all. Leave out one of the two."
        )


def _head_dim(embed_dim: int, num_heads: int) -> int:
    if embed_dim % num_heads:
        raise ValueError(
            f"MultiHeadAttention: embed_dim {embed_dim} does not divide into "
            f"{num_heads} heads of one width. Give head_dim, or another number of "
            "heads."
        )
    return embed_dim // num_heads
