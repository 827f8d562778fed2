"""How does an application begin a run, go on with one, and load what it trained?

An application brings its settings (a dataclass with a field `data`), a function that
builds an untrained model with the job of training it, and one that writes the report of
a run under way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

import minigrad as mg
from apps import run as runs
from apps.run import Job, RunFolder

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class App(Generic[S, T]):
    """What an application has of its own; S are its settings, T what it trains.

    `build(settings, device)` raises a `UserError` for data that are not as they should
    be; `report(run)` is called before the first epoch and after each.
    """

    settings: type[S]
    build: Callable[[S, str], tuple[T, Job]]
    report: Callable[[RunFolder], object]

    def start(
        self, settings: S, path: Path, console: Console, device: str = "cpu"
    ) -> T | None:
        """Train in a new run folder; None if Ctrl-C stopped it."""
        trained, job = self.build(settings, device)
        config = asdict(settings)  # type: ignore[call-overload]
        run = RunFolder.create(path, config)
        _tell(device, console)
        line = f"Training on {config['data']}; Ctrl-C saves and stops."
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        ended = runs.train(job, run, console, lambda: self.report(run))
        return trained if ended else None

    def resume(self, path: Path, console: Console, device: str = "cpu") -> T | None:
        """Go on with a run that was stopped; None if Ctrl-C stopped it again."""
        run, trained, job = self._open(path, device)
        _tell(device, console)
        ended = runs.resume(job, run, console, lambda: self.report(run))
        return trained if ended else None

    def load(self, path: Path, console: Console, device: str = "cpu") -> T:
        """Load what a run has trained, or has trained so far."""
        run, trained, job = self._open(path, device)
        runs.restore(job, run)
        _tell(device, console)
        return trained

    def _open(self, path: Path, device: str) -> tuple[RunFolder, T, Job]:
        run = RunFolder.open(path)
        return run, *self.build(run.settings(self.settings), device)


def _tell(device: Any, console: Console) -> None:
    found = mg.device(device)
    line = f"device: {found} ({found.reason})"
    console.print(line, highlight=False, markup=False, soft_wrap=True)
