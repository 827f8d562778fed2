"""Signals that ask work to stop: Ctrl-C, a scheduler's, a closed terminal's.

SIGTERM (`kill`, schedulers) and SIGHUP (closed terminals) count as Ctrl-C does: they
stop training between two steps (`Interrupt`), other work at once, after clearing up
(`ending_by_signals`). The exit code is the shell's, 128 and the signal's number.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Self

# Windows has no SIGHUP.
OTHERS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)

Handler = Callable[[int, FrameType | None], Any]


class StopError(Exception):
    """Training was stopped by a signal, between two steps, and saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Interrupt(ExitStack):
    """Turn the first signal into a request that the loop serves between two steps.

    A KeyboardInterrupt would leave an update half done. A second signal stops at once.
    """

    requested: int | None = None

    def __enter__(self) -> Self:
        self.enter_context(_handling(self._note, (signal.SIGINT, *_heeded())))
        return super().__enter__()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.requested = number
        self.close()


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit, so that the program cleans up."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handling(end, _heeded()):
        yield


@contextmanager
def unheard() -> Iterator[None]:
    """Ignore that a line, or later ones, cannot be printed: the output was closed."""
    try:
        yield
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            return
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _heeded() -> tuple[int, ...]:
    """The other signals, but for those that are ignored, as `nohup` has it."""
    return tuple(n for n in OTHERS if signal.getsignal(n) is not signal.SIG_IGN)


@contextmanager
def _handling(handler: Handler, numbers: tuple[int, ...]) -> Iterator[None]:
    """Take over these signals, and give them back."""
    # Python lets only the main thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            # None stands for a handler that was not installed by Python.
            signal.signal(number, signal.SIG_DFL if old is None else old)
