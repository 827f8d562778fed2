"""Attention: each query compares itself with all keys and mixes their values.

A softmax turns the scores of a query into weights that sum to 1: how much it takes of
each value. A mask is True where a query may see a key.

Glossary of shapes: N batch, H heads, T queries, S keys and values, E width of a query
and a key in one head, M width of a value, D width of the model.
"""

import functools
import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backend import device_of
from minigrad.ops import sources
from minigrad.ops.elementwise import greater, less_equal, logical_and
from minigrad.ops.index import getitem
from minigrad.ops.sources import beside
from minigrad.tape import constant
from nn import init
from nn.checks import array_of, check_boolean, check_size
from nn.dropout import Dropout
from nn.dtypes import floats, narrow, wide
from nn.linear import Linear
from nn.module import Module, Parameter


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    generator: mg.Generator | None = None,
    chunk: int | None = None,
) -> Any:
    """Give `softmax(q @ k.T / sqrt(E)) @ v`.

    With `causal`, a query sees the keys up to its own position. A query that may see no
    key gets zeros. `dropout` drops weights with that probability. float16 is computed
    in float32. With `chunk`, so many queries and keys are taken at a time, and again in
    the backward pass: memory grows with T instead of its square, at the price of about
    one more forward pass.

    Shapes: q (..., T, E), k (..., S, E), v (..., S, M), mask of booleans that
    broadcasts to (..., T, S), output (..., T, M).
    Raises: ValueError where the shapes disagree; TypeError for a mask of other dtypes.
    Source: Vaswani et al., Attention Is All You Need (2017), equation 1; the chunks,
    Rabe and Staats, Self-attention Does Not Need O(n^2) Memory (2021).
    """
    if chunk is not None:
        check_size("scaled_dot_product_attention", chunk=chunk)
    given = floats("attention", "q (..., T, E), k (..., S, E), v (..., S, M)", q, k, v)
    q, k, v = map(wide, given)
    T, S = q.shape[-2], k.shape[-2]
    if causal and T != S:
        raise ValueError(
            f"attention: causal, but there are {T} queries and {S} keys, so that "
            "which keys precede a query is not certain. Give a mask instead."
        )
    mask = None if mask is None else _checked(mask, q, T, S)
    q = q * (1 / math.sqrt(q.shape[-1]))  # fewer numbers than the scores
    drop = functools.partial(mg.dropout, p=dropout, generator=generator)
    if chunk is None or not T or not S:
        y = _at_once(q, k, v, mask, causal, drop)
    else:
        y = _in_chunks(q, k, v, mask, causal, drop, chunk)
    return narrow(y, *given)


def _at_once(q: Any, k: Any, v: Any, mask: Any, causal: bool, drop: Any) -> Any:
    """Attend with scaled queries."""
    T, S = q.shape[-2], k.shape[-2]
    visible = _block(mask, causal, slice(0, T), slice(0, S))
    scores = _scores(q, k, visible)  # (..., T, S)
    weights = mg.softmax(scores, axis=-1) if S else scores
    y = drop(weights) @ v  # (..., T, M)
    # Without a mask every query sees some key.
    return y if mask is None else _zero_blind(y, visible)


def _scores(q: Any, k: Any, visible: Any) -> Any:
    """The product of each query and key, next to minus infinity for a hidden key.

    A finite number stands for minus infinity, so that a row of nothing else gives no
    NaN: its softmax is 0 wherever the row has a number of an ordinary size.
    """
    scores = q @ mg.swapaxes(k, -1, -2)  # (..., T, E) @ (..., E, S)
    if visible is None:
        return scores
    visible = beside(visible, array_of(scores))
    return mg.where(visible, scores, float(np.finfo(scores.dtype).min) / 2)


def _in_chunks(
    q: Any, k: Any, v: Any, mask: Any, causal: bool, drop: Any, chunk: int
) -> Any:
    """Attend for `chunk` scaled queries at a time, each time checkpointed."""
    T, S = q.shape[-2], k.shape[-2]
    parts = []
    for rows in _slices(T, chunk):
        visible = functools.partial(_block, mask, causal, rows)
        columns = _slices(rows.stop if causal else S, chunk)
        settings = {"columns": columns, "visible": visible, "drop": drop}
        attend = mg.checkpoint(functools.partial(_running, **settings))
        y = attend(q[..., rows, :], k, v)  # (..., chunk, M)
        parts.append(y if mask is None else _zero_blind(y, visible(slice(0, S))))
    return parts[0] if len(parts) == 1 else mg.concatenate(parts, axis=-2)


def _running(
    q: Any, k: Any, v: Any, *, columns: list[slice], visible: Any, drop: Any
) -> Any:
    """Attend to some keys after the other, with the running softmax of those so far.

    A softmax is the same whatever is subtracted from all its scores. Here it is the
    largest so far: where a larger one comes, the running sums shrink by the exponential
    of the difference. That maximum is a constant to the tape, for its gradient is zero.
    """
    largest: Any = -math.inf
    total: Any = 0.0
    output: Any = 0.0
    for some in columns:
        scores = _scores(q, k[..., some, :], visible(some))
        most = mg.maximum(mg.max(scores.detach(), axis=-1, keepdims=True), largest)
        powers = mg.exp(scores - most)
        shrink = mg.exp(largest - most)
        total = total * shrink + mg.sum(powers, axis=-1, keepdims=True)
        output = output * shrink + drop(powers) @ v[..., some, :]
        largest = most
    return output / total


def _slices(length: int, chunk: int) -> list[slice]:
    """Consecutive slices of a length, all but the last of the same size."""
    return [slice(i, min(i + chunk, length)) for i in range(0, length, chunk)]


# -- masks -------------------------------------------------------------------------


def _checked(mask: Any, q: Any, T: int, S: int) -> Any:
    """The mask as an array on the device of q."""
    mask = array_of(mask)
    check_boolean("attention", mask, "a query may see a key", "ids != pad")
    lengths = mask.shape[-2:]
    if len(lengths) < 2 or lengths[0] not in (1, T) or lengths[1] not in (1, S):
        raise ValueError(
            f"attention: mask has shape {mask.shape}, which does not broadcast to "
            f"(..., {T}, {S}), queries by keys. A mask of padding, (N, S), becomes one "
            "by mask[:, None, None, :]."
        )
    return beside(mask, array_of(q))


def _block(mask: Any, causal: bool, rows: slice, columns: slice) -> Any:
    """Which of some keys some queries may see, None for all. Shapes: -> (..., T, S)."""
    if mask is not None:
        # An axis of length 1 stands for all queries or keys.
        some = rows if mask.shape[-2] > 1 else slice(None)
        others = columns if mask.shape[-1] > 1 else slice(None)
        mask = getitem(mask, (..., some, others))
    if not causal or columns.stop <= rows.start + 1:
        return mask
    device = "cpu" if mask is None else device_of(mask)
    queries = sources.arange(start=rows.start, stop=rows.stop, device=device)
    keys = sources.arange(start=columns.start, stop=columns.stop, device=device)
    past = less_equal(keys, mg.expand_dims(queries, axis=-1))
    return past if mask is None else logical_and(mask, past)


def _zero_blind(y: Any, visible: Any) -> Any:
    """Give y (..., T, M), with zeros for queries that may see no key."""
    return mg.where(greater(mg.sum(visible, axis=-1, keepdims=True), 0), y, 0.0)


# -- several heads -----------------------------------------------------------------


class MultiHeadAttention(Module):
    """Several attentions side by side, each with projections of its own.

    Shapes: query (N, T, D), key and value (N, S, D), output (N, T, D); the heads' E,
    head_dim, is by default D / H. Wqkv (D, 3 * H * E) holds the projections of queries,
    keys and values side by side, bqkv (3 * H * E,) their biases; `out`, a Linear,
    projects back. Each projection starts as a Linear's.
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
        kind = "MultiHeadAttention"
        check_size(kind, embed_dim=embed_dim, num_heads=num_heads)
        if head_dim is None and embed_dim % num_heads:
            raise ValueError(
                f"{kind}: embed_dim {embed_dim} does not divide into {num_heads} heads "
                "of one width. Give head_dim, or another number of heads."
            )
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads if head_dim is None else head_dim
        self.chunk = chunk
        check_size(kind, head_dim=self.head_dim, chunk=1 if chunk is None else chunk)
        inner = num_heads * self.head_dim
        kwargs: Any = {"dtype": dtype, "generator": generator}
        shape = (embed_dim, inner)
        projections = [init.lecun_normal(shape, **kwargs) for _ in range(3)]
        self.Wqkv = Parameter(np.concatenate(projections, axis=1))
        self.bqkv = Parameter(init.zeros((3 * inner,), **kwargs))
        self.out = Linear(inner, embed_dim, **kwargs)
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

        Without a value, the keys are the values too. `mask` is (T, S), (N, T, S) or
        (N, H, T, S); (N, 1, S) hides the padding of a text from all its queries.
        """
        y = scaled_dot_product_attention(
            *self._heads(query, key, value, mask),
            causal=causal,
            dropout=self.dropout.probability(),
            generator=self.dropout.generator,
            chunk=self.chunk,
        )
        N, H, T, E = y.shape
        return self.out(mg.swapaxes(y, 1, 2).reshape((N, T, H * E)))

    def weights(
        self, query: Any, key: Any = None, mask: Any = None, *, causal: bool = False
    ) -> Any:
        """Give how much each query takes of each value. Shapes: (N, H, T, S)."""
        q, k, _, mask = self._heads(query, key, None, mask)
        # Mixing one-hot values gives the weights themselves.
        one_hot = beside(constant(np.eye(k.shape[-2], dtype=k.dtype)), array_of(k))
        return scaled_dot_product_attention(q, k, one_hot, mask, causal=causal)

    def _heads(self, query: Any, key: Any, value: Any, mask: Any) -> list[Any]:
        """Queries, keys and values of every head, and the mask.

        Shapes: -> (N, H, T, E), (N, H, S, E) twice, (T, S) or (N, 1 or H, T, S).
        """
        key = query if key is None else key
        value = key if value is None else value
        shapes = "Wqkv (D, K), query (N, T, D), key (M, S, D), value (M, S, D)"
        W, *inputs = floats("MultiHeadAttention", shapes, self.Wqkv, query, key, value)
        if inputs[0] is inputs[1] is inputs[2]:  # one product for all three
            products = mg.split(inputs[0] @ W, 3, axis=2)
        else:
            products = [
                x @ w for x, w in zip(inputs, mg.split(W, 3, axis=1), strict=True)
            ]
        # The biases after the split: their sums are arrays apart, and what the tape
        # keeps of keys and values does not hold the queries' part too.
        biased = [y + b for y, b in zip(products, mg.split(self.bqkv, 3), strict=True)]
        if mask is not None and (mask := array_of(mask)).ndim == 3:
            mask = mg.expand_dims(mask, axis=1)  # the same for all heads
        return [*map(self._by_head, biased), mask]

    def _by_head(self, x: Any) -> Any:
        """(N, T, H * E) -> (N, H, T, E)."""
        N, T, _ = x.shape
        heads = x.reshape((N, T, self.num_heads, self.head_dim))
        return mg.swapaxes(heads, 1, 2)
