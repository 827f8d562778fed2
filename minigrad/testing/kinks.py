"""Which slope does a rule give at a kink?  The one that the primitive promises.

At a kink there is no derivative to compare with, so what a rule does there is a
convention, which a primitive states beside the kink: `kinks={"a": {0: 0}}`. Here its
gradient at the kink is held against that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.tape import Primitive
from minigrad.testing.blame import Call, GradientError
from minigrad.testing.function import Derived, Function, pull
from minigrad.testing.levels import clear_of_zero
from minigrad.testing.special import VALUE, call_of, numbers

Arrays = list[np.ndarray]

SHARED, FIRST = "shared", "first"


def check_kinks(function: Function, made: Primitive) -> None:
    """Check the gradient of a primitive at each kink that it declares.

    Raises:
        GradientError: it is not what is promised there, or nothing is promised.
    """
    call = call_of(function, made)
    if call is None:
        return
    with np.errstate(all="ignore"):
        for name, kinks in made.kinks.items():
            for kink in kinks:
                slope = _promised(made, name, kink)
                if name == "y":
                    _check_output(function, made, kink, slope)
                elif slope is not None:
                    _check_operand(function, call, name, kink, slope)


def _promised(made: Primitive, name: str, kink: float | str) -> Any:
    """What is stated for a kink: a number, or how ties share; None at a pole."""
    stated = made.kinks[name]
    slope = stated[kink] if isinstance(stated, Mapping) else "not stated"
    ties = kink == name and name in made.operand_names
    allowed = (SHARED, FIRST) if ties else ()
    if slope is None or slope in allowed or (_is_number(slope) and not ties):
        return slope
    ways = "'shared' or 'first'" if ties else "a number, or None at a pole"
    said = "does not say which slope its rule gives there"
    if slope != "not stated":
        said = f"says {slope!r} of the slope there"
    raise GradientError(
        f"primitive {made.name!r} declares a kink of {name!r} at {kink!r} and {said}. "
        f"Say it: kinks={{{name!r}: {{{kink!r}: ...}}}}, with {ways}.",
        primitive=made.name,
        operand=name,
    )


def _is_number(slope: Any) -> bool:
    return isinstance(slope, int | float) and not isinstance(slope, bool)


def _check_operand(
    function: Function, call: Call, name: str, kink: float | str, slope: Any
) -> None:
    """One operand, all of whose elements are at the kink."""
    names = [_name(call, i) for i in call.live()]
    if name not in names:
        return
    which = names.index(name)
    if kink in call.made.operand_names:
        operands = [np.full(a.shape, VALUE) for a in function.operands]
    else:
        value = next(iter(numbers([kink], call)), None)
        if value is None:  # the setting is not given
            return
        operands = list(function.operands)
        operands[which] = np.full(operands[which].shape, float(value))
    there = function.at(operands)
    outputs = there.on_arrays(operands)
    random = np.random.default_rng(0)
    cotangents = [clear_of_zero(random, y.shape) for y in outputs]
    share = functools.partial(_tied, there, which, slope)
    shape = operands[which].shape
    expected = (
        share(cotangents)
        if isinstance(slope, str)
        else _summed(cotangents, slope, shape)
    )
    _compare(there, call.made, cotangents, which, expected, f"{name!r} at {kink!r}")


def _name(call: Call, operand: int) -> str:
    names = call.made.operand_names
    return names[operand] if operand < len(names) else ""


def _summed(cotangents: Arrays, slope: float, shape: tuple[int, ...]) -> np.ndarray:
    """The cotangent times a slope, summed over what was broadcast."""
    g = slope * sum(cotangents)
    g = np.sum(g, axis=tuple(range(np.ndim(g) - len(shape))))
    wide = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.asarray(np.sum(g, axis=wide, keepdims=True))


def _tied(there: Function, which: int, slope: str, cotangents: Arrays) -> np.ndarray:
    """How ties share a cotangent: each output's goes to the elements that it sees."""
    total = np.zeros(there.operands[which].size)
    seen = np.stack(list(_moves(there, which)))
    (g,) = cotangents
    for column, one in zip(seen.T, g.reshape(-1), strict=True):
        if slope == FIRST:
            total[np.argmax(column)] += one
        else:
            total += one * column / column.sum()
    return total.reshape(there.operands[which].shape)


def _moves(there: Function, which: int) -> Iterator[np.ndarray]:
    """For each element: which outputs change when it is raised or lowered."""
    (before,) = there.on_arrays(there.operands)
    for place in range(there.operands[which].size):
        changed = np.zeros(before.shape, bool)
        for step in (1.0, -1.0):
            operands = [a.copy() for a in there.operands]
            operands[which].reshape(-1)[place] += step
            changed |= there.on_arrays(operands)[0] != before
        yield changed.reshape(-1)


def _check_output(function: Function, made: Primitive, kink: float, slope: Any) -> None:
    """Where the output is at a kink, no gradient passes; one operand is not zero."""
    if slope != 0:
        raise GradientError(
            f"primitive {made.name!r} says {slope!r} of its slope where the output is "
            f"{kink!r}: only 0 can be checked. Write kinks={{'y': {{{kink!r}: 0}}}}.",
            primitive=made.name,
        )
    for kept in range(len(function.operands)):
        operands = [
            a if i == kept else np.zeros(a.shape)
            for i, a in enumerate(function.operands)
        ]
        there = function.at(operands)
        outputs = there.on_arrays(operands)
        if any((y != kink).any() for y in outputs):
            continue
        cotangents = [np.ones(y.shape) for y in outputs]
        for which, a in enumerate(operands):
            where = f"its output at {kink!r}"
            _compare(there, made, cotangents, which, np.zeros(a.shape), where)


def _compare(
    there: Function,
    made: Primitive,
    cotangents: Arrays,
    which: int,
    expected: np.ndarray,
    where: str,
) -> None:
    """Both walks give what is promised, and the next order is no NaN."""
    leaves = there.leaves(there.operands)
    plain = pull(there(leaves), leaves, cotangents)[which].numpy()
    derived = Derived(there, cotangents)
    recorded = derived.on_arrays(there.operands)[which]
    for found in (plain, recorded):
        wrong = ~np.isclose(found, expected, rtol=1e-10, atol=1e-12)
        if found.shape != expected.shape or wrong.any():
            raise _broken(made, where, which, found, expected)
    ones = [np.ones(a.shape) for a in there.operands]
    leaves = there.leaves(there.operands)
    for second in pull(derived(leaves), leaves, ones):
        if np.isnan(backend.to_numpy(second.array)).any():
            raise _broken(made, f"{where}, order 2", which, second.numpy(), "a number")


def _broken(
    made: Primitive, where: str, operand: int, found: Any, expected: Any
) -> GradientError:
    return GradientError(
        f"primitive {made.name!r}: its gradient at a kink is not what kinks= promises "
        f"({where})\n    the tape says {np.asarray(found).tolist()}\n"
        f"    promised: {np.asarray(expected).tolist()}\n"
        "  Change the rule, or what is promised.",
        primitive=made.name,
        operand=operand,
    )
