"""How does an application begin a run, go on with one, and load what it trained?

An application brings its settings (a dataclass with a field `data`), a function that
builds an untrained model with the job of training it, one that shows what was trained,
and one that writes the report of a run under way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from rich.console import Console

import minigrad as mg
from apps import run as runs
from apps.console import say
from apps.report import State, learned_nothing
from apps.run import Job
from apps.run_folder import (
    PreparationError,
    RunError,
    RunFolder,
    new_folder,
)
from apps.signals import StopError, unheard


class HasData(Protocol):
    """Settings of a run."""

    @property
    def data(self) -> str:
        """Where that lies which is learned from."""


S = TypeVar("S", bound=HasData)
T = TypeVar("T")
Finish = Callable[[T, RunFolder], object]


@dataclass(frozen=True)
class App(Generic[S, T]):
    """What an application has of its own; S are its settings, T what it trains.

    `name` is that of its commands. `build(settings, device, preparation)` raises a
    `UserError` for data that are not as they should be; the preparation of a run that
    goes on is the one it began with. `report(run, state)` is called before the first
    epoch and after each, and where training ends early.
    """

    name: str
    settings: type[S]
    build: Callable[[S, str, dict[str, Any]], tuple[T, Job]]
    report: Callable[[RunFolder, State], object]

    def start(
        self,
        settings: S,
        path: Path | None,
        console: Console,
        finish: Finish[T],
        device: str = "cpu",
    ) -> None:
        """Train in a new run folder, `path` or a new name; `finish` what was trained.

        Raises: SystemExit if a signal stopped it.
        """
        with _enough_memory():
            trained, job = self.build(settings, device, {})
        config = asdict(settings)  # type: ignore[call-overload]
        run = RunFolder.create(path or new_folder(self.name), config, job.preparation)
        tell(device, console)
        say(f"Training on {settings.data}; Ctrl-C saves and stops.", console)
        self._train(trained, job, run, console, finish)

    def resume(
        self,
        path: Path,
        console: Console,
        finish: Finish[T],
        device: str = "cpu",
        data: Path | None = None,
    ) -> None:
        """Go on with a run that was stopped; `data` is where its data lie now.

        Raises: SystemExit if a signal stopped it again.
        """
        run, trained, job = self._open(path, device, data)
        tell(device, console)
        if data is not None and job.preparation:
            run.write_config({**run.config(), "data": str(data.resolve())})
        self._train(trained, job, run, console, finish, resume=True)

    def load(
        self,
        path: Path,
        console: Console,
        device: str = "cpu",
        data: Path | None = None,
    ) -> T:
        """Load what a run has trained, or has trained so far."""
        run, trained, job = self._open(path, device, data)
        runs.restore(job, run)
        tell(device, console)
        return trained

    def _train(
        self,
        trained: T,
        job: Job,
        run: RunFolder,
        console: Console,
        finish: Finish[T],
        *,
        resume: bool = False,
    ) -> None:
        page = Page(run, self.report)
        with page, _enough_memory():
            try:
                runs.train(job, run, console, resume=resume, on_epoch=page.renew)
            except StopError as stop:
                with unheard():
                    go_on = f"minigrad {self.name} train --resume {run.path}"
                    say(f"Stopped and saved. To go on: {go_on}", console)
                raise SystemExit(128 + stop.number) from None
            if warning := learned_nothing(run.metrics()):
                say(warning, console)
            finish(trained, run)

    def _open(
        self, path: Path, device: str, data: Path | None
    ) -> tuple[RunFolder, T, Job]:
        run = RunFolder.open(path)
        settings = run.settings(self.settings)
        if data is not None:
            settings = replace(settings, data=str(data.resolve()))  # type: ignore[type-var]
        else:
            _find(settings.data, run)
        with _enough_memory(), prepared(run) as preparation:
            trained, job = self.build(settings, device, preparation)
        if preparation and preparation.get("data") != job.data:
            raise runs.other_data(run, settings.data)
        return run, trained, job


@dataclass
class Page:
    """The report of a run under way, which says so when that ends early, however."""

    run: RunFolder
    report: Callable[[RunFolder, State], object]
    begun: bool = False

    def __enter__(self) -> Self:
        return self

    def renew(self) -> None:
        """Write how training stands."""
        self.begun = True
        self.report(self.run, "training")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What did not begin has written no page that waits for news.
        if kind is not None and self.begun:
            with contextlib.suppress(Exception):
                self.report(self.run, "stopped")


def _find(data: str, run: RunFolder) -> None:
    """Raises: RunError if a run's data are not where they were."""
    place = Path(data)
    # What has no whole path is built in.
    if place.is_absolute() and not place.exists():
        raise RunError(
            f"{data}, which {run.path} was trained on, is not there any more. If it "
            "was moved, say where it is now by --data."
        )


@contextmanager
def prepared(run: RunFolder) -> Iterator[dict[str, Any]]:
    """Give how a run's inputs become numbers; say clearly if an application cannot."""
    try:
        yield run.preparation()
    except PreparationError as error:
        raise RunError(
            f"{run.preparation_path} does not say how inputs become numbers: {error}. "
            "Put back the one that training wrote, or train anew in another folder."
        ) from error


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Say what to do where memory ran out."""
    try:
        yield
    except MemoryError as error:
        raise RunError(
            f"memory ran out{f' ({error})' if str(error) else ''}. What was saved is "
            "untouched. Close other programs, or begin a new run with a smaller "
            "--batch or --hidden-dim."
        ) from error


def tell(device: Any, console: Console) -> None:
    """Say on which device the work is done, and why on that."""
    found = mg.device(device)
    say(f"device: {found} ({found.reason})", console)
