"""Do the operands fit the layer? Cheap checks, and what they say when they fail."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
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


def integer_array(layer: str, name: str, value: Any, below: int) -> Any:
    """Give the array of ids behind a Tensor, array or list, once it is known to be fit.

    Raises: TypeError unless integer; ValueError unless 0 <= ids < below (on a GPU only
    inside `mg.detect_anomaly()`: looking at every id would make it wait).
    """
    ids = array_of(value)
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"{layer}: {name} has dtype {ids.dtype}, but it says which row or class "
            f"and so must be of integers. Convert it with {name}.astype('int64')."
        )
    looked_at = isinstance(ids, np.ndarray) or checks_ids()
    if looked_at and ids.size and _outside(ids, below):
        raise ValueError(
            f"{layer}: {name} reaches from {ids.min()} to {ids.max()}, but only 0 to "
            f"{below - 1} exist. Check the vocabulary the ids come from, or make the "
            "layer larger."
        )
    return ids


def array_of(value: Any) -> Any:
    """Give the NumPy or GPU array behind a Tensor, array or list."""
    if isinstance(value, mg.Tensor):
        return value.data
    return value if hasattr(value, "dtype") else np.asarray(value)


def _outside(ids: Any, below: int) -> bool:
    return bool(ids.min() < 0 or ids.max() >= below)


def check_size(layer: str, **sizes: Any) -> None:
    """Raise unless every named size of a layer is a positive integer.

    Raises: ValueError.
    """
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(
                f"{layer}: {name} is {size!r}, but a layer needs at least one of "
                f"them. Give a positive integer as {name}."
            )
