"""Saved states: checking one against its owner, every mismatch in one report."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

import minigrad as mg
from nn.checks import Numbers

# What a key of a state must hold: an array of this shape, a number in this range, or
# the name of the class that saved the state.
Expected = tuple[int, ...] | Numbers | str


def check_state(
    call: str, state: Any, expected: Mapping[str, Expected], way_out: str
) -> None:
    """Raise unless a state has exactly the expected keys, and what each must hold.

    Raises: TypeError for what is no dictionary; ValueError that names every mismatch.
    """
    check_mapping(call, state)
    if problems := _mismatches(state, expected):
        raise ValueError(
            f"{call}: the state does not fit, so nothing was loaded: "
            f"{'; '.join(problems)}. {way_out}"
        )


def check_mapping(call: str, state: Any) -> None:
    """Raise unless a state is a dictionary.

    Raises: TypeError.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{call}: the state is a {type(state).__name__}, but must be a dictionary, "
            "as state_dict() gives it."
        )


def real_array(value: Any) -> np.ndarray | None:
    """Give the NumPy array of real numbers behind a value, None where there is none."""
    try:
        array = value.numpy() if isinstance(value, mg.Tensor) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None  # ragged, or another library's that does not share its values
    return array if array.dtype.kind in "biuf" else None


def assign(values: Iterable[tuple[mg.Tensor, Any]]) -> None:
    """Copy arrays into parameters, all or none; each keeps its dtype and device."""
    loaded = [(p, mg.Tensor(a, dtype=p.dtype, device=p.device)) for p, a in values]
    for parameter, tensor in loaded:
        parameter.data = tensor.data


def _mismatches(
    state: Mapping[str, Any], expected: Mapping[str, Expected]
) -> list[str]:
    """One phrase for each kind of mismatch; another class's state is the only one."""
    found: dict[str, list[Any]] = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
    }
    for key, wanted in expected.items():
        if isinstance(wanted, str) and state.get(key) != wanted:
            return [f"it was saved by {state.get(key)!r}, this is {wanted!r}"]
        for kind, what in _mismatch(state[key], wanted) if key in state else ():
            found.setdefault(kind, []).append(f"{key} {what}")
    return [f"{kind}: {', '.join(map(str, f))}" for kind, f in found.items() if f]


def _mismatch(value: Any, wanted: Expected) -> Iterator[tuple[str, str]]:
    """The kind of a mismatch and what it is, if there is one."""
    if isinstance(wanted, Numbers):
        if not wanted.hold(value):
            yield "out of range", f"is {value!r}"
    elif not isinstance(wanted, str):
        array = real_array(value)
        if array is None:
            yield "not an array of real numbers", f"(a {type(value).__name__})"
        elif array.shape != wanted:
            yield "misshapen", f"(expected {wanted}, the state has {array.shape})"
