"""Was an array changed in place after the tape kept it?"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from minigrad.backend import Array, is_array
from minigrad.tape.entry import Entry, next_order, recording


class Stamp(NamedTuple):
    """When and by which operation an array was last written in place."""

    order: int
    operation: str  # and the user's line, where lines are recorded
    array: weakref.ref[Any]


class Writes:
    """Which arrays were written in place, and when: nothing is paid until one is.

    A write stamps the array that owns the memory with the next creation number, so
    views share their base's stamp; the walk looks closer only at entries older than
    the last write.
    """

    def __init__(self) -> None:
        self.last = 0
        self.stamps: dict[int, Stamp] = {}

    def record(self, array: Array, operation: str) -> None:
        """Stamp `array`'s memory."""
        owner = owner_of(array)
        key = id(owner)
        gone = weakref.ref(owner, lambda _: self.stamps.pop(key, None))
        self.last = next_order()
        lines = [o.line() for o in recording.observers if hasattr(o, "line")]
        operation = ", ".join([operation, *lines])
        self.stamps[key] = Stamp(self.last, operation, gone)

    def check(self, entry: Entry, since: int | None = None) -> None:
        """Refuse an entry whose kept arrays were written later, or after `since`."""
        since = entry.order if since is None else since
        names = entry.primitive.operand_names if entry.primitive else []
        for i, array in enumerate((*entry.operands, entry.output)):
            stamp = self.stamps.get(id(owner_of(array)))
            if stamp is None or stamp.order < since:
                continue
            which = "its output" if i == len(entry.operands) else "an operand"
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
