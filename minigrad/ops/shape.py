"""Primitives that only rearrange: linear ones, each the rule of its adjoint.

broadcast_to / sum_to, reshape, transpose, swapaxes, expand_dims / squeeze, flip,
pad / crop, crop / place, concatenate / split, stack / unstack.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, as_result
from minigrad.ops.sums import total
from minigrad.tape import primitive

Shape = tuple[int, ...]


# -- the same elements in another shape --------------------------------------------


@primitive(lambda g, a_shape: reshape(g, shape=a_shape))
def reshape(a: Array, *, shape: Shape | int) -> Array:
    """The same elements, in row-major order, in another shape; one size may be -1."""
    return a.reshape(shape)


@primitive(lambda g, axes: transpose(g, axes=_inverse(axes)))
def transpose(a: Array, *, axes: Shape | None = None) -> Array:
    """Permute the axes; without `axes`, reverse them."""
    return a.transpose(axes)


def _inverse(axes: Shape | None) -> Shape | None:
    if axes is None:
        return None
    positive = [axis % len(axes) for axis in axes]
    return tuple(positive.index(i) for i in range(len(axes)))


@primitive(lambda g, axis1, axis2: swapaxes(g, axis1=axis1, axis2=axis2))
def swapaxes(a: Array, *, axis1: int, axis2: int) -> Array:
    """Exchange two axes."""
    return a.swapaxes(axis1, axis2)


@primitive(lambda g, a_shape: reshape(g, shape=a_shape))
def expand_dims(a: Array, *, axis: int | Shape) -> Array:
    """Insert axes of size 1 at the given places of the result."""
    return np.expand_dims(a, axis)


@primitive(lambda g, a_shape: reshape(g, shape=a_shape))
def squeeze(a: Array, *, axis: int | Shape | None = None) -> Array:
    """Drop axes of size 1: those named, or all."""
    return a.squeeze(axis)


@primitive(lambda g, axis: flip(g, axis=axis))
def flip(a: Array, *, axis: int | Shape | None = None) -> Array:
    """Reverse the order of the elements along axes (all, if none is named)."""
    return np.flip(a, axis)


@primitive(lambda g: g)
def astype(a: Array, *, dtype: Any) -> Array:
    """Convert to another dtype; the engine converts the gradient back."""
    return a.astype(dtype)


# -- broadcast and sum -------------------------------------------------------------


@primitive(lambda g, a_shape: sum_to(g, shape=a_shape))
def broadcast_to(a: Array, *, shape: Shape) -> Array:
    """Repeat along new axes and axes of size 1, as a read-only view."""
    return np.broadcast_to(a, shape)


@primitive(lambda g, a_shape: broadcast_to(g, shape=a_shape))
def sum_to(a: Array, *, shape: Shape) -> Array:
    """Sum over the axes that broadcasting from `shape` had added or repeated."""
    added = a.ndim - len(shape)
    repeated = [
        added + i for i, n in enumerate(shape) if n == 1 and a.shape[added + i] != 1
    ]
    return total(a, (*range(added), *repeated), keepdims=True).reshape(shape)


# -- crop and place, pad -----------------------------------------------------------


class Slice(NamedTuple):
    """A slice as a hashable setting (`slice` itself is not, before Python 3.12)."""

    start: int | None
    stop: int | None
    step: int | None


@functools.lru_cache(maxsize=4096)
def to_index(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index that NumPy understands, from its hashable form."""
    return tuple(slice(*i) if isinstance(i, Slice) else i for i in index)


@primitive(
    lambda g, a_shape, index: place(g, shape=a_shape, index=index),
    scatter={"a": lambda whole, g, index: _add_at(whole, g, index)},
)
def crop(a: Array, *, index: tuple[Any, ...]) -> Array:
    """A view of a part of `a`: integers, `Slice`s, None and Ellipsis."""
    return a[to_index(index)]


def _add_at(whole: Array, g: Array, index: tuple[Any, ...]) -> None:
    whole[to_index(index)] += g


@primitive(lambda g, index: crop(g, index=index))
def place(a: Array, *, shape: Shape, index: tuple[Any, ...]) -> Array:
    """Zeros of `shape` with `a` at `index`: the adjoint of crop."""
    result = np.zeros_like(a, shape=shape)
    result[to_index(index)] = a
    return result


@primitive(lambda g, a_shape, widths: crop(g, index=_inside(a_shape, widths)))
def pad(a: Array, *, widths: tuple[tuple[int, int], ...], value: float = 0) -> Array:
    """Surround `a` with `value`: `widths` holds (before, after) for each axis."""
    if np.shape(widths) != (a.ndim, 2) and a.ndim:
        raise ValueError(
            f"widths must be a pair (before, after) for each of {a.ndim} axes"
        )
    return np.pad(a, widths, constant_values=value) if a.ndim else a.copy()


def _inside(shape: Shape, widths: tuple[tuple[int, int], ...]) -> tuple[Slice, ...]:
    return tuple(
        Slice(before, before + n, None)
        for n, (before, _) in zip(shape, widths, strict=True)
    )


# -- joining and parting -----------------------------------------------------------


@primitive(
    joint=lambda g, sizes, axis: split(g, sizes=sizes, axis=axis),
    sequence=True,
    residuals={"sizes": lambda arrays, axis: tuple(a.shape[axis] for a in arrays)},
)
def concatenate(arrays: Sequence[Array], *, axis: int = 0) -> Array:
    """Join arrays along an axis that they have."""
    return np.concatenate(arrays, axis)


def _part(whole: Array, i: int, sizes: int | tuple[int, ...], axis: int) -> Array:
    starts = _starts(whole.shape[axis], sizes)
    before = (slice(None),) * (axis % whole.ndim)
    return whole[(*before, slice(starts[i], starts[i + 1]))]


@functools.lru_cache(maxsize=4096)
def _starts(whole: int, sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(_sizes(whole, sizes), initial=0))


@primitive(joint=lambda gs, axis: (concatenate(gs, axis=axis),), many=True, part=_part)
def split(a: Array, *, sizes: int | tuple[int, ...], axis: int = 0) -> list[Array]:
    """Part `a` along an axis: into a number of equal parts, or parts of given sizes."""
    return np.split(a, list(_starts(a.shape[axis], sizes))[1:-1], axis)


def _sizes(whole: int, sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(sizes, int):
        sizes = (whole // max(sizes, 1),) * sizes
    if sum(sizes) != whole or not sizes or min(sizes) < 0:
        raise ValueError(
            f"parts of sizes {sizes} do not make up an axis of size {whole}"
        )
    return sizes


@primitive(joint=lambda g, axis: unstack(g, axis=axis), sequence=True)
def stack(arrays: Sequence[Array], *, axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis."""
    return np.stack(arrays, axis)


def _slice(whole: Array, i: int, axis: int) -> Array:
    return np.moveaxis(whole, axis, 0)[i, ...]


@primitive(joint=lambda gs, axis: (stack(gs, axis=axis),), many=True, part=_slice)
def unstack(a: Array, *, axis: int = 0) -> list[Array]:
    """The slices of `a` along an axis, that axis gone."""
    if a.ndim == 0 or a.shape[axis] == 0:
        raise ValueError("there is nothing to unstack along this axis")
    if a.ndim == 1:
        return [as_result(x) for x in a]  # arrays, not NumPy's scalars
    return list(np.moveaxis(a, axis, 0))
