"""The array of a strict device: NumPy's functions and ufuncs by CuPy's rules."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigrad.testing.strict import rules
from minigrad.testing.strict.rules import SCALARS, check_call, supported
from minigrad.testing.strict.syncs import send, wait

MIXED = (
    "Unsupported type {}. An array on the host cannot take part in a computation on a "
    "GPU: move it there first, for example with minigrad.Tensor(a, device=...)."
)


# -- running NumPy's functions by the other library's rules ------------------------


def run(
    name: str,
    function: Callable[..., Any],
    args: Any,
    settings: Any,
    number: int = 0,
) -> Any:
    """Call a function of NumPy's on the arrays behind, and wrap what it gives.

    Without arrays among the arguments the result is made on the device `number`.
    """
    if name in rules.SYNCING or (name == "where" and len(args) == 1):
        wait(name)
    found: list[StrictArray] = []
    args = [_unwrap(x, found, name) for x in args]
    settings = {key: _unwrap(x, found, name) for key, x in settings.items()}
    number = _one_device(found) if found else number
    with np.errstate(all="ignore"):  # a GPU gives no warnings
        result = function(*args, **settings, **rules.SETTINGS.get(name, {}))
    if name in rules.GIVES_ARRAY:
        result = np.asarray(result)
    return _wrap(result, found, number, name)


def _unwrap(value: Any, found: list[StrictArray], name: str) -> Any:
    """The array behind; what lies on the host is sent or refused."""
    if isinstance(value, StrictArray):
        found.append(value)
        return value._array
    if isinstance(value, np.ndarray):
        if name not in rules.TAKES_HOST:
            raise TypeError(MIXED.format(type(value)))
        return send(value)
    if value.__class__ in (list, tuple):
        return type(value)(_unwrap(x, found, name) for x in value)
    return value


def _one_device(arrays: list[StrictArray]) -> int:
    numbers = sorted({x.device.id for x in arrays})
    if len(numbers) > 1:
        raise ValueError(
            f"The device where the array resides ({numbers[1]}) is different from the "
            f"current device ({numbers[0]}). Peer access is unavailable between these "
            "devices."
        )
    return numbers[0]


def _wrap(result: Any, found: list[StrictArray], number: int, name: str) -> Any:
    """What a function gave as arrays of this device, and lists and tuples of them."""
    if isinstance(result, list | tuple):
        if name in rules.GIVES_ITSELF and len(result) == 1:
            return [found[0]]
        kind = list if isinstance(result, list) else tuple  # a named tuple is one
        return kind(_wrap(x, found, number, "") for x in result)
    if not isinstance(result, np.ndarray | np.generic):
        return result
    array = supported(np.asarray(result))
    for x in found:
        if array is x._array or (
            name in rules.GIVES_ITSELF and array.shape == x._array.shape
        ):
            return x
    return StrictArray(array, number, _base(array, found))


def _base(array: np.ndarray, found: list[StrictArray]) -> StrictArray | None:
    """Which of the arguments owns the memory of a result, or its owner."""
    memory = _memory(array)
    for x in found:
        if _memory(x._array) is memory:
            return x if x.base is None else x.base
    return None


def _memory(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def is_operand(x: Any) -> bool:
    """Whether arithmetic knows this type; NumPy's arrays it knows, to refuse them."""
    return isinstance(x, StrictArray | np.ndarray) or type(x) in SCALARS


# -- the array ---------------------------------------------------------------------


class Device(NamedTuple):
    """Which of the strict devices."""

    id: int


class StrictArray(NDArrayOperatorsMixin):
    """An array on a strict device; make one with `minigrad.Tensor(..., device=...)`.

    Its operators are ufuncs; comparisons, methods and plain attributes are attached
    below.
    """

    __slots__ = ("__weakref__", "_array", "base", "device")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, array: np.ndarray, number: int, base: StrictArray | None = None
    ) -> None:
        self._array = array
        self.device = Device(number)
        self.base = base

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = ".".join((*func.__module__.split(".")[1:], func.__name__))
        known = all(issubclass(t, StrictArray | np.ndarray) for t in types)
        if name not in rules.FUNCTIONS or not known:
            return NotImplemented
        check_call(name, rules.FUNCTIONS[name], args, kwargs)
        if name == "where" and not hasattr(args[0], "astype"):
            raise AttributeError(
                f"{type(args[0]).__name__!r} has no attribute 'astype'"
            )
        known = all(x is None or is_operand(x) for x in args)
        if name in rules.ELEMENTWISE and not known:
            raise TypeError(f"Unsupported type among the operands of {name}: {args!r}")
        return run(name, func, args, kwargs, self.device.id)

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        name, out = ufunc.__name__, kwargs.get("out", ())
        known = method in ("__call__", "at") or method in rules.METHODS
        general = ufunc.signature is not None  # a matrix product: no methods
        if name not in rules.UFUNCS or not known or (general and method != "__call__"):
            return NotImplemented
        if len(out) > 1:
            raise ValueError("The 'out' parameter must have exactly one array value")
        if not all(map(is_operand, (*inputs, *out))):
            return NotImplemented
        if method == "at":
            return change_at(ufunc, *inputs)
        call = rules.GUFUNC if general else rules.CALL
        parameters, those = rules.METHODS.get(method, (call, rules.UFUNCS))
        if name not in those:
            raise NotImplementedError(f"`{name}.{method}` is not supported yet")
        check_call(f"{name}.{method}", parameters, inputs, kwargs)
        return run(name, getattr(ufunc, method), inputs, kwargs)

    # Elements

    def __getitem__(self, key: Any) -> StrictArray:
        index, _ = _index(self, key)
        return run("getitem", lambda array: array[index], (self,), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        index, kinds = _index(self, key)
        if kinds or isinstance(value, StrictArray):
            self._array[index] = _values(self, value)
        else:
            self[key].fill(value)

    def fill(self, value: Any) -> None:
        """Set every element to one number."""
        array = np.asarray(_values(self, value))
        if array.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._array.fill(array[()])

    def __iter__(self) -> Iterator[StrictArray]:
        if self._array.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._array)))

    def __len__(self) -> int:
        return len(self._array)

    def __bool__(self) -> bool:
        if self._array.size == 0:
            told = "The truth value of an empty array is ambiguous."
            warnings.warn(told, DeprecationWarning, stacklevel=2)
            return False
        return bool(self._array if self._array.size > 1 else self.get())

    def get(self, *_: Any, **__: Any) -> np.ndarray:
        """A copy on the host."""
        wait("get")
        return np.array(self._array, order="C")

    def __reduce__(self) -> Any:
        return put, (self.get(), self.device.id)

    def __copy__(self) -> StrictArray:
        return put(self, self.device.id)

    def __deepcopy__(self, _: Any) -> StrictArray:
        return put(self, self.device.id)

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    @property
    def T(self) -> StrictArray:
        """The axes in reverse."""
        if self._array.ndim < 2:
            return self
        return run("transpose", np.transpose, (self,), {})

    @property
    def flags(self) -> Any:
        """The layout in memory; there is no `writeable`."""
        flags = self._array.flags
        c, f = flags.c_contiguous, flags.f_contiguous
        return SimpleNamespace(
            c_contiguous=c, f_contiguous=f, owndata=self.base is None
        )


def _compare(name: str) -> Callable[[StrictArray, Any], Any]:
    """A comparison; numbers in arrays of the host are read out, None equals nothing."""
    plain = getattr(NDArrayOperatorsMixin, name)

    def compare(self: StrictArray, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.ndim == 0:
            other = other.item()
        if other is None and name in ("__eq__", "__ne__"):
            other = np.nan
        return plain(self, other)

    return compare


def _convert(kind: Callable[..., Any]) -> Callable[[StrictArray], Any]:
    return lambda self: kind(self.get())


def _view(name: str) -> Any:
    function = operator.attrgetter(name)
    return property(lambda self: run(name, function, (self,), {}))


def _method(name: str, parameters: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: StrictArray, *args: Any, **settings: Any) -> Any:
        check_call(name, parameters, args, settings)
        if name in rules.GIVES_HOST:
            return function(self.get(), *args, **settings)
        return run(name, function, (self, *args), settings)

    return method


def _attach() -> None:
    """Give the array class the members that are all made in one way."""
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(StrictArray, f"__{name}__", _compare(f"__{name}__"))
    converters: list[Any] = [int, float, complex, repr, str]
    for kind in converters:
        setattr(StrictArray, f"__{kind.__name__}__", _convert(kind))
    for name in ("dtype", "itemsize", "nbytes", "ndim", "shape", "size", "strides"):
        setattr(StrictArray, name, property(operator.attrgetter(f"_array.{name}")))
    for name in ("real", "imag", "mT"):
        setattr(StrictArray, name, _view(name))
    for name, parameters in rules.NAMES["methods"].items():
        if hasattr(np.ndarray, name) and name not in vars(StrictArray):
            setattr(StrictArray, name, _method(name, parameters))


_attach()


# -- indices -----------------------------------------------------------------------


def _index(a: StrictArray, key: Any) -> tuple[tuple[Any, ...], str]:
    """A key as NumPy takes it, ids wrapped around; and the kinds of its arrays."""
    parts = [_part(a, part) for part in (key if isinstance(key, tuple) else (key,))]
    kinds = "".join(p.dtype.kind for p in parts if isinstance(p, np.ndarray))
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)  # so that NumPy gives a view also of one element
    taken = sum(map(_axes, parts))
    axis = 0
    for i, part in enumerate(parts):
        size = a._array.shape[axis] if axis < a._array.ndim else 0
        if isinstance(part, np.ndarray) and part.dtype.kind != "b" and size:
            parts[i] = part % size
        axis += a._array.ndim - taken if part is Ellipsis else _axes(part)
    return tuple(parts), kinds


def _part(a: StrictArray, part: Any) -> Any:
    """One part of a key; lists and arrays of the host are sent to the device."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if isinstance(part, StrictArray):
        _one_device([a, part])
        array = part._array
    elif np.isscalar(part) and not isinstance(part, bool | np.bool_):
        return part
    else:
        array = send(part)
        empty = array.size == 0 and isinstance(part, list | tuple)
        array = array.astype(np.int32) if empty else array
    if array.dtype.kind not in "biu":
        raise IndexError(
            "arrays used as indices must be of integer or boolean type "
            f"(actual: {array.dtype.type})"
        )
    if array.dtype.kind == "b":
        wait("indexing by a mask")
    return array


def _axes(part: Any) -> int:
    """How many axes a part of a key takes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def _values(a: StrictArray, value: Any) -> Any:
    """Values to store in `a`, of its dtype; those of the host are sent."""
    if not isinstance(value, StrictArray):
        is_number = type(value) in SCALARS
        return a._array.dtype.type(value) if is_number else send(value, a._array.dtype)
    _one_device([a, value])
    return value._array.astype(a._array.dtype, copy=False)


def change_at(ufunc: np.ufunc, a: StrictArray, key: Any, values: Any) -> None:
    """Apply a ufunc at ids in place, once for each time that an id occurs.

    NumPy's `ufunc.at` comes here with one array as key; the library's own function
    takes tuples and slices as well.
    """
    name = ufunc.__name__
    if name not in rules.ATOMIC:
        raise NotImplementedError(f"`{name}.at` is not supported yet")
    index, kinds = _index(a, key)
    if kinds not in ("", "b") and a._array.dtype.name not in rules.ATOMIC[name]:
        told = ", ".join(sorted(rules.ATOMIC[name]))
        raise TypeError(f"{name}.at only supports {told} as data type")
    ufunc.at(a._array, index, _values(a, values))


def put(array: Any, number: int) -> StrictArray:
    """Copy an array of the host or of another strict device to a strict device."""
    if isinstance(array, StrictArray):
        return StrictArray(array._array.copy(), number)
    return StrictArray(send(array), number)
