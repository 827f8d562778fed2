"""How often the host waits for a strict device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad.inspect.lines import users_line
from minigrad.testing.strict.rules import supported


class Syncs:
    """How often the host waited for the device, where, and what it sent there."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.transfers = 0

    @property
    def count(self) -> int:
        """How often the host waited."""
        return len(self.places)


watched: ContextVar[tuple[Syncs, ...]] = ContextVar("watched", default=())


@contextlib.contextmanager
def count_syncs() -> Iterator[Syncs]:
    """Count inside how often the host waits for a strict device.

    `places` says what waited and in which line of the user's; `transfers` counts copies
    from the host to the device, for which nobody waits.
    """
    seen = Syncs()
    token = watched.set((*watched.get(), seen))
    try:
        yield seen
    finally:
        watched.reset(token)


def wait(what: str) -> None:
    """The host waits for the device."""
    for seen in watched.get():
        seen.places.append(f"{what} in {users_line()}")


def send(value: Any, dtype: Any = None) -> np.ndarray:
    """A copy of a value of the host's, counted as sent to the device."""
    for seen in watched.get():
        seen.transfers += 1
    return supported(np.array(value, dtype))
