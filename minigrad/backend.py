"""The array library and the device.  Only this file and `gpus.py` name CuPy.

An array is a ``numpy.ndarray`` (device "cpu") or a ``cupy.ndarray`` (device "cuda",
"cuda:1").  Everywhere else minigrad calls NumPy's own functions and methods: CuPy
arrays answer them through NumPy's protocols (NEP 13 and NEP 18), so one text serves
both.  What differs between the two libraries is here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import gpus

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
    select: Callable[[int], None] | None = None  # before all work on that device
    # Adds at an index of arrays and slices: CuPy's does not take one through NumPy's.
    add_at: Callable[[Array, tuple, Array], None] = np.add.at


libraries: dict[str, Library] = {}


def add_library(library: Library) -> None:
    """Let the arrays of another library be computed with, under its devices' names."""
    libraries[library.name] = library
    ARRAY_TYPES.add(library.array_type)
    KNOWN.add(library.array_type)


def is_array(value: object) -> bool:
    """Whether `value` is an array of a library that minigrad computes with."""
    return value.__class__ in ARRAY_TYPES or isinstance(value, tuple(ARRAY_TYPES))


def as_result(value: Any) -> Array:
    """0-d results are arrays, not NumPy scalars (whose class is no array type)."""
    return value if is_array(value) else np.asarray(value)


def as_array(value: Any, dtype: Any = None) -> Array:
    """Return `value` as an array, without a copy where it is one already.

    Python numbers and lists become float32 (booleans stay booleans); arrays, NumPy
    scalars and what has a dtype in another library keep it.

    Raises:
        TypeError: the value is ragged or not numeric.
    """
    dtype = None if dtype is None else _dtype(dtype)
    register_arrays()
    if is_array(value):
        return _plain_array(value, dtype)
    if isinstance(value, list | tuple) and any(hasattr(v, "backward") for v in value):
        raise TypeError(
            "cannot make one tensor from a list that holds tensors: their gradients "
            "would be lost. Join them with minigrad.stack or minigrad.concatenate."
        )
    try:
        array = np.asarray(value, dtype=dtype or _dtype_of(value, ()))
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise TypeError(_not_an_array(value, error)) from error
    if array.dtype.kind not in "biufc":
        raise TypeError(_not_an_array(value))
    return array


def _dtype(name: Any) -> np.dtype:
    try:
        return np.dtype(name)
    except TypeError as error:
        raise TypeError(
            f"{name!r} is no dtype: {error}. Name one such as 'float32' or 'int64'."
        ) from error


def _plain_array(array: Array, dtype: Any) -> Array:
    """An array of numbers without the ways of a subclass (matrix, masked array)."""
    if isinstance(array, np.ndarray):
        array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise TypeError(_not_an_array(array))
    return array if dtype is None else array.astype(dtype, copy=False)


NUMBERS = {bool: True, int: 1, float: 1.0, complex: 1j}


def _dtype_of(value: Any, beside: Sequence[Any]) -> Any:
    """The dtype that a value which is no array takes, beside arrays of some dtypes.

    What has a dtype keeps it (None); Python numbers do not widen others, and alone are
    float32.
    """
    if not isinstance(value, list | tuple | range) and type(value) not in NUMBERS:
        return None
    kinds: set[Any] = set()
    _collect(value, kinds)
    weak = [NUMBERS[kind] for kind in kinds if kind in NUMBERS]
    own = [kind for kind in kinds if kind not in NUMBERS]
    if own or beside:
        return np.result_type(*own, *beside, *weak)
    return np.dtype(np.float32) if kinds not in ({bool}, {complex}) else None


def _collect(value: Any, kinds: set[Any]) -> None:
    """Add the dtypes and Python's types of number that a value is made of."""
    if type(value) in NUMBERS:
        kinds.add(type(value))
    elif isinstance(value, list | tuple | range):
        types = set(map(type, value))
        kinds |= types & set(NUMBERS)
        for part in value if types - set(NUMBERS) else ():
            _collect(part, kinds)
    elif isinstance(value, int) and not isinstance(value, np.generic):
        kinds.add(int)  # a subclass, such as a member of an enumeration
    else:
        kinds.add(np.asarray(value).dtype)


def as_arrays(values: Sequence[Any], numbers: bool = False) -> list[Any]:
    """Operands that go together as arrays; lists take the dtype of the arrays there.

    Python numbers stay numbers, which do not widen arrays, unless there is no array or
    `numbers` are to become arrays too.
    """
    dtypes = [v.dtype for v in values if is_array(v) or isinstance(v, np.generic)]
    known = ARRAY_TYPES if numbers or not dtypes else KNOWN
    return [
        v
        if v.__class__ in known or isinstance(v, np.generic)
        else as_array(v, _dtype_of(v, dtypes))
        for v in values
    ]


def _not_an_array(value: Any, error: Exception | None = None) -> str:
    why = f" ({str(error).rstrip('.')})" if error else ""
    return (
        f"cannot make an array of numbers from {type(value).__name__} "
        f"{str(value)[:60]!r}{why}: expected a number, a rectangular nested list of "
        "numbers, "
        "or an array. Convert it first, for example with numpy.array(value, float)."
    )


def device_of(array: Array) -> str:
    """The device an array lives on: "cpu", "cuda" or "cuda:1"."""
    if isinstance(array, np.ndarray):
        return "cpu"
    library = _library_of(array)
    return _device_name(library.name, library.index_of(array))


def to_device(array: Array, device: str) -> Array:
    """Copy `array` to `device`; the same array where it is there already.

    Raises:
        ValueError: the device's name is unknown.
        RuntimeError: there is no such GPU, or CuPy or its driver is missing.
    """
    if device == "auto":
        device = _freest(0)
    if device == "cpu":
        return to_numpy(array)
    name, index = _locate(device)
    library = libraries[name]
    if library.select is not None:
        library.select(index)
    if not isinstance(array, library.array_type):
        return library.put(to_numpy(array), index)
    return array if library.index_of(array) == index else library.put(array, index)


def to_numpy(array: Array) -> np.ndarray:
    """The array as NumPy's, copied from the device where it is not there already."""
    if isinstance(array, np.ndarray):
        return array
    return _library_of(array).get(array)


def beside(array: Array, like: Array) -> Array:
    """An array of the host's on the device of `like`; others stay where they are."""
    if isinstance(like, np.ndarray) or not isinstance(array, np.ndarray):
        return array
    return to_device(array, device_of(like))


def _library_of(array: Array) -> Library:
    for library in libraries.values():
        if isinstance(array, library.array_type):
            return library
    raise TypeError(
        f"{type(array).__name__} is no array that minigrad computes with: its library "
        "is not registered. Convert it to NumPy's, or register the library with "
        "minigrad.backend.add_library."
    )


# -- which device ------------------------------------------------------------------


class Device(str):
    """A device's name, "cpu" or "cuda:1", which knows the `reason` why it was taken."""

    reason: str

    def __new__(cls, name: str, reason: str = "") -> Device:
        """Make it a string beside which the reason stands."""
        made = super().__new__(cls, name)
        made.reason = reason
        return made


def device(name: str = "auto", memory: int = 0) -> Device:
    """The device of this name, once it is known to be there.

    Args:
        name: "cpu", "cuda" (the first GPU that CUDA_VISIBLE_DEVICES shows), "cuda:1"
            (the second), or "auto": the one with the most free memory, otherwise the
            CPU.
        memory: bytes that must be free on a GPU for "auto" to take it.

    Raises:
        ValueError: the name is unknown.
        RuntimeError: there is no such GPU, or CuPy or its driver is missing.
    """
    if name == "auto":
        return _freest(memory)
    if isinstance(name, Device):
        return name
    if name == "cpu":
        return Device("cpu", "as asked")
    library, index = _locate(name)
    reason = "as asked"
    if library == "cuda":
        free, total = gpus.free_memory(index)
        reason = f"{gpus.name_of(index)}: {gpus.gigabytes(free, total)} free"
    return Device(_device_name(library, index), reason)


def _device_name(library: str, index: int) -> str:
    return library if index == 0 else f"{library}:{index}"


def _locate(device: str) -> tuple[str, int]:
    """The library and the number that a device's name stands for, if it is there."""
    name, colon, number = str(device).partition(":")
    known = name in libraries or name == "cuda"
    if not known or (colon and not number.isdecimal()):
        raise ValueError(
            f"unknown device {device!r}: expected 'cpu', 'cuda', 'cuda:N' or 'auto'. "
            "Pass one of these as device=."
        )
    index = int(number or 0)
    if name == "cuda":
        _check_gpu(device, index)
    return name, index


def _check_gpu(device: str, index: int) -> None:
    """Raise unless CuPy sees a GPU of this number."""
    seen = gpus.look_for_gpus()
    if seen.number == 0:
        raise RuntimeError(
            f"device {device!r} is not available: {seen.why}. {seen.way_out}, or use "
            "device='cpu'."
        )
    if index >= seen.number:
        names = [repr(_device_name("cuda", i)) for i in range(seen.number)]
        raise RuntimeError(
            f"device {device!r} is not available: CuPy sees "
            f"{gpus.counted(seen.number)}, {' and '.join(names)}"
            f"{gpus.visible_devices()}. Use one of these."
        )
    register_arrays()


def _freest(memory: int) -> Device:
    """The GPU with the most free memory if that is enough, otherwise the CPU."""
    seen = gpus.look_for_gpus()
    if seen.number == 0:
        return Device("cpu", f"no GPU: {seen.why}")
    found = [gpus.free_memory(i) for i in range(seen.number)]
    index = max(range(seen.number), key=lambda i: found[i][0])
    among = f"the most free memory of {gpus.counted(seen.number)}"
    size = gpus.gigabytes(*found[index])
    if found[index][0] <= memory:
        need = f"{memory / 1e9:.1f} GB" if memory else "some"
        name = _device_name("cuda", index)
        return Device("cpu", f"{among} is {name}'s {size}, but {need} must be free")
    reason = f"{gpus.name_of(index)}, {among}: {size}"
    return Device(_device_name("cuda", index), reason)


def register_arrays() -> None:
    """Let CuPy arrays made by the user be recognised, if CuPy was imported.

    CuPy runs every kernel on the thread's current GPU and makes results there; it
    refuses operands of another GPU or, where the hardware can, reads them across the
    bus and gives a result on the wrong one.  A tape cannot mend that afterwards, so
    moving to a GPU makes it the current one, also where the array is there already:
    all that follows runs there.  A program on one GPU, whichever, never notices;
    one that takes turns on several moves an operand with `.to` at each turn.
    """
    cupy: Any = sys.modules.get("cupy")
    if "cuda" in libraries or not hasattr(cupy, "ndarray"):  # half imported, or none
        return

    add_library(
        Library(
            name="cuda",
            array_type=cupy.ndarray,
            put=lambda array, index: cupy.asarray(array),  # on the current device
            get=lambda array: array.get(),
            index_of=lambda array: int(array.device.id),
            select=lambda index: cupy.cuda.Device(index).use(),
            add_at=lambda total, *where: cupy.add.at(total, *where),
        )
    )


# What is worked on at once fits into a processor's cache; a GPU is to be kept busy.
CPU_PIECE, GPU_PIECE = 2**22, 2**28  # bytes


def piece_bytes(array: Array) -> int:
    """How many bytes work on a large array should make at a time, where it can."""
    return CPU_PIECE if isinstance(array, np.ndarray) else GPU_PIECE


# Long sums are added up in a wider dtype: of float16, which cannot count beyond 2,048,
# and of float32, where rounding grows with their length.
WIDER = {np.dtype(np.float16): np.float32, np.dtype(np.float32): np.float64}
LONG = 512  # numbers: up to here NumPy's own sum is close enough


def add_at(total: Array, index: tuple, values: Array) -> None:
    """Add `values` to ``total[index]`` in place; repeated positions add up."""
    rows: Any = index[0] if len(index) == 1 else None
    if not isinstance(total, np.ndarray):
        _library_of(total).add_at(total, index, values)
    elif total.ndim > 1 and _is_rows(rows):
        _add_rows(total, rows.reshape(-1), values.reshape(rows.size, *total.shape[1:]))
    elif _is_long(total, values):
        wide = np.zeros(total.shape, WIDER[total.dtype])
        np.add.at(wide, index, values.astype(wide.dtype))
        total += wide
    else:
        np.add.at(total, index, values)


def _is_long(total: np.ndarray, values: np.ndarray) -> bool:
    """Whether so much is added to so few places that its rounding could show."""
    return total.dtype in WIDER and values.size > max(LONG, total.size)


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
    longest = np.diff(first, append=len(rows)).max()
    wide = WIDER.get(total.dtype) if longest > LONG or total.itemsize < 4 else None
    sums = np.add.reduceat(values[order], first, axis=0, dtype=wide)
    total[ordered[first]] += sums.astype(total.dtype, copy=False)
