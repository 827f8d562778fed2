"""Conditions that must not change a gradient.

float32 against float64; memory with gaps, backwards, read-only; an operand used twice,
and one array as two operands; a tape that is watched, or dropped and recorded again.
And no operand is written to.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.checkpointing import checkpoint
from minigrad.inspect import profile, record_lines
from minigrad.tape import Scope, wrap
from minigrad.tensor import Tensor
from minigrad.testing.blame import Wrong, gradient_error
from minigrad.testing.function import Function, Largest, as_leaf, pull, random_like
from minigrad.testing.oracles import EPS, Arrays
from minigrad.testing.orders import ROUND_OFFS, first_difference

# float32 may be off from float64 by this many of its own round-offs of the largest
# number, or by one an operation, if there are more: operands have a dozen elements.
FLOAT32_ROUND_OFFS = 100
FLOAT32_EPS = float(np.finfo(np.float32).eps)
# So many pairs of operands of one shape are tried; large layers have hundreds.
PAIRS = 20


def check_conditions(function: Function) -> None:
    """Try each condition; none may write into an operand.

    Raises:
        GradientError: names the condition.
    """
    if not function.operands:
        return
    random = np.random.default_rng(function.seed)
    cotangents = random_like(random, function.on_arrays(function.operands))
    for condition in (_float32, _memory, _fan_out, _same_twice, _readings):
        before = _bytes(function)
        for wrong in condition(function, cotangents, random):
            raise gradient_error(function, wrong)
        if _bytes(function) != before:
            wrong = Wrong("came with a write into an operand")
            raise gradient_error(function, wrong)


def _bytes(function: Function) -> list[bytes]:
    return [a.tobytes() for a in (*function.operands, *function.constants.values())]


def _gradients(
    function: Callable[[list[Tensor]], list[Tensor]],
    leaves: list[Tensor],
    cotangents: Arrays,
) -> Arrays:
    return [g.numpy() for g in pull(function(leaves), leaves, cotangents)]


def _plain(function: Function, cotangents: Arrays) -> Arrays:
    return _gradients(function, function.leaves(function.operands), cotangents)


def _compare(
    what: str,
    found: Arrays,
    expected: Arrays,
    against: str,
    unit: float = ROUND_OFFS * EPS,
) -> Iterator[Wrong]:
    """What is off by more than some round-offs of the largest element."""
    bound = unit * max(np.abs(g).max(initial=1.0) for g in expected)
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        wrong = Wrong(what, i, against=against)
        yield from first_difference(wrong, ours, theirs, bound)


def _float32(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """The same in float32 as in float64, up to float32's own round-offs."""
    narrow = [a.astype(np.float32) for a in function.operands]
    c = [x.astype(np.float32).astype(np.float64) for x in cotangents]
    leaves = function.leaves(narrow)
    with Scope(observer=Largest()) as seen:
        gradients = pull(function(leaves), leaves, c)
    for i, (g, leaf) in enumerate(zip(gradients, leaves, strict=True)):
        if g.dtype != leaf.dtype:
            yield Wrong(f"of a float32 operand is {g.dtype}", operand=i)
    expected = _plain(function.at([a.astype(np.float64) for a in narrow]), c)
    found = [g.numpy() for g in gradients]
    unit = max(FLOAT32_ROUND_OFFS, seen.count) * FLOAT32_EPS
    yield from _compare("is wrong in float32", found, expected, "float64", unit)


def _memory(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """Operands whose memory is reversed, has gaps, is column by column, read-only."""
    expected = _plain(function, cotangents)
    for what, lay_out in LAYOUTS.items():
        arrays = [lay_out(function.put(a)) for a in function.operands]
        leaves = [as_leaf(wrap(a)) for a in arrays]
        found = _gradients(function, leaves, cotangents)
        text = f"is wrong for {what} operands"
        yield from _compare(text, found, expected, "contiguous ones")


def _reversed_with_gaps(array: Any) -> Any:
    memory = np.zeros_like(array, shape=[2 * n for n in array.shape])
    key: Any = (..., *(slice(None, None, -2) for _ in array.shape))
    room = memory[key]
    room[...] = array
    if isinstance(room, np.ndarray):
        room.flags.writeable = False
    return room


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "reversed, strided, read-only": _reversed_with_gaps,
    "column-by-column": lambda array: array.T.copy().T,
}


def _fan_out(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """Operands that are used twice: the gradients of both uses add up."""
    leaves = function.leaves(function.operands)
    others = random_like(random, cotangents)
    outputs = [*function(leaves), *function(leaves)]
    found = [g.numpy() for g in pull(outputs, leaves, [*cotangents, *others])]
    both = [a + b for a, b in zip(cotangents, others, strict=True)]
    text = "is wrong where operands are used twice"
    yield from _compare(text, found, _plain(function, both), "the sum of both uses")


def _same_twice(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """One array as two operands: its gradient is the sum of theirs."""
    for i, j in _some_pairs(function.operands, random):
        arrays = list(function.operands)
        arrays[j] = arrays[i].copy()
        with np.errstate(all="ignore"):
            outputs = function.on_arrays(arrays)
        if not all(np.isfinite(y).all() for y in outputs):
            continue
        apart = _plain(function.at(arrays), cotangents)
        leaves = function.leaves(arrays)
        leaves[j] = leaves[i]
        together = _gradients(function, leaves, cotangents)
        text = f"is wrong where it is operand {j} as well"
        expected, against = [apart[i] + apart[j]], "the sum of both operands'"
        for wrong in _compare(text, [together[i]], expected, against):
            yield dataclasses.replace(wrong, operand=i)


def _some_pairs(operands: Arrays, random: Any) -> list[tuple[int, int]]:
    """Pairs of operands of one shape, in both orders."""
    places = itertools.permutations(range(len(operands)), 2)
    pairs = [(i, j) for i, j in places if operands[i].shape == operands[j].shape]
    if len(pairs) <= PAIRS:
        return pairs
    return [pairs[k] for k in random.choice(len(pairs), PAIRS, replace=False)]


def _readings(function: Function, cotangents: Arrays, random: Any) -> Iterator[Wrong]:
    """The tape watched, and dropped and recorded again, gives the same gradients."""
    expected, against = _plain(function, cotangents), "the plain backward pass"
    with profile(), record_lines():
        watched = _plain(function, cotangents)
    yield from _compare("is another one while watched", watched, expected, against)
    again = checkpoint(lambda *inputs: tuple(function(inputs)))
    leaves = function.leaves(function.operands)
    with Scope(enabled=True):
        found = _gradients(lambda x: list(again(*x)), leaves, cotangents)
    yield from _compare("is another one with checkpoint()", found, expected, against)
