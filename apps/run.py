"""What happens between "train" and a trained model? The loop all applications share.

A run is a folder: `config.json` (the settings), `metrics.jsonl` (one line an epoch) and
`checkpoint.h5` (everything needed to go on). A task tells the loop what to train with a
`Job`; the order of its minibatches follows from the seed and the epoch, so that a run
that was stopped and resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import minigrad as mg
import nn
from apps.errors import UserError


class RunError(UserError, RuntimeError):
    """A run folder cannot be used as asked."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> RunFolder:
        """Begin a run; write down its settings.

        Raises: RunError if the folder holds a run already.
        """
        run = cls(path)
        if run.config_path.exists():
            raise RunError(
                f"{path} holds a run already, which a new one would overwrite. Choose "
                "another folder, or go on with that run by --resume."
            )
        path.mkdir(parents=True, exist_ok=True)
        write_text(run.config_path, json.dumps(config, indent=2) + "\n")
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Find an earlier run with a checkpoint.

        Raises: RunError if there is none.
        """
        run = cls(path)
        for file in (run.config_path, run.checkpoint_path):
            if not file.is_file():
                raise RunError(
                    f"{path} is not the folder of a run that was saved: {file.name} is "
                    "missing. Give the folder that training named at its end."
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

    def config(self) -> dict[str, Any]:
        """Read the settings."""
        return json.loads(self.config_path.read_text(encoding="utf-8"))

    def metrics(self) -> list[dict[str, Any]]:
        """Read what was logged so far."""
        if not self.metrics_path.exists():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def log(self, **record: Any) -> None:
        """Add one line to the metrics."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop lines that were logged after the step at which training goes on."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_text(self.metrics_path, text)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: under another name first, then renamed."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


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
    `loss(batch)` gives the loss to lower and the number of words that went into it.
    """

    model: nn.Module
    optimizer: Any
    schedule: nn.CosineWithWarmup
    generator: mg.Generator
    epochs: int
    batches: Callable[[int], Sequence[np.ndarray]]
    loss: Callable[[np.ndarray], tuple[mg.Tensor, int]]
    max_norm: float
    step: int = 0
    epoch_loss: float = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """How many minibatches an epoch has."""
        return len(self.batches(0))

    def update(self, batch: np.ndarray) -> tuple[float, int]:
        """Learn from one minibatch; give its loss and its number of words."""
        loss, words = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.clip_grad_norm(self.model.parameters(), self.max_norm)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        value = loss.item()  # the one number that a step waits for
        self.epoch_loss += value
        return value, words


def train(job: Job, run: RunFolder, console: Console) -> bool:
    """Train to the last epoch, or until Ctrl-C; save after every epoch.

    Returns: whether the last epoch was reached.
    """
    job.model.train()
    per_epoch = job.steps_per_epoch
    with Interrupt() as interrupt, Display(job, console) as display:
        for epoch in range(job.step // per_epoch, job.epochs):
            for batch in job.batches(epoch)[job.step % per_epoch :]:
                display.show(*job.update(batch))
                if interrupt.requested:
                    break
            if job.step % per_epoch == 0:
                _end_epoch(job, run, display, epoch + 1)
            save(job, run)
            if interrupt.requested:
                break
    return job.step == per_epoch * job.epochs


def save(job: Job, run: RunFolder) -> None:
    """Write down everything that `restore` needs to go on."""
    mg.save_checkpoint(
        run.checkpoint_path,
        model=job.model,
        optimizer=job.optimizer,
        step=job.step,
        config=run.config(),
        generator=job.generator,
        extra={
            "schedule": job.schedule.state_dict(),
            "epoch_loss": job.epoch_loss,
        },
    )


def restore(job: Job, run: RunFolder) -> None:
    """Put a job back to where its run was saved.

    Raises: RunError if the checkpoint is of another model or cannot be read.
    """
    try:
        saved = mg.load_checkpoint(
            run.checkpoint_path,
            model=job.model,
            optimizer=job.optimizer,
            generator=job.generator,
        )
    except (ValueError, OSError) as error:
        raise RunError(
            f"{run.checkpoint_path} does not fit {run.config_path}: {error}"
        ) from error
    job.schedule.load_state_dict(saved.extra["schedule"])
    job.step = saved.step
    job.epoch_loss = saved.extra["epoch_loss"]


def _end_epoch(job: Job, run: RunFolder, display: Display, epoch: int) -> None:
    loss = job.epoch_loss / job.steps_per_epoch
    job.epoch_loss = 0.0
    speed = round(display.words_per_second)
    run.log(epoch=epoch, step=job.step, loss=loss, words_per_second=speed)
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
        self._total = job.steps_per_epoch * job.epochs
        self._epochs = job.epochs
        self._console = console
        self._steps = job.step
        self._started_at = job.step
        self._words = 0
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.2f}"),
            TextColumn("{task.fields[speed]:,.0f} words/s"),
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
    def words_per_second(self) -> float:
        """The speed since training began or went on."""
        return self._words / max(time.perf_counter() - self._start, 1e-9)

    def show(self, loss: float, words: int) -> None:
        """Take note of one more step."""
        self._steps += 1
        self._words += words
        epoch = -(-self._steps * self._epochs // self._total)
        self._bar.update(
            self._task,
            advance=1,
            epoch=f"{epoch}/{self._epochs}",
            loss=loss,
            speed=self.words_per_second,
        )

    def line(self, epoch: int, loss: float) -> None:
        """Tell, in a line that stays, what an epoch came to."""
        elapsed = time.perf_counter() - self._start
        done = self._steps - self._started_at
        left = elapsed / done * (self._total - self._steps)
        self._console.print(
            f"epoch {epoch:3}/{self._epochs}  loss {loss:7.3f}  "
            f"{self.words_per_second:7,.0f} words/s  {left:5.0f} s left",
            highlight=False,
        )
