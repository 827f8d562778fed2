"""What is compared at each order?  A gradient of the tape against an oracle's.

Each order is checked alone: the tape's J^T c for random cotangents c (ones cannot see
a softmax's or a transposition's mistakes) against an oracle's J v, by <c, J v> =
<J^T c, v> and, where that has too few digits, element by element; then the recorded
walk, and J v as the tape makes it from two walks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.backend import as_result
from minigrad.tape import Call, Observer, Scope, wrap
from minigrad.tensor import Tensor
from minigrad.testing.blame import Wrong
from minigrad.testing.function import Derived, as_leaf, pull
from minigrad.testing.oracles import (
    COMPLEX_STEP,
    EPS,
    Derivative,
    Oracle,
    choose_oracle,
    unit_directions,
)

# The tape may be off by this many round-offs of the largest number that it adds up.
ROUND_OFFS = 500


def first_wrong(function: Any, order: int, seed: int) -> Wrong | None:
    """Check one order after the other; each works on the last one's gradient."""
    if not function.operands:
        return None
    random = np.random.default_rng(seed)
    for level in range(1, order + 1):
        cotangents = [clear_of_zero(random, y.shape) for y in _values(function)]
        for found in _level(function, cotangents, random, level, last=level == order):
            return found
        function = Derived(function, cotangents)
    return None


def _values(function: Any) -> list[np.ndarray]:
    return function.on_arrays(function.operands)


def _level(
    function: Any,
    cotangents: list[np.ndarray],
    random: np.random.Generator,
    level: int,
    last: bool,
) -> Iterator[Wrong]:
    """What is wrong with the gradient of `function`, if anything is.

    One random direction sees all elements: where a complex step along it agrees to the
    last digits, no element can be wrong. Differences have fewer digits and look at one
    element after the other, as does the search for the element that is wrong.
    """
    operands = function.operands
    oracle = choose_oracle(function.on_arrays, operands, random)
    leaves = function.leaves(operands)
    gradients = pull(function(leaves), leaves, cotangents)
    size = _largest(function, cotangents)
    for i, gradient in enumerate(gradients):
        yield from _check_form(gradient, leaves[i], i, level)
    found = [g.numpy() for g in gradients]
    v = [clear_of_zero(random, a.shape) for a in operands]
    slopes = oracle.along(function.on_arrays, operands, v, size)
    wrong = list(check_adjoint(cotangents, slopes, found, v, size, level))
    if wrong or oracle is not COMPLEX_STEP:
        yield from check_elements(function, cotangents, found, size, oracle, level)
    yield from wrong
    if not last:
        yield from check_recorded(function, cotangents, found, size, level)
        yield from _check_pushed(function, slopes, v, size, oracle, level)


def clear_of_zero(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of both signs from 0.5 to 1.5: each element counts."""
    signs = random.choice([-1.0, 1.0], shape)
    return np.asarray(signs * random.uniform(0.5, 1.5, shape))


class Largest(Observer):
    """An observer of the largest number that is computed: round-offs are relative."""

    def __init__(self) -> None:
        self.size = 1.0

    def _see(self, values: Any) -> None:
        for value in values if isinstance(values, list | tuple) else [values]:
            array = value.numpy() if isinstance(value, Tensor) else value
            magnitude = np.abs(backend.to_numpy(as_result(array)))
            finite = magnitude[np.isfinite(magnitude)]  # what is not would excuse all
            self.size = max(self.size, float(finite.max(initial=0.0)))

    def called(self, call: Call, entry: Any, seconds: float) -> None:
        """Look at the outputs."""
        self._see(call.results if call.primitive.many else call.results[0])

    def differentiated(self, entry: Any, g: Any, handed: Any, seconds: float) -> None:
        """Look at the gradients that an entry hands on."""
        for _, gradient in handed:
            self._see(gradient)


def _largest(function: Any, cotangents: list[np.ndarray]) -> float:
    with Scope(observer=Largest()) as seen:
        leaves = function.leaves(function.operands)
        pull(function(leaves), leaves, cotangents)
    return max([seen.size, *(np.abs(c).max(initial=1.0) for c in cotangents)])


def _check_form(gradient: Tensor, leaf: Tensor, i: int, level: int) -> Iterator[Wrong]:
    """Shape, dtype and device are the operand's."""
    ours = (gradient.shape, str(gradient.dtype), gradient.device)
    theirs = (leaf.shape, str(leaf.dtype), leaf.device)
    if ours != theirs:
        what = f"is {ours}, but the operand is {theirs} (shape, dtype, device)"
        yield Wrong(what, i, (), np.nan, np.nan, 0.0, "the operand", level)


def check_elements(
    function: Any,
    cotangents: list[np.ndarray],
    found: list[np.ndarray],
    size: float,
    oracle: Oracle,
    level: int,
) -> Iterator[Wrong]:
    """Every element of every operand's gradient against the oracle."""
    for which in range(len(function.operands)):
        value, error = _expected(function, cotangents, which, size, oracle)
        bound = error + ROUND_OFFS * EPS * size
        index = first_beyond(found[which], value, bound)
        if index is not None:
            ours, theirs, off = (float(x[index]) for x in (found[which], value, bound))
            yield Wrong("is wrong", which, index, ours, theirs, off, oracle.name, level)


def _expected(
    function: Any,
    cotangents: list[np.ndarray],
    which: int,
    size: float,
    oracle: Oracle,
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient by one operand, and its error bound."""
    shape = function.operands[which].shape
    value, error = np.zeros(shape), np.zeros(shape)
    for index, v in unit_directions(function.operands, which):
        slopes = oracle.along(function.on_arrays, function.operands, v, size)
        for c, slope in zip(cotangents, slopes, strict=True):
            value[index] += np.sum(c * slope.value)
            error[index] += np.sum(np.abs(c) * slope.error)
    return value, error


def first_beyond(
    found: np.ndarray, expected: np.ndarray, bound: np.ndarray | float
) -> tuple[int, ...] | None:
    """Where two arrays first differ by more than the bound (NaN always does)."""
    wrong = ~(np.abs(found - expected) <= bound)
    if not wrong.any():
        return None
    return tuple(int(k) for k in np.argwhere(wrong)[0])


def check_recorded(
    function: Any,
    cotangents: list[np.ndarray],
    found: list[np.ndarray],
    size: float,
    level: int,
) -> Iterator[Wrong]:
    """The recorded walk, on which the next order builds, gives the same gradient."""
    recorded = Derived(function, cotangents).on_arrays(function.operands)
    for i, (ours, theirs) in enumerate(zip(recorded, found, strict=True)):
        index = first_beyond(ours, theirs, ROUND_OFFS * EPS * size)
        if index is not None:
            what = "is another one with create_graph=True"
            values = float(ours[index]), float(theirs[index])
            yield Wrong(what, i, index, *values, 0.0, "the plain walk", level)


def check_adjoint(
    cotangents: list[np.ndarray],
    slopes: list[Derivative],
    found: list[np.ndarray],
    v: list[np.ndarray],
    size: float,
    level: int,
) -> Iterator[Wrong]:
    """<c, J v> against <J^T c, v>, all operands at once."""
    left = [c * slope.value for c, slope in zip(cotangents, slopes, strict=True)]
    right = [g * d for g, d in zip(found, v, strict=True)]
    terms = sum(np.abs(t).sum() for t in (*left, *right))
    errors = [np.abs(c) * s.error for c, s in zip(cotangents, slopes, strict=True)]
    bound = ROUND_OFFS * EPS * (size + terms) + sum(e.sum() for e in errors)
    one, other = float(sum(t.sum() for t in left)), float(sum(t.sum() for t in right))
    if not abs(one - other) <= bound:
        what = "is not the adjoint: <c, J v> is not <J^T c, v>"
        yield Wrong(what, None, (), other, one, bound, "<c, J v>", level)


def _check_pushed(
    function: Any,
    slopes: list[Derivative],
    v: list[np.ndarray],
    size: float,
    oracle: Oracle,
    level: int,
) -> Iterator[Wrong]:
    """J v, which the tape makes from two walks, against the oracle."""
    for i, (ours, slope) in enumerate(zip(_push(function, v), slopes, strict=True)):
        bound = slope.error + ROUND_OFFS * EPS * size
        index = first_beyond(ours, slope.value, bound)
        if index is not None:
            what = f"gives a wrong J v (jvp) for output {i}"
            one, other, off = (float(x[index]) for x in (ours, slope.value, bound))
            yield Wrong(what, None, index, one, other, off, oracle.name, level)


def _push(function: Any, v: list[np.ndarray]) -> list[np.ndarray]:
    """J v for each output: J^T u is linear in u, and its derivative by u is J v."""
    leaves = function.leaves(function.operands)
    with Scope(enabled=True):
        outputs = function(leaves)
    u = [as_leaf(wrap(np.zeros_like(y.array))) for y in outputs]
    pulled = pull(outputs, leaves, u, create_graph=True)
    return [g.numpy() for g in pull(pulled, u, v)]
