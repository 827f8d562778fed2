"""Mean, variance, standard deviation and norm, composed of primitives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.ops.elementwise import multiply, sqrt, where
from minigrad.ops.reduce import sum
from minigrad.ops.shape import astype
from minigrad.ops.sums import Axis, axes_of
from minigrad.tape import with_shape


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute on float16 in float32: its sums and squares overflow at 65,504."""

    @functools.wraps(function)
    def wrapped(x: Any, *args: Any, **settings: Any) -> Any:
        x = with_shape(x)
        if x.dtype != np.float16:
            return function(x, *args, **settings)
        wide = function(astype(x, dtype=np.float32), *args, **settings)
        return astype(wide, dtype=np.float16)

    return wrapped


@_in_float32
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Mean over axes (all, if none is named)."""
    return sum(x, axis=axis, keepdims=keepdims) / _count(x, axis)


def _count(x: Any, axis: Axis) -> int:
    count = 1
    for i in axes_of(x.ndim, axis):
        count *= x.shape[i]
    return count


@_in_float32
def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Variance over axes; the sum of squares is divided by n - ddof."""
    centred = x - mean(x, axis=axis, keepdims=True)
    squares = sum(multiply(centred, centred), axis=axis, keepdims=keepdims)
    return squares / (_count(x, axis) - ddof)


@_in_float32
def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Standard deviation over axes; where it is 0, its gradient is 0 as well."""
    return _root(var(x, axis, keepdims, ddof))


@_in_float32
def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Euclidean norm over axes; where it is 0, its gradient is 0 as well."""
    if x.dtype.kind in "iub":
        x = astype(x, dtype=np.float64)  # squares of small integers overflow
    return _root(sum(multiply(x, x), axis=axis, keepdims=keepdims))


def _root(squares: Any) -> Any:
    """The square root; at 0, where all deviations are 0, a gradient of 0."""
    zero = squares == 0
    return where(zero, 0, sqrt(where(zero, 1, squares)))
