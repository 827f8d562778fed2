"""Gradients at kinks: the derivative that a primitive declares is the one it gives.

At a kink there is no derivative to compare with, so what a rule does there is a
convention, which a primitive states beside the kink: `kinks={"a": {0: 0}}`. Here its
gradient at the kink is held against that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minigrad.tape import Primitive
from minigrad.testing.blame import GradientError
from minigrad.testing.calls import RecordedCall, only_call
from minigrad.testing.function import Derived, Function, pull, random_like
from minigrad.testing.oracles import Arrays
from minigrad.testing.special import VALUE, numbers, put_in

SHARED, FIRST = "shared", "first"


def check_kinks(function: Function, primitive: Primitive) -> None:
    """Check the gradient of a primitive at each kink that it declares.

    Raises:
        GradientError: it is not what is declared there, or nothing is declared.
    """
    call = only_call(function, primitive)
    if call is None:
        return
    with np.errstate(all="ignore"):
        for name, kinks in primitive.kinks.items():
            for kink in kinks:
                declared = _declared(primitive, name, kink)
                if name == "y":
                    _check_output(function, primitive, kink, declared)
                elif declared is not None and name in call.names:
                    _check_operand(function, call, name, kink, declared)


def _declared(primitive: Primitive, name: str, kink: float | str) -> Any:
    """The derivative at a kink: a number, how ties share it, or None at a pole."""
    stated = primitive.kinks[name]
    declared = stated[kink] if isinstance(stated, Mapping) else "not stated"
    ties = kink == name and name in primitive.operand_names
    allowed = (SHARED, FIRST) if ties else ()
    number = isinstance(declared, int | float) and not isinstance(declared, bool)
    if declared is None or declared in allowed or (number and not ties):
        return declared
    ways = "'shared' or 'first'" if ties else "a number, or None at a pole"
    raise GradientError(
        f"primitive {primitive.name!r} declares a kink of {name!r} at {kink!r}, with "
        f"the derivative {declared!r} there. Say which the rule gives: "
        f"kinks={{{name!r}: {{{kink!r}: ...}}}}, with {ways}.",
        primitive=primitive.name,
        operand=name,
    )


def _check_operand(
    function: Function, call: RecordedCall, name: str, kink: float | str, declared: Any
) -> None:
    """One operand, all of whose elements are at the kink."""
    which = call.names.index(name)
    operands = list(function.operands)
    if kink in call.primitive.operand_names:
        operands = [np.full(a.shape, VALUE) for a in operands]
    else:
        values = numbers([kink], call)
        if not values:  # the setting is not given
            return
        operands[which] = np.full(operands[which].shape, float(values[0]))
    there = function.at(operands)
    cotangents = random_like(np.random.default_rng(0), there.on_arrays(operands))
    if isinstance(declared, str):
        expected = _tied(there, which, declared, cotangents)
    else:
        g = np.asarray(declared * sum(cotangents))
        expected = _summed_to(operands[which].shape, g)
    _compare(
        there, call.primitive, cotangents, which, expected, f"{name!r} at {kink!r}"
    )


def _summed_to(shape: tuple[int, ...], g: np.ndarray) -> np.ndarray:
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    wide = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.asarray(g.sum(axis=wide, keepdims=True))


def _tied(there: Function, which: int, declared: str, cotangents: Arrays) -> np.ndarray:
    """How ties share a cotangent: each output's goes to the elements that it sees."""
    total = np.zeros(there.operands[which].size)
    seen = np.stack(list(_moves(there, which)))
    for column, g in zip(seen.T, cotangents[0].reshape(-1), strict=True):
        first = np.arange(len(column)) == np.argmax(column)
        total += g * (first if declared == FIRST else column / column.sum())
    return total.reshape(there.operands[which].shape)


def _moves(there: Function, which: int) -> Iterator[np.ndarray]:
    """For each element: which outputs change when it is raised or lowered."""
    (before,) = there.on_arrays(there.operands)
    for place in range(there.operands[which].size):
        changed = np.zeros(before.shape, bool)
        for step in (1.0, -1.0):
            operands = put_in(there.operands, [which], place, VALUE + step)
            changed |= there.on_arrays(operands)[0] != before
        yield changed.reshape(-1)


def _check_output(
    function: Function, primitive: Primitive, kink: float, declared: Any
) -> None:
    """Where the output is at a kink, no gradient passes; one operand is not zero."""
    if declared != 0:
        raise GradientError(
            f"primitive {primitive.name!r} says {declared!r} of its derivative where "
            f"the output is {kink!r}: only 0 can be checked. Write "
            f"kinks={{'y': {{{kink!r}: 0}}}}.",
            primitive=primitive.name,
        )
    for kept in range(len(function.operands)):
        operands = [np.zeros(a.shape) for a in function.operands]
        operands[kept] = function.operands[kept]
        there = function.at(operands)
        outputs = there.on_arrays(operands)
        if any((y != kink).any() for y in outputs):
            continue
        ones = [np.ones(y.shape) for y in outputs]
        for which, a in enumerate(operands):
            where = f"its output at {kink!r}"
            _compare(there, primitive, ones, which, np.zeros(a.shape), where)


def _compare(
    there: Function,
    primitive: Primitive,
    cotangents: Arrays,
    which: int,
    expected: np.ndarray,
    where: str,
) -> None:
    """Both backward passes give what is declared, and the next order is no NaN."""

    def broken(found: np.ndarray, expected: Any, where: str) -> GradientError:
        return GradientError(
            f"primitive {primitive.name!r}: its gradient at a kink is not what kinks= "
            f"declares ({where})\n    the tape says {found.tolist()}\n"
            f"    declared: {expected}\n  Change the rule, or what is declared.",
            primitive=primitive.name,
            operand=which,
        )

    leaves = there.leaves(there.operands)
    plain = pull(there(leaves), leaves, cotangents)[which].numpy()
    derived = Derived(there, cotangents)
    for found in (plain, derived.on_arrays(there.operands)[which]):
        right = np.isclose(found, expected, rtol=1e-10, atol=1e-12)
        if found.shape != expected.shape or not right.all():
            raise broken(found, expected.tolist(), where)
    ones = [np.ones(a.shape) for a in there.operands]
    leaves = there.leaves(there.operands)
    for second in (g.numpy() for g in pull(derived(leaves), leaves, ones)):
        if np.isnan(second).any():
            raise broken(second, "a number", f"{where}, order 2")
