"""Checks of operands and settings, cheap where they pass."""

import functools
import math
import re
import string
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from minigrad import tape
from minigrad.backend import is_array
from minigrad.ops.index import checks_ids

# An axis as it is written, and the factor and the letter of its length: "4H", 4, "H".
Axis = tuple[str, int, str]


def check_shapes(layer: str, shapes: str, *values: Any) -> None:
    """Raise unless arrays have shapes as in "x (..., D), W (D, 4H), b? (4H,)".

    A letter is one length wherever it stands, 4H four times that of H, and `...` any
    number of axes. What has a "?" may be None.

    Raises: ValueError.
    """
    given = tuple([None if value is None else value.shape for value in values])
    if misfit := _misfit(shapes, given):
        raise ValueError(f"{layer}: {misfit}")


@functools.lru_cache(maxsize=1024)  # a layer asks the same at every step
def _misfit(shapes: str, given: tuple[tuple[int, ...] | None, ...]) -> str:
    """What does not fit first, and beside what; nothing where all do."""
    sizes, beside = {"": 1}, ""
    for (name, axes, _), shape in zip(parsed(shapes), given, strict=True):
        known = sizes.copy()
        if shape is not None and not _bind(shape, axes, sizes):
            shown = [str(n * known[x]) if x in known else text for text, n, x in axes]
            return (
                f"{name} has shape {shape}, expected ({', '.join(shown)}"
                f"{',' * (len(shown) == 1)}){beside}. Give {shapes.replace('?', '')}, "
                "a letter the same length everywhere."
            )
        if shape is not None:
            beside += f"{', ' if beside else ' beside '}{name} {shape}"
    return ""


@functools.lru_cache
def parsed(shapes: str) -> list[tuple[str, list[Axis], bool]]:
    """Give each name and its axes, and whether None is allowed."""
    return [
        (name, [_axis(text) for text in axes.replace(",", " ").split()], bool(mark))
        for name, mark, axes in re.findall(r"(\w+)(\??) \((.*?)\)", shapes)
    ]


def _axis(text: str) -> Axis:
    letter = text.lstrip(string.digits)
    return text, int(text.removesuffix(letter) or 1), letter


def _bind(shape: tuple[int, ...], axes: list[Axis], sizes: dict[str, int]) -> bool:
    """Add the letters' lengths in a shape to the sizes, unless they disagree."""
    if axes and axes[0][0] == "...":
        axes = axes[1:]
        shape = shape[max(len(shape) - len(axes), 0) :]
    if len(shape) != len(axes):
        return False
    for length, (_, factor, letter) in zip(shape, axes, strict=True):
        size, rest = divmod(length, factor) if letter else (1, length - factor)
        if rest or sizes.setdefault(letter, size) != size:
            return False
    return True


def check_boolean(layer: str, mask: Any, meaning: str, example: str) -> None:
    """Raise unless a mask is boolean.

    Raises: TypeError.
    """
    if mask.dtype.kind != "b":
        raise TypeError(
            f"{layer}: mask has dtype {mask.dtype}, but must be boolean, True where "
            f"{meaning}. Make one with a comparison, as in mask = {example}."
        )


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
        tape.check_values(ids, functools.partial(_check_range, layer, name, below))


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
