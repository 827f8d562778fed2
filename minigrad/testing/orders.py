"""The gradients of one order, held against an oracle's derivatives.

The tape's J^T c for random cotangents c (ones cannot see the mistakes of a softmax or a
transposition) is compared with an oracle's J v: by <c, J v> = <J^T c, v> and, where
that has too few digits, element by element. Then with the recorded backward pass, and
J v with what the tape makes of two backward passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from minigrad.tape import Scope, wrap
from minigrad.testing.blame import Wrong
from minigrad.testing.function import Derived, Function, as_leaf, pull, random_like
from minigrad.testing.oracles import (
    COMPLEX_STEP,
    EPS,
    Arrays,
    Look,
    Oracle,
    derive,
    unit_directions,
)

# The tape may be off by this many round-offs of the largest number that it adds up.
ROUND_OFFS = 500


class Order:
    """The gradients J^T c of one order, and what they are compared with.

    Attributes:
        function: whose gradients they are; from the second order on a gradient itself.
        cotangents: c, one for each output.
        number: 1 for gradients, 2 for gradients of gradients, and so on.
        found: J^T c, one for each operand.
        size: the largest number that was met; round-offs are relative to it.
        rounding: how far these may take the tape.
    """

    def __init__(
        self, function: Function, cotangents: Arrays, number: int, size: float = 0.0
    ) -> None:
        self.function = function
        self.cotangents = cotangents
        self.number = number
        self.found, largest = function.gradients(cotangents)
        self.size = max(size, largest)
        self.rounding = ROUND_OFFS * EPS * self.size

    def compare(self, along: Look, every_element: bool = False) -> Iterator[Wrong]:
        """What is wrong by an oracle; each element is looked at if one must be wrong.

        One random direction sees all elements: where the oracle has all digits, no
        element can be wrong. With fewer digits look at `every_element`.
        """
        wrong = list(self._adjoint(along))
        if wrong or every_element:
            yield from self._elements(along.oracle)
        yield from wrong

    def _adjoint(self, along: Look) -> Iterator[Wrong]:
        """<c, J v> against <J^T c, v>, all operands at once."""
        pairs = list(zip(self.cotangents, along.derivatives, strict=True))
        left = [c * d.value for c, d in pairs]
        right = [g * v for g, v in zip(self.found, along.v, strict=True)]
        terms = sum(np.abs(t).sum() for t in (*left, *right))
        error = sum((np.abs(c) * d.error).sum() for c, d in pairs)
        bound = ROUND_OFFS * EPS * (self.size + terms) + error
        theirs, ours = (np.asarray(sum(t.sum() for t in ts)) for ts in (left, right))
        what = "is not the adjoint: <c, J v> is not <J^T c, v>"
        wrong = Wrong(what, against="<c, J v>", order=self.number)
        yield from first_difference(wrong, ours, theirs, bound)

    def _elements(self, oracle: Oracle) -> Iterator[Wrong]:
        """Every element of every operand's gradient against the oracle."""
        for which, found in enumerate(self.found):
            value, error = self._expected(oracle, which)
            wrong = Wrong("is wrong", which, against=oracle.name, order=self.number)
            yield from first_difference(wrong, found, value, error + self.rounding)

    def _expected(self, oracle: Oracle, which: int) -> tuple[np.ndarray, np.ndarray]:
        """The gradient by one operand, and its error bound."""
        f, operands = self.function.on_arrays, self.function.operands
        value, error = (np.zeros(operands[which].shape) for _ in range(2))
        for index, v in unit_directions(operands, which):
            derivatives = oracle.along(f, operands, v, self.size)
            for c, d in zip(self.cotangents, derivatives, strict=True):
                value[index] += np.sum(c * d.value)
                error[index] += np.sum(np.abs(c) * d.error)
        return value, error

    def check_unobserved(self) -> Iterator[Wrong]:
        """Without an observer the pass takes other ways; these gradients are kept."""
        leaves = self.function.leaves(self.function.operands)
        gradients = pull(self.function(leaves), leaves, self.cotangents)
        self.found = [g.numpy() for g in gradients]
        for i, both in enumerate(zip(gradients, leaves, strict=True)):
            ours, theirs = ((x.shape, str(x.dtype), x.device) for x in both)
            if ours != theirs:
                what = f"is {ours}, but the operand is {theirs} (shape, dtype, device)"
                yield Wrong(what, i, against="the operand", order=self.number)

    def check_recorded(self) -> Iterator[Wrong]:
        """The recorded backward pass, on which the next order builds, is the same."""
        what, against = "is another one with create_graph=True", "the plain one"
        recorded = Derived(self.function, self.cotangents)
        for i, ours in enumerate(recorded.on_arrays(self.function.operands)):
            wrong = Wrong(what, i, against=against, order=self.number)
            yield from first_difference(wrong, ours, self.found[i], self.rounding)

    def check_pushed(self, along: Look) -> Iterator[Wrong]:
        """J v, which the tape makes of two backward passes, against the oracle."""
        pushed = push(self.function, along.v)
        for i, (ours, d) in enumerate(zip(pushed, along.derivatives, strict=True)):
            what = f"gives a wrong J v (jvp) for output {i}"
            wrong = Wrong(what, against=along.oracle.name, order=self.number)
            yield from first_difference(wrong, ours, d.value, d.error + self.rounding)


def first_difference(
    wrong: Wrong, found: np.ndarray, expected: np.ndarray, bound: np.ndarray | float
) -> Iterator[Wrong]:
    """`wrong`, of the first element that is off by more than the bound, if one is.

    NaN always is.
    """
    off = ~(np.abs(found - expected) <= bound)
    if off.any():
        index = tuple(int(k) for k in np.argwhere(off)[0])
        arrays = (found, expected, np.broadcast_to(bound, off.shape))
        ours, theirs, error = (float(x[index]) for x in arrays)
        yield replace(wrong, index=index, found=ours, expected=theirs, error=error)


# -- one order after the other -----------------------------------------------------


def first_wrong(function: Function, order: int) -> Wrong | None:
    """Check one order after the other; each works on the last one's gradient."""
    random = np.random.default_rng(function.seed)
    for number in range(1, order + 1) if function.operands else ():
        outputs = function.on_arrays(function.operands)
        here = Order(function, function.draw_cotangents(random, outputs), number)
        for wrong in _wrongs(here, random, last=number == order):
            return wrong
        function = Derived(function, here.cotangents)
    return None


def _wrongs(order: Order, random: np.random.Generator, last: bool) -> Iterator[Wrong]:
    """What is wrong with the gradients of one order, if anything is."""
    function = order.function
    v = random_like(random, function.operands)
    along = derive(function.on_arrays, function.operands, v, order.size)
    if function.recorded:
        yield from order.check_unobserved()
    yield from order.compare(along, every_element=along.oracle is not COMPLEX_STEP)
    if not last:
        yield from order.check_recorded()
        yield from order.check_pushed(along)


def push(function: Function, v: Arrays) -> Arrays:
    """J v for each output: J^T u is linear in u, and its derivative by u is J v."""
    leaves = function.leaves(function.operands)
    with Scope(enabled=True):
        outputs = function(leaves)
    u = [as_leaf(wrap(np.zeros_like(y.array))) for y in outputs]
    pulled = pull(outputs, leaves, u, create_graph=True)
    return [g.numpy() for g in pull(pulled, u, v)]
