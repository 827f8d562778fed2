"""Which primitives go along axes?  Sums, products, extremes, running sums, softmax."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.ops.elementwise import constant, exp, exp_difference, multiply, where
from minigrad.ops.shape import (
    Shape,
    Slice,
    astype,
    broadcast_to,
    crop,
    flip,
    pad,
    reshape,
    transpose,
)
from minigrad.tape import primitive

Axis = int | tuple[int, ...] | None


def axes_of(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The reduced axes as non-negative numbers, in order."""
    if axis is None or ndim == 0:
        return tuple(range(ndim))
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def kept_shape(shape: Shape, axis: Axis) -> Shape:
    """`shape` with the reduced axes kept as axes of size 1."""
    reduced = axes_of(len(shape), axis)
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def spread(g: Any, shape: Shape, axis: Axis) -> Any:
    """Undo a reduction's loss of axes: `g` repeated over `shape`."""
    return broadcast_to(reshape(g, shape=kept_shape(shape, axis)), shape=shape)


@primitive(lambda g, a_shape, axis: spread(g, a_shape, axis))
def sum(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum over axes (all, if none is named)."""
    return a.sum(axis=axis, keepdims=keepdims)


@primitive(lambda g, a, axis: spread(g, a.shape, axis) * others(a, axis))
def prod(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Product over axes; right also where elements are zero."""
    return a.prod(axis=axis, keepdims=keepdims)


def others(a: Any, axis: Axis) -> Any:
    """For each element the product of all others of its group, without dividing.

    The product of those before it and of those after it, each by doubling:
    log2(n) multiplications of the whole array.
    """
    reduced = axes_of(a.ndim, axis)
    kept = tuple(i for i in range(a.ndim) if i not in reduced)
    order = (*kept, *reduced)
    moved = transpose(a, axes=order)
    flat = reshape(moved, shape=(*moved.shape[: len(kept)], _size(moved, len(kept))))
    result = _before(flat) * flip(_before(flip(flat, axis=-1)), axis=-1)
    inverse = tuple(order.index(i) for i in range(a.ndim))
    return transpose(reshape(result, shape=moved.shape), axes=inverse)


def _size(a: Any, first: int) -> int:
    return int(np.prod(a.shape[first:], dtype=int))


def _before(a: Any) -> Any:
    """Product of all elements before each one along the last axis."""
    result = _shift(a, 1)
    step = 1
    while step < a.shape[-1]:
        result = multiply(result, _shift(result, step))
        step *= 2
    return result


def _shift(a: Any, step: int) -> Any:
    """Move the last axis on by `step`, ones coming in."""
    whole = (Slice(None, None, None),) * (a.ndim - 1)
    step = builtins.min(step, a.shape[-1])  # `min` is the primitive here
    kept = crop(a, index=(*whole, Slice(0, a.shape[-1] - step, None)))
    return pad(kept, widths=((0, 0),) * (a.ndim - 1) + ((step, 0),), value=1)


@primitive(
    lambda g, a, y, axis: _to_extremes(g, a, y, axis), kinks={"a": {"a": "shared"}}
)
def max(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest over axes; elements that tie share the gradient equally."""
    return a.max(axis=axis, keepdims=keepdims)


@primitive(
    lambda g, a, y, axis: _to_extremes(g, a, y, axis), kinks={"a": {"a": "shared"}}
)
def min(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest over axes; elements that tie share the gradient equally."""
    return a.min(axis=axis, keepdims=keepdims)


def _to_extremes(g: Any, a: Any, y: Any, axis: Axis) -> Any:
    ties = astype(a == reshape(y, shape=kept_shape(a.shape, axis)), dtype=g.dtype)
    return spread(g, a.shape, axis) * (ties / sum(ties, axis=axis, keepdims=True))


@primitive(lambda g, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis))
def cumsum(a: Array, *, axis: int) -> Array:
    """Running sum along an axis."""
    if not isinstance(axis, int):
        raise TypeError(f"the axis of a running sum is one integer, not {axis!r}")
    return a.cumsum(axis)


@primitive(lambda g, a, y, axis: spread(g, a.shape, axis) * _weights(a, y, axis))
def logsumexp(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Logarithm of the sum of exponentials over axes, without overflow."""
    top = a.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    # exp_difference works in place: `a` may be the largest array of all.
    total = exp_difference(a, top).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):  # the logarithm of an empty sum is -inf
        result = np.log(total) + top
    return result if keepdims else result.squeeze(axes_of(a.ndim, axis))


def _weights(a: Any, y: Any, axis: Axis) -> Any:
    """softmax(a), and zeros for a group whose elements are all -inf."""
    kept = reshape(y, shape=kept_shape(a.shape, axis))
    return exp_difference(a, where(kept == -np.inf, 0, kept))


@primitive(lambda g, y, axis: y * (g - sum(g * y, axis=axis, keepdims=True)))
def softmax(a: Array, *, axis: int) -> Array:
    """Probabilities along an axis: e ** a over its sum, without overflow.

    The largest is taken away first. Without it, and through `logsumexp`, a float32 of
    1,000 would leave three digits for what elements differ by.
    """
    result = exp_difference(a, a.max(axis=axis, keepdims=True))
    result /= result.sum(axis=axis, keepdims=True)
    return result


@primitive(lambda g, y, axis: g - exp(y) * sum(g, axis=axis, keepdims=True))
def log_softmax(a: Array, *, axis: int) -> Array:
    """Logarithms of the probabilities along an axis, with as many digits as `softmax`.

    Unlike `log(softmax(a))` it is finite however improbable an element is.
    """
    result = a - a.max(axis=axis, keepdims=True)
    result -= np.log(np.exp(result).sum(axis=axis, keepdims=True))
    return result


@constant
def argmax(a: Array, *, axis: int | None = None) -> Array:
    """Index of the largest element along an axis (of all, flattened, without one)."""
    return a.argmax(axis=axis)


@constant
def argmin(a: Array, *, axis: int | None = None) -> Array:
    """Index of the smallest element along an axis (of all, flattened, without one)."""
    return a.argmin(axis=axis)
