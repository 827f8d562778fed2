"""How does calling a primitive write an entry?  Operands in, Tensor and entry out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from minigrad import backend
from minigrad.backend import ARRAY_TYPES, KNOWN
from minigrad.tape.entry import Entry, Item, Tensor, as_result, recording, wrap
from minigrad.tape.errors import explain
from minigrad.tape.primitives import Primitive

F = TypeVar("F", bound=Callable[..., Any])


def primitive(
    *rules: Callable[..., Any] | None, **facts: Any
) -> Callable[[F], Callable[..., Any]]:
    """Make a forward function and its gradient rules a recorded operation.

    The result is a plain function (so it serves as a method too): given Tensors it
    records and returns a Tensor, given arrays it returns an array and records nothing.
    Its `primitive` attribute holds the `Primitive`.
    """

    def decorate(forward: F) -> Callable[..., Any]:
        made = Primitive(forward, rules, **facts)
        call = functools.wraps(forward)(_caller(made))
        call.primitive = made  # type: ignore[attr-defined]
        made.call = call
        registry[made.name] = call
        return call

    return decorate


registry: dict[str, Callable[..., Any]] = {}


def _caller(made: Primitive) -> Callable[..., Any]:
    plain = not (made.setting_names or made.joint or made.many or made.rest_name)
    plain = plain and not made.marks
    smooth = None not in made.rules
    if plain and smooth and len(made.operand_names) == len(made.rules) == 1:
        return _unary(made)
    if plain and smooth and len(made.operand_names) == len(made.rules) == 2:
        return _binary(made)
    return _general(made)


def _unary(made: Primitive) -> Callable[[Any], Any]:
    """The caller for one operand and no settings: what `record` does, inlined."""
    forward = made.forward
    general = _general(made)
    (keep_operand,), keep_output = made.keep((True,))

    def call(a: Any) -> Any:
        if not isinstance(a, Tensor):
            return forward(a) if a.__class__ in ARRAY_TYPES else general(a)
        parent = a.entry
        if parent is None or not recording.plain:
            return general(a)
        array = a.array
        result = forward(array)
        if result.__class__ not in ARRAY_TYPES:
            result = as_result(result)
        operands = (array,) if keep_operand else NOTHING
        output = result if keep_output else None
        tensor = new_tensor(Tensor)
        tensor.array = result
        tensor.entry = Entry(
            made, (parent,), operands, output, NO_SETTINGS, result.shape, result.dtype
        )
        return tensor

    return call


def _binary(made: Primitive) -> Callable[[Any, Any], Any]:  # noqa: PLR0915
    """The caller for two operands and no settings: what `record` does, inlined.

    It is long because it runs for every + and *: a call it makes costs every user.
    """
    forward = made.forward
    general = _general(made)
    both, left, right = (
        _kept(made, n) for n in ((True, True), (True, False), (False, True))
    )

    def call(a: Any, b: Any) -> Any:
        x, parent_a = (a.array, a.entry) if isinstance(a, Tensor) else (a, None)
        y, parent_b = (b.array, b.entry) if isinstance(b, Tensor) else (b, None)
        if parent_a is not None:
            keep_a, keep_b, keep_output = left if parent_b is None else both
        elif parent_b is not None:
            keep_a, keep_b, keep_output = right
        elif x is a and y is b and x.__class__ in ARRAY_TYPES and y.__class__ in KNOWN:
            return run_forward(made, [x, y], NO_SETTINGS)
        else:
            return general(a, b)
        known = x.__class__ in KNOWN and y.__class__ in KNOWN
        if not (recording.plain and known):
            return general(a, b)
        try:
            result = forward(x, y)
        except EXPLAINED as error:
            raise explain(made, (x, y), error) from error
        if result.__class__ not in ARRAY_TYPES:
            result = as_result(result)
        operands = NOTHING
        if keep_a or keep_b:
            operands = (x if keep_a else None, y if keep_b else None)
        output = result if keep_output else None
        tensor = new_tensor(Tensor)
        tensor.array = result
        tensor.entry = Entry(
            made,
            (parent_a, parent_b),
            operands,
            output,
            NO_SETTINGS,
            result.shape,
            result.dtype,
        )
        return tensor

    return call


def _kept(made: Primitive, needs: tuple[bool, bool]) -> tuple[bool, bool, bool]:
    (keep_a, keep_b), keep_output = made.keep(needs)
    return keep_a, keep_b, keep_output


EXPLAINED = (ValueError, TypeError, IndexError, AttributeError, OverflowError)
NOTHING = (None, None)
NO_SETTINGS: dict[str, Any] = {}
new_tensor = Tensor.__new__


def _general(made: Primitive) -> Callable[..., Any]:
    """The caller for any primitive: sort out operands and settings, then record."""
    fixed = not (made.setting_names or made.sequence or made.rest_name)
    count = len(made.operand_names) if fixed else -1

    def call(*args: Any, **settings: Any) -> Any:
        if len(args) == count:
            for x in args:
                if x.__class__ not in ARRAY_TYPES:
                    break
            else:  # as rules do, on arrays
                return run_forward(made, args, settings)
        operands, settings = _sort_arguments(made, args, settings)
        if not any(isinstance(operand, Tensor) for operand in operands):
            return run_forward(made, _arrays(made, operands), settings)
        return record(made, operands, settings)

    return call


def _sort_arguments(
    made: Primitive, args: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Operands first; further positional arguments are settings, in their order."""
    operands: Sequence[Any]
    if made.sequence:
        operands, extra = _listed(made, args), args[1:]
    elif made.rest_name:
        operands, extra = args, ()
    else:
        count = len(made.operand_names)
        operands, extra = args[:count], args[count:]
        if len(operands) < count:
            inspect.signature(made.forward).bind(*args, **settings)  # raises
    _check_settings(made, extra, settings)
    given = {**dict(zip(made.setting_names, extra, strict=False)), **settings}
    hashable = {name: _hashable(value) for name, value in given.items()}
    return operands, {**made.defaults, **hashable}


def _listed(made: Primitive, args: tuple[Any, ...]) -> list[Any]:
    if not args or isinstance(args[0], Tensor) or backend.is_array(args[0]):
        raise TypeError(
            f"{made.name} takes its operands as one list. Write for example "
            f"{made.name}([a, b], axis=0)."
        )
    return list(args[0])


def _check_settings(
    made: Primitive, extra: Sequence[Any], settings: dict[str, Any]
) -> None:
    """Refuse settings that there are not, or that are given twice."""
    names = made.setting_names
    twice = set(names[: len(extra)]) & set(settings)
    unknown = set(settings) - set(names)
    if twice or unknown or len(extra) > len(names):
        raise TypeError(
            f"{made.name} got settings it cannot use: {sorted(twice | unknown)!r}, and "
            f"{len(extra)} by position. It has {names}, each to be given once."
        )


def _hashable(value: Any) -> Any:
    """A setting as it stands on the tape: lists, also nested ones, become tuples."""
    if value.__class__ in (list, tuple):  # a Slice stays one
        return tuple(map(_hashable, value))
    return int(value) if isinstance(value, np.integer) else value


def _arrays(made: Primitive, operands: Sequence[Any]) -> list[Any]:
    """The operands as arrays; lists go to where the others are, in their dtype."""
    arrays = [x.array if isinstance(x, Tensor) else x for x in operands]
    if all(x.__class__ in ARRAY_TYPES for x in arrays):
        return arrays
    if len(arrays) == 1 and isinstance(arrays[0], np.number):
        return [np.asarray(arrays[0])]  # often, in rules: NumPy's scalars of 0-d arrays
    chosen = [i for i, _ in enumerate(arrays) if _mixes(made, i)]
    mixed = backend.as_arrays([arrays[i] for i in chosen], numbers=made.sequence)
    found = dict(zip(chosen, mixed, strict=True))
    result = [found.get(i, x) for i, x in enumerate(arrays)]
    result = [x if x.__class__ in KNOWN else backend.as_array(x) for x in result]
    place = next((x for x in arrays if backend.is_array(x)), None)
    if place is None:
        return result
    return [
        x if x is given or not backend.is_array(x) else backend.beside(x, place)
        for x, given in zip(result, arrays, strict=True)
    ]


def _mixes(made: Primitive, i: int) -> bool:
    """Whether an operand's dtype is one of those that make the result's.

    Ids, masks and conditions do not.
    """
    return made.differentiable(i) or not any(made.rules)


def run_forward(
    made: Primitive, arrays: Sequence[Any], settings: dict[str, Any]
) -> Any:
    """The forward on arrays, its errors explained."""
    try:
        if made.sequence:
            return made.forward(arrays, **settings)
        return made.forward(*arrays, **settings)
    except EXPLAINED as error:
        raise explain(made, arrays, error, settings) from error


def record(made: Primitive, operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    """Run the forward and, where a gradient is wanted, write the entry."""
    tensors = [x if isinstance(x, Tensor) else None for x in operands]
    arrays = _arrays(made, operands)
    started = perf_counter()
    result = run_forward(made, arrays, settings)
    seconds = perf_counter() - started
    if not made.many:
        result = as_result(result)  # the tape and the Tensor must hold one array
    parents = tuple(
        t.entry if t is not None and made.differentiable(i) else None
        for i, t in enumerate(tensors)
    )
    entry = None
    wanted = recording.enabled and any(parent is not None for parent in parents)
    if wanted and _has_slope(result):
        entry = _new_entry(made, parents, arrays, result, settings)
    for observer in recording.observers:
        observer.forward(made, entry, arrays, result, seconds)
    if made.many:
        return [wrap(r, entry and Item(entry, i, r)) for i, r in enumerate(result)]
    return wrap(result, entry)


def _has_slope(result: Any) -> bool:
    """Integers and booleans carry no gradient: astype(int) ends a path.

    Users have no complex leaves; the gradient checker has, for its complex steps.
    """
    first = result[0] if isinstance(result, list) else result
    return first.dtype.kind in "fc"


def _new_entry(
    made: Primitive,
    parents: tuple[Entry | None, ...],
    arrays: list[Any],
    result: Any,
    settings: dict[str, Any],
) -> Entry:
    flags, keep_output = made.keep(tuple(parent is not None for parent in parents))
    if made.marks and any(flags[len(arrays) :]):
        arrays = [*arrays, *made.marked(arrays, result, settings)]
    kept = tuple(x if flag else None for x, flag in zip(arrays, flags, strict=False))
    if made.sequence:
        settings = {**settings, "shapes": tuple(np.shape(x) for x in arrays)}
    if made.many:
        shape: Any = tuple(r.shape for r in result)
        return Entry(made, parents, kept, None, settings, shape, result[0].dtype)
    output = result if keep_output else None
    return Entry(made, parents, kept, output, settings, result.shape, result.dtype)
