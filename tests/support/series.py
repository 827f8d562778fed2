"""Derivatives without a tape: truncated power series in plain NumPy.

A series is a list of arrays [c0, c1, ...]: the value along x(t) = x0 + x1 t + ..., so
that c1 is J v and 2 c2 is the second derivative along v. Every operation of a random
program has its rule here; nothing is shared with the engine's rules, and nothing is
walked backwards.

Source: A. Griewank and A. Walther, "Evaluating Derivatives", 2nd edition, 2008,
chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Series = list[Any]


# -- arithmetic --------------------------------------------------------------------


def multiply(a: Series, b: Series, product: Any = np.multiply) -> Series:
    """The product of two series, by any bilinear product of their coefficients."""
    return [
        sum(product(a[j], b[k - j]) for j in range(1, k + 1)) + product(a[0], b[k])
        for k in range(len(a))
    ]


def divide(a: Series, b: Series) -> Series:
    """The quotient of two series: what, times b, gives a."""
    y: Series = []
    for k, top in enumerate(a):
        known = sum(b[j] * y[k - j] for j in range(1, k + 1))
        y.append((top - known) / b[0])
    return y


def plus(a: Series, number: float) -> Series:
    """The series moved by a number."""
    return [a[0] + number, *a[1:]]


def times(a: Series, number: float) -> Series:
    """The series multiplied by a number."""
    return [c * number for c in a]


def follow(
    a: Series, start: Any, derivative: Callable[[Series, Series], Series]
) -> Series:
    """The series y with y' = derivative(a, y) a', from its value `start`."""
    y = [start]
    for k in range(1, len(a)):
        d = derivative(a[:k], y)
        y.append(sum(j * a[j] * d[k - j] for j in range(1, k + 1)) / k)
    return y


# -- functions ---------------------------------------------------------------------


def exp(a: Series) -> Series:
    """E ** a, from y' = y a'."""
    return follow(a, np.exp(a[0]), lambda _, y: y)


def log(a: Series) -> Series:
    """The natural logarithm, from y' = a' / a."""
    one = [np.ones_like(a[0])] + [np.zeros_like(a[0])] * (len(a) - 1)
    return follow(a, np.log(a[0]), lambda a, _: divide(one[: len(a)], a))


def tanh(a: Series) -> Series:
    """The hyperbolic tangent, from y' = (1 - y y) a'."""
    return follow(a, np.tanh(a[0]), lambda _, y: plus(times(multiply(y, y), -1), 1))


def sigmoid(a: Series) -> Series:
    """1 / (1 + e ** -a)."""
    return divide(_ones(a), plus(exp(times(a, -1)), 1))


def softplus(a: Series) -> Series:
    """log(1 + e ** a)."""
    return log(plus(exp(a), 1))


def sin(a: Series) -> Series:
    """The sine, from y' = cos(a) a'."""
    return follow(a, np.sin(a[0]), lambda a, _: cos(a))


def cos(a: Series) -> Series:
    """The cosine, from y' = -sin(a) a'."""
    return follow(a, np.cos(a[0]), lambda a, _: times(sin(a), -1))


def sqrt(a: Series) -> Series:
    """The square root, from y' = a' / 2 y."""
    return follow(a, np.sqrt(a[0]), lambda _, y: divide(_ones(y), [c + c for c in y]))


def power(a: Series, b: Series) -> Series:
    """A ** b of positive a, as e ** (b log a)."""
    return exp(multiply(b, log(a)))


def _ones(a: Series) -> Series:
    return plus(times(a, 0), 1)


# -- choice ------------------------------------------------------------------------


def select(condition: Any, a: Series, b: Series) -> Series:
    """Series a where the condition holds, series b elsewhere."""
    return [np.where(condition, x, y) for x, y in zip(a, b, strict=True)]


def clip(a: Series, low: float, high: float) -> Series:
    """The series where it lies between low and high, a constant elsewhere."""
    inside = (a[0] >= low) & (a[0] <= high)
    held = [np.clip(a[0], low, high), *times(a, 0)[1:]]
    return select(inside, a, held)


# -- reductions --------------------------------------------------------------------


def grouped(a: Series, axis: Any) -> Series:
    """The reduced axes, flattened, as the last one."""
    ndim = a[0].ndim
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = sorted(i % ndim for i in axes)
    kept = [i for i in range(ndim) if i not in gone]
    sizes = [a[0].shape[i] for i in kept]
    count = int(np.prod([a[0].shape[i] for i in gone], dtype=int))
    return [np.transpose(c, (*kept, *gone)).reshape(*sizes, count) for c in a]


def extreme(
    a: Series, pick: Callable[..., Any], axis: Any = None, keepdims: bool = False
) -> Series:
    """The series of the element that `pick` (argmax, argmin) finds in each group."""
    flat = grouped(a, axis)
    place = np.expand_dims(pick(flat[0], axis=-1), -1)
    found = [np.take_along_axis(c, place, -1)[..., 0] for c in flat]
    return _kept(found, a, axis, keepdims)


def prod(a: Series, axis: Any = None, keepdims: bool = False) -> Series:
    """The product of each group, one factor after the other."""
    flat = grouped(a, axis)
    result = _ones([c.sum(-1) for c in flat])
    for i in range(flat[0].shape[-1]):
        result = multiply(result, [c[..., i] for c in flat])
    return _kept(result, a, axis, keepdims)


def total(a: Series, axis: Any = None, keepdims: bool = False) -> Series:
    """The sum of each group."""
    return [np.sum(c, axis=axis, keepdims=keepdims) for c in a]


def logsumexp(a: Series, axis: Any = None, keepdims: bool = False) -> Series:
    """The logarithm of the sum of exponentials (values are small here)."""
    return log(total(exp(a), axis, keepdims))


def mean(a: Series, axis: Any = None, keepdims: bool = False) -> Series:
    """The mean of each group."""
    return [np.mean(c, axis=axis, keepdims=keepdims) for c in a]


def var(a: Series, axis: Any = None, keepdims: bool = False) -> Series:
    """The mean square of what is left when the mean is taken off."""
    centre = mean(a, axis, True)
    rest = [c - m for c, m in zip(a, centre, strict=True)]
    return mean(multiply(rest, rest), axis, keepdims)


def softmax(a: Series, axis: int) -> Series:
    """E ** a over its sum."""
    powers = exp(a)
    return divide(powers, total(powers, axis, True))


def log_softmax(a: Series, axis: int) -> Series:
    """The series less the logarithm of its sum of exponentials."""
    return [c - t for c, t in zip(a, logsumexp(a, axis, True), strict=True)]


def _kept(found: Series, a: Series, axis: Any, keepdims: bool) -> Series:
    shape = np.sum(a[0], axis=axis, keepdims=keepdims).shape
    return [np.reshape(c, shape) for c in found]


# -- linear operations -------------------------------------------------------------


def linear(function: Callable[..., Any]) -> Callable[..., Series]:
    """A linear function, coefficient by coefficient."""
    return lambda a, **settings: [function(c, **settings) for c in a]


def parted(function: Callable[..., Sequence[Any]]) -> Callable[..., list[Series]]:
    """A linear function with several results, each a series."""

    def rule(a: Series, **settings: Any) -> list[Series]:
        parts = [function(c, **settings) for c in a]
        return [list(part) for part in zip(*parts, strict=True)]

    return rule


def joined(function: Callable[..., Any]) -> Callable[..., Series]:
    """A linear function of a list of operands."""
    return lambda *operands, **settings: [
        function(list(parts), **settings) for parts in zip(*operands, strict=True)
    ]


def pad(a: Series, widths: Any, value: float) -> Series:
    """Surrounded by a constant, which does not move."""
    first, *rest = a
    around = [np.pad(c, widths) for c in rest]
    return [np.pad(first, widths, constant_values=value), *around]


def _split(c: Any, sizes: Sequence[int], axis: int) -> list[Any]:
    ends = np.cumsum(sizes)[:-1]
    return np.split(c, ends, axis)


def _unstack(c: Any, axis: int) -> list[Any]:
    return [np.take(c, i, axis) for i in range(c.shape[axis])]


def _scatter(c: Any, ids: Sequence[int], size: int) -> Any:
    """Each row multiplied onto its place by a matrix of zeros and ones."""
    places = np.equal.outer(np.arange(size), np.asarray(ids, int)).astype(float)
    return np.tensordot(places, c, axes=(1, 0))


RULES: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
    "subtract": lambda a, b: [x - y for x, y in zip(a, b, strict=True)],
    "multiply": multiply,
    "divide": divide,
    "power": power,
    "matmul": lambda a, b: multiply(a, b, np.matmul),
    "maximum": lambda a, b: select(a[0] >= b[0], a, b),
    "minimum": lambda a, b: select(a[0] <= b[0], a, b),
    "where": lambda c, a, b, over: select(c[0] > over, a, b),
    "tanh": tanh,
    "sin": sin,
    "cos": cos,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "exp": exp,
    "expm1": lambda a: plus(exp(a), -1),
    "log": log,
    "log1p": lambda a: log(plus(a, 1)),
    "sqrt": sqrt,
    "negative": lambda a: times(a, -1),
    "absolute": lambda a: select(a[0] >= 0, a, times(a, -1)),
    "relu": lambda a: select(a[0] > 0, a, times(a, 0)),
    "clip": clip,
    "square": lambda a: multiply(a, a),
    "cube": lambda a: multiply(a, multiply(a, a)),
    "scale": lambda a, factor: times(a, factor),
    "shift": lambda a, number: plus(times(a, -1), number),
    "reciprocal": lambda a, number: divide(times(_ones(a), number), a),
    "sum": total,
    "mean": mean,
    "var": var,
    "prod": prod,
    "max": lambda a, **settings: extreme(a, np.argmax, **settings),
    "min": lambda a, **settings: extreme(a, np.argmin, **settings),
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "cumsum": linear(np.cumsum),
    "reshape": linear(np.reshape),
    "transpose": linear(np.transpose),
    "swapaxes": linear(np.swapaxes),
    "expand_dims": linear(np.expand_dims),
    "squeeze": linear(np.squeeze),
    "flip": linear(np.flip),
    "broadcast_to": linear(np.broadcast_to),
    "pad": pad,
    "crop": linear(lambda c, index: c[index]),
    "take": linear(np.take),
    "gather": linear(lambda c, index: c[index]),
    "scatter_add": linear(_scatter),
    "concatenate": joined(np.concatenate),
    "stack": joined(np.stack),
    "split": parted(_split),
    "unstack": parted(_unstack),
}
