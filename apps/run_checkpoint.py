"""Checkpoints of a run: saved and restored whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import minigrad as mg
import nn
from apps.job import Job, not_finite
from apps.run_folder import PUT_BACK, WAY_OUT, RunError, RunFolder, digest
from minigrad.io import Checkpoint


def save(job: Job, run: RunFolder) -> None:
    """Save what `restore` needs, or keep the last checkpoint. Raises: RunError."""
    config = run.config()
    extra = {
        "schedule": job.schedule.state_dict(),
        "epoch_loss": job.epoch_loss,
        "start_loss": job.start_loss,
        "data": job.data,
        "preparation": digest(job.preparation),
    }
    parts = {"model": job.model, "optimizer": job.optimizer, "generator": job.generator}
    with run.saving(run.checkpoint_path):
        mg.save_checkpoint(
            run.checkpoint_path, **parts, step=job.step, config=config, extra=extra
        )


def restore(job: Job, run: RunFolder) -> None:
    """Restore a job to where its run was saved, completely or not at all.

    Raises: RunError as `read` does, and if the model or the data are others.
    """
    saved = read(run)
    if saved.extra.get("data", job.data) != job.data:
        raise other_data(run, run.config().get("data"))
    with _of_this_run(run):
        _take_over(job, saved)


def restore_model(model: nn.Module, run: RunFolder) -> None:
    """Load what a run has trained, without its data. Raises: as `restore`."""
    saved = read(run)
    with _of_this_run(run):
        model.load_state_dict(saved.model)


def read(run: RunFolder) -> Checkpoint:
    """Read a run's checkpoint.

    Raises: RunError if it cannot be read, does not go with the run's settings or
    preparation, or holds what is not finite.
    """
    path = run.checkpoint_path
    try:
        saved = mg.load_checkpoint(path)
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is missing: the run was stopped before its first save, which "
            f"--resume {run.path} makes good, or the file is lost. {PUT_BACK}."
        ) from error
    except (ValueError, OSError) as error:
        raise RunError(str(error)) from error
    _check_same_settings(run, saved)
    own = digest(run.preparation())
    if saved.extra.get("preparation", own) != own:
        raise RunError(
            f"{run.preparation_path} is missing, or not what {path.name} was trained "
            f"with. {PUT_BACK}."
        )
    if names := not_finite({**saved.model, **saved.optimizer}):
        raise RunError(
            f"{path} holds numbers that are not finite ({names}): its training "
            "diverged. Train anew in another folder with a smaller --lr."
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
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RunError(
            f"{run.checkpoint_path} is no checkpoint of this run's training: {why}. "
            f"{PUT_BACK}."
        ) from error


def _check_same_settings(run: RunFolder, saved: Checkpoint) -> None:
    config = run.config()
    changed = [
        f"{name} is {config.get(name)!r:.60}, but was {saved.config.get(name)!r:.60}"
        for name in {**saved.config, **config}
        if name != "data" and config.get(name) != saved.config.get(name)
    ]
    if changed:
        raise RunError(
            f"{run.config_path} is not what {run.checkpoint_path.name} was trained "
            f"with: {'; '.join(changed)}. {WAY_OUT}."
        )


def _take_over(job: Job, saved: Checkpoint) -> None:
    schedule = dict(saved.extra["schedule"])
    if type(saved.step) is not int or not 0 <= saved.step <= job.total_steps:
        raise ValueError(f"it is at step {saved.step} of {job.total_steps}")
    if saved.generator is None:
        raise KeyError("generator")
    epoch_loss = float(saved.extra["epoch_loss"])
    if (start_loss := saved.extra.get("start_loss")) is not None:
        start_loss = float(start_loss)
    if schedule["steps"] != saved.step or schedule["peak"] != job.schedule.peak:
        raise ValueError(f"its schedule is {schedule!r:.60}")
    # A spare generator tells whether the state is valid.
    mg.Generator(0).set_state(saved.generator)
    # Each loads its whole state or nothing.
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
