"""Primitives of lookup: gather (by integers or a mask) and scatter_add."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.backend import Array
from minigrad.ops.shape import Shape, Slice, crop, to_index
from minigrad.ops.sources import beside
from minigrad.tape import array_of, constant, primitive, recording

IDS = "ids"  # marks, in an index setting, the place of the next operand of ids


def _full_index(index: tuple[Any, ...], ids: tuple[Array, ...]) -> tuple[Any, ...]:
    """The index that NumPy understands: the ids put where `index` marks them."""
    remaining = iter(ids)
    return tuple(next(remaining) if i is IDS else i for i in to_index(index))


@primitive(
    lambda g, ids, a_shape, index: scatter_add(g, *ids, shape=a_shape, index=index),
    scatter={
        "a": lambda whole, g, ids, index: backend.add_at(
            whole, _full_index(index, ids), g
        )
    },
)
def gather(a: Array, *ids: Array, index: tuple[Any, ...]) -> Array:
    """Elements of `a` at integer arrays or boolean masks, as NumPy indexes.

    Repeated ids add their gradients.

    Raises:
        IndexError: an id is out of range (on the CPU, and inside detect_anomaly();
            otherwise CuPy wraps it around).
    """
    return a[_checked(_full_index(index, ids), a, a.shape)]


@primitive(lambda g, ids, index: gather(g, *ids, index=index))
def scatter_add(a: Array, *ids: Array, shape: Shape, index: tuple[Any, ...]) -> Array:
    """Zeros of `shape` with `a` added at the ids: the adjoint of gather."""
    result = np.zeros_like(a, shape=shape)
    backend.add_at(result, _checked(_full_index(index, ids), a, shape), a)
    return result


def checks_ids() -> bool:
    """Whether ids are checked on a GPU too, which must wait for the answer."""
    return any(o.checks_ids for o in recording.observers)


def _checked(index: tuple[Any, ...], a: Array, shape: Shape) -> tuple[Any, ...]:
    """`index` itself; NumPy checks its ids, those on a GPU are checked on demand."""
    if isinstance(a, np.ndarray) or not checks_ids():
        return index
    taken = sum(map(_axes, index))
    axis = 0
    for part in index:
        if backend.is_array(part) and part.dtype.kind != "b":
            _check_range(part, axis, shape[axis])
        axis += len(shape) - taken if part is Ellipsis else _axes(part)
    return index


def _axes(part: Any) -> int:
    """How many axes a part of an index takes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if backend.is_array(part) and part.dtype.kind == "b" else 1


def _check_range(ids: Array, axis: int, size: int) -> None:
    host = backend.to_numpy(ids)
    if host.size and not (host.min() >= -size and host.max() < size):
        raise IndexError(
            f"ids reach from {host.min()} to {host.max()}, out of range for axis "
            f"{axis} of size {size}"
        )


def getitem(a: Any, key: Any) -> Any:
    """``a[key]``: crop for integers and slices, gather for arrays, lists and masks.

    Ids from the host go to the device of `a`.

    Raises:
        IndexError: the key is of a type or a value that does not index this shape.
    """
    parts = key if isinstance(key, tuple) else (key,)
    ids: list[Any] = []
    index = tuple(_encode(part, ids) for part in parts)
    if ids:
        array = array_of(a)
        return gather(a, *(beside(i, array) for i in ids), index=index)
    return crop(a, index=index)


def _encode(part: Any, ids: list[Any]) -> Any:
    """One part of an index as a hashable setting; arrays go to `ids` instead."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        return Slice(*(_integer(i) for i in (part.start, part.stop, part.step)))
    if isinstance(part, int | np.integer) and not isinstance(part, bool | np.bool_):
        return int(part)
    array = array_of(part)
    if not backend.is_array(array):
        array = np.asarray(array)
        array = constant(array.astype(int) if array.size == 0 else array)
    if array.dtype.kind not in "iub":
        raise IndexError(
            f"an index of dtype {array.dtype} cannot select elements: expected "
            "integers, "
            "slices, integer arrays or a boolean mask. Convert it, for example with "
            ".astype(int)."
        )
    ids.append(array)
    return IDS


def _integer(bound: Any) -> int | None:
    return None if bound is None else int(bound)
