"""Derivatives that know nothing of the tape: the complex step, and differences.

Both give J v, the derivative of all outputs along one direction, and how far it can be
trusted. The complex step is right to a few round-offs, but only of analytic functions;
differences are right to about nine digits, of any smooth function. `look` finds out
where a function is smooth.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

Arrays = list[np.ndarray]
Outputs = Callable[[Arrays], Arrays]  # a function, from operands to outputs

STEP = 2.0**-10  # of differences: the fourth root of the round-off, about
STEP_INWARDS = 2.0**-20  # from the end of a domain, with values on one side alone
IMAGINARY_STEP = 2.0**-100  # no digits are lost to it, however small
EPS = float(np.finfo(np.float64).eps)


class Derivative(NamedTuple):
    """An output's derivative and its error bound, element by element."""

    value: np.ndarray
    error: np.ndarray


class Oracle(NamedTuple):
    """A way to differentiate along a direction, and what messages call it."""

    name: str
    along: Callable[[Outputs, Arrays, Arrays, float], list[Derivative]]


def along_differences(
    f: Outputs, operands: Arrays, v: Arrays, size: float = 1.0
) -> list[Derivative]:
    """Richardson-extrapolated central differences of `f` along `v`.

    The error bound is what step and half step disagree by, which the extrapolation
    brings down by far more, and the rounding of the values that are subtracted:
    `size` is the largest number that `f` meets on the way to them.

    Source: L. F. Richardson, "The approximate arithmetical solution by finite
    differences", 1911.
    """
    ends = [f(_moved(operands, v, d * STEP)) for d in (1, -1, 0.5, -0.5)]
    derivatives = []
    for right, left, near_right, near_left in zip(*ends, strict=True):
        coarse, fine = (right - left) / (2 * STEP), (near_right - near_left) / STEP
        error = np.abs(fine - coarse) / 10 + _rounding(size, [right], STEP)
        derivatives.append(Derivative((4 * fine - coarse) / 3, error))
    return derivatives


def _moved(operands: Arrays, v: Arrays, distance: complex) -> Arrays:
    return [np.asarray(a + distance * d) for a, d in zip(operands, v, strict=True)]


def _rounding(size: float, values: Arrays, step: float) -> float:
    """What rounding can do to a quotient of differences."""
    return 200 * EPS * max(size, *(np.abs(y).max(initial=0) for y in values)) / step


def along_complex_step(
    f: Outputs, operands: Arrays, v: Arrays, size: float = 1.0
) -> list[Derivative]:
    """Im f(x + i h v) / h, of which nothing cancels: h can be as small as one likes.

    The bound is the disagreement with another step (a third: half a step has the same
    digits) and a few round-offs.

    Source: W. Squire, G. Trapp, "Using complex variables to estimate derivatives of
    real functions", SIAM Review 40, 1998.
    """
    steps = (IMAGINARY_STEP, IMAGINARY_STEP / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        both = [[np.imag(y) / h for y in f(_moved(operands, v, 1j * h))] for h in steps]
    return [
        Derivative(whole, 4 * np.abs(whole - third) + 16 * EPS * np.abs(whole))
        for whole, third in zip(*both, strict=True)
    ]


DIFFERENCES = Oracle("finite differences", along_differences)
COMPLEX_STEP = Oracle("the complex step", along_complex_step)


def unit_directions(operands: Arrays, which: int) -> Iterator[tuple[tuple, Arrays]]:
    """For each element of one operand its index, and the direction that moves it."""
    for index in np.ndindex(operands[which].shape):
        v = [np.zeros(a.shape) for a in operands]
        v[which][index] = 1
        yield index, v


# -- along one direction, near what may be a kink or an end ------------------------

SMOOTH, KINK, STEEP, UNDEFINED = "smooth", "a kink", "steep", "undefined"


class Look(NamedTuple):
    """What a function does near a point, along one direction.

    `kind` is SMOOTH (with derivatives, and the oracle that says so), KINK, UNDEFINED,
    or STEEP: at the end of the domain, with a derivative beyond all bounds. At an end
    `v` points inwards.
    """

    kind: str
    values: Arrays
    v: Arrays
    derivatives: list[Derivative]
    oracle: Oracle = DIFFERENCES


def derive(f: Outputs, operands: Arrays, v: Arrays, size: float = 1.0) -> Look:
    """The derivatives along `v` of a function that is smooth, by the best oracle."""
    rough = Look(SMOOTH, [], v, along_differences(f, operands, v, size))
    return _sharpened(f, operands, rough)


def _sharpened(f: Outputs, operands: Arrays, seen: Look) -> Look:
    """The complex step's derivatives in place of differences that they agree with.

    A function that is not analytic (it takes a magnitude, say) is off by as much as
    its derivative, and one without a complex form raises.
    """
    try:
        exact = along_complex_step(f, operands, seen.v)
    except Exception:  # each library has errors of its own
        return seen
    agrees = all(
        np.all(np.abs(a.value - b.value) <= b.error + 1e-6 * (1 + np.abs(b.value)))
        for a, b in zip(exact, seen.derivatives, strict=True)
    )
    return seen._replace(derivatives=exact, oracle=COMPLEX_STEP) if agrees else seen


def look(f: Outputs, operands: Arrays, v: Arrays, size: float = 1.0) -> Look:
    """Find out whether `f` is smooth along `v`, and its derivatives there.

    Where `f` has values on one side alone, the derivatives are those of that side.
    """
    with np.errstate(all="ignore"):
        here = _values(f, operands)
        right, left = (_rays(f, operands, v, s * STEP) for s in (1, -1))
        if not here or not (right or left):
            return Look(UNDEFINED, here, v, [])
        if not (right and left):
            inwards = v if right else [-d for d in v]
            ray = _rays(f, operands, inwards, STEP_INWARDS)
            return _from_inside(here, inwards, ray, size)
        seen = _from_both_sides(here, v, right, left, size)
        return _sharpened(f, operands, seen) if seen.kind == SMOOTH else seen


def _values(f: Outputs, operands: Arrays) -> Arrays:
    """The values, or nothing where one is not finite or `f` raises."""
    try:
        values = f(operands)
    except Exception:  # whatever it is, `f` is not defined here
        return []
    return values if all(np.isfinite(y).all() for y in values) else []


def _rays(f: Outputs, operands: Arrays, v: Arrays, step: float) -> list[Arrays]:
    """Values at a step, at half of it and at a quarter; or nothing."""
    found = [_values(f, _moved(operands, v, step * part)) for part in (1, 0.5, 0.25)]
    return found if all(found) else []


def _from_both_sides(
    here: Arrays, v: Arrays, right: list[Arrays], left: list[Arrays], size: float
) -> Look:
    """Smooth where the jump between both sides' derivatives shrinks with the step.

    Without its linear part it falls to an eighth for half the step; at a kink it stays.
    """
    derivatives = []
    for y, *ends in zip(here, *right, *left, strict=True):
        steps = [STEP, STEP / 2, STEP / 4]
        pairs = list(zip(ends[:3], ends[3:], steps, strict=True))
        jumps = [(a - 2 * y + b) / h for a, b, h in pairs]
        rounding = _rounding(size, ends, STEP / 4)
        before, after = 2 * jumps[1] - jumps[0], 2 * jumps[2] - jumps[1]
        if np.any(np.abs(after) > 0.3 * np.abs(before) + 4 * rounding):
            return Look(KINK, here, v, [])
        first, second, third = ((a - b) / (2 * h) for a, b, h in pairs)
        coarse, fine = (4 * second - first) / 3, (4 * third - second) / 3
        error = 2 * np.abs(fine - coarse) + rounding
        derivatives.append(Derivative((16 * fine - coarse) / 15, error))
    return Look(SMOOTH, here, v, derivatives)


def _from_inside(here: Arrays, v: Arrays, ray: list[Arrays], size: float) -> Look:
    """Smooth up to the end where the differences from inside converge."""
    derivatives = []
    kind = SMOOTH if ray else UNDEFINED
    for y, *ends in zip(here, *ray, strict=True):
        steps = [STEP_INWARDS, STEP_INWARDS / 2, STEP_INWARDS / 4]
        first, second, third = ((e - y) / h for e, h in zip(ends, steps, strict=True))
        rounding = _rounding(size, ends, STEP_INWARDS / 4)
        shrinks = np.abs(third - second) < 0.95 * np.abs(second - first) + rounding
        if not shrinks.all():
            kind = STEEP
        value = 2 * third - second
        error = 4 * np.abs(value - (2 * second - first)) + rounding
        derivatives.append(Derivative(value, error))
    return Look(kind, here, v, derivatives, FROM_INSIDE)


def along_inside(
    f: Outputs, operands: Arrays, v: Arrays, size: float = 1.0
) -> list[Derivative]:
    """Derivatives along `v` by values on one side; no bound where they do not exist."""
    seen = look(f, operands, v, size)
    if seen.kind != SMOOTH:
        unknown = [(np.zeros(y.shape), np.full(y.shape, np.inf)) for y in f(operands)]
        return [Derivative(*both) for both in unknown]
    sign = 1 if seen.v is v else -1
    return [Derivative(sign * d.value, d.error) for d in seen.derivatives]


FROM_INSIDE = Oracle("the derivative from inside", along_inside)
