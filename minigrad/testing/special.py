"""Is a gradient right at special points?  0, -0.0, 1, -1, equal values, ends.

A rule can be right everywhere but there: `g * a * y / a` is NaN at 0 alone, which no
random operand hits. So each of these values is put in the operands' places. Where the
function is smooth is found out from its values; a primitive must have declared every
kink, pole and end that is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.tape import Primitive, Scope
from minigrad.testing.blame import Call, GradientError, Wrong, blamed, calls_of, told
from minigrad.testing.function import Derived, Function, pull
from minigrad.testing.levels import (
    Largest,
    check_adjoint,
    check_elements,
    check_recorded,
    clear_of_zero,
)
from minigrad.testing.oracles import (
    COMPLEX_STEP,
    DIFFERENCES,
    KINK,
    SMOOTH,
    STEEP,
    UNDEFINED,
    Look,
    agree,
    by_complex_step,
    look,
    unit_directions,
)

Arrays = list[np.ndarray]

POINTS = (0.0, -0.0, 1.0, -1.0)
VALUE = 0.5  # that all elements have where they are equal


class Facts(NamedTuple):
    """Where each differentiated operand may be put, as far as that is declared.

    `strict`: kinks and ends that are not declared are mistakes. `ties`: there are
    kinks at equal values, or where the output has some value.
    """

    names: list[str]
    points: list[tuple[float, ...]]
    ends: list[tuple[float, ...]]
    strict: bool
    ties: bool


def facts_of(function: Function, made: Primitive | None) -> Facts:
    """What a primitive declares of this call; of any other function all is tried."""
    count = len(function.operands)
    anywhere = Facts([""] * count, [POINTS] * count, [()] * count, False, True)
    call = made and call_of(function, made)
    if not made or not call:
        return anywhere
    names = [_name(made, i) for i in call.live()]
    kinks = [numbers(made.kinks.get(name, ()), call) for name in names]
    points = [
        tuple(p for p in POINTS if _is_inside(made, name, p) and p not in at)
        for name, at in zip(names, kinks, strict=True)
    ]
    ends = [made.closed.get(name, ()) for name in names]
    ties = "y" in made.kinks or any(
        kink in made.operand_names for at in made.kinks.values() for kink in at
    )
    return Facts(names, points, ends, True, ties)


def call_of(function: Function, made: Primitive) -> Call | None:
    """The call of a primitive, if `function` is one of all its operands."""
    found = [call for call in calls_of(function, 1) if call.made is made]
    if len(found) != 1:
        return None
    live = found[0].live()
    rules = [i for i in live if made.differentiable(i)]
    whole = made.joint or made.rest_name or len(rules) == _rules(made)
    return found[0] if whole and len(live) == len(function.operands) else None


def _rules(made: Primitive) -> int:
    return sum(rule is not None for rule in made.rules)


def _name(made: Primitive, operand: int) -> str:
    names = made.operand_names
    return names[operand] if operand < len(names) else ""


def numbers(kinks: Sequence[float | str], call: Call) -> list[float]:
    """The kinks that are numbers, those that settings name among them."""
    values = [call.settings.get(k) if isinstance(k, str) else k for k in kinks]
    return [value for value in values if isinstance(value, int | float)]


def _is_inside(made: Primitive, name: str, point: float) -> bool:
    low, high = made.domain.get(name, (-math.inf, math.inf))
    return low < point < high


# -- the check ---------------------------------------------------------------------


def check_special(
    function: Function, order: int, seed: int, name: str, made: Primitive | None = None
) -> None:
    """Check `function` with special points in the places of its operands.

    All at once, if it is smooth there; else one point at a time, else in one operand.

    Raises:
        GradientError: a gradient is wrong there; or `made`, the primitive that
            `function` calls, has a kink or an end there which it does not declare.
    """
    facts = facts_of(function, made)

    def at(operands: Arrays) -> Look:
        return _checked(function.at(operands), order, seed, name)

    check_points(function, facts, at, name)
    _ends(function, facts, at, name)


def check_points(
    function: Function, facts: Facts, at: Callable[[Arrays], Look], name: str
) -> None:
    """Let `at` check each special point, all at once where that is smooth."""
    if not all(at(x).kind == SMOOTH for x in mixed(function.operands, facts.points)):
        _one_by_one(function.operands, facts, at, name)
    _alike(function.operands, facts, at, name)


def _checked(there: Function, order: int, seed: int, name: str) -> Look:
    seen, wrong = first_wrong_where_smooth(there, order, seed)
    if wrong is not None:
        check = lambda *how: first_wrong_where_smooth(*how)[1]  # noqa: E731
        error = blamed(there, wrong, seed, name, check=check)
        raise error or told(name, there, wrong, seed, special=True)
    return seen


def first_wrong_where_smooth(
    function: Function, order: int, seed: int
) -> tuple[Look, Wrong | None]:
    """Check one order after the other for as long as the function is smooth.

    Returns what the function itself does there, and the first mistake.
    """
    random = np.random.default_rng(seed)
    first = None
    with np.errstate(all="ignore"):
        for level in range(1, order + 1):
            v = [clear_of_zero(random, a.shape) for a in function.operands]
            size = _size(function)
            seen = look(function.on_arrays, function.operands, v, size)
            first = first or seen
            if seen.kind != SMOOTH:
                break
            cotangents = [clear_of_zero(random, y.shape) for y in seen.values]
            last = level == order
            for wrong in _level(function, cotangents, seen, size, level, last):
                return first, wrong
            if not last:
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


def _level(
    function: Function,
    cotangents: Arrays,
    seen: Look,
    size: float,
    level: int,
    last: bool,
) -> Iterator[Wrong]:
    """What is wrong with the gradient at a point where `function` is smooth."""
    leaves = function.leaves(function.operands)
    with Scope(observer=Largest()) as backward:
        gradients = pull(function(leaves), leaves, cotangents)
    found = [g.numpy() for g in gradients]
    size = max(size, backward.size, *(np.abs(c).max(initial=1) for c in cotangents))
    exact = None if seen.at_end else _exact(function, seen)
    oracle = COMPLEX_STEP if exact else DIFFERENCES
    slopes = exact or seen.slopes
    wrong = list(check_adjoint(cotangents, slopes, found, seen.v, size, level))
    if wrong and seen.at_end:
        yield from _elements_at_end(function, cotangents, found, size, level)
    elif wrong:
        yield from check_elements(function, cotangents, found, size, oracle, level)
    yield from wrong
    if not (seen.at_end or last):
        yield from check_recorded(function, cotangents, found, size, level)


def _elements_at_end(
    function: Function, cotangents: Arrays, found: Arrays, size: float, level: int
) -> Iterator[Wrong]:
    """The elements whose gradient is not the slope from inside the domain."""
    for which, gradient in enumerate(found):
        for index, v in unit_directions(function.operands, which):
            seen = look(function.on_arrays, function.operands, v, size)
            if seen.kind != SMOOTH:
                continue
            pairs = list(zip(cotangents, seen.slopes, strict=True))
            value = sum(float(np.sum(c * s.value)) for c, s in pairs)
            value *= float(seen.v[which][index])
            error = sum(float(np.sum(np.abs(c) * s.error)) for c, s in pairs)
            if not abs(gradient[index] - value) <= error:
                values = float(gradient[index]), value, error, "the slope from inside"
                yield Wrong("is wrong", which, index, *values, level)


def _exact(function: Function, seen: Look) -> list | None:
    exact = by_complex_step(function.on_arrays, function.operands, seen.v)
    return exact if exact and agree(exact, seen.slopes) else None


# -- where it is tried -------------------------------------------------------------


def mixed(
    operands: Sequence[np.ndarray], points: Sequence[tuple[float, ...]]
) -> Iterator[Arrays]:
    """All points at once, in turn along each operand; so often that none is left out.

    Each operand begins with another point.
    """
    sizes = [max(1, a.size) for a in operands]
    rounds = [-(-len(p) // n) for p, n in zip(points, sizes, strict=True) if n]
    for k in range(max(rounds, default=0)):
        yield [
            _filled(a, p, first=k * a.size + i)
            for i, (a, p) in enumerate(zip(operands, points, strict=True))
        ]


def _filled(a: np.ndarray, points: tuple[float, ...], first: int) -> np.ndarray:
    if not points:
        return a
    places = (first + np.arange(a.size)) % len(points)
    return np.array(points)[places].reshape(a.shape)


def put(a: np.ndarray, place: int, value: float) -> np.ndarray:
    """A copy with another value in one place."""
    result = a.copy()
    result.reshape(-1)[place % max(1, a.size) : place % max(1, a.size) + 1] = value
    return result


def _one_by_one(
    operands: Arrays, facts: Facts, at: Callable[[Arrays], Look], name: str
) -> None:
    """One point in one place of all operands; else of one operand at a time."""
    for place, point in enumerate(POINTS):
        chosen = [
            i
            for i, (a, points) in enumerate(zip(operands, facts.points, strict=True))
            if a.size and _has(points, point)
        ]
        if at(_put_in(operands, chosen, place, point)).kind == SMOOTH:
            continue
        for i in chosen:
            seen = at(_put_in(operands, [i], place, point))
            if seen.kind != SMOOTH and facts.strict and not facts.ties:
                raise _undeclared(name, facts.names[i], point, seen.kind)


def _has(points: tuple[float, ...], point: float) -> bool:
    """Whether the point is among them, 0 and -0.0 told apart."""
    return repr(point) in map(repr, points)


def _put_in(operands: Arrays, chosen: list[int], place: int, value: float) -> Arrays:
    return [put(a, place, value) if i in chosen else a for i, a in enumerate(operands)]


def _alike(
    operands: Arrays, facts: Facts, at: Callable[[Arrays], Look], name: str
) -> None:
    """Elements that are all equal, of one operand and of all of them; also zeros."""
    if sum(a.size for a in operands) < 2:
        return
    at([_zeros(a, p) for a, p in zip(operands, facts.points, strict=True)])
    first = next(float(a.reshape(-1)[0]) for a in operands if a.size)
    for value in (VALUE, first):
        equal = [np.full(a.shape, value) for a in operands]
        seen = at(equal)
        if seen.kind == SMOOTH:
            return
    if facts.strict and not facts.ties and seen.kind == KINK:
        raise _undeclared(name, facts.names[0], "equal values", KINK)
    for i in range(len(operands) if len(operands) > 1 else 0):
        at([*operands[:i], equal[i], *operands[i + 1 :]])


def _zeros(a: np.ndarray, points: tuple[float, ...]) -> np.ndarray:
    return np.zeros(a.shape) if _has(points, 0.0) else a


def _ends(
    function: Function, facts: Facts, at: Callable[[Arrays], Look], name: str
) -> None:
    """Each operand at the closed ends of its domain."""
    for i, ends in enumerate(facts.ends):
        for end in ends if function.operands[i].size else ():
            operands = _put_in(function.operands, [i], 0, end)
            seen = at(operands)
            if seen.kind == STEEP:
                _check_steep(function.at(operands), seen, i, name)
            elif seen.kind != SMOOTH:
                raise _undeclared(name, facts.names[i], end, seen.kind)


def _check_steep(there: Function, seen: Look, operand: int, name: str) -> None:
    """At an end where the slope is infinite, the tape says so, with the right sign."""
    leaves = there.leaves(there.operands)
    ones = [np.ones(y.shape) for y in seen.values]
    with np.errstate(all="ignore"):
        found = pull(there(leaves), leaves, ones)[operand].numpy().reshape(-1)[:1]
    rise = sum(float(slope.value.sum()) for slope in seen.slopes)
    inwards = seen.v[operand].reshape(-1)[0]
    expected = math.copysign(math.inf, rise * inwards)
    if found[0] != expected:
        values = float(found[0]), expected, 0.0, "the slope from inside", 1
        index = (0,) * there.operands[operand].ndim
        wrong = Wrong("is wrong at the end of its domain", operand, index, *values)
        raise told(name, there, wrong, 0)


REASONS = {
    KINK: "its slope jumps",
    STEEP: "its slope is infinite",
    UNDEFINED: "it has no finite value",
}


def _undeclared(
    name: str, operand: str, point: float | str, kind: str
) -> GradientError:
    """What a primitive does at a special point and has not said."""
    key = repr(operand if isinstance(point, str) else point)
    return GradientError(
        f"primitive {name!r}: at {point} of its operand {operand!r} {REASONS[kind]}, "
        "and it does not declare so. If that is meant, say which slope the rule gives "
        f"there, kinks={{{operand!r}: {{{key}: 0}}}}, or None where there is none; or "
        f"leave the point out: domain={{{operand!r}: (low, high)}}.",
        primitive=name,
        operand=operand,
    )
