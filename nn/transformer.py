"""The Transformer: layers of attention and a feed-forward network for each position.

The input of each branch is added to its output, and normalised after that (post-norm,
as first published) or before the branch (pre-norm, which needs no warm-up).

Glossary of shapes: N batch, T positions of what is read or written, S positions of the
memory, H heads, D width of the model, F width of the feed-forward network. Masks are
boolean, True where a query may see a key: (T, S), (N, T, S) or (N, H, T, S), of which
any may be 1; (N, 1, S) hides the padding of a text from all its queries.

Source: Vaswani et al., Attention Is All You Need (2017); pre-norm, Xiong et al., On
Layer Normalization in the Transformer Architecture (2020).
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import minigrad as mg
from nn.attention import MultiHeadAttention
from nn.checks import check_size
from nn.dropout import Dropout
from nn.dtypes import floats, narrow, wide
from nn.linear import Linear
from nn.module import Module, ModuleList
from nn.norm import LayerNorm


def gelu(x: Any) -> Any:
    """Give x times about the probability that a normal number is below x.

    In the form of the paper's first approximation, within 0.0005 of the exact one:
    `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.

    Shapes: x and output (...).
    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2.
    """
    (x,) = floats("gelu", "x (...)", x)
    y = wide(x)  # the cube of 41 is more than float16 holds
    inner = (y + y * y * y * 0.044715) * math.sqrt(2 / math.pi)
    return narrow(y * mg.sigmoid(inner + inner), x)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": mg.relu, "gelu": gelu}


class FeedForward(Module):
    """A feed-forward network of one hidden layer, the same for every position.

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
        kwargs: Any = {"dtype": dtype, "generator": generator}
        self.activation = activation
        self.first = Linear(embed_dim, hidden_dim, **kwargs)
        self.second = Linear(hidden_dim, embed_dim, **kwargs)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(self, x: Any) -> Any:
        """Give `activation(x @ W1 + b1) @ W2 + b2`."""
        hidden = ACTIVATIONS[self.activation](self.first(x))
        return self.second(self.dropout(hidden))


class _Layer(Module):
    """What a layer of the encoder and one of the decoder have in common."""

    crosses: ClassVar[bool] = False  # whether it attends to a memory too

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
        kwargs: Any = {"dtype": dtype, "generator": generator}
        heads: Any = (embed_dim, num_heads, head_dim)
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(*heads, chunk=chunk, **kwargs)
        if self.crosses:
            self.cross_attention = MultiHeadAttention(*heads, chunk=chunk, **kwargs)
        hidden: Any = (embed_dim, hidden_dim, activation)
        self.feed_forward = FeedForward(*hidden, dropout=dropout, **kwargs)
        self.attention_norm = LayerNorm(embed_dim, dtype=dtype)
        if self.crosses:
            self.cross_attention_norm = LayerNorm(embed_dim, dtype=dtype)
        self.feed_forward_norm = LayerNorm(embed_dim, dtype=dtype)
        self.dropout = Dropout(dropout, generator=generator)

    def _add(self, x: Any, norm: LayerNorm, branch: Callable[[Any], Any]) -> Any:
        """Add a branch's output to its input x, and normalise before or after it."""
        if self.norm_first:
            return x + self.dropout(branch(norm(x)))
        return norm(x + self.dropout(branch(x)))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feed-forward network.

    Shapes: x (N, T, D), mask as above with S = T, output (N, T, D).
    Raises: ValueError for sizes that do not fit.
    """

    def forward(self, x: Any, mask: Any = None, *, causal: bool = False) -> Any:
        """Give x with the outputs of both branches added."""
        attend = functools.partial(self.attention, mask=mask, causal=causal)
        x = self._add(x, self.attention_norm, attend)
        return self._add(x, self.feed_forward_norm, self.feed_forward)


class TransformerDecoderLayer(_Layer):
    """Causal self-attention, attention to a memory, then a feed-forward network.

    Shapes: x (N, T, D), memory (N, S, D), output (N, T, D). `mask` is for x, whose
    positions see the past only; `memory_mask` (N, T, S) for the memory.
    Raises: ValueError for sizes that do not fit.
    """

    crosses = True

    def forward(
        self, x: Any, memory: Any, mask: Any = None, memory_mask: Any = None
    ) -> Any:
        """Give x with the outputs of all three branches added."""
        attend = functools.partial(self.attention, mask=mask, causal=True)
        recall = functools.partial(self.cross_attention, key=memory, mask=memory_mask)
        x = self._add(x, self.attention_norm, attend)
        x = self._add(x, self.cross_attention_norm, recall)
        return self._add(x, self.feed_forward_norm, self.feed_forward)


class _Stack(Module):
    """Layers one after the other, and a last normalisation if one is given."""

    def __init__(self, layers: Iterable[_Layer], norm: LayerNorm | None = None) -> None:
        self.layers = ModuleList(layers)
        check_size(type(self).__name__, layers=len(self.layers))
        self.norm = norm

    def _through(self, x: Any, *operands: Any, **settings: Any) -> Any:
        """Go through all layers with the same memory and masks."""
        for layer in self.layers:
            x = layer(x, *operands, **settings)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Encoder layers one after the other, and a last normalisation if one is given.

    Pre-norm layers let their sum grow from layer to layer: they need the last one.
    Shapes: x (N, T, D), output (N, T, D).
    """

    def forward(self, x: Any, mask: Any = None, *, causal: bool = False) -> Any:
        """Go through all layers with the same mask."""
        return self._through(x, mask, causal=causal)


class TransformerDecoder(_Stack):
    """Decoder layers one after the other, and a last normalisation if one is given.

    Shapes: x (N, T, D), memory (N, S, D), output (N, T, D).
    """

    def forward(
        self, x: Any, memory: Any, mask: Any = None, memory_mask: Any = None
    ) -> Any:
        """Go through all layers with the same memory and masks."""
        return self._through(x, memory, mask, memory_mask)
