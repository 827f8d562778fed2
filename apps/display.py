"""Progress of training: a live bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from apps.job import Job
from apps.signals import unheard


class Display(Progress):
    """Shows how far training is."""

    def __init__(self, job: Job, console: Console) -> None:
        self._unit = f"{job.unit}/s"
        super().__init__(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.2f}"),
            TextColumn("{task.fields[speed]:,.0f} " + self._unit),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._total, self._epochs = job.total_steps, job.epochs
        self._steps = self._started_at = job.step
        self._units = 0
        self._begin = time.perf_counter()
        self._id = self.add_task(
            "", total=self._total, completed=self._steps, epoch="", loss=0.0, speed=0.0
        )

    def stop(self) -> None:
        """Take the bar away."""
        with unheard():
            super().stop()

    @property
    def elapsed(self) -> float:
        """Seconds since training began or went on."""
        return max(time.perf_counter() - self._begin, 1e-9)

    @property
    def speed(self) -> float:
        """Units a second since then."""
        return self._units / self.elapsed

    def show(self, loss: float, units: int) -> None:
        """Count one more step."""
        self._steps += 1
        self._units += units
        epoch = f"{-(-self._steps * self._epochs // self._total)}/{self._epochs}"
        self.update(self._id, advance=1, epoch=epoch, loss=loss, speed=self.speed)

    def line(self, epoch: int, loss: float) -> None:
        """Print the line of an epoch, which stays."""
        steps = self._steps - self._started_at
        left = self.elapsed / steps * (self._total - self._steps)
        with unheard():
            self.console.print(
                f"epoch {epoch:3}/{self._epochs}  loss {loss:7.3f}  "
                f"{self.speed:7,.0f} {self._unit}  {left:5.0f} s left",
                highlight=False,
            )
