"""A profiler: time and live bytes of each operation."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any, NamedTuple

from minigrad import backend
from minigrad.inspect.table import table_text
from minigrad.tape import Call, Entry, Observer, Scope, array_of
from minigrad.tape.writes import owner_of


class Event(NamedTuple):
    """One operation forward, or one entry backward."""

    phase: str
    name: str
    order: int | None
    seconds: float
    live_bytes: int


HEADER = (
    "operation",
    "calls",
    "forward ms",
    "differentiated",
    "backward ms",
    "live bytes",
)


class Profile(Observer):
    """Time and live bytes of each operation, forward and backward: print it.

    Live bytes are those of the arrays that operations and rules made and that are still
    held by somebody at that moment.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.live = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def called(self, call: Call, entry: Entry | None, seconds: float) -> None:
        """Note an operation."""
        for array in call.results:
            self._track(array)
        order = entry.order if entry is not None else None
        name = call.primitive.name
        self.events.append(Event("forward", name, order, seconds, self.live))

    def differentiated(self, entry: Entry, g: Any, handed: Any, seconds: float) -> None:
        """Note an entry's rules."""
        for _, gradient in handed:
            self._track(array_of(gradient))
        event = Event("backward", entry.name, entry.order, seconds, self.live)
        self.events.append(event)

    def _track(self, array: Any) -> None:
        """Count an array until it dies; views count for nothing of their own."""
        owner = owner_of(array)
        if not backend.is_array(owner) or id(owner) in self._seen:
            return
        key, size = id(owner), owner.nbytes
        self.live += size

        def died(_: Any) -> None:
            self.live -= size
            self._seen.pop(key, None)

        self._seen[key] = weakref.ref(owner, died)

    @property
    def peak_bytes(self) -> int:
        """The most bytes that were alive at once."""
        return max((event.live_bytes for event in self.events), default=0)

    def __str__(self) -> str:
        """A row an operation, dearest first."""
        spent: Counter[str] = Counter()
        cells = []
        for event in self.events:
            spent[event.name] += event.seconds  # type: ignore[assignment]
        for name, _ in spent.most_common():
            events = [event for event in self.events if event.name == name]
            row = [name]
            for phase in ("forward", "backward"):
                seconds = [event.seconds for event in events if event.phase == phase]
                row += [str(len(seconds)), f"{1000 * sum(seconds):.3f}"]
            cells.append((*row, f"{max(event.live_bytes for event in events):,}"))
        return f"{table_text(HEADER, cells)}\npeak: {self.peak_bytes:,} live bytes"


def profile() -> Scope:
    """Measure what is recorded and differentiated, inside a ``with``."""
    return Scope(observer=Profile())
