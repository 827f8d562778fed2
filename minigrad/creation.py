"""Functions that make Tensors: filled, shared with other libraries, one-hot."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.backend import as_array, device_of
from minigrad.ops import sources
from minigrad.ops.elementwise import equal
from minigrad.ops.index import checks_ids
from minigrad.ops.shape import Shape, astype, expand_dims
from minigrad.ops.sources import filled
from minigrad.random import Generator, generator_of
from minigrad.tape import (
    Live,
    array_of,
    check_values,
    constant,
    new_leaf,
    plain_array,
    wrap,
)
from minigrad.tensor import Tensor

DLPACK_CUDA = 2  # how DLPack counts the memory of an NVIDIA GPU


def full(
    shape: int | Shape,
    value: float,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of `shape` filled with `value`.

    Raises:
        TypeError: the sizes were not given as one tuple.
    """
    if isinstance(dtype, int):
        raise TypeError(
            f"got {dtype!r} as the dtype of a tensor of shape {shape!r}: a shape is "
            "one argument. Write it as a tuple, for example zeros((2, 3))."
        )
    try:
        array = filled(shape=shape, value=value, dtype=dtype, device=device)
    except (TypeError, ValueError, MemoryError) as explained:
        error = explained.__cause__ or explained
        kinds = (TypeError, ValueError, MemoryError)  # NumPy's own are subclasses
        raise next(kind for kind in kinds if isinstance(error, kind))(
            f"cannot make a tensor of shape {shape!r} and dtype {dtype!r}: "
            f"{str(error).rstrip('.')}. Give sizes as a tuple of whole numbers, 0 or "
            "more, and a dtype such as 'float32'."
        ) from error
    return wrap(array, new_leaf(array) if requires_grad else None)


def arange(start: int, stop: int, device: str = "cpu") -> Tensor:
    """The integers start, ..., stop - 1. Shapes: (stop - start,)."""
    return wrap(sources.arange(start=start, stop=stop, device=device))


def bernoulli(
    shape: int | Shape,
    p: float,
    generator: Generator | None = None,
    device: str = "cpu",
) -> Tensor:
    """Random booleans of `shape`, each True with probability p.

    Raises:
        ValueError: p is not in [0, 1], or a size is no whole number, 0 or more.
        TypeError: the generator is none of minigrad's.
    """
    if not (isinstance(p, int | float) and 0 <= p <= 1):
        raise ValueError(
            f"bernoulli got p={p}: a probability lies in [0, 1]. Pass for example "
            "p=0.5."
        )
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    if not all(isinstance(n, int) and n >= 0 for n in sizes):
        raise ValueError(
            f"bernoulli got shape {shape!r}: sizes are whole numbers, 0 or more. Pass "
            "for example shape=(2, 3)."
        )
    state = Live(generator_of(generator).drawn_from)
    return sources.bernoulli(state, shape=tuple(sizes), p=p, device=device)


def zeros(
    shape: int | Shape,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of `shape` filled with zeros."""
    return full(shape, 0, dtype, device, requires_grad)


def ones(
    shape: int | Shape,
    dtype: Any = "float32",
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of `shape` filled with ones."""
    return full(shape, 1, dtype, device, requires_grad)


def asarray(array: Any) -> Tensor:
    """A Tensor that shares the memory of `array`: writing to one changes the other."""
    return array.detach() if isinstance(array, Tensor) else wrap(plain_array(array))


def from_dlpack(array: Any) -> Tensor:
    """A Tensor that shares the memory of another library's array, through DLPack.

    The array keeps its device. Where its library says that it must not be written to,
    or does not say (DLPack before version 1), the Tensor cannot be written to either.

    Raises:
        TypeError: the object does not offer its memory through DLPack.
        BufferError: its memory cannot be shared, as that of a tensor that carries
            gradients, or of a dtype that NumPy does not have.
        RuntimeError: it is on a GPU, and CuPy or a driver is missing.
    """
    if not hasattr(array, "__dlpack__"):
        raise TypeError(
            f"from_dlpack was given a {type(array).__name__}, which does not offer its "
            "memory through DLPack. Use minigrad.asarray for what NumPy can read."
        )
    kind, number = array.__dlpack_device__()
    read = _reader_of_gpu(number) if kind == DLPACK_CUDA else np.from_dlpack
    try:
        shared = read(array)
    except (BufferError, RuntimeError) as error:
        raise BufferError(
            f"from_dlpack cannot share the memory of this {type(array).__name__}: "
            f"{str(error).rstrip('.')}. Convert it in its own library first: detach "
            "it, or give it a dtype and a device that minigrad has."
        ) from error
    return wrap(as_array(shared))


def _reader_of_gpu(number: int) -> Any:
    """The function that reads DLPack in the library of this GPU's arrays."""
    backend.device(f"cuda:{number}")  # says what is missing
    array_type = backend.libraries["cuda"].array_type
    return sys.modules[array_type.__module__.partition(".")[0]].from_dlpack


def one_hot(ids: Any, classes: int, dtype: Any = "float32") -> Tensor:
    """Rows of the identity matrix: (...) integers -> (..., classes).

    Raises:
        TypeError: ids are no integers.
        IndexError: an id is not one of 0, ..., classes - 1 (on a GPU only inside
            detect_anomaly(); otherwise its row is zeros).
    """
    array = array_of(ids) if isinstance(ids, Tensor) else _listed(ids)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(
            f"one_hot got ids of dtype {array.dtype}: an id is a whole number. Convert "
            "them, for example with .astype(int)."
        )
    if isinstance(array, np.ndarray) or checks_ids():
        check_values(array, functools.partial(_check_classes, classes))
    columns = sources.arange(start=0, stop=classes, device=device_of(array))
    hot = equal(expand_dims(array, axis=-1), columns)
    return wrap(astype(hot, dtype=dtype))


def _listed(ids: Any) -> Any:
    return np.asarray(ids) if hasattr(ids, "dtype") else constant(np.asarray(ids))


def _check_classes(classes: int, ids: Any) -> None:
    if ids.size and not (ids.min() >= 0 and ids.max() < classes):
        raise IndexError(
            f"one_hot got ids from {ids.min()} to {ids.max()} for {classes} classes: "
            "an id is at least 0 and below that number. Check the ids."
        )
