"""Progress of training: a live bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from apps.job import Job
from apps.signals import unheard


class Display:
    """Shows how far training is."""

    def __init__(self, job: Job, console: Console) -> None:
        self._total = job.total_steps
        self._epochs = job.epochs
        self._console = console
        self._steps = self._started_at = job.step
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
        """Count one more step."""
        self._steps += 1
        self._units += units
        epoch = f"{-(-self._steps * self._epochs // self._total)}/{self._epochs}"
        self._bar.update(
            self._task, advance=1, epoch=epoch, loss=loss, speed=self.speed
        )

    def line(self, epoch: int, loss: float) -> None:
        """Print the line of an epoch, which stays."""
        elapsed = time.perf_counter() - self._start
        done = self._steps - self._started_at
        left = elapsed / done * (self._total - self._steps)
        with unheard():
            self._console.print(
                f"epoch {epoch:3}/{self._epochs}  loss {loss:7.3f}  "
                f"{self.speed:7,.0f} {self._unit}  {left:5.0f} s left",
                highlight=False,
            )
