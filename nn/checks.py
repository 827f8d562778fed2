"""Checks of operands and settings, cheap where they pass."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from minigrad import tape
from minigrad.backend import is_array
from minigrad.ops.index import checks_ids

Expected = tuple[int | str, ...]


def check_shape(
    layer: str, name: str, value: Any, expected: Expected, way_out: str
) -> None:
    """Raise unless a value has the expected shape, in which a letter fits any length.

    Shapes: a first item "..." stands for any number of axes.
    Raises: ValueError.
    """
    given = value.shape if hasattr(value, "shape") else np.shape(value)
    if given == expected or _fits(given, expected):
        return
    shown = ", ".join(str(length) for length in expected)
    comma = "," if len(expected) == 1 else ""
    raise ValueError(
        f"{layer}: {name} has shape {given}, expected ({shown}{comma}). {way_out}"
    )


def _fits(given: tuple[int, ...], expected: Expected) -> bool:
    if expected[:1] == ("...",):
        expected = expected[1:]
        given = given[len(given) - len(expected) :]
    if len(given) != len(expected):
        return False
    for length, wanted in zip(given, expected, strict=False):
        if length != wanted and not isinstance(wanted, str):
            return False
    return True


def integer_array(layer: str, name: str, value: Any) -> Any:
    """Give the array of integers behind a Tensor, array or list.

    Raises: TypeError unless they are integers.
    """
    ids = array_of(value)
    if ids.size == 0 and not hasattr(value, "dtype"):
        return ids.astype("int64")  # NumPy makes floats of an empty list
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"{layer}: {name} has dtype {ids.dtype}, but indexes rows or classes and "
            f"so must be of integers. Convert it with {name}.astype('int64')."
        )
    return ids


def check_ids(layer: str, name: str, ids: Any, below: int) -> None:
    """Raise unless 0 <= ids < below.

    On a GPU only inside `mg.detect_anomaly()`: the check would wait for the GPU.

    Raises: ValueError.
    """
    if isinstance(ids, np.ndarray) or checks_ids():
        check = functools.partial(_check_range, layer, name, below)
        tape.check_values(ids, check)


def _check_range(layer: str, name: str, below: int, ids: Any) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= below):
        raise ValueError(
            f"{layer}: {name} range from {ids.min()} to {ids.max()}, but only 0 to "
            f"{below - 1} exist. Check the vocabulary that the ids come from, or make "
            "the layer larger."
        )


def array_of(value: Any) -> Any:
    """Give the NumPy or GPU array behind a Tensor, array or list.

    A ragged list becomes an array of objects, a dtype that no layer takes.
    """
    value = tape.array_of(value)
    if is_array(value):
        return value
    try:
        return tape.constant(np.asarray(value))
    except (ValueError, TypeError, RuntimeError):
        return np.array(None)


# -- settings ----------------------------------------------------------------------


class Numbers(NamedTuple):
    """The range of a setting, as text with {} for its name and as a predicate."""

    expected: str
    fit: Callable[[Any], bool]

    def hold(self, value: Any) -> bool:
        """Whether a value is a number in the range; True and False are none."""
        return isinstance(value, Real) and not _is_bool(value) and self.fit(value)


FINITE = Numbers("-inf < {} < inf", math.isfinite)
POSITIVE = Numbers("{} > 0", lambda x: 0 < x < math.inf)
NOT_NEGATIVE = Numbers("{} >= 0", lambda x: 0 <= x < math.inf)
LIMIT = Numbers("{} > 0", lambda x: x > 0)  # infinity included
FRACTION = Numbers("0 <= {} < 1", lambda x: 0 <= x < 1)
DECAY = Numbers("0 < {} <= 1", lambda x: 0 < x <= 1)
COUNT = Numbers("{} >= 0", lambda x: is_integer(x) and x >= 0)
POSITIVE_COUNT = Numbers("{} >= 1", lambda x: is_integer(x) and x >= 1)


def check_number(
    layer: str, name: str, value: Any, numbers: Numbers, why: str = "out of range"
) -> None:
    """Raise unless a setting is a number in its range.

    Raises: TypeError, ValueError.
    """
    if numbers.hold(value):
        return
    way_out = f"Give a number with {numbers.expected.format(name)}."
    if not isinstance(value, Real) or _is_bool(value):
        kind = type(value).__name__
        raise TypeError(
            f"{layer}: {name} is {value!r}, a {kind}, but must be a number. {way_out}"
        )
    raise ValueError(f"{layer}: {name} is {value!r}, {why}. {way_out}")


def check_size(layer: str, **sizes: Any) -> None:
    """Raise unless every named size of a layer is a positive integer.

    Raises: TypeError for what is no integer, ValueError for those below 1.
    """
    for name, size in sizes.items():
        if is_integer(size) and size >= 1:
            continue
        raise (ValueError if is_integer(size) else TypeError)(
            f"{layer}: {name} is {size!r}, but a layer needs at least one of them. "
            f"Give a positive integer as {name}."
        )


def is_integer(value: Any) -> bool:
    """Whether a value is a Python or NumPy integer; True and False are none."""
    return isinstance(value, Integral) and not _is_bool(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)
