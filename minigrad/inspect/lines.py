"""The user's lines on the tape, and detection of the first NaN."""

from __future__ import annotations

import linecache
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.tape import Call, Entry, Observer, Scope, array_of

ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("minigrad", "nn"))


def users_line() -> str:
    """The innermost line outside minigrad and nn, as "file:number: code"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    code = linecache.getline(file, number).strip()
    return f"{Path(file).name}:{number}: {code}"


class _Lines(Observer):
    """Watches recording and notes on each entry the line that asked for it."""

    def called(self, call: Call, entry: Entry | None, seconds: float) -> None:
        if entry is not None:
            entry.note("line", users_line())

    def line(self) -> str:
        """The user's line now, for a write in place."""
        return users_line()


def record_lines() -> Scope:
    """Make each entry remember the user's line, inside a ``with``."""
    return Scope(observer=_Lines())


# -- the first NaN -----------------------------------------------------------------


class _Anomaly(_Lines):
    """Watches for the first value that is not finite."""

    every_gradient = True
    checks_ids = True  # also those on a GPU, which would wrap around

    def called(self, call: Call, entry: Entry | None, seconds: float) -> None:
        super().called(call, entry, seconds)
        outputs = call.results if call.primitive.many else call.results[:1]
        bad = _first_bad(outputs)
        if bad is None:
            return
        came = "An operand held such a value already"
        if _first_bad(call.operands) is None:
            came = "Its operands are finite"
        raise FloatingPointError(
            f"the output of {call.primitive.name} holds {bad}, recorded at "
            f"{users_line()}. {came}: look at their values there, for example for a "
            "division by 0, the logarithm of 0 or an overflow."
        )

    def differentiated(self, entry: Entry, g: Any, handed: Any, seconds: float) -> None:
        for parent, gradient in handed:
            bad = _first_bad(array_of(gradient))
            if bad is not None:
                line = (entry.notes or {}).get("line", "an unknown line")
                raise FloatingPointError(
                    f"the gradient that {entry.name} (entry {entry.order}) hands to "
                    f"its {parent.name} of shape {parent.shape} holds {bad}; it was "
                    f"recorded at {line}. Its derivative is not finite there: keep its "
                    "operand away from that point, for example with clip or a small "
                    "constant added."
                )


def _first_bad(value: Any) -> str | None:
    """The first NaN or infinity of one or several arrays, told with its index."""
    if isinstance(value, list | tuple):
        return next((bad for bad in map(_first_bad, value) if bad), None)
    array = np.asarray(value) if np.isscalar(value) else value
    if array.dtype.kind not in "fc" or bool(np.isfinite(array).all()):
        return None
    host = backend.to_numpy(array)
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
    return f"{host[place]} at index {place}"


def detect_anomaly() -> Scope:
    """Inside, the first NaN or infinity raises, naming operation and user's line.

    Covers outputs and gradients; wrap both the forward and the backward. On a GPU, ids
    out of range are caught too, which otherwise wrap around there.

    Raises:
        FloatingPointError: on leaving the first operation that produced one.
    """
    return Scope(observer=_Anomaly())
