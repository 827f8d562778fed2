"""Primitives along axes: sums, products, extremes, running sums, softmax."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from minigrad.backend import LONG, WIDER, Array
from minigrad.ops.elementwise import (
    constant,
    exp,
    exp_difference,
    masked,
    multiply,
    where,
)
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
from minigrad.ops.sums import Axis, axes_of, total
from minigrad.tape import primitive


def kept_shape(shape: Shape, axis: Axis) -> Shape:
    """`shape` with the reduced axes kept as axes of size 1."""
    reduced = axes_of(len(shape), axis)
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def spread(g: Any, shape: Shape, axis: Axis) -> Any:
    """Undo a reduction's loss of axes: `g` repeated over `shape`."""
    return broadcast_to(reshape(g, shape=kept_shape(shape, axis)), shape=shape)


@primitive(lambda g, a_shape, axis: spread(g, a_shape, axis))
def sum(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum over axes (all, if none is named); long ones are added up in parts."""
    return total(a, axis, keepdims)


@primitive(lambda g, a, axis: spread(g, a.shape, axis) * others(a, axis))
def prod(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Product over axes; right also where elements are zero."""
    if a.dtype == np.float16:
        a = a.astype(np.float32)
        return a.prod(axis=axis, keepdims=keepdims).astype(np.float16)
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
    kept = kept_shape(a.shape, axis)
    ties = a == reshape(y, shape=kept)
    # In float32 at least: float16 cannot count beyond 65,504.
    count = astype(sum(ties, axis=axis), dtype=np.result_type(g.dtype, np.float32))
    share = astype(g / reshape(count, shape=g.shape), dtype=g.dtype)
    return masked(spread(share, a.shape, axis), ties)


@primitive(lambda g, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis))
def cumsum(a: Array, *, axis: int) -> Array:
    """Running sum along an axis; a long one is added up in a wider dtype."""
    if not isinstance(axis, int):
        raise TypeError(f"the axis of a running sum is one integer, not {axis!r}")
    if a.ndim == 0:
        raise ValueError("a single number has no axis to run along")
    if a.dtype == np.float16 or (a.dtype in WIDER and a.shape[axis] > LONG):
        return a.cumsum(axis, dtype=WIDER[a.dtype]).astype(a.dtype)
    return a.cumsum(axis)


@primitive(lambda g, a, axis: _shared_out(g, a, axis))
def logsumexp(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Logarithm of the sum of exponentials over axes, without overflow; of none -inf.

    Integers are taken as floats.
    """
    wide = _wide_float(a)
    top = _finite_max(wide, axis)
    # exp_difference works in place: `a` may be the largest array of all.
    sums = total(exp_difference(wide, top), axis, keepdims=True)
    with np.errstate(divide="ignore"):  # the logarithm of an empty sum is -inf
        result = _narrow(np.log(sums) + top, a)
    return result if keepdims else result.squeeze(axes_of(a.ndim, axis))


@constant
def finite_max(a: Array, *, axis: Axis) -> Array:
    """Largest over axes, which are kept; 0 where that is infinite, or of nothing."""
    return _finite_max(a, axis)


def _finite_max(a: Array, axis: Axis) -> Array:
    if a.size == 0:
        return np.zeros_like(a, shape=kept_shape(a.shape, axis))
    top = a.max(axis=axis, keepdims=True)
    return np.where(np.isfinite(top), top, 0)


def _shared_out(g: Any, a: Any, axis: Axis) -> Any:
    """The product of g and softmax(a), and zeros for a group whose elements are -inf.

    Not `exp(a - y)`: of a y of a million, a float32 has no digits left to subtract.
    """
    a = astype(a, dtype=np.float32) if a.dtype == np.float16 else a
    powers = exp_difference(a, finite_max(a, axis=axis))
    sums = sum(powers, axis=axis, keepdims=True)
    g = reshape(g, shape=kept_shape(a.shape, axis))
    return powers * (g / where(sums == 0, 1, sums))


@primitive(lambda g, y, axis: y * (g - sum(g * y, axis=axis, keepdims=True)))
def softmax(a: Array, *, axis: int) -> Array:
    """Probabilities along an axis: e ** a over its sum, without overflow.

    The largest is taken away first. Without it, and through `logsumexp`, a float32 of
    1,000 would leave three digits for what elements differ by. Integers are taken as
    floats.
    """
    wide = _wide_float(a)
    if a.size == 0:
        return _narrow(wide.copy(), a)
    result = exp_difference(wide, wide.max(axis=axis, keepdims=True))
    result /= total(result, axis, keepdims=True)
    return _narrow(result, a)


@primitive(lambda g, y, axis: g - exp(y) * sum(g, axis=axis, keepdims=True))
def log_softmax(a: Array, *, axis: int) -> Array:
    """Logarithms of the probabilities along an axis, with as many digits as `softmax`.

    Unlike `log(softmax(a))` it is finite however improbable an element is. Integers are
    taken as floats.
    """
    wide = _wide_float(a)
    if a.size == 0:
        return _narrow(wide.copy(), a)
    result = wide - wide.max(axis=axis, keepdims=True)
    result -= np.log(total(np.exp(result), axis, keepdims=True))
    return _narrow(result, a)


def _wide_float(a: Array) -> Array:
    """What sums of exponentials are computed in: float32 at least."""
    if a.dtype == np.float16 or a.dtype.kind in "iub":
        return a.astype(np.result_type(a.dtype, np.float32))
    return a


def _narrow(result: Array, like: Array) -> Array:
    """Back to the dtype of floats."""
    return result.astype(like.dtype) if like.dtype == np.float16 else result


@constant
def argmax(a: Array, *, axis: int | None = None) -> Array:
    """Index of the largest element along an axis (of all, flattened, without one)."""
    return a.argmax(axis=axis)


@constant
def argmin(a: Array, *, axis: int | None = None) -> Array:
    """Index of the smallest element along an axis (of all, flattened, without one)."""
    return a.argmin(axis=axis)
