"""Writes in place: whether an array was changed after the tape had kept it."""

from __future__ import annotations

import weakref
from collections.abc import Container
from typing import Any, NamedTuple

from minigrad.backend import Array, is_array
from minigrad.tape.entry import Entry, next_order, steps
from minigrad.tape.recording import recording, tell


class Stamp(NamedTuple):
    """When and by which operation an array was last written in place."""

    order: int
    operation: str  # and the user's line, where lines are recorded
    array: weakref.ref[Any]


class Writes:
    """Which arrays were written in place, and when: nothing is paid until one is.

    A write stamps the array that owns the memory with the next creation number, so
    views share their base's stamp; a backward pass looks closer only at entries older
    than the last write.
    """

    def __init__(self) -> None:
        self.last = 0
        self.stamps: dict[int, Stamp] = {}

    def record(self, array: Array, operation: str) -> None:
        """Stamp `array`'s memory."""
        tell("wrote", array, operation)
        owner = owner_of(array)
        key = id(owner)
        gone = weakref.ref(owner, lambda _: self.stamps.pop(key, None))
        lines = [line for o in recording.observers if (line := o.line())]
        operation = ", ".join([operation, *lines])
        with steps.lock:  # or a thread with an older number could come last
            stamp = Stamp(next_order(), operation, gone)
            self.stamps[key] = stamp
            self.last = max(self.last, stamp.order)  # a handler's may be newer

    def since(self, order: int) -> dict[int, Any]:
        """The arrays that own memory written since `order`, by their `id`."""
        stamps = [stamp for stamp in list(self.stamps.values()) if stamp.order > order]
        arrays = [array for stamp in stamps if (array := stamp.array()) is not None]
        return {id(array): array for array in arrays}

    def check(self, entry: Entry, written: Container[int] = ()) -> None:
        """Refuse an entry whose kept arrays were written after it, or are `written`."""
        names = entry.primitive.operand_names if entry.primitive else []
        for i, array in enumerate((*entry.operands, *entry.results)):
            key = id(owner_of(array))
            stamp = self.stamps.get(key)
            if stamp is None or (stamp.order < entry.order and key not in written):
                continue
            which = "its output" if i >= len(entry.operands) else "an operand"
            if i < min(len(names), len(entry.operands)):
                which = f"operand {names[i]!r}"
            raise RuntimeError(
                f"{entry.name} (entry {entry.order}{_line(entry)}) kept {which} of "
                "shape "
                f"{array.shape} for its gradient, but {stamp.operation} changed that "
                "array in place before backward: the gradient would be wrong. Change a "
                "copy instead (x = x + 1, or x.detach() of a Tensor(x)), or write "
                "after backward."
            )


def owner_of(array: Any) -> Any:
    """The array that owns the memory `array` looks into."""
    while is_array(getattr(array, "base", None)):
        array = array.base
    return array


def _line(entry: Entry) -> str:
    line = entry.notes.get("line") if entry.notes else None
    return f", {line}" if line else ""


writes = Writes()
record_write = writes.record
