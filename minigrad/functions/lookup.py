"""Slices at integer ids, and sums at them: an embedding there and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.ops.index import IDS, gather
from minigrad.ops.index import scatter_add as add_at_ids
from minigrad.ops.shape import Slice
from minigrad.ops.sources import beside
from minigrad.tape import TensorBase, array_of, plain_array, with_shape

WHOLE = Slice(None, None, None)


def take(x: Any, ids: Any, axis: int = 0) -> Any:
    """Slices of `x` along an axis at integer ids; repeated ids add their gradients.

    Shapes:
        x (..., n, ...), ids (any shape) -> the axis replaced by the shape of ids.
    """
    x = with_shape(x)
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(
            f"take along axis {axis} of a tensor of shape {x.shape}: there is no such "
            "axis. Check the axis against the shape."
        )
    axis %= x.ndim
    return gather(x, _ids_beside(ids, x), index=(WHOLE,) * axis + (IDS,))


def scatter_add(values: Any, ids: Any, size: int, axis: int = 0) -> Any:
    """Zeros with `values` added at integer ids along an axis: the adjoint of `take`.

    Shapes:
        values (..., *ids.shape, ...) -> the axes of ids, which begin at `axis`,
        replaced by one of `size`; values at repeated ids add up.

    Raises:
        ValueError: values do not have the shape of ids at `axis` (counted from 0).
    """
    values = with_shape(values)
    array = _ids_beside(ids, values)
    before, after = values.shape[:axis], values.shape[axis + array.ndim :]
    if axis < 0 or values.shape[axis : axis + array.ndim] != array.shape:
        raise ValueError(
            f"scatter_add got values of shape {values.shape} for ids of shape "
            f"{array.shape} at axis {axis}: each id needs its value. The values' axes "
            "from `axis` on must be those of ids; reshape one of them."
        )
    shape = (*before, size, *after)
    return add_at_ids(values, array, shape=shape, index=(WHOLE,) * axis + (IDS,))


def _ids_beside(ids: Any, x: Any) -> Any:
    """Ids as an array on the device of `x`."""
    array = array_of(ids)
    if not isinstance(ids, TensorBase):
        array = plain_array(ids, _ids_dtype(ids))
    return beside(array, array_of(x))


def _ids_dtype(ids: Any) -> Any:
    """Lists of ids are integers, also the empty list."""
    if hasattr(ids, "dtype"):
        return None
    return np.asarray(ids).dtype if np.size(ids) else np.dtype(int)
