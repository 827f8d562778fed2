"""Which other positions does a position look at, and what does it take from them?

A query is compared with all keys; the comparisons, made into weights that sum to 1,
mix the values. A mask says what may be looked at: True where it may.

Glossary of shapes: N batch, T positions that look (queries), S positions that
are looked at (keys and values), E width of a query and a key, M width of a value.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad.backend import beside
from nn.checks import array_of, check_shape, check_size
from nn.dtypes import floats, narrow, wide


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = False,
    chunk: int | None = None,
) -> Any:
    """Give `softmax(q @ k.T / sqrt(E)) @ v`: values, mixed by how well keys fit.

    With `causal`, a position sees itself and what lies before it. A query that may look
    at nothing gets zeros, also where there are no keys. float16 is computed in float32.
    With `chunk`, the same is computed for so many queries and
    keys at a time and recorded again by backward: memory grows with T and not with its
    square, and about one more forward pass is the price.

    Shapes: q (..., T, E), k (..., S, E), v (..., S, M), mask of booleans that
    broadcasts to (..., T, S), output (..., T, M).
    Raises: ValueError where the shapes disagree; TypeError for a mask of other dtypes.
    Source: Vaswani et al., Attention Is All You Need (2017), equation 1; the blocks,
    Rabe and Staats, Self-attention Does Not Need O(n^2) Memory (2021).
    """
    if chunk is not None:
        check_size("scaled_dot_product_attention", chunk=chunk)
    q, k, v = given = floats("attention", q=q, k=k, v=v)
    _check_operands(q, k, v)
    seen = Seen.of(q, k, mask, causal)
    q, k, v = map(wide, given)
    if chunk is None or seen.is_empty:
        return narrow(seen.or_zeros(attention_weights(q, k, seen) @ v), *given)
    return narrow(_in_blocks(q, k, v, seen, chunk), *given)


class Seen(NamedTuple):
    """What may be looked at: a mask, the past, both or all.

    Shapes: mask (..., T or 1, S or 1) of booleans, or None.
    """

    T: int
    S: int
    mask: Any
    causal: bool

    @classmethod
    def of(cls, q: Any, k: Any, mask: Any, causal: bool) -> Seen:
        """Check a mask and bring it to the device of q.

        Raises: TypeError unless boolean; ValueError where the shapes disagree.
        """
        T, S = q.shape[-2], k.shape[-2]
        if causal and T != S:
            raise ValueError(
                f"attention: causal, but there are {T} queries and {S} keys, so that "
                "what lies before a query is not certain. Give a mask instead."
            )
        if mask is not None:
            mask = beside(_checked(mask, (T, S)), array_of(q))
        return cls(T, S, mask, causal)

    @property
    def is_empty(self) -> bool:
        """Whether there are no pairs of positions at all."""
        return self.T == 0 or self.S == 0

    def block(self, rows: slice, columns: slice) -> Any:
        """The mask of some queries and keys, or None where all may be seen."""
        mask = self.mask
        if mask is not None:
            mask = _part(_part(mask, rows, -2), columns, -1)
        if not self.causal or columns.stop <= rows.start + 1:
            return mask
        past = np.arange(columns.start, columns.stop) <= _column(rows)
        return past if mask is None else mask & beside(past, mask)

    def or_zeros(self, x: Any, rows: slice | None = None) -> Any:
        """Give x (..., T, M), but zeros for queries that may look at nothing."""
        if self.mask is None:
            return x  # the past holds at least the query itself
        whole = rows or slice(0, self.T)
        allowed = self.block(whole, slice(0, self.S))
        return mg.where(allowed.any(axis=-1, keepdims=True), x, 0.0)


def attention_weights(q: Any, k: Any, seen: Seen) -> Any:
    """Give `softmax(q @ k.T / sqrt(E))`: how much each query takes from each value.

    Shapes: q (..., T, E), k (..., S, E), output (..., T, S). Rows sum to 1; those of
    queries that may look at nothing mean nothing.
    """
    allowed = seen.block(slice(0, seen.T), slice(0, seen.S))
    if seen.is_empty:
        return _scores(q, k, allowed)  # the softmax of nothing is nothing
    return mg.softmax(_scores(_scaled(q), k, allowed), axis=-1)


def _scaled(q: Any) -> Any:
    """Divide the queries, which are fewer numbers than the scores."""
    return q * (1 / math.sqrt(q.shape[-1]))


def _scores(q: Any, k: Any, allowed: Any) -> Any:
    """How well each key fits each scaled query; hardly at all where it is not allowed.

    A finite number stands for minus infinity, so that a row of nothing else gives no
    NaN: its softmax is 0 wherever the row has a number of an ordinary size.
    """
    scores = q @ mg.swapaxes(k, -1, -2)
    if allowed is None:
        return scores
    allowed = beside(allowed, array_of(scores))
    return mg.where(allowed, scores, float(np.finfo(scores.dtype).min) / 2)


# -- in blocks ---------------------------------------------------------------------


def _in_blocks(q: Any, k: Any, v: Any, seen: Seen, chunk: int) -> Any:
    """Attend for `chunk` queries at a time, each stretch recorded again by backward."""
    q = _scaled(q)
    parts = []
    for begin in range(0, seen.T, chunk):
        rows = slice(begin, min(begin + chunk, seen.T))
        attend = functools.partial(_some_queries, seen=seen, rows=rows, chunk=chunk)
        parts.append(mg.checkpoint(attend)(q[..., rows, :], k, v))
    return parts[0] if len(parts) == 1 else mg.concatenate(parts, axis=-2)


def _some_queries(
    q: Any, k: Any, v: Any, *, seen: Seen, rows: slice, chunk: int
) -> Any:
    """Attend to `chunk` keys at a time, holding the softmax of those so far.

    A softmax is the same whatever is taken from all its scores. Here it is the largest
    so far: where a larger one comes, what is held shrinks by the exponential of the
    difference. That largest is no function of q and k to the tape, for its gradient is
    zero.
    """
    largest: Any = -math.inf
    total: Any = 0.0
    output: Any = 0.0
    end = rows.stop if seen.causal else seen.S
    for begin in range(0, end, chunk):
        columns = slice(begin, min(begin + chunk, end))
        scores = _scores(q, k[..., columns, :], seen.block(rows, columns))
        most = mg.maximum(mg.max(scores.detach(), axis=-1, keepdims=True), largest)
        powers = mg.exp(scores - most)
        held = mg.exp(largest - most)
        total = total * held + mg.sum(powers, axis=-1, keepdims=True)
        output = output * held + powers @ v[..., columns, :]
        largest = most
    return seen.or_zeros(output / total, rows)


def _part(mask: Any, part: slice, axis: int) -> Any:
    """Some rows or columns of a mask, which may have one that stands for all."""
    if mask.shape[axis] == 1:
        return mask
    index = (..., part, slice(None)) if axis == -2 else (..., part)
    return mask[index]


def _column(rows: slice) -> np.ndarray:
    return np.arange(rows.start, rows.stop)[:, None]


# -- what does not fit -------------------------------------------------------------


def _check_operands(q: Any, k: Any, v: Any) -> None:
    way_out = "Queries and keys share a width, keys and values their positions."
    for name, value in (("q", q), ("k", k), ("v", v)):
        check_shape("attention", name, value, ("...", "T", "E"), way_out)
    check_shape("attention", "k", k, ("...", "S", q.shape[-1]), way_out)
    check_shape("attention", "v", v, ("...", k.shape[-2], "M"), way_out)


def _checked(mask: Any, shape: tuple[int, int]) -> Any:
    """The mask as an array with at least the axes (T, S)."""
    mask = array_of(mask)
    if mask.dtype.kind != "b":
        raise TypeError(
            f"attention: mask has dtype {mask.dtype}, but it says what may be looked "
            "at and so must be boolean, True where it may. Make one with a comparison, "
            "as in mask = ids != pad."
        )
    given = mask.shape[-2:]
    if mask.ndim < 2 or any(a not in (1, b) for a, b in zip(given, shape, strict=True)):
        raise ValueError(
            f"attention: mask has shape {mask.shape}, which does not broadcast to "
            f"(..., {shape[0]}, {shape[1]}), queries by keys. A mask of padding, "
            "(N, S), becomes one by mask[:, None, None, :]."
        )
    return mask
