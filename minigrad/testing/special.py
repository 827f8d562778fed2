"""Gradients at special points: 0, -0.0, 1, -1, equal values, ends of domains.

A rule can be right everywhere but there: `g * a * y / a` is NaN at 0 alone, which no
random operand hits. So each of these values is put in the operands' places. Where the
function is smooth is found out from its values; a primitive must have declared every
kink, pole and end that is met.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.tape import Primitive, Scope
from minigrad.testing.blame import GradientError, Wrong, gradient_error
from minigrad.testing.calls import RecordedCall, only_call
from minigrad.testing.function import Derived, Function, Largest, pull, random_like
from minigrad.testing.oracles import (
    FROM_INSIDE,
    KINK,
    SMOOTH,
    STEEP,
    UNDEFINED,
    Arrays,
    Look,
    look,
)
from minigrad.testing.orders import Order

POINTS: tuple[float, ...] = (0.0, -0.0, 1.0, -1.0)
VALUE = 0.5  # that all elements have where they are equal


def check_special(
    function: Function, order: int, primitive: Primitive | None = None
) -> None:
    """Check `function` with special points in the places of its operands.

    All at once, if it is smooth there; else one point at a time, else in one operand.

    Raises:
        GradientError: a gradient is wrong there; or `primitive`, which `function`
            calls, has a kink or an end there which it does not declare.
    """
    Points(function, order, only_call(function, primitive)).check()


def first_wrong_where_smooth(
    function: Function, order: int
) -> tuple[Look, Wrong | None]:
    """Check one order after the other for as long as the function is smooth.

    Returns what the function itself does there, and the first mistake.
    """
    random = np.random.default_rng(function.seed)
    first = None
    with np.errstate(all="ignore"):
        for number in range(1, order + 1):
            v = random_like(random, function.operands)
            size = _size(function)
            seen = look(function.on_arrays, function.operands, v, size)
            first = first or seen
            if seen.kind != SMOOTH:
                break
            cotangents = function.draw_cotangents(random, seen.values)
            here = Order(function, cotangents, number, size)
            for wrong in here.compare(seen):
                return first, wrong
            if seen.oracle is not FROM_INSIDE and number < order:
                for wrong in here.check_recorded():
                    return first, wrong
            function = Derived(function, cotangents)
    return first or Look(UNDEFINED, [], [], []), None


def _size(function: Function) -> float:
    """The largest number that the function computes."""
    with Scope(observer=Largest()) as seen:
        try:
            function.on_arrays(function.operands)
        except Exception:  # not defined here, which `look` finds out
            return 1.0
    return seen.size


def _check_steep(there: Function, seen: Look, operand: int) -> None:
    """At an end where the derivative is infinite, the tape says so, sign included."""
    leaves = there.leaves(there.operands)
    ones = [np.ones(y.shape) for y in seen.values]
    with np.errstate(all="ignore"):
        found = pull(there(leaves), leaves, ones)[operand].numpy().reshape(-1)[0]
    rise = sum(float(d.value.sum()) for d in seen.derivatives)
    inwards = seen.v[operand].reshape(-1)[0]
    expected = math.copysign(math.inf, rise * inwards)
    if found != expected:
        what, against = "is wrong at the end of its domain", FROM_INSIDE.name
        index = (0,) * there.operands[operand].ndim
        wrong = Wrong(what, operand, index, float(found), expected, against=against)
        raise gradient_error(there, wrong)


# -- where it is tried -------------------------------------------------------------


class Points:
    """Special points in the places of a function's operands.

    `call` is the one call of a primitive that the function is, if it is one. Then
    points are left out that it declares as kinks or outside of its domain, and others
    where it is not smooth are mistakes.
    """

    def __init__(
        self, function: Function, order: int, call: RecordedCall | None
    ) -> None:
        self.function, self.operands = function, function.operands
        self.order = order
        self.call = call
        self.points = [POINTS for _ in self.operands]
        self.smooth_elsewhere = False
        if call is not None:
            self.points = [_points_of(call, name) for name in call.names]
            # Ties and kinks of the output can be met anywhere, and are not told apart.
            declared = call.primitive.kinks
            named = {kink for kinks in declared.values() for kink in kinks}
            ties = named & set(call.primitive.operand_names)
            self.smooth_elsewhere = not ties and "y" not in declared

    def check(self) -> None:
        """All points at once, or one by one where that is not smooth; equal values."""
        tried = map(self.check_at, mixed(self.operands, self.points))
        if not all(seen.kind == SMOOTH for seen in tried):
            self._one_by_one()
        if sum(a.size for a in self.operands) > 1:
            self._equal()
        if self.call is not None:
            for i, name in enumerate(self.call.names):
                for end in self.call.primitive.closed.get(name, ()):
                    self._at_end(i, end)

    def check_at(self, operands: Arrays) -> Look:
        """What the function does there, its gradients checked where it is smooth."""
        there = self.function.at(operands)
        seen, wrong = first_wrong_where_smooth(there, self.order)
        if wrong is None:
            return seen
        alone = lambda *how: first_wrong_where_smooth(*how)[1]  # noqa: E731
        raise gradient_error(there, wrong, alone, special=True)

    def _at_end(self, i: int, end: float) -> None:
        if self.operands[i].size:
            operands = put_in(self.operands, [i], 0, end)
            seen = self.check_at(operands)
            if seen.kind == STEEP:
                _check_steep(self.function.at(operands), seen, i)
            elif seen.kind != SMOOTH:
                raise self._undeclared(i, end, seen.kind)

    def _one_by_one(self) -> None:
        """One point in one place of all operands; else of one operand at a time."""
        for place, point in enumerate(POINTS):
            points = zip(self.operands, self.points, strict=True)
            chosen = [i for i, (a, p) in enumerate(points) if a.size and _has(p, point)]
            together = self.check_at(put_in(self.operands, chosen, place, point))
            for i in chosen if together.kind != SMOOTH else []:
                seen = self.check_at(put_in(self.operands, [i], place, point))
                if seen.kind != SMOOTH and self.smooth_elsewhere:
                    raise self._undeclared(i, point, seen.kind)

    def _equal(self) -> None:
        """Elements that are all 0; that are all equal, of all operands or of one."""
        pairs = zip(self.operands, self.points, strict=True)
        self.check_at([np.zeros(a.shape) if _has(p, 0.0) else a for a, p in pairs])
        first = next(float(a.reshape(-1)[0]) for a in self.operands if a.size)
        for value in (VALUE, first):
            equal = [np.full(a.shape, value) for a in self.operands]
            seen = self.check_at(equal)
            if seen.kind == SMOOTH:
                return
        if self.smooth_elsewhere and seen.kind == KINK:
            raise self._undeclared(0, "equal values", KINK)
        for i in range(len(equal) if len(equal) > 1 else 0):
            self.check_at([*self.operands[:i], equal[i], *self.operands[i + 1 :]])

    def _undeclared(self, i: int, point: float | str, kind: str) -> GradientError:
        """The error for what the primitive does at a point and has not declared."""
        call: Any = self.call
        primitive, operand = call.primitive.name, call.names[i]
        key = repr(operand if isinstance(point, str) else point)
        return GradientError(
            f"primitive {primitive!r}: at {point} of its operand {operand!r} "
            f"{REASONS[kind]}, which is not declared. Say which derivative the rule "
            f"gives there, kinks={{{operand!r}: {{{key}: 0}}}} (None: there is none), "
            f"or leave the point out, domain={{{operand!r}: (low, high)}}.",
            primitive=primitive,
            operand=operand,
        )


REASONS = {
    KINK: "its derivative jumps",
    STEEP: "its derivative is infinite",
    UNDEFINED: "it has no finite value",
}


def _points_of(call: RecordedCall, name: str) -> tuple[float, ...]:
    """The points inside an operand's domain that are no declared kinks."""
    low, high = call.primitive.domain.get(name, (-math.inf, math.inf))
    kinks = numbers(call.primitive.kinks.get(name, ()), call)
    return tuple(p for p in POINTS if low < p < high and p not in kinks)


def numbers(kinks: Sequence[float | str], call: RecordedCall) -> list[float]:
    """The kinks that are numbers, those that settings name among them."""
    values = [call.settings.get(k) if isinstance(k, str) else k for k in kinks]
    return [value for value in values if isinstance(value, int | float)]


def _has(points: tuple[float, ...], point: float) -> bool:
    """Whether the point is among them, 0 and -0.0 told apart."""
    return repr(point) in map(repr, points)


def mixed(
    operands: Sequence[np.ndarray], points: Sequence[tuple[float, ...]]
) -> Iterator[Arrays]:
    """All points at once, in turn along each operand; so often that none is left out.

    Each operand begins with another point.
    """
    sizes = [max(1, a.size) for a in operands]
    rounds = [-(-len(p) // n) for p, n in zip(points, sizes, strict=True)]
    for k in range(max(rounds, default=0)):
        yield [
            np.resize(np.roll(p, -(k * a.size + i)), a.shape) if p else a
            for i, (a, p) in enumerate(zip(operands, points, strict=True))
        ]


def put_in(operands: Arrays, chosen: list[int], place: int, value: float) -> Arrays:
    """The operands with another value in one place of those that are chosen."""
    changed = [a.copy() for a in operands]
    for i in chosen:
        changed[i].flat[place % changed[i].size] = value
    return changed
