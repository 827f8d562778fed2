"""What is the right derivative?  Two oracles that know nothing of the tape.

Both give J v, the derivative of all outputs along one direction, and how far it can be
trusted. The complex step is right to a few round-offs, but only of analytic functions;
differences are right to about nine digits, of any smooth function.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Arrays = list[np.ndarray]
Function = Callable[[Arrays], Arrays]  # operands to outputs

STEP = 2.0**-10  # of differences: the fourth root of the round-off, about
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


DIFFERENCES = Oracle("finite differences", along_differences)
COMPLEX_STEP = Oracle("the complex step", along_complex_step)


def choose_oracle(f: Function, operands: Arrays, random: np.random.Generator) -> Oracle:
    """The complex step where it agrees with differences along a random direction.

    A function that is not analytic (it takes a magnitude, say, or has no complex form)
    is off by as much as its slope, and is left to differences.
    """
    v = [random.standard_normal(a.shape) for a in operands]
    try:
        exact = along_complex_step(f, operands, v)
    except (TypeError, ValueError, np.exceptions.ComplexWarning):
        return DIFFERENCES
    rough = along_differences(f, operands, v)
    agree = all(
        np.all(np.abs(a.value - b.value) <= b.error + 1e-6 * (1 + np.abs(b.value)))
        for a, b in zip(exact, rough, strict=True)
    )
    return COMPLEX_STEP if agree else DIFFERENCES


def unit_directions(operands: Arrays, which: int) -> Sequence[tuple[tuple, Arrays]]:
    """For each element of one operand its index, and the direction that moves it."""
    directions = []
    for index in np.ndindex(operands[which].shape):
        v = [np.zeros(a.shape) for a in operands]
        v[which][index] = 1
        directions.append((index, v))
    return directions
