"""What is the right derivative?  Two oracles that know nothing of the tape.

Both give J v, the derivative of all outputs along one direction, and how far it can be
trusted. The complex step is right to a few round-offs, but only of analytic functions;
differences are right to about nine digits, of any smooth function.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Arrays = list[np.ndarray]
Function = Callable[[Arrays], Arrays]  # operands to outputs

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
    along: Callable[[Function, Arrays, Arrays, float], list[Derivative]]


def along_differences(
    f: Function, operands: Arrays, v: Arrays, size: float = 1.0
) -> list[Derivative]:
    """Richardson-extrapolated central differences of `f` along `v`.

    The error bound is what step and half step disagree by, which the extrapolation
    brings down by far more, and the rounding of the values that are subtracted:
    `size` is the largest number that `f` meets on the way to them.

    Source: L. F. Richardson, "The approximate arithmetical solution by finite
    differences", 1911.
    """
    ends = [f(_moved(operands, v, d * STEP)) for d in (1, -1, 0.5, -0.5)]
    return [_extrapolated(size, *values) for values in zip(*ends, strict=True)]


def _moved(operands: Arrays, v: Arrays, distance: complex) -> Arrays:
    return [np.asarray(a + distance * d) for a, d in zip(operands, v, strict=True)]


def _extrapolated(
    size: float,
    right: np.ndarray,
    left: np.ndarray,
    near_right: np.ndarray,
    near_left: np.ndarray,
) -> Derivative:
    coarse = (right - left) / (2 * STEP)
    fine = (near_right - near_left) / STEP
    rounding = 200 * EPS * max(size, np.abs(right).max(initial=0)) / STEP
    error = np.abs(fine - coarse) / 10 + rounding
    return Derivative((4 * fine - coarse) / 3, error)


def along_complex_step(
    f: Function, operands: Arrays, v: Arrays, size: float = 1.0
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
        slopes = [
            [np.imag(y) / h for y in f(_moved(operands, v, 1j * h))] for h in steps
        ]
    return [
        Derivative(whole, 4 * np.abs(whole - third) + 16 * EPS * np.abs(whole))
        for whole, third in zip(*slopes, strict=True)
    ]


# -- near a point that may be a kink or an end -------------------------------------

SMOOTH, KINK, STEEP, UNDEFINED = "smooth", "a kink", "steep", "undefined"


class Look(NamedTuple):
    """What a function does near a point, along one direction.

    `kind` is SMOOTH (with slopes), KINK, UNDEFINED, or STEEP: at the end of the domain,
    with a slope that grows beyond all bounds. At an end `v` points inwards.
    """

    kind: str
    values: Arrays
    v: Arrays
    slopes: list[Derivative]
    at_end: bool = False


def look(f: Function, operands: Arrays, v: Arrays, size: float = 1.0) -> Look:
    """Find out whether `f` is smooth along `v`, and its slopes there.

    Where `f` has values on one side alone, the slopes are those of that side.
    """
    with np.errstate(all="ignore"):
        here = _values(f, operands)
        if here is None:
            return Look(UNDEFINED, [], v, [])
        right, left = (_rays(f, operands, v, s * STEP) for s in (1, -1))
        if right is not None and left is not None:
            return _from_both_sides(here, v, right, left, size)
        if right is None and left is None:
            return Look(UNDEFINED, here, v, [])
        inwards = v if right is not None else [-d for d in v]
        ray = _rays(f, operands, inwards, STEP_INWARDS)
        return _from_inside(here, inwards, ray or [], size)


def _values(f: Function, operands: Arrays) -> Arrays | None:
    """The values, or None where there are none: they are not finite, or `f` raises."""
    try:
        values = f(operands)
    except Exception:  # whatever it is, `f` is not defined here
        return None
    return values if all(np.isfinite(y).all() for y in values) else None


def _rays(f: Function, operands: Arrays, v: Arrays, step: float) -> Any:
    """Values at a step, at half of it and at a quarter; or None."""
    found = [_values(f, _moved(operands, v, step * part)) for part in (1, 0.5, 0.25)]
    return None if any(values is None for values in found) else found


def _from_both_sides(
    here: Arrays, v: Arrays, right: Any, left: Any, size: float
) -> Look:
    """Smooth where the jump between both sides' slopes goes away as steps shrink.

    Without its linear part it falls to an eighth for half the step; at a kink it stays.
    """
    slopes = []
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
        slopes.append(Derivative((16 * fine - coarse) / 15, error))
    return Look(SMOOTH, here, v, slopes)


def _from_inside(here: Arrays, v: Arrays, ray: Any, size: float) -> Look:
    """Smooth up to the end where the slope from inside converges as steps shrink."""
    slopes = []
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
        slopes.append(Derivative(value, error))
    return Look(kind, here, v, slopes, at_end=True)


def _rounding(size: float, values: Arrays, step: float) -> float:
    """What rounding can do to a quotient of differences."""
    return 200 * EPS * max(size, *(np.abs(y).max(initial=0) for y in values)) / step


DIFFERENCES = Oracle("finite differences", along_differences)
COMPLEX_STEP = Oracle("the complex step", along_complex_step)


def choose_oracle(f: Function, operands: Arrays, random: np.random.Generator) -> Oracle:
    """The complex step where it agrees with differences along a random direction.

    A function that is not analytic (it takes a magnitude, say, or has no complex form)
    is off by as much as its slope, and is left to differences.
    """
    v = [random.standard_normal(a.shape) for a in operands]
    exact = by_complex_step(f, operands, v)
    if exact is None:
        return DIFFERENCES
    rough = along_differences(f, operands, v)
    return COMPLEX_STEP if agree(exact, rough) else DIFFERENCES


def by_complex_step(
    f: Function, operands: Arrays, v: Arrays
) -> list[Derivative] | None:
    """What the complex step says, or None for a function that has no complex form."""
    try:
        return along_complex_step(f, operands, v)
    except Exception:  # each library has errors of its own
        return None


def agree(exact: list[Derivative], rough: list[Derivative]) -> bool:
    """Whether the complex step's slopes are those of differences."""
    return all(
        np.all(np.abs(a.value - b.value) <= b.error + 1e-6 * (1 + np.abs(b.value)))
        for a, b in zip(exact, rough, strict=True)
    )


def unit_directions(operands: Arrays, which: int) -> Sequence[tuple[tuple, Arrays]]:
    """For each element of one operand its index, and the direction that moves it."""
    directions = []
    for index in np.ndindex(operands[which].shape):
        v = [np.zeros(a.shape) for a in operands]
        v[which][index] = 1
        directions.append((index, v))
    return directions
