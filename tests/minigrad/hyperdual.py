"""What is a derivative, without a tape?  Numbers that carry infinitesimals along.

A hyper-dual number is a + b e1 + c e2 + d e1 e2 + ...: a coefficient for each set of
infinitesimals, each of which has the square 0. A function of a + e v has its derivative
along v as the coefficient of e, and with one infinitesimal for each derivative that is
asked for, any number of them nest: nothing is approximated, and nothing recorded.

Source: J. Fike and J. Alonso, "The development of hyper-dual numbers for exact
second-derivative calculations", AIAA 2011-886.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

NONE: frozenset[int] = frozenset()
_names = itertools.count()


class HyperDual:
    """A real number and what is infinitesimal about it."""

    def __init__(self, parts: dict[frozenset[int], float]) -> None:
        self.parts = parts

    def __add__(self, other: Any) -> HyperDual:
        parts = dict(self.parts)
        for names, x in _parts(other).items():
            parts[names] = parts.get(names, 0.0) + x
        return HyperDual(parts)

    def __mul__(self, other: Any) -> HyperDual:
        parts: dict[frozenset[int], float] = {}
        for some, x in self.parts.items():
            for more, y in _parts(other).items():
                if some.isdisjoint(more):  # else the square of an infinitesimal
                    both = some | more
                    parts[both] = parts.get(both, 0.0) + x * y
        return HyperDual(parts)

    __radd__ = __add__
    __rmul__ = __mul__

    def along(self, name: int) -> HyperDual:
        """The coefficient of one infinitesimal, which may have others in it."""
        return HyperDual({n - {name}: x for n, x in self.parts.items() if name in n})

    @property
    def real(self) -> float:
        """The number without its infinitesimals."""
        return self.parts.get(NONE, 0.0)


def _parts(x: Any) -> dict[frozenset[int], float]:
    return x.parts if isinstance(x, HyperDual) else {NONE: float(x)}


def applied(derivatives: Callable[[int, float], float], x: HyperDual) -> HyperDual:
    """f(x) by its Taylor series, which ends: powers of what is infinitesimal are 0.

    `derivatives` gives the k-th derivative of f at a real number.
    """
    rest = HyperDual({names: part for names, part in x.parts.items() if names})
    result = HyperDual({NONE: derivatives(0, x.real)})
    power, k = rest, 1
    while power.parts:
        result = result + power * (derivatives(k, x.real) / math.factorial(k))
        power, k = power * rest, k + 1
    return result


def sin_derivative(k: int, x: float) -> float:
    """The k-th derivative of the sine."""
    return math.sin(x + k * math.pi / 2)


def exp_derivative(k: int, x: float) -> float:
    """The k-th derivative of e ** x."""
    return math.exp(x)


class Mathematics:
    """Sums, sines and exponentials of arrays of hyper-dual numbers."""

    @staticmethod
    def sum(x: Any) -> Any:
        """The sum of all elements."""
        return np.sum(x)

    @staticmethod
    def sin(x: Any) -> Any:
        """Elementwise sine."""
        return each(lambda a: applied(sin_derivative, a), x)

    @staticmethod
    def exp(x: Any) -> Any:
        """Elementwise e ** x."""
        return each(lambda a: applied(exp_derivative, a), x)


def each(f: Callable[[HyperDual], HyperDual], x: Any) -> Any:
    """A function of every element of an array, or of one number."""
    if not isinstance(x, np.ndarray):
        return f(HyperDual(_parts(x)))
    result = np.empty(x.size, object)
    result[:] = [f(HyperDual(_parts(a))) for a in x.reshape(-1)]
    return result.reshape(x.shape)


def derivative(f: Callable[[Any], Any], x: Any, direction: Any) -> Any:
    """The derivative of a number or an array along a direction, exactly."""
    name = next(_names)
    tiny = HyperDual({frozenset({name}): 1.0})
    value = f(np.asarray(x, object) + np.asarray(direction, object) * tiny)
    return each(lambda a: a.along(name), value)


def gradient(f: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """The gradient of a number, element by element."""
    units = np.eye(x.size).reshape(x.size, *x.shape)
    slopes = [derivative(f, x, unit).real for unit in units]
    return np.array(slopes).reshape(x.shape)
