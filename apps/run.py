"""What happens between "train" and a trained model? The loop all applications share.

A task tells the loop what to train with a `Job`; the order of its minibatches follows
from the seed and the epoch, so that a run that was stopped and resumed ends with the
same bits as one that was not. What is not finite is never saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import minigrad as mg
import nn
from apps.run_folder import RunError, RunFolder, digest
from apps.signals import Interrupt, StopError, unheard
from minigrad.io import Checkpoint

# Work that a killed process may lose. Saving takes a small part of it.
SAVE_EVERY = 60.0  # seconds


class DivergedError(RunError):
    """A loss, or a weight, is not finite."""


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
    `preparation` says how inputs become numbers; the run keeps it, so that what it
    trained can be used without the data. `start_loss` is the first minibatch's.
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
    preparation: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    epoch_loss: float = 0.0
    start_loss: float | None = None

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
        if self.step == 1:
            self.start_loss = value
        return value, units

    @property
    def is_finite(self) -> bool:
        """Whether every weight is; one number comes from the device."""
        flags = [np.isfinite(p.data).all() for p in self.model.parameters()]
        return float(reduce(np.logical_and, flags)) == 1


def train(
    job: Job,
    run: RunFolder,
    console: Console,
    *,
    resume: bool = False,
    on_epoch: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train to the last epoch; save every epoch and every minute.

    With `resume`, go on from where the run was saved last, or from its start.
    `on_epoch` is called before the first epoch and after each, when it is logged and
    saved; `clock` tells the seconds.
    Raises: StopError, once saved, if a signal asks for it; DivergedError if the loss or
    a weight is not finite; RunError if another process trains there, saving fails or
    the run cannot be read. The checkpoint before is always still there.
    """
    with run.held():
        if resume:
            _go_on(job, run)
        # What is not finite is looked for, and told once.
        with (
            np.errstate(all="ignore"),
            Interrupt() as interrupt,
            Display(job, console) as display,
        ):
            Loop(job, run, display, interrupt, on_epoch, clock).train()


def _go_on(job: Job, run: RunFolder) -> None:
    """Put a job back to where training goes on."""
    if run.checkpoint_path.exists() or len(run.metrics()) > 1:
        restore(job, run)
    run.forget_after(job.step)


@dataclass
class Loop:
    """Training under way: its steps, and when to save, to tell and to stop."""

    job: Job
    run: RunFolder
    display: Display
    interrupt: Interrupt
    on_epoch: Callable[[], object]
    clock: Callable[[], float]

    def train(self) -> None:
        """Take what epochs are left. Raises: as `train`."""
        job = self.job
        self._saved = job.step
        job.model.train()
        self.on_epoch()
        for epoch in range(job.step // job.steps_per_epoch, job.epochs):
            self._take_steps(epoch)
            ended = job.step % job.steps_per_epoch == 0
            if ended:
                self._log(epoch + 1)
            self._save()
            if ended:
                self.on_epoch()
            if self.interrupt.requested is not None:
                raise StopError(self.interrupt.requested)

    def _take_steps(self, epoch: int) -> None:
        """Take what steps of an epoch are left, until a signal; save every minute."""
        job = self.job
        batches = job.batches(epoch)
        begun = self.clock()
        for batch in batches[job.step % len(batches) :]:
            loss, units = job.update(batch)
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss}")
            self.display.show(loss, units)
            if self.interrupt.requested is not None:
                return
            # The end of an epoch is saved once it is logged, and not before.
            if self.clock() - begun >= SAVE_EVERY and job.step % len(batches):
                self._save()
                begun = self.clock()

    def _log(self, epoch: int) -> None:
        """Note what an epoch came to, first in the file that stays."""
        job = self.job
        self._check()
        loss = job.epoch_loss / job.steps_per_epoch
        job.epoch_loss = 0.0
        record = {"loss": loss, "per_second": round(self.display.speed)}
        if epoch == 1 and job.start_loss is not None:
            record["start_loss"] = job.start_loss
        self.run.log(epoch=epoch, step=job.step, **record)
        self.display.line(epoch, loss)

    def _save(self) -> None:
        self._check()
        save(self.job, self.run)
        self._saved = self.job.step

    def _check(self) -> None:
        """Raises: DivergedError if a weight is not finite although the loss was."""
        if not self.job.is_finite:
            names = _not_finite(self.job.model.state_dict())
            raise self._diverged(f"the weights of {names} are not finite")

    def _diverged(self, what: str) -> DivergedError:
        """Say where training stood, what is left of it, and what to try."""
        job, rate = self.job, f"{self.job.schedule.peak:g}"
        epoch = -(-job.step // job.steps_per_epoch)
        kept = "Nothing was saved yet."
        if self.run.checkpoint_path.exists():
            kept = (
                f"The last good state, of step {self._saved}, is still in "
                f"{self.run.checkpoint_path}."
            )
        advice = f"Begin a new run with a smaller --lr (this one's is {rate})"
        if job.step == 1 and what.startswith("the loss"):
            advice = "Nothing was learned yet, so look in the data for numbers far off"
        return DivergedError(
            f"{what} at step {job.step} (epoch {epoch} of {job.epochs}), so training "
            f"stopped. {kept} {advice}."
        )


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
                "start_loss": job.start_loss,
                "data": job.data,
                "preparation": digest(job.preparation),
            },
        )


def restore(job: Job, run: RunFolder) -> None:
    """Put a job back to where its run was saved, all of it or nothing.

    Raises: RunError if the checkpoint is missing, cannot be read, is of another model
    or no run's, holds what is not finite, or if the data are others.
    """
    saved = read(run)
    if saved.extra.get("data", job.data) != job.data:
        raise other_data(run, run.config().get("data"))
    with _of_this_run(run):
        _take_over(job, saved)


def restore_model(model: nn.Module, run: RunFolder) -> None:
    """Load what a run has trained into its model; that needs no data.

    Raises: RunError as `restore` does.
    """
    saved = read(run)
    with _of_this_run(run):
        model.load_state_dict(saved.model)


def read(run: RunFolder) -> Checkpoint:
    """Read a run's checkpoint and hold it against the run's other files.

    Raises: RunError if it is missing, cannot be read, does not go with the settings or
    the preparation, or holds what is not finite.
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
    _check_same_settings(run, saved)
    _check_same_preparation(run, saved)
    if names := _not_finite({**saved.model, **saved.optimizer}):
        raise RunError(
            f"{path} holds numbers that are not finite ({names}): the training that "
            "wrote it diverged, and nothing can be done with it. Train anew in another "
            "folder with a smaller --lr."
        )
    return saved


def other_data(run: RunFolder, data: object) -> RunError:
    """The error for data that a run was not trained on."""
    return RunError(
        f"the data in {data} are not those that {run.path} was trained on. Put those "
        "back, say where they are by --data, or train anew in another folder."
    )


@contextmanager
def _of_this_run(run: RunFolder) -> Iterator[None]:
    """Say clearly that a checkpoint does not hold what is looked for in it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunError(
            f"{run.checkpoint_path} is no checkpoint of this run's training: {why}. "
            "Put back the one that training wrote, or train anew in another folder."
        ) from error


def _check_same_settings(run: RunFolder, saved: Checkpoint) -> None:
    """A run goes on with what it began with; only its data may have moved."""
    config = run.config()
    names = [n for n in {**saved.config, **config} if n != "data"]
    changed = [
        f"{name} is {config.get(name)!r:.60}, but was {saved.config.get(name)!r:.60}"
        for name in names
        if config.get(name) != saved.config.get(name)
    ]
    if changed:
        raise RunError(
            f"{run.config_path} is not what {run.checkpoint_path.name} was trained "
            f"with: {'; '.join(changed)}. Undo the change; for other settings train "
            "anew in another folder."
        )


def _check_same_preparation(run: RunFolder, saved: Checkpoint) -> None:
    """Words' numbers and features' scales are those that were trained with."""
    own = digest(run.preparation())
    if saved.extra.get("preparation", own) != own:
        raise RunError(
            f"{run.preparation_path} is missing, or not what "
            f"{run.checkpoint_path.name} was trained with. Put back the one that "
            "training wrote, or train anew in another folder."
        )


def _not_finite(state: Mapping[str, Any]) -> str:
    """The names of some arrays of a state that are not finite, in a row."""
    found = [
        str(name)
        for name, array in state.items()
        if getattr(getattr(array, "dtype", None), "kind", "") == "f"
        and not np.isfinite(array).all()
    ]
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")


def _take_over(job: Job, saved: Checkpoint) -> None:
    """Load a checkpoint's states: all of them, or where one does not fit, none.

    Raises: KeyError, TypeError, ValueError, OverflowError.
    """
    schedule = dict(saved.extra["schedule"])
    if type(saved.step) is not int or not 0 <= saved.step <= job.total_steps:
        raise ValueError(f"it is at step {saved.step} of {job.total_steps}")
    if saved.generator is None:
        raise KeyError("generator")
    epoch_loss = float(saved.extra["epoch_loss"])
    start_loss = saved.extra.get("start_loss")
    start_loss = None if start_loss is None else float(start_loss)
    if schedule["steps"] != saved.step or schedule["peak"] != job.schedule.peak:
        raise ValueError(f"its schedule is {schedule!r:.60}")
    # A generator that may be spoilt tells whether the state is one.
    mg.Generator(0).set_state(saved.generator)
    # Each takes all of its state or nothing.
    before = job.model.state_dict()
    job.model.load_state_dict(saved.model)
    try:
        job.optimizer.load_state_dict(saved.optimizer)
    except BaseException:
        job.model.load_state_dict(before)
        raise
    job.generator.set_state(saved.generator)
    job.schedule.load_state_dict(schedule)
    job.step, job.epoch_loss, job.start_loss = saved.step, epoch_loss, start_loss


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
        with unheard():
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
        with unheard():
            self._console.print(
                f"epoch {epoch:3}/{self._epochs}  loss {loss:7.3f}  "
                f"{self.speed:7,.0f} {self._unit}  {left:5.0f} s left",
                highlight=False,
            )
