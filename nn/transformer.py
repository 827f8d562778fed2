"""What is a Transformer? Layers of attention and a small network for each position.

Around each of the two, what goes in is added to what comes out. It is normalised after
that (post-norm, as first published) or before (pre-norm, which needs no warm-up).

Glossary of shapes: N batch, T positions of what is read or written, S positions of what
the decoder looks at, H heads, D width of the model, F width of the small network. Masks
are boolean, True where a query may look: (T, S), (N, T, S) or (N, H, T, S), of which
any may be 1; (N, 1, S) keeps all queries of a text from its padding.

Source: Vaswani et al., Attention Is All You Need (2017); pre-norm, Xiong et al., On
Layer Normalization in the Transformer Architecture (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import minigrad as mg
from nn.checks import check_size
from nn.dropout import Dropout
from nn.functional import gelu
from nn.linear import Linear
from nn.module import Module, ModuleList
from nn.multihead import MultiHeadAttention
from nn.norm import LayerNorm

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": mg.relu, "gelu": gelu}


class FeedForward(Module):
    """A network of one hidden layer, the same for every position.

    Shapes: x (..., D), output (..., D); weights (D, F) and (F, D).
    Raises: ValueError for an unknown activation.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        activation: str = "relu",
        *,
        dropout: float = 0.0,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        check_size("FeedForward", embed_dim=embed_dim, hidden_dim=hidden_dim)
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ValueError(
                f"FeedForward: activation is {activation!r}, but must be one of "
                f"{', '.join(map(repr, ACTIVATIONS))}."
            )
        made: Any = {"dtype": dtype, "generator": generator}
        self.activation = activation
        self.first = Linear(embed_dim, hidden_dim, **made)
        self.second = Linear(hidden_dim, embed_dim, **made)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(self, x: Any) -> Any:
        """Give `activation(x @ W1 + b1) @ W2 + b2`."""
        hidden = ACTIVATIONS[self.activation](self.first(x))
        return self.second(self.dropout(hidden))


class _Layer(Module):
    """What a layer of the encoder and one of the decoder have in common."""

    norm_first: bool
    dropout: Dropout

    def _add(self, x: Any, norm: LayerNorm, change: Callable[[Any], Any]) -> Any:
        """Add what `change` makes of x to x, and normalise before or after it."""
        if self.norm_first:
            return x + self.dropout(change(norm(x)))
        return norm(x + self.dropout(change(x)))


class TransformerEncoderLayer(_Layer):
    """Look at all positions, then think about each.

    Shapes: x (N, T, D), mask as above with S = T, output (N, T, D).
    Raises: ValueError for sizes that do not fit.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        hidden_dim: int,
        *,
        head_dim: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm_first: bool = False,
        chunk: int | None = None,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        sizes = {"embed_dim": embed_dim, "num_heads": num_heads}
        check_size(type(self).__name__, **sizes, hidden_dim=hidden_dim)
        made: Any = {"dtype": dtype, "generator": generator}
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(
            embed_dim, num_heads, head_dim, chunk=chunk, **made
        )
        self.feed_forward = FeedForward(
            embed_dim, hidden_dim, activation, dropout=dropout, **made
        )
        self.attention_norm = LayerNorm(embed_dim, dtype=dtype)
        self.feed_forward_norm = LayerNorm(embed_dim, dtype=dtype)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(self, x: Any, mask: Any = None, *, causal: bool = False) -> Any:
        """Give what each position makes of itself and of those that it may see."""

        def attend(x: Any) -> Any:
            return self.attention(x, mask=mask, causal=causal)

        x = self._add(x, self.attention_norm, attend)
        return self._add(x, self.feed_forward_norm, self.feed_forward)


class TransformerDecoderLayer(_Layer):
    """Look back at what is written, then at what was read, then think.

    Shapes: x (N, T, D), memory (N, S, D), output (N, T, D). `mask` is for x, whose
    positions see the past only; `memory_mask` (N, T, S) for the memory.
    Raises: ValueError for sizes that do not fit.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        hidden_dim: int,
        *,
        head_dim: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm_first: bool = False,
        chunk: int | None = None,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        sizes = {"embed_dim": embed_dim, "num_heads": num_heads}
        check_size(type(self).__name__, **sizes, hidden_dim=hidden_dim)
        made: Any = {"dtype": dtype, "generator": generator}
        self.norm_first = norm_first
        heads = (embed_dim, num_heads, head_dim)
        self.attention = MultiHeadAttention(*heads, chunk=chunk, **made)
        self.cross_attention = MultiHeadAttention(*heads, chunk=chunk, **made)
        self.feed_forward = FeedForward(
            embed_dim, hidden_dim, activation, dropout=dropout, **made
        )
        self.attention_norm = LayerNorm(embed_dim, dtype=dtype)
        self.cross_attention_norm = LayerNorm(embed_dim, dtype=dtype)
        self.feed_forward_norm = LayerNorm(embed_dim, dtype=dtype)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(
        self, x: Any, memory: Any, mask: Any = None, memory_mask: Any = None
    ) -> Any:
        """Give what each position makes of its past and of the memory."""

        def look_back(x: Any) -> Any:
            return self.attention(x, mask=mask, causal=True)

        def look_up(x: Any) -> Any:
            return self.cross_attention(x, memory, mask=memory_mask)

        x = self._add(x, self.attention_norm, look_back)
        x = self._add(x, self.cross_attention_norm, look_up)
        return self._add(x, self.feed_forward_norm, self.feed_forward)


class TransformerEncoder(Module):
    """Encoder layers one after the other, and a last normalisation if one is given.

    Pre-norm layers leave their sum as large as it has grown: they need the last one.
    Shapes: x (N, T, D), output (N, T, D).
    """

    def __init__(
        self,
        layers: Iterable[TransformerEncoderLayer],
        norm: LayerNorm | None = None,
    ) -> None:
        self.layers = ModuleList(layers)
        check_size("TransformerEncoder", layers=len(self.layers))
        self.norm = norm

    def forward(self, x: Any, mask: Any = None, *, causal: bool = False) -> Any:
        """Go through all layers with the same mask."""
        for layer in self.layers:
            x = layer(x, mask, causal=causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Decoder layers one after the other, and a last normalisation if one is given.

    Shapes: x (N, T, D), memory (N, S, D), output (N, T, D).
    """

    def __init__(
        self,
        layers: Iterable[TransformerDecoderLayer],
        norm: LayerNorm | None = None,
    ) -> None:
        self.layers = ModuleList(layers)
        check_size("TransformerDecoder", layers=len(self.layers))
        self.norm = norm

    def forward(
        self, x: Any, memory: Any, mask: Any = None, memory_mask: Any = None
    ) -> Any:
        """Go through all layers with the same memory and masks."""
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask)
        return x if self.norm is None else self.norm(x)
