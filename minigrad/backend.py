"""Which array library and which device?  The only file that names CuPy.

An array is a ``numpy.ndarray`` (device "cpu") or a ``cupy.ndarray`` (device "cuda",
"cuda:1").  Everywhere else minigrad calls NumPy's own functions and methods: CuPy
arrays answer them through NumPy's protocols (NEP 13 and NEP 18), so one text serves
both.  What differs between the two libraries is here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: neither knows the other's type

ARRAY_TYPES: set[type] = {np.ndarray}
KNOWN: set[type] = {np.ndarray, float, int, bool, complex}  # need no conversion


class Library(NamedTuple):
    """An array library beside NumPy: its devices are "name", "name:1" and so on."""

    name: str
    array_type: type
    put: Callable[[Array, int], Array]  # a NumPy array, or one of another device
    get: Callable[[Array], np.ndarray]
    index_of: Callable[[Array], int]  # the number of the device an array is on


libraries: dict[str, Library] = {}


def add_library(library: Library) -> None:
    """Let the arrays of another library be computed with, under its devices' names."""
    libraries[library.name] = library
    ARRAY_TYPES.add(library.array_type)
    KNOWN.add(library.array_type)


def is_array(value: object) -> bool:
    """Whether `value` is an array of a library that minigrad computes with."""
    return value.__class__ in ARRAY_TYPES or isinstance(value, tuple(ARRAY_TYPES))


def as_array(value: Any, dtype: Any = None) -> Array:
    """Return `value` as an array, without a copy where it is one already.

    Python numbers and lists become float32 (booleans stay booleans); arrays and NumPy
    scalars keep their dtype.

    Raises:
        TypeError: the value is ragged or not numeric.
    """
    dtype = None if dtype is None else np.dtype(dtype)
    register_arrays()
    if is_array(value):
        return _plain_array(value, dtype)
    if isinstance(value, list | tuple) and any(hasattr(v, "backward") for v in value):
        raise TypeError(
            "cannot make one tensor from a list that holds tensors: their gradients "
            "would be lost. Join them with minigrad.stack or minigrad.concatenate."
        )
    if dtype is None and not isinstance(value, np.generic | np.ndarray):
        dtype = _dtype_of_python(value)
    try:
        array = np.asarray(value, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise TypeError(_not_an_array(value)) from error
    if array.dtype.kind not in "biufc":
        raise TypeError(_not_an_array(value))
    return array


def _plain_array(array: Array, dtype: Any) -> Array:
    """An array of numbers without the ways of a subclass (matrix, masked array)."""
    if isinstance(array, np.ndarray):
        array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise TypeError(_not_an_array(array))
    return array if dtype is None else array.astype(dtype, copy=False)


def _dtype_of_python(value: Any) -> Any:
    """float32 for Python numbers and lists of them; None keeps the value's own."""
    try:
        own = np.asarray(value).dtype
    except (ValueError, TypeError) as error:
        raise TypeError(_not_an_array(value)) from error
    holds_arrays = isinstance(value, list | tuple) and any(map(is_array, value))
    return np.dtype(np.float32) if own.kind in "iuf" and not holds_arrays else None


def _not_an_array(value: Any) -> str:
    return (
        f"cannot make an array of numbers from {type(value).__name__} "
        f"{str(value)[:60]!r}: expected a number, a rectangular nested list of "
        "numbers, "
        "or an array. Convert it first, for example with numpy.array(value, float)."
    )


def device_of(array: Array) -> str:
    """The device an array lives on: "cpu", "cuda" or "cuda:1"."""
    if isinstance(array, np.ndarray):
        return "cpu"
    library = _library_of(array)
    index = library.index_of(array)
    return library.name if index == 0 else f"{library.name}:{index}"


def to_device(array: Array, device: str) -> Array:
    """Copy `array` to `device`; the same array where it is there already.

    Raises:
        ValueError: the device's name is unknown.
        RuntimeError: CuPy or a CUDA driver is missing.
    """
    if device == "cpu":
        return to_numpy(array)
    name, index = _parse(device)
    if name == "cuda":
        _import_cupy(device)
    library = libraries[name]
    if type(array) is library.array_type and library.index_of(array) == index:
        return array
    return library.put(array, index)


def to_numpy(array: Array) -> np.ndarray:
    """The array as NumPy's, copied from the device where it is not there already."""
    if isinstance(array, np.ndarray):
        return array
    return _library_of(array).get(array)


def _library_of(array: Array) -> Library:
    return next(x for x in libraries.values() if isinstance(array, x.array_type))


def _parse(device: str) -> tuple[str, int]:
    name, colon, number = device.partition(":")
    known = name in libraries or name == "cuda"
    if not known or (colon and not number.isdigit()):
        raise ValueError(
            f"unknown device {device!r}: expected 'cpu', 'cuda' or 'cuda:N'. "
            "Pass one of these as device=."
        )
    return name, int(number or 0)


def _import_cupy(device: str) -> None:
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # ImportError, or CuPy's own errors about the driver
        raise RuntimeError(
            f"device {device!r} is not available: {type(error).__name__}: {error}. "
            "Install CuPy (pip install 'minigrad-tape[cuda12]' or [cuda13]) on a "
            "machine with an NVIDIA driver, or use device='cpu'."
        ) from error
    register_arrays()


def register_arrays() -> None:
    """Let CuPy arrays made by the user be recognised, if CuPy was imported."""
    cupy = sys.modules.get("cupy")
    if cupy is None or "cuda" in libraries:
        return

    def put(array: Array, index: int) -> Array:
        cupy.cuda.Device(index).use()  # results are made on the current device
        return cupy.asarray(array)

    add_library(
        Library(
            name="cuda",
            array_type=cupy.ndarray,
            put=put,
            get=lambda array: array.get(),
            index_of=lambda array: int(array.device.id),
        )
    )


def add_at(total: Array, index: tuple, values: Array) -> None:
    """Add `values` to ``total[index]`` in place; repeated positions add up."""
    rows: Any = index[0] if len(index) == 1 else None
    if isinstance(total, np.ndarray) and total.ndim > 1 and _is_rows(rows):
        _add_rows(total, rows.reshape(-1), values.reshape(rows.size, *total.shape[1:]))
    else:
        np.add.at(total, index, values)


def _is_rows(rows: Any) -> bool:
    return is_array(rows) and rows.dtype.kind in "iu" and rows.size > 0


def _add_rows(total: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """`np.add.at` for whole rows: sorted, then each row's share summed in one go.

    `np.add.at` walks element by element; summing sorted runs takes about half the
    time for the rows of an embedding table.
    """
    rows = rows.astype(np.intp, copy=False)  # small integers would overflow
    rows = np.where(rows < 0, rows + len(total), rows)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    total[ordered[first]] += np.add.reduceat(values[order], first, axis=0)
