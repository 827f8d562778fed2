"""Losses as primitives: cross-entropies of scores, without cancellation.

The loss at a class is log(sum(e ** a)) - a[class]: a difference of two numbers as
large as the scores. Here the largest score is taken away first, from both, so that what
is left has all its digits.

Glossary of shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.ops.elementwise import elementwise, multiply, sigmoid, where
from minigrad.ops.reduce import softmax, sum
from minigrad.ops.shape import expand_dims
from minigrad.tape import primitive

# Rows of so many numbers are worked on at a time: they stay in the cache of one core.
TILE = 65536


@primitive(lambda g, a, ids: likelihood_gradient(g, a, ids), None)
def negative_log_likelihood(a: Array, ids: Array) -> Array:
    """-log(softmax(a)) of each row at its id; 0 for a row whose id is negative.

    Whatever stands in a row that does not count, its gradient is 0. The result of
    float16 is float32.
    Shapes: a (N, C), ids (N,) integers below C, result (N,).
    """
    result = np.empty_like(a, dtype=_wide(a), shape=len(a))
    with np.errstate(invalid="ignore"):  # a row that does not count may hold infinities
        for rows in _tiles(a):
            shifted = _shifted(a[rows])
            chosen = shifted[_places(ids[rows])]
            total = np.exp(shifted, out=shifted).sum(axis=1)
            np.subtract(np.log(total), chosen, out=result[rows])
    return np.where(ids < 0, 0, result)


@primitive(
    lambda g, a, ids: sum(g * likelihood_gradient(ids >= 0, a, ids), axis=1),
    lambda g, v, a, ids: _curvature(g, v, a, ids),
    None,
)
def likelihood_gradient(v: Array, a: Array, ids: Array) -> Array:
    """Each row's number times (softmax(a) - one_hot(id)), and 0 for a negative id.

    Shapes: v (N,), a (N, C), ids (N,), result (N, C).
    """
    result = np.empty_like(a, dtype=_wide(a))
    with np.errstate(invalid="ignore"):
        for rows in _tiles(a):
            powers, scale = _shifted(a[rows], out=result[rows]), v[rows]
            np.exp(powers, out=powers)
            powers *= (scale / powers.sum(axis=1))[:, None]
            powers[_places(ids[rows])] -= scale
    _clear(result, ids < 0)
    return result.astype(a.dtype, copy=False)


def _curvature(g: Any, v: Any, a: Any, ids: Any) -> Any:
    """The gradient of sum(g * v * softmax(a)) by a, of the rows that count."""
    counts = ids >= 0
    probabilities = softmax(where(expand_dims(counts, axis=1), a, 0), axis=1)
    scale = expand_dims(where(counts, v, 0), axis=1)
    return scale * probabilities * (g - sum(g * probabilities, axis=1, keepdims=True))


def _shifted(a: Array, out: Array | None = None) -> Array:
    """Scores less the largest of their row, with at least float32's digits."""
    return np.subtract(a, a.max(axis=1, keepdims=True), out=out, dtype=_wide(a))


def _clear(result: Array, rows: Array) -> None:
    """Write zeros into rows, without asking a GPU how many there are."""
    if isinstance(result, np.ndarray):
        result[rows] = 0
    else:
        np.copyto(result, 0, where=rows[:, None])


def _wide(a: Array) -> Any:
    return np.promote_types(a.dtype, np.float32)


def _places(ids: Array) -> tuple[Array, Array]:
    """The index of each row's id."""
    return np.arange(len(ids), like=ids), ids


def _tiles(a: Array) -> Iterator[slice]:
    """Slices of rows that fit the cache; on a GPU, all of them at once."""
    on_host = isinstance(a, np.ndarray)
    step = max(1, TILE // a.shape[1]) if on_host and a.size else max(1, len(a))
    for start in range(0, len(a), step):
        yield slice(start, start + step)


@elementwise(lambda g, a, b: g * _excess(a, b), lambda g, a: -multiply(g, a))
def binary_cross_entropy(a: Array, b: Array) -> Array:
    """-b log(sigmoid(a)) - (1 - b) log(1 - sigmoid(a)), broadcasting.

    Exact where b and sigmoid(a) agree nearly or, at an infinite score, wholly.
    """
    slope = (a > 0) - b
    with np.errstate(invalid="ignore"):  # 0 times infinity, which is not looked at
        straight = np.where(slope == 0, 0, slope * a)
    return straight + np.log1p(np.exp(-np.abs(a)))


def _excess(a: Any, b: Any) -> Any:
    """Sigmoid(a) - b, without losing the small tail of 1 - sigmoid(a)."""
    return where(a > 0, (1 - b) - sigmoid(-a), sigmoid(a) - b)
