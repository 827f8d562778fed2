"""The training loop that all apps share.

The order of minibatches depends on the seed and the epoch alone, so that a run that was
stopped and resumed ends with the same bits. Non-finite weights are never saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from apps import run_checkpoint
from apps.display import Display
from apps.job import Job, not_finite
from apps.run_folder import RunError, RunFolder
from apps.signals import Interrupt, StopError

# The most work that a killed process loses. Saving takes a fraction of it.
SAVE_EVERY = 60.0  # seconds


class DivergedError(RunError):
    """A loss, or a weight, is not finite."""


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
    `on_epoch` is called before the first epoch and after each that is saved.
    Raises: StopError, once saved, if a signal asks for it; DivergedError if the loss or
    a weight is not finite; RunError if another process trains there, saving fails or
    the run cannot be read. The checkpoint before is always still there.
    """
    with run.held():
        if resume:
            if run.checkpoint_path.exists() or len(run.metrics()) > 1:
                run_checkpoint.restore(job, run)
            run.forget_after(job.step)
        # Non-finite values are detected below, and reported once.
        with (
            np.errstate(all="ignore"),
            Interrupt() as interrupt,
            Display(job, console) as display,
        ):
            Loop(job, run, display, interrupt, on_epoch, clock).train()


@dataclass
class Loop:
    """Training under way: its steps, and when to save, to report and to stop."""

    job: Job
    run: RunFolder
    display: Display
    interrupt: Interrupt
    on_epoch: Callable[[], object]
    clock: Callable[[], float]

    def train(self) -> None:
        """Train for the remaining epochs. Raises: as `train`."""
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
        """Take the remaining steps of an epoch, until a signal; save every minute."""
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
        """Log an epoch, first in the file."""
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
        run_checkpoint.save(self.job, self.run)
        self._saved = self.job.step

    def _check(self) -> None:
        """Raises: DivergedError if a weight is not finite although the loss was."""
        if not self.job.is_finite:
            names = not_finite(self.job.model.state_dict())
            raise self._diverged(f"the weights of {names} are not finite")

    def _diverged(self, what: str) -> DivergedError:
        """The error: where training stood, what is saved, and what to try."""
        job, kept = self.job, "Nothing was saved yet."
        epoch = -(-job.step // job.steps_per_epoch)
        if self.run.checkpoint_path.exists():
            kept = (
                f"The last good state, of step {self._saved}, is still in "
                f"{self.run.checkpoint_path}."
            )
        rate = f"{job.schedule.peak:g}"
        advice = f"Begin a new run with a smaller --lr (this one's is {rate})"
        if job.step == 1 and what.startswith("the loss"):
            advice = "Nothing was learned yet, so look in the data for numbers far off"
        return DivergedError(
            f"{what} at step {job.step} (epoch {epoch} of {job.epochs}), so training "
            f"stopped. {kept} {advice}."
        )
