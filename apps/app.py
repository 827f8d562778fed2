"""Apps: starting a run, resuming one, and loading a trained model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

import minigrad as mg
from apps import run as runs
from apps import run_checkpoint
from apps.console import say
from apps.job import Job
from apps.run_folder import PUT_BACK, PreparationError, RunError, RunFolder, new_folder
from apps.run_report import State, learned_nothing
from apps.settings import Settings
from apps.signals import StopError, unheard

S = TypeVar("S", bound=Settings)
T = TypeVar("T")


@dataclass(frozen=True)
class App(Generic[S, T]):
    """What differs between apps; S is the type of the settings, T of what is trained.

    `name` is that of its commands. `build(settings, device, preparation)` raises a
    `UserError` for wrong data; the preparation of a run that goes on is the one it
    began with. `report(run, state)` is called before the first epoch, after each, and
    where training ends early; `finish` scores and shows what was trained, and gives
    the report's path.
    """

    name: str
    settings: type[S]
    build: Callable[[S, str, dict[str, Any]], tuple[T, Job]]
    report: Callable[[RunFolder, State], object]
    finish: Callable[[T, RunFolder, Console], Path]

    def start(
        self,
        settings: S,
        path: Path | None,
        console: Console,
        device: str = "cpu",
        compiled: bool = True,
    ) -> None:
        """Train in a new folder. Raises: SystemExit if a signal stopped it."""
        with _enough_memory():
            trained, job = self.build(settings, device, {})
        job.compiled = compiled
        config = asdict(settings)
        run = RunFolder.create(path or new_folder(self.name), config, job.preparation)
        tell(device, console)
        say(f"Training on {config['data']}; Ctrl-C saves and stops.", console)
        self._train(trained, job, run, console, resume=False)

    def resume(
        self,
        path: Path,
        console: Console,
        device: str = "cpu",
        data: Path | None = None,
        compiled: bool = True,
    ) -> None:
        """Go on with a run; `data` is where its data lie now. Raises: as `start`."""
        run, trained, job = self._open(path, device, data)
        job.compiled = compiled
        tell(device, console)
        if data is not None and job.preparation:
            run.write_config({**run.config(), "data": str(data.resolve())})
        self._train(trained, job, run, console, resume=True)

    def load(
        self,
        path: Path,
        console: Console,
        device: str = "cpu",
        data: Path | None = None,
    ) -> T:
        """Load what a run has trained, or has trained so far."""
        run, trained, job = self._open(path, device, data)
        run_checkpoint.restore(job, run)
        tell(device, console)
        return trained

    def _train(
        self, trained: T, job: Job, run: RunFolder, console: Console, resume: bool
    ) -> None:
        begun = []  # before the first page there is none that waits for news

        def renew() -> None:
            begun.append(True)
            self.report(run, "training")

        try:
            with _enough_memory():
                runs.train(job, run, console, resume=resume, on_epoch=renew)
                if warning := learned_nothing(run.metrics()):
                    say(warning, console)
                page = self.finish(trained, run, console)
        except BaseException as error:
            with contextlib.suppress(Exception):
                if begun:
                    self.report(run, "stopped")
            if not isinstance(error, StopError):
                raise
            with unheard():
                go_on = f"minigrad {self.name} train --resume {run.path}"
                say(f"Stopped and saved. To go on: {go_on}", console)
            raise SystemExit(128 + error.number) from None
        say(f"The run is in {run.path}; its report: {page}", console)

    def _open(
        self, path: Path, device: str, data: Path | None
    ) -> tuple[RunFolder, T, Job]:
        run = RunFolder.open(path)
        settings: Any = run.settings(self.settings)
        if data is not None:
            settings = replace(settings, data=str(data.resolve()))
        elif Path(settings.data).is_absolute() and not Path(settings.data).exists():
            # What has no whole path is built in.
            raise RunError(
                f"{settings.data}, which {path} was trained on, is not there any more. "
                "If it was moved, say where it is now by --data."
            )
        with _enough_memory(), prepared(run) as preparation:
            trained, job = self.build(settings, device, preparation)
        if preparation and preparation.get("data") != job.data:
            raise run_checkpoint.other_data(run, settings.data)
        return run, trained, job


@contextmanager
def prepared(run: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield how inputs become numbers; a clear error if the app cannot use it."""
    try:
        yield run.preparation()
    except PreparationError as error:
        raise RunError(
            f"{run.preparation_path} does not say how inputs become numbers: {error}. "
            f"{PUT_BACK}."
        ) from error


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise RunError(
            f"memory ran out{f' ({error})' if str(error) else ''}; what was saved is "
            "untouched. Close other programs, or train with a smaller --batch."
        ) from error


def tell(device: Any, console: Console) -> None:
    """Print which device is used, and why."""
    found = mg.device(device)
    say(f"device: {found} ({found.reason})", console)
