"""Operators, methods and attributes of a strict array, attached from tables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.testing.strict.array import StrictArray, is_operand, run
from minigrad.testing.strict.rules import GIVES_HOST, NAMES, check_call

COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne"]
ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"]
ARITHMETIC += ["and", "or", "xor", "lshift", "rshift"]
UNARY = ["neg", "pos", "invert", "abs"]
ON_HOST: list[Any] = [int, float, complex, repr, str]
PLAIN = ["dtype", "itemsize", "nbytes", "ndim", "shape", "size", "strides"]
VIEWS = ["real", "imag", "mT"]


class Flags(NamedTuple):
    """The layout in memory; there is no `writeable`."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


def attach() -> None:
    """Give the array class all that it has not been written with."""
    for members in (_operators(), _attributes(), _methods()):
        for name, member in members:
            setattr(StrictArray, name, member)


def _operators() -> Iterator[tuple[str, Any]]:
    for name in [*COMPARISONS, *ARITHMETIC]:
        yield f"__{name}__", _binary(name, getattr(operator, f"__{name}__"))
    for name in ARITHMETIC:
        function = getattr(operator, f"__{name}__")
        yield f"__r{name}__", _binary(name, function, swapped=True)
        if name != "matmul":
            yield f"__i{name}__", _binary(name, getattr(operator, f"__i{name}__"))
    yield "__divmod__", _binary("divmod", divmod)
    yield "__rdivmod__", _binary("divmod", divmod, swapped=True)
    for name in UNARY:
        yield f"__{name}__", _unary(name, getattr(operator, name))
    for convert in ON_HOST:
        yield f"__{convert.__name__}__", _on_host(convert)
    yield "__format__", lambda self, spec: format(self.get(), spec)


def _binary(name: str, function: Callable[..., Any], swapped: bool = False) -> Any:
    def operate(self: StrictArray, other: Any) -> Any:
        if getattr(other, "__array_ufunc__", self) is None:
            return NotImplemented
        if name in COMPARISONS and isinstance(other, np.ndarray) and other.ndim == 0:
            other = other.item()
        if name in ("eq", "ne") and other is None:
            array = np.full(self._array.shape, name == "ne")
            return StrictArray(array, self.device.id)
        if not is_operand(other):
            raise TypeError(f"Unsupported type {type(other)}")
        return run(name, function, (other, self) if swapped else (self, other), {})

    return operate


def _unary(name: str, function: Callable[..., Any]) -> Any:
    return lambda self: run(name, function, (self,), {})


def _on_host(convert: Callable[..., Any]) -> Any:
    return lambda self: convert(self.get())


def _attributes() -> Iterator[tuple[str, Any]]:
    for name in PLAIN:
        yield name, property(operator.attrgetter(f"_array.{name}"))
    for name in VIEWS:
        yield name, property(_unary(name, operator.attrgetter(name)))
    yield "T", property(lambda self: self if self.ndim < 2 else self.transpose())
    yield "flags", property(_flags)


def _flags(self: StrictArray) -> Flags:
    flags = self._array.flags
    return Flags(flags.c_contiguous, flags.f_contiguous, self.base is None)


def _methods() -> Iterator[tuple[str, Any]]:
    yield "__copy__", lambda self: self.copy()
    yield "__deepcopy__", lambda self, _: self.copy()
    for name, parameters in NAMES["methods"].items():
        if hasattr(np.ndarray, name) and name not in vars(StrictArray):
            yield name, _method(name, parameters)


def _method(name: str, parameters: str) -> Any:
    function = getattr(np.ndarray, name)

    def method(self: StrictArray, *args: Any, **settings: Any) -> Any:
        check_call(name, parameters, args, settings)
        if name in GIVES_HOST:
            return function(self.get(), *args, **settings)
        return run(name, function, (self, *args), settings)

    return method
