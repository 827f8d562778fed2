"""Do the operands fit the layer? Cheap checks, and what they say when they fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
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
    given = np.shape(value)
    if _fits(given, expected):
        return
    shown = ", ".join(str(length) for length in expected)
    comma = "," if len(expected) == 1 else ""
    raise ValueError(
        f"{layer}: {name} has shape {given}, expected ({shown}{comma}). {way_out}"
    )


def _fits(given: tuple[int, ...], expected: Expected) -> bool:
    if expected[:1] == ("...",):
        expected = expected[1:]
        given = given[max(0, len(given) - len(expected)) :]
    return len(given) == len(expected) and all(
        isinstance(e, str) or g == e for g, e in zip(given, expected, strict=True)
    )


def integer_array(layer: str, name: str, value: Any) -> Any:
    """Give the array of integers behind a Tensor, array or list.

    Raises: TypeError unless they are integers.
    """
    ids = array_of(value)
    if ids.size == 0 and not hasattr(value, "dtype"):
        return ids.astype("int64")  # an empty list is one of integers, too
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"{layer}: {name} has dtype {ids.dtype}, but it says which row or class "
            f"and so must be of integers. Convert it with {name}.astype('int64')."
        )
    return ids


def check_ids(layer: str, name: str, ids: Any, below: int) -> None:
    """Raise unless 0 <= ids < below.

    On a GPU only inside `mg.detect_anomaly()`: looking at every id would make it wait.

    Raises: ValueError.
    """
    looked_at = isinstance(ids, np.ndarray) or checks_ids()
    if looked_at and ids.size and _outside(ids, below):
        raise ValueError(
            f"{layer}: {name} reaches from {ids.min()} to {ids.max()}, but only 0 to "
            f"{below - 1} exist. Check the vocabulary the ids come from, or make the "
            "layer larger."
        )


def array_of(value: Any) -> Any:
    """Give the NumPy or GPU array behind a Tensor, array or list.

    A list that is no rectangle becomes an array of objects, which no dtype fits.
    """
    if isinstance(value, mg.Tensor):
        return value.data
    if is_array(value):
        return value
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        return np.array(None)


def _outside(ids: Any, below: int) -> bool:
    return bool(ids.min() < 0 or ids.max() >= below)


# -- settings ----------------------------------------------------------------------


class Numbers(NamedTuple):
    """Which numbers a setting may be, in words about its name and as a test."""

    expected: str
    fit: Callable[[Any], bool]

    def hold(self, value: Any) -> bool:
        """Whether a value is such a number; True and False are none."""
        return isinstance(value, Real) and not is_bool(value) and self.fit(value)


FINITE = Numbers("-inf < {} < inf", math.isfinite)
POSITIVE = Numbers("{} > 0", lambda x: 0 < x < math.inf)
NOT_NEGATIVE = Numbers("{} >= 0", lambda x: 0 <= x < math.inf)
LIMIT = Numbers("{} > 0", lambda x: x > 0)  # infinity is one, too
SHARE = Numbers("0 <= {} < 1", lambda x: 0 <= x < 1)
FACTOR = Numbers("0 < {} <= 1", lambda x: 0 < x <= 1)


def check_number(
    layer: str, name: str, value: Any, numbers: Numbers, why: str = "out of range"
) -> None:
    """Raise unless a setting is a number, and one of those that it may be.

    Raises: TypeError, ValueError.
    """
    if numbers.hold(value):
        return
    way_out = f"Give a number with {numbers.expected.format(name)}."
    if not isinstance(value, Real) or is_bool(value):
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
        problem = (
            f"{layer}: {name} is {size!r}, but a layer needs at least one of them. "
            f"Give a positive integer as {name}."
        )
        if not is_integer(size):
            raise TypeError(problem)
        if size < 1:
            raise ValueError(problem)


def check_generator(owner: str, generator: Any) -> None:
    """Raise unless a generator is minigrad's, or None for the default one.

    Raises: TypeError.
    """
    if generator is not None and not isinstance(generator, mg.Generator):
        given = type(generator)
        raise TypeError(
            f"{owner}: generator is a {given.__module__}.{given.__qualname__}, not a "
            "minigrad Generator, whose state is saved with a model. Give "
            "mg.Generator(seed)."
        )


def is_integer(value: Any) -> bool:
    """Whether a value is a Python or NumPy integer; True and False are none."""
    return isinstance(value, Integral) and not is_bool(value)


def is_bool(value: Any) -> bool:
    """Whether a value is True or False, Python's or NumPy's."""
    return isinstance(value, bool | np.bool_)


# -- states ------------------------------------------------------------------------


def check_fit(owner: str, whole: str, problems: Sequence[str], way_out: str) -> None:
    """Raise where a saved state does not fit, naming all problems at once.

    Raises: ValueError.
    """
    if problems:
        raise ValueError(
            f"{owner}.load_state_dict: the state does not fit the {whole}, so nothing "
            f"was loaded: {'; '.join(problems)}. {way_out}"
        )


def check_mapping(owner: str, state: Any) -> None:
    """Raise unless a state is a dictionary.

    Raises: TypeError.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{owner}.load_state_dict: the state is a {type(state).__name__}, but must "
            "be a dictionary, as state_dict() gives it."
        )


def listed(kinds: Mapping[str, Sequence[Any]]) -> list[str]:
    """One phrase for each kind of problem that has any names."""
    return [
        f"{kind}: {', '.join(map(str, names))}"
        for kind, names in kinds.items()
        if names
    ]


def real_array(value: Any) -> np.ndarray | None:
    """Give the NumPy array of real numbers behind a value, None where there is none."""
    try:
        array = value.numpy() if isinstance(value, mg.Tensor) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None  # ragged, or another library's that keeps its values to itself
    return array if array.dtype.kind in "biuf" else None
