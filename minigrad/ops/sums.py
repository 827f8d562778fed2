"""Accurate long sums: added in parts, and in wider dtypes.

NumPy adds along the last axis of contiguous memory pairwise; along any other it adds
row after row to one total, whose rounding then grows with their number: the mean of a
million float32 rows is 1 % off. Here such a sum is taken part by part, and the parts
are added in float64. float16 is added in float32, as every library does.

Source: Higham, The accuracy of floating point summation (1993), for sums in parts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import LONG, WIDER, Array

Axis = int | tuple[int, ...] | None

PART = 64  # numbers of a long sum that are added up plainly


def axes_of(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The reduced axes as non-negative numbers, in order."""
    if axis is None or ndim == 0:
        return tuple(range(ndim))
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def total(a: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum over axes; floats keep their dtype, small integers become large ones."""
    one = isinstance(axis, int) and -a.ndim <= axis < a.ndim
    count = a.shape[axis] if one else a.size
    if (count <= LONG and a.dtype.char != "e") or a.dtype not in WIDER:
        return a.sum(axis=axis, keepdims=keepdims)
    return _total(a, axis, keepdims).astype(a.dtype, copy=False)


def _total(a: Array, axis: Axis, keepdims: bool) -> Array:
    first: Any = np.float32  # what a part is added in
    reduced = axes_of(a.ndim, axis)
    count = math.prod(a.shape[i] for i in reduced)
    if count <= LONG or not isinstance(a, np.ndarray) or _is_pairwise(a, reduced):
        return a.sum(axis=axis, keepdims=keepdims, dtype=first)
    result = a
    for i in reversed(reduced):
        result = _along(result, i, first)
        first = np.float64
    return result if keepdims else result.squeeze(reduced)


def _is_pairwise(a: np.ndarray, reduced: tuple[int, ...]) -> bool:
    """Whether NumPy itself adds these axes pairwise."""
    if len(reduced) == a.ndim and a.flags.f_contiguous:
        return True
    return a.flags.c_contiguous and reduced == tuple(range(reduced[0], a.ndim))


def _along(a: Array, axis: int, dtype: type) -> Array:
    """The sum along one axis, which stays; a long one in parts."""
    size = a.shape[axis]
    if size <= LONG:
        return a.sum(axis=axis, keepdims=True, dtype=dtype)
    parts = size // PART
    before, after = a.shape[:axis], a.shape[axis + 1 :]
    ahead = (slice(None),) * axis
    whole = a[(*ahead, slice(0, parts * PART))]
    whole = whole.reshape(*before, parts, PART, *after).sum(axis=axis + 1, dtype=dtype)
    rest = a[(*ahead, slice(parts * PART, None))].sum(
        axis=axis, keepdims=True, dtype=dtype
    )
    return _along(whole, axis, np.float64) + rest
