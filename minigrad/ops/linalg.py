"""Matrix multiplication over any batch dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.ops.elementwise import elementwise
from minigrad.ops.reduce import sum
from minigrad.ops.shape import Shape, expand_dims, reshape, swapaxes


@elementwise(
    lambda g, b, a_shape: _to_left(g, b, a_shape),
    lambda g, a, b_shape: _to_right(g, a, b_shape),
    factors={"b": lambda g, a: (a, g)},
)
def matmul(a: Array, b: Array) -> Array:
    """Matrix product over the last two axes; leading axes are batches and broadcast.

    Shapes:
        (..., n, k) @ (..., k, m) -> (..., n, m); a 1-d operand is a vector.
    """
    if a.ndim > 2 and b.ndim == 2 and a.size:
        # NumPy would loop over the batch; one large product takes half the time.
        return (a.reshape(-1, a.shape[-1]) @ b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim == b.ndim == 2 and len(a) < b.shape[1] and _is_transposed(b):
        # OpenBLAS is up to a third faster when the larger operand is not transposed.
        return np.ascontiguousarray((b.T @ a.T).T)
    return a @ b


def _is_transposed(b: Array) -> bool:
    return (
        isinstance(b, np.ndarray) and b.flags.f_contiguous and not b.flags.c_contiguous
    )


def _to_left(g: Any, b: Any, a_shape: Shape) -> Any:
    """d(a @ b)/da applied to g: g @ b.T, with the cases of a vector."""
    if b.ndim == 1:
        return expand_dims(g, axis=-1) * b
    if len(a_shape) == 1:
        return sum(expand_dims(g, axis=-2) * b, axis=-1)
    return matmul(g, swapaxes(b, axis1=-1, axis2=-2))


def _to_right(g: Any, a: Any, b_shape: Shape) -> Any:
    """d(a @ b)/db applied to g: a.T @ g, with the cases of a vector."""
    if len(b_shape) == 1:
        return expand_dims(g, axis=-1) * a
    if a.ndim == 1:
        return expand_dims(a, axis=-1) * expand_dims(g, axis=-2)
    if a.ndim > 2 and len(b_shape) == 2:
        rows = math.prod(a.shape[:-1])
        a = reshape(a, shape=(rows, a.shape[-1]))
        g = reshape(g, shape=(rows, g.shape[-1]))
    return matmul(swapaxes(a, axis1=-1, axis2=-2), g)
