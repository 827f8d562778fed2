"""Calling a primitive: operands in, Tensor and entry out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from minigrad import backend
from minigrad.backend import ARRAY_TYPES, KNOWN, as_result
from minigrad.tape.checks import check
from minigrad.tape.entry import Entry, Item
from minigrad.tape.errors import explain
from minigrad.tape.primitives import Call, Primitive
from minigrad.tape.recording import recording
from minigrad.tape.value import TensorBase, new_tensor, tensors, wrap
from minigrad.tape.writes import record_write

F = TypeVar("F", bound=Callable[..., Any])


def primitive(
    *rules: Callable[..., Any] | None, **facts: Any
) -> Callable[[F], Callable[..., Any]]:
    """Make a forward function and its gradient rules a recorded operation.

    The result is a plain function (so it serves as a method too): given Tensors it
    records and returns a Tensor, given arrays it returns an array and records nothing.
    Its `primitive` attribute holds the `Primitive`, which each call reads.

    Raises:
        TypeError: the declaration has names with two meanings or none.
    """

    def decorate(forward: F) -> Callable[..., Any]:
        declared = Primitive(forward, rules, **facts)
        check(declared)
        call: Any = functools.wraps(forward)(_caller(declared))
        call.primitive = declared
        registry[declared.name] = call
        return call

    return decorate


registry: dict[str, Callable[..., Any]] = {}


def _caller(declared: Primitive) -> Callable[..., Any]:
    count = declared.operand_count
    plain = not (declared.joint or declared.many or declared.residuals)
    plain = plain and not declared.writes
    smooth = len(declared.rules) == count and None not in declared.rules
    if plain and smooth and count in (1, 2):
        return _unary() if count == 1 else _binary()
    return _general()


def _unary() -> Callable[[Any], Any]:
    """The caller for one operand and no settings: what `record` does, inlined."""

    def call(a: Any) -> Any:
        primitive = call.primitive  # type: ignore[attr-defined]
        if not isinstance(a, TensorBase):
            if a.__class__ in ARRAY_TYPES and not recording.on_arrays:
                return primitive.forward(a)
            return invoke(primitive, (a,), NO_SETTINGS)
        parent = a.entry
        if parent is None or not recording.plain:
            return invoke(primitive, (a,), NO_SETTINGS)
        array = a.array
        result = primitive.forward(array)
        if result.__class__ not in ARRAY_TYPES:
            result = as_result(result)
        keep_operand, keep_output = primitive.kept_of_one
        operands = (array,) if keep_operand else NOTHING
        results = (result,) if keep_output else NOTHING
        tensor = new_tensor(tensors.kind)
        tensor.array = result
        tensor.entry = Entry(
            primitive,
            (parent,),
            operands,
            results,
            NO_SETTINGS,
            result.shape,
            result.dtype,
        )
        return tensor

    return call


def _binary() -> Callable[[Any, Any], Any]:  # noqa: PLR0915
    """The caller for two operands and no settings: what `record` does, inlined.

    It is long because it runs for every + and *: a call it makes costs every user.
    """

    def call(a: Any, b: Any) -> Any:
        primitive = call.primitive  # type: ignore[attr-defined]
        x, parent_a = (a.array, a.entry) if isinstance(a, TensorBase) else (a, None)
        y, parent_b = (b.array, b.entry) if isinstance(b, TensorBase) else (b, None)
        both, left, right = primitive.kept_of_two
        if parent_a is not None:
            keep_a, keep_b, keep_output = left if parent_b is None else both
        elif parent_b is not None:
            keep_a, keep_b, keep_output = right
        else:
            return invoke(primitive, (a, b), NO_SETTINGS)
        known = x.__class__ in KNOWN and y.__class__ in KNOWN
        if not (recording.plain and known):
            return invoke(primitive, (a, b), NO_SETTINGS)
        try:
            result = primitive.forward(x, y)
        except EXPLAINED as error:
            raise explain(primitive, (x, y), error) from error
        if result.__class__ not in ARRAY_TYPES:
            result = as_result(result)
        operands = NOTHING
        if keep_a or keep_b:
            operands = (x if keep_a else None, y if keep_b else None)
        results = (result,) if keep_output else NOTHING
        tensor = new_tensor(tensors.kind)
        tensor.array = result
        tensor.entry = Entry(
            primitive,
            (parent_a, parent_b),
            operands,
            results,
            NO_SETTINGS,
            result.shape,
            result.dtype,
        )
        return tensor

    return call


EXPLAINED = (ValueError, TypeError, IndexError, AttributeError, OverflowError)
NOTHING = (None, None)
NO_SETTINGS: dict[str, Any] = {}


def _general() -> Callable[..., Any]:
    """The caller for any primitive."""

    def call(*args: Any, **settings: Any) -> Any:
        return invoke(call.primitive, args, settings)  # type: ignore[attr-defined]

    return call


def invoke(
    primitive: Primitive, args: tuple[Any, ...], settings: dict[str, Any]
) -> Any:
    """Sort out operands and settings, then record what is called on Tensors."""
    if args and len(args) == primitive.operand_count and _are_ready(primitive, args):
        return run_forward(primitive, args, settings)  # as in most rules
    operands, settings = _sort_arguments(primitive, args, settings)
    if recording.on_arrays or any(isinstance(x, TensorBase) for x in operands):
        return record(primitive, operands, settings)
    return run_forward(primitive, _arrays(primitive, operands), settings)


def _are_ready(primitive: Primitive, args: tuple[Any, ...]) -> bool:
    """Whether these are arrays, or numbers beside one that makes their dtype.

    Not where somebody observes calls on arrays.
    """
    if args[0].__class__ not in ARRAY_TYPES or recording.on_arrays:
        return False
    if len(args) == 1 or all(x.__class__ in ARRAY_TYPES for x in args):
        return True
    return _mixes(primitive, 0) and all(x.__class__ in KNOWN for x in args)


def _sort_arguments(
    primitive: Primitive, args: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Operands first; further positional arguments are settings, in their order."""
    operands: Sequence[Any]
    if primitive.sequence:
        operands, extra = _listed(primitive, args), args[1:]
    elif primitive.rest_name:
        operands, extra = args, ()
    else:
        count = len(primitive.operand_names)
        operands, extra = args[:count], args[count:]
        if len(operands) < count:
            inspect.signature(primitive.forward).bind(*args, **settings)  # raises
    _check_settings(primitive, extra, settings)
    given = {**dict(zip(primitive.setting_names, extra, strict=False)), **settings}
    hashable = {name: _hashable(value) for name, value in given.items()}
    return operands, {**primitive.defaults, **hashable}


def _listed(primitive: Primitive, args: tuple[Any, ...]) -> list[Any]:
    if not args or isinstance(args[0], TensorBase) or backend.is_array(args[0]):
        raise TypeError(
            f"{primitive.name} takes its operands as one list. Write for example "
            f"{primitive.name}([a, b], axis=0)."
        )
    return list(args[0])


def _check_settings(
    primitive: Primitive, extra: Sequence[Any], settings: dict[str, Any]
) -> None:
    """Refuse settings that there are not, or that are given twice."""
    names = primitive.setting_names
    twice = set(names[: len(extra)]) & set(settings)
    unknown = set(settings) - set(names)
    if twice or unknown or len(extra) > len(names):
        raise TypeError(
            f"{primitive.name} got settings it cannot use: "
            f"{sorted(twice | unknown)!r}, and {len(extra)} by position. It has "
            f"{names}, each to be given once."
        )


def _hashable(value: Any) -> Any:
    """A setting as it stands on the tape: lists, also nested ones, become tuples."""
    if value.__class__ in (list, tuple):  # a Slice stays one
        return tuple(map(_hashable, value))
    return int(value) if isinstance(value, np.integer) else value


def _arrays(primitive: Primitive, operands: Sequence[Any]) -> list[Any]:
    """The operands as arrays; lists go to where the others are, in their dtype."""
    arrays = [x.array if isinstance(x, TensorBase) else x for x in operands]
    if all(x.__class__ in ARRAY_TYPES for x in arrays):
        return arrays
    if len(arrays) == 1 and isinstance(arrays[0], np.number):
        return [np.asarray(arrays[0])]  # often, in rules: NumPy's scalars of 0-d arrays
    chosen = [i for i, _ in enumerate(arrays) if _mixes(primitive, i)]
    mixed = backend.as_arrays([arrays[i] for i in chosen], numbers=primitive.sequence)
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


def _mixes(primitive: Primitive, i: int) -> bool:
    """Whether an operand's dtype is one of those that make the result's.

    Ids, masks and conditions do not.
    """
    return primitive.differentiable(i) or not any(primitive.rules)


def run_forward(
    primitive: Primitive, arrays: Sequence[Any], settings: dict[str, Any]
) -> Any:
    """The forward on arrays, its errors explained."""
    try:
        given = [arrays] if primitive.sequence else arrays
        result = primitive.forward(*given, **settings)
    except EXPLAINED as error:
        raise explain(primitive, arrays, error, settings) from error
    if primitive.writes:
        for array in primitive.written(arrays):
            record_write(array, primitive.name)
    return result


def record(
    primitive: Primitive, operands: Sequence[Any], settings: dict[str, Any]
) -> Any:
    """Run the forward and, where a gradient is wanted, write the entry."""
    parents = tuple(
        x.entry if isinstance(x, TensorBase) and primitive.differentiable(i) else None
        for i, x in enumerate(operands)
    )
    wanted = recording.enabled and any(parent is not None for parent in parents)
    needs = tuple(parent is not None for parent in parents) if wanted else ()
    for observer in recording.observers:
        observer.given(operands)
    arrays = _arrays(primitive, operands)
    started = perf_counter()
    given = _with_copies(primitive, arrays) if recording.dry else arrays
    call = _alone(run, primitive, given, settings, needs)._replace(operands=arrays)
    seconds = perf_counter() - started
    recorded = wanted and _has_derivative(call.results[0])
    entry = _entry_of(call, parents, needs) if recorded else None
    for observer in recording.observers:
        observer.called(call, entry, seconds)
    outputs = call.results if primitive.many else call.results[:1]
    if not any(isinstance(x, TensorBase) for x in operands):
        return list(outputs) if primitive.many else outputs[0]
    if primitive.many:
        return [wrap(r, entry and Item(entry, i, r)) for i, r in enumerate(outputs)]
    return wrap(outputs[0], entry)


def _with_copies(primitive: Primitive, arrays: Sequence[Any]) -> Sequence[Any]:
    """The operands, copies of those that the forward would change."""
    changed = [id(x) for x in primitive.changed(arrays)]
    return [x.copy() if id(x) in changed else x for x in arrays]


def _alone(run: Callable[..., Call], *given: Any) -> Call:
    """Run without showing calls inside the call: they are a part of it."""
    if not recording.on_arrays:
        return run(*given)
    recording.on_arrays = False
    try:
        return run(*given)
    finally:
        recording.on_arrays = True


def run(
    primitive: Primitive,
    operands: Sequence[Any],
    settings: dict[str, Any],
    needs: tuple[bool, ...] = (),
) -> Call:
    """Run a primitive on arrays; residuals are those of operands with `needs`."""
    found = run_forward(primitive, operands, settings)
    if primitive.many:
        return Call(primitive, operands, settings, found)
    y = as_result(found)  # the tape and the Tensor must hold one array
    if not primitive.residuals:
        return Call(primitive, operands, settings, (y,))
    _, (_, *wanted) = primitive.keep(needs)
    residuals = primitive.run_residuals(wanted, operands, y, settings)
    return Call(primitive, operands, settings, (y, *residuals))


def _has_derivative(result: Any) -> bool:
    """Integers and booleans carry no gradient: astype(int) ends a path.

    Users have no complex leaves; the gradient checker has, for its complex steps.
    """
    return result.dtype.kind in "fc"


def _entry_of(
    call: Call, parents: tuple[Entry | None, ...], needs: tuple[bool, ...]
) -> Entry:
    """The entry of a call: of its arrays what the rules name."""
    primitive, operands, settings, results = call
    keep_operands, keep_results = primitive.keep(needs)
    kept = tuple(map(_if_kept, operands, keep_operands))
    dtype = results[0].dtype
    if primitive.many:
        shapes = tuple(result.shape for result in results)
        return Entry(primitive, parents, kept, (), settings, shapes, dtype)
    kept_results = tuple(map(_if_kept, results, keep_results))
    shape = results[0].shape
    return Entry(primitive, parents, kept, kept_results, settings, shape, dtype)


def _if_kept(array: Any, keep: bool) -> Any:
    return array if keep else None
