"""Elementwise primitives, which broadcast, each with its derivative.

A rule avoids Python scalars where it can (`g - g * (y * y)`, not `g * (1 - y * y)`):
each costs NumPy about half a microsecond.
"""

from __future__ import annotations

import functools
from math import inf
from typing import Any

import numpy as np

from minigrad.backend import Array, is_array
from minigrad.ops.shape import sum_to
from minigrad.tape import primitive

# The engine sums a gradient over broadcast axes by this primitive.
elementwise = functools.partial(
    primitive, unbroadcast=lambda g, shape: sum_to(g, shape=shape)
)

constant = primitive()  # piecewise constant: no operand has a gradient

POSITIVE = (0.0, inf)


# -- arithmetic --------------------------------------------------------------------


@elementwise(lambda g: g, lambda g: g)
def add(a: Array, b: Array) -> Array:
    """Elementwise a + b, broadcasting."""
    return a + b


@elementwise(lambda g: g, lambda g: -g)
def subtract(a: Array, b: Array) -> Array:
    """Elementwise a - b, broadcasting."""
    return a - b


@elementwise(lambda g, b: g * b, lambda g, a: g * a)
def multiply(a: Array, b: Array) -> Array:
    """Elementwise a * b, broadcasting."""
    return a * b


@elementwise(
    lambda g, b: g / b,
    lambda g, b, y: -(g * y / b),
    kinks={"b": {0: None}},
)
def divide(a: Array, b: Array) -> Array:
    """Elementwise a / b, broadcasting."""
    return a / b


@elementwise(
    lambda g, a, b: g * (b * power(a, _lowered(a, b))),
    lambda g, a, y: g * y * _log_of_base(a, y),
    domain={"a": POSITIVE},
)
def power(a: Array, b: Array) -> Array:
    """Elementwise a ** b, broadcasting; at a = 0 differentiable where b >= 1."""
    return a**b


def _lowered(a: Any, b: Any) -> Any:
    """B - 1, but 1 where a and b are 0: there the derivative is 0, not 0 * infinity."""
    if isinstance(b, int | float | complex):
        return b - 1 if b != 0 else 1
    return where(logical_and(a == 0, b == 0), 1, b - 1)


def _log_of_base(a: Any, y: Any) -> Any:
    """log(a), but 0 where a is 0 and b is not negative: there y is flat in b.

    A number stays one, with all its digits.
    """
    if isinstance(a, int | float) and a != 0:
        return float(np.log(a))
    return log(where(logical_and(a == 0, absolute(y) <= 1), 1, a))


@elementwise(lambda g: -g)
def negative(a: Array) -> Array:
    """Elementwise -a."""
    return -a


# -- functions ---------------------------------------------------------------------


@elementwise(lambda g, a: masked(g, a > 0) - masked(g, a < 0), kinks={"a": {0: 0}})
def absolute(a: Array) -> Array:
    """Elementwise |a|; the derivative at 0 is 0."""
    return np.abs(a)


@elementwise(lambda g, y: g / (y + y), domain={"a": POSITIVE}, closed={"a": (0.0,)})
def sqrt(a: Array) -> Array:
    """Elementwise square root."""
    return np.sqrt(a)


@elementwise(lambda g, y: g * y)
def exp(a: Array) -> Array:
    """Elementwise e ** a."""
    return np.exp(a)


@elementwise(lambda g, y: g * y, lambda g, y: -(g * y))
def exp_difference(a: Array, b: Array) -> Array:
    """Elementwise e ** (a - b), broadcasting, without an array for a - b."""
    result = a - b
    if result.ndim == 0 or result.dtype.kind != "f":
        return np.exp(result)
    return np.exp(result, out=result)


@elementwise(lambda g, a: g / a, domain={"a": POSITIVE})
def log(a: Array) -> Array:
    """Elementwise natural logarithm."""
    return np.log(a)


@elementwise(lambda g, a: g / (a + 1), domain={"a": (-1.0, inf)})
def log1p(a: Array) -> Array:
    """Elementwise log(1 + a), accurate near 0."""
    return np.log1p(a)


@elementwise(lambda g, a: g * exp(a))
def expm1(a: Array) -> Array:
    """Elementwise e ** a - 1, accurate near 0."""
    return np.expm1(a)


@elementwise(lambda g, y: g - g * (y * y))
def tanh(a: Array) -> Array:
    """Elementwise hyperbolic tangent."""
    return np.tanh(a)


@elementwise(lambda g, a: g * sigmoid_derivative(a))
def sigmoid(a: Array) -> Array:
    """Elementwise 1 / (1 + e ** -a), exact in its small tail too."""
    small = np.exp(np.minimum(a, -a))  # the exponential that cannot overflow
    if small.dtype.kind == "c":  # as the checker's oracle computes
        return np.where(a >= 0, 1, small) / (1 + small)
    return np.maximum(small, a >= 0) / (1 + small)  # far faster than a choice


@elementwise(lambda g, a, y: -(g * y * tanh(a * 0.5)))
def sigmoid_derivative(a: Array) -> Array:
    """Elementwise sigmoid(a) * sigmoid(-a): the derivative, exact in both tails."""
    small = np.exp(np.minimum(a, -a))
    return small / ((1 + small) * (1 + small))


@elementwise(lambda g, y: g * (y - y * y))
def gate(a: Array) -> Array:
    """Elementwise sigmoid as (1 + tanh(a / 2)) / 2: twice as fast, for gates.

    Its error is absolute, about one unit of round-off: what a product with numbers of
    size 1 does not feel, but a logarithm of its small tail would.
    """
    result = np.tanh(a * 0.5)
    result *= 0.5  # in place: no array more than the result
    result += 0.5
    return result


@elementwise(lambda g, y: masked(g, y > 0), kinks={"a": {0: 0}})
def relu(a: Array) -> Array:
    """Elementwise max(a, 0); the derivative at 0 is 0."""
    return np.maximum(a, 0)


@elementwise(lambda g, a: g * sigmoid(a))
def softplus(a: Array) -> Array:
    """Elementwise log(1 + e ** a), without overflow."""
    return np.logaddexp(a, 0)


@elementwise(lambda g, a: g * cos(a))
def sin(a: Array) -> Array:
    """Elementwise sine of an angle in radians."""
    return np.sin(a)


@elementwise(lambda g, a: -(g * sin(a)))
def cos(a: Array) -> Array:
    """Elementwise cosine of an angle in radians."""
    return np.cos(a)


# -- choice ------------------------------------------------------------------------


@elementwise(
    lambda g, a, b: _share(g, a, b),
    lambda g, a, b: _share(g, b, a),
    kinks={"a": {"b": 0.5}, "b": {"a": 0.5}},
)
def maximum(a: Array, b: Array) -> Array:
    """Elementwise larger of a and b, broadcasting; a tie halves the gradient."""
    return np.maximum(a, b)


@elementwise(
    lambda g, a, b: _share(g, b, a),
    lambda g, a, b: _share(g, a, b),
    kinks={"a": {"b": 0.5}, "b": {"a": 0.5}},
)
def minimum(a: Array, b: Array) -> Array:
    """Elementwise smaller of a and b, broadcasting; a tie halves the gradient."""
    return np.minimum(a, b)


def _share(g: Any, mine: Any, other: Any) -> Any:
    """The part of `g` that goes to the operand which should be the larger."""
    return where(equal(mine, other), g * 0.5, where(greater(mine, other), g, 0))


@elementwise(
    lambda g, a, low, high: masked(g, within(a, low=low, high=high)),
    kinks={"a": {"low": 1, "high": 1}},
)
def clip(a: Array, *, low: float | None = None, high: float | None = None) -> Array:
    """Elementwise a, held between low and high; at a bound the derivative is 1."""
    return np.clip(a, low, high)


@elementwise(
    None,
    lambda g, condition: masked(g, condition),
    lambda g, condition: masked(g, logical_not(condition)),
)
def where(condition: Array, a: Array, b: Array) -> Array:
    """Elementwise a where the condition holds and b elsewhere, broadcasting."""
    if isinstance(condition, bool):
        condition = np.full_like(a if is_array(a) else b, condition, bool, shape=())
    return np.where(condition, a, b)


@elementwise(lambda g, mask: masked(g, mask), None)
def masked(a: Array, mask: Array) -> Array:
    """Elementwise a where the mask holds and 0 elsewhere, also where a is inf or NaN.

    Rules use it in place of a product: 0 * inf would be NaN.
    """
    return keep_where(mask, a)


INTEGERS = {  # of the same size as the floats they stand for
    np.dtype(np.float16): np.int16,
    np.dtype(np.float32): np.int32,
    np.dtype(np.float64): np.int64,
}


def keep_where(mask: Array, a: Array, out: Array | None = None) -> Array:
    """`a` where a boolean mask holds and 0 elsewhere, into `out` if one is given.

    It is the product of the mask and the bits of `a`, read as integers: infinities and
    NaN are bits like all others. `np.where` takes ten times as long for a mask without
    a pattern.
    """
    if type(a) is type(mask) is np.ndarray and mask.dtype.char == "?":
        kind = INTEGERS.get(a.dtype)
        if kind is not None:
            out = np.empty_like(a, shape=_common(a, mask)) if out is None else out
            np.multiply(a.view(kind), mask, out=out.view(kind))
            return out
    kept = np.where(mask, a, 0)
    if out is None:
        return kept
    out[...] = kept
    return out


def _common(a: Array, b: Array) -> tuple[int, ...]:
    return a.shape if a.shape == b.shape else np.broadcast_shapes(a.shape, b.shape)


# -- piecewise constant: comparisons and the like, never recorded ------------------


@constant
def within(a: Array, *, low: float | None, high: float | None) -> Array:
    """Elementwise low <= a <= high, a bound of None being no bound."""
    inside = np.ones_like(a, dtype=bool) if low is None else a >= low
    return inside if high is None else np.logical_and(inside, a <= high)


@constant
def equal(a: Array, b: Array) -> Array:
    """Elementwise a == b."""
    return np.equal(a, b)


@constant
def not_equal(a: Array, b: Array) -> Array:
    """Elementwise a != b."""
    return np.not_equal(a, b)


@constant
def greater(a: Array, b: Array) -> Array:
    """Elementwise a > b."""
    return np.greater(a, b)


@constant
def greater_equal(a: Array, b: Array) -> Array:
    """Elementwise a >= b."""
    return np.greater_equal(a, b)


@constant
def less(a: Array, b: Array) -> Array:
    """Elementwise a < b."""
    return np.less(a, b)


@constant
def less_equal(a: Array, b: Array) -> Array:
    """Elementwise a <= b."""
    return np.less_equal(a, b)


@constant
def logical_not(a: Array) -> Array:
    """Elementwise not a."""
    return np.logical_not(a)


@constant
def logical_and(a: Array, b: Array) -> Array:
    """Elementwise a and b."""
    return np.logical_and(a, b)


@constant
def logical_or(a: Array, b: Array) -> Array:
    """Elementwise a or b."""
    return np.logical_or(a, b)


@constant
def bitwise_not(a: Array) -> Array:
    """Elementwise ~a: each bit of an integer turned over; of a boolean, not a."""
    return np.bitwise_not(a)


@constant
def bitwise_and(a: Array, b: Array) -> Array:
    """Elementwise a & b, bit by bit for integers; of booleans, a and b."""
    return np.bitwise_and(a, b)


@constant
def bitwise_or(a: Array, b: Array) -> Array:
    """Elementwise a | b, bit by bit for integers; of booleans, a or b."""
    return np.bitwise_or(a, b)
