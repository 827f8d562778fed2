"""What happens between "train" and a trained model? The loop all applications share.

A run is a folder: `config.json` (the settings), `metrics.jsonl` (one line an epoch) and
`checkpoint.h5` (everything needed to go on). A task tells the loop what to train with a
`Job`; the order of its minibatches follows from the seed and the epoch, so that a run
that was stopped and resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import minigrad as mg
import nn
from apps.errors import UserError
from apps.files import write_text
from minigrad.io import Checkpoint
from minigrad.io.files import remove_unfinished

S = TypeVar("S")

# How a newcomer calls what a setting may be.
CALLED = {int: "a whole number", float: "a number", str: "a text"}

# Work that a killed process may lose. Saving takes a small part of it.
SAVE_EVERY = 60.0  # seconds


class RunError(UserError, RuntimeError):
    """A run folder cannot be used as asked."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> RunFolder:
        """Begin a run; write down its settings.

        Raises: RunError if the folder holds a run already, or cannot be written.
        """
        run = cls(path)
        if any(file.exists() for file in run.files):
            raise RunError(
                f"{path} holds a run already, which a new one would overwrite. Choose "
                "another folder, or go on with that run by --resume."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_text(run.config_path, json.dumps(config, indent=2) + "\n")
        except OSError as error:
            raise RunError(
                f"no run can begin in {path}: {_reason(error)}. Choose another folder "
                "by --run, or make room in this one."
            ) from error
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Find an earlier run, be it that it was never saved.

        Raises: RunError if there is none.
        """
        run = cls(path)
        if not run.config_path.is_file():
            raise RunError(
                f"{path} is not the folder of a run: config.json is missing. Give the "
                "folder that training named; if it was stopped before it named one, "
                "train anew without --resume."
            )
        return run

    @property
    def config_path(self) -> Path:
        """The settings, as JSON."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line: what each epoch came to."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        """Model, optimiser, generator and where training stands."""
        return self.path / "checkpoint.h5"

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """All that training writes."""
        return self.config_path, self.metrics_path, self.checkpoint_path

    def config(self) -> dict[str, Any]:
        """Read the settings.

        Raises: RunError if they are damaged.
        """
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(
                f"{self.config_path} cannot be read as JSON ({error}). Undo what was "
                "changed in it, or train anew in another folder."
            ) from error
        if not isinstance(config, dict):
            raise RunError(
                f"{self.config_path} holds no settings, but {config!r:.40}. Undo what "
                "was changed in it, or train anew in another folder."
            )
        return config

    def settings(self, kind: type[S]) -> S:
        """Read the settings into their dataclass, each one checked.

        Raises: RunError that names what is unknown, missing or of another type.
        """
        config = self.config()
        problems = _misfits(config, kind)
        if not problems:
            try:
                return _made(config, kind)
            except ValueError as error:
                problems = [str(error)]
        raise RunError(
            f"{self.config_path} does not hold the settings of a run: "
            f"{'; '.join(problems)}. Undo what was changed in it; for other settings "
            "train anew in another folder."
        )

    def metrics(self) -> list[dict[str, Any]]:
        """Read what was logged so far; a last line that was cut short does not count.

        Raises: RunError that names a damaged line.
        """
        if not self.metrics_path.exists():
            return []
        *lines, rest = self.metrics_path.read_bytes().split(b"\n")
        records = [self._record(line, i) for i, line in enumerate(lines, 1)]
        # The last line ends with a line break too, unless its writer was stopped.
        with contextlib.suppress(RunError):
            records.append(self._record(rest, len(lines) + 1))
        return records

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or type(record.get("step")) is not int:
            raise RunError(
                f"{self.metrics_path}: line {number} is damaged: {line[:40]!r}. "
                "Mend or remove that line; it only tells how an epoch went, and "
                "training does not need it."
            )
        return record

    def log(self, **record: Any) -> None:
        """Add one line to the metrics, unless that very line is there already.

        A run may be killed after its last line and then be resumed to say it again.
        """
        records = self.metrics()
        if record not in records:
            self._write_metrics([*records, record])

    def forget_after(self, step: int) -> None:
        """Drop lines that were logged after the step at which training goes on."""
        records = self.metrics()
        self._write_metrics([r for r in records if r["step"] <= step])

    def _write_metrics(self, records: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(record) + "\n" for record in records)
        with self.saving(self.metrics_path):
            write_text(self.metrics_path, text)

    @contextmanager
    def saving(self, file: Path) -> Iterator[None]:
        """Say clearly that a file of a run under way could not be written."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            cure = "free space" if full else "look after the disk and its permissions"
            raise RunError(
                f"{file} could not be written: {_reason(error)}. What was saved before "
                f"is untouched: {cure}, then go on by --resume {self.path}"
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training in this folder; clear up after dead ones.

        The system lets go of the run when the process ends, however it ends.
        Raises: RunError if another process holds it.
        """
        with self.config_path.open("rb") as file:
            try:
                _lock(file.fileno())
            except BlockingIOError as error:
                raise RunError(
                    f"another process is training in {self.path}. Wait for its end, "
                    "or stop it, before going on with the run."
                ) from error
            remove_unfinished(self.path)
            yield


def _lock(file: int) -> None:
    """Hold an open file as its only holder, where the system knows such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # some network disks have no locks


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _made(config: dict[str, Any], kind: type[S]) -> S:
    """The dataclass with these values, dataclasses inside it too."""
    kinds = get_type_hints(kind)
    values = {
        name: _made(value, kinds[name]) if is_dataclass(kinds[name]) else value
        for name, value in config.items()
    }
    return kind(**values)


def _misfits(config: dict[str, Any], kind: Any) -> list[str]:
    """What keeps these settings from being those of a dataclass."""
    kinds = get_type_hints(kind)
    problems = [f"{name!r} is unknown" for name in config if name not in kinds]
    for name, expected in kinds.items():
        if name not in config:
            problems.append(f"{name!r} is missing")
        elif isinstance(config[name], dict) and is_dataclass(expected):
            problems += [f"{name}: {p}" for p in _misfits(config[name], expected)]
        elif not _is_of(config[name], expected):
            wanted = CALLED.get(expected, expected)
            problems.append(f"{name!r} is {config[name]!r}, but must be {wanted}")
    return problems


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    kinds = get_args(kind) or (kind,)
    # JSON has one kind of number; True is none.
    return type(value) in kinds or (type(value) is int and float in kinds)


def new_path(app: str) -> Path:
    """Name a run's folder by its application and the time: `runs/APP-DATE-TIME`."""
    name = f"{app}-{datetime.now():%Y%m%d-%H%M%S}"
    path = Path("runs") / name
    for count in itertools.count(2):
        if not path.exists():
            break
        path = path.with_name(f"{name}-{count}")
    return path


def minibatches(count: int, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Split the numbers below count into shuffled minibatches, anew in each epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[i : i + size] for i in range(0, count, size)]


@dataclass
class Job:
    """What the loop must know of a task.

    `batches(epoch)` gives the same minibatches whenever it is asked for an epoch;
    `loss(batch)` gives the loss to lower and how many of `unit` went into it.
    `data` stands for all that is learned from: a run goes on with the same only.
    """

    model: nn.Module
    optimizer: Any
    schedule: nn.CosineWithWarmup
    generator: mg.Generator
    epochs: int
    batches: Callable[[int], Sequence[np.ndarray]]
    loss: Callable[[np.ndarray], tuple[mg.Tensor, int]]
    max_norm: float
    unit: str = "words"
    data: str = ""
    step: int = 0
    epoch_loss: float = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """How many minibatches an epoch has."""
        return len(self.batches(0))

    @property
    def total_steps(self) -> int:
        """How many minibatches all epochs have."""
        return self.steps_per_epoch * self.epochs

    def update(self, batch: np.ndarray) -> tuple[float, int]:
        """Learn from one minibatch; give its loss and how many units it had."""
        loss, units = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm(self.model.parameters(), self.max_norm)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        value = loss.item()  # the one number that a step waits for
        self.epoch_loss += value
        return value, units


def train(
    job: Job,
    run: RunFolder,
    console: Console,
    on_epoch: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Train to the last epoch, or until Ctrl-C; save every epoch and every minute.

    `on_epoch` is called before the first epoch and after each, when it is logged and
    saved; `clock` tells the seconds.
    Returns: whether the last epoch was reached.
    Raises: RunError if another process trains there, or saving fails; then the
    checkpoint before is still there.
    """
    with run.held():
        return _train(job, run, console, on_epoch, clock)


def resume(
    job: Job,
    run: RunFolder,
    console: Console,
    on_epoch: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Train on from where a run was saved last, or from its start; else as `train`.

    Raises: as `train`, and RunError if the run cannot be read.
    """
    with run.held():
        if run.checkpoint_path.exists() or len(run.metrics()) > 1:
            restore(job, run)
        run.forget_after(job.step)
        return _train(job, run, console, on_epoch, clock)


def _train(
    job: Job,
    run: RunFolder,
    console: Console,
    on_epoch: Callable[[], object] | None,
    clock: Callable[[], float],
) -> bool:
    job.model.train()
    per_epoch = job.steps_per_epoch
    tell = on_epoch or (lambda: None)
    tell()
    with Interrupt() as interrupt, Display(job, console) as display:
        for epoch in range(job.step // per_epoch, job.epochs):
            _train_epoch(job, run, epoch, display, interrupt, clock)
            ended = job.step % per_epoch == 0
            if ended:
                _end_epoch(job, run, display, epoch + 1)
            save(job, run)
            if ended:
                tell()
            if interrupt.requested:
                break
    return job.step == job.total_steps


def _train_epoch(
    job: Job,
    run: RunFolder,
    epoch: int,
    display: Display,
    interrupt: Interrupt,
    clock: Callable[[], float],
) -> None:
    """Take what steps of an epoch are left, until Ctrl-C; save every minute."""
    batches = job.batches(epoch)
    saved = clock()
    for batch in batches[job.step % len(batches) :]:
        display.show(*job.update(batch))
        if interrupt.requested:
            return
        # The end of an epoch is saved once it is logged, and not before.
        if clock() - saved >= SAVE_EVERY and job.step % len(batches):
            save(job, run)
            saved = clock()


def save(job: Job, run: RunFolder) -> None:
    """Write down everything that `restore` needs to go on.

    Raises: RunError if the disk refuses; the checkpoint before is still there.
    """
    config = run.config()
    with run.saving(run.checkpoint_path):
        mg.save_checkpoint(
            run.checkpoint_path,
            model=job.model,
            optimizer=job.optimizer,
            step=job.step,
            config=config,
            generator=job.generator,
            extra={
                "schedule": job.schedule.state_dict(),
                "epoch_loss": job.epoch_loss,
                "data": job.data,
            },
        )


def restore(job: Job, run: RunFolder) -> None:
    """Put a job back to where its run was saved.

    Raises: RunError if the checkpoint is missing, cannot be read, is of another model
    or no run's, or if the data are others.
    """
    path = run.checkpoint_path
    try:
        saved = mg.load_checkpoint(path)
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is missing: the run was stopped before its first save, which "
            f"--resume {run.path} makes good, or the file is lost. Then put it back, "
            "or train anew in another folder."
        ) from error
    except (ValueError, OSError) as error:
        raise RunError(str(error)) from error
    _check_same_run(job, run, saved)
    try:
        _take_over(job, saved)
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunError(
            f"{path} is no checkpoint of this run's training: {why}. Put back the one "
            "that training wrote, or train anew in another folder."
        ) from error


def _check_same_run(job: Job, run: RunFolder, saved: Checkpoint) -> None:
    """A run goes on with what it began with; only its data may have moved."""
    config = run.config()
    names = [n for n in {**saved.config, **config} if n != "data"]
    changed = [
        f"{name} is {config.get(name)!r}, but was {saved.config.get(name)!r}"
        for name in names
        if config.get(name) != saved.config.get(name)
    ]
    if changed:
        raise RunError(
            f"{run.config_path} is not what {run.checkpoint_path.name} was trained "
            f"with: {'; '.join(changed)}. Undo the change; for other settings train "
            "anew in another folder."
        )
    if saved.extra.get("data", job.data) != job.data:
        raise RunError(
            f"the words or captions in {config.get('data')} are not those that "
            f"{run.path} was trained on. Put those back, or train anew in another "
            "folder."
        )


def _take_over(job: Job, saved: Checkpoint) -> None:
    """Load a checkpoint's states. Raises: KeyError, TypeError, ValueError."""
    schedule, epoch_loss = saved.extra["schedule"], float(saved.extra["epoch_loss"])
    if type(saved.step) is not int or not 0 <= saved.step <= job.total_steps:
        raise ValueError(f"it is at step {saved.step} of {job.total_steps}")
    if saved.generator is None:
        raise KeyError("generator")
    job.model.load_state_dict(saved.model)
    job.optimizer.load_state_dict(saved.optimizer)
    job.generator.set_state(saved.generator)
    job.schedule.load_state_dict(schedule)
    job.step, job.epoch_loss = saved.step, epoch_loss


def _end_epoch(job: Job, run: RunFolder, display: Display, epoch: int) -> None:
    loss = job.epoch_loss / job.steps_per_epoch
    job.epoch_loss = 0.0
    speed = round(display.speed)
    run.log(epoch=epoch, step=job.step, loss=loss, per_second=speed)
    display.line(epoch, loss)


class Interrupt:
    """Turn Ctrl-C into a wish that the loop grants between two steps.

    A KeyboardInterrupt in the middle of an update would leave it half done. A second
    Ctrl-C is Python's own again, and stops at once.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        # Python lets only the main thread handle signals.
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)

    def _note(self, *_: object) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)


class Display:
    """Where training stands: a live bar on a terminal, a line an epoch elsewhere."""

    def __init__(self, job: Job, console: Console) -> None:
        self._total = job.total_steps
        self._epochs = job.epochs
        self._console = console
        self._steps = job.step
        self._started_at = job.step
        self._units = 0
        self._unit = f"{job.unit}/s"
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.2f}"),
            TextColumn("{task.fields[speed]:,.0f} " + self._unit),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        self._bar.start()
        self._task = self._bar.add_task(
            "", total=self._total, completed=self._steps, epoch="", loss=0.0, speed=0.0
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    @property
    def speed(self) -> float:
        """Units a second since training began or went on."""
        return self._units / max(time.perf_counter() - self._start, 1e-9)

    def show(self, loss: float, units: int) -> None:
        """Take note of one more step."""
        self._steps += 1
        self._units += units
        epoch = -(-self._steps * self._epochs // self._total)
        self._bar.update(
            self._task,
            advance=1,
            epoch=f"{epoch}/{self._epochs}",
            loss=loss,
            speed=self.speed,
        )

    def line(self, epoch: int, loss: float) -> None:
        """Tell, in a line that stays, what an epoch came to."""
        elapsed = time.perf_counter() - self._start
        done = self._steps - self._started_at
        left = elapsed / done * (self._total - self._steps)
        self._console.print(
            f"epoch {epoch:3}/{self._epochs}  loss {loss:7.3f}  "
            f"{self.speed:7,.0f} {self._unit}  {left:5.0f} s left",
            highlight=False,
        )
